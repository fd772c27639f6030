//! What hangs below a context, to be looked at while it runs.

use std::collections::HashSet;
use std::fmt;

use super::family::NodeRef;
use super::{CompletionKind, Ctx};

impl Ctx {
    /// The children that are pending at this moment: those made with [`child`](Self::child), and those
    /// [linked](Self::linked) to this context. A [detached](Self::detached) one is not among them.
    ///
    /// For diagnosis: others come and go meanwhile. The cost is linear in the number of children, and the context is
    /// locked for that long. A context that is done has none: completing it completed them.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Ctx;
    ///
    /// let root = Ctx::beginning("app");
    /// let (server, poller) = (root.child("server"), root.child("poller"));
    /// assert_eq!(root.children(), [server.ctx(), poller.ctx()]);
    ///
    /// drop(server);
    /// assert_eq!(root.children(), [poller.ctx()]);
    /// ```
    #[must_use]
    pub fn children(&self) -> Vec<Ctx> {
        self.0.pending_kids().into_iter().map(Ctx).collect()
    }

    /// This context and everything pending below it, to be printed: a dump of what runs, for an operator or a debugger.
    ///
    /// Of tasks it shows those that have a context of their own, as queues, tickers and the work of
    /// [`add_with`](crate::Tasks::add_with) have; [`Tasks::held`](crate::Tasks::held) tells of every task of a holder, and
    /// [`unfinished`](Self::unfinished) of all work that is waited for, also once the context is done.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, Queue};
    ///
    /// let root = Ctx::beginning("app");
    /// let server = root.child("server");
    /// let jobs = Queue::<u32>::new(&server);
    /// let poller = root.child("poller");
    /// assert_eq!(root.tree().to_string(), "\
    /// app(pending)
    ///   server(pending)
    ///     queue(pending)
    ///   poller(pending)
    /// ");
    /// println!("{:#}", root.tree()); // with the lines that made them
    /// ```
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree { rows: self.walk(|ctx| (ctx.children(), ())).map(|(depth, ctx, ())| (depth, ctx)).collect() }
    }

    /// This context and what `look` finds below, each before those below it, with how deep it stands and what else was found
    /// there. What is below a context with several parents comes once.
    pub(super) fn walk<R>(&self, look: impl Fn(&Self) -> (Vec<Self>, R)) -> impl Iterator<Item = (usize, Self, R)> {
        let mut next = vec![(0, self.clone())];
        // Those linked to several. They are held here, so that no address is used again.
        let (mut met, mut held) = (HashSet::new(), Vec::new());
        std::iter::from_fn(move || {
            let (depth, ctx) = next.pop()?;
            let (below, found) = look(&ctx);
            let is_linked = !ctx.0.more_parents().is_empty();
            if !is_linked || met.insert(ctx.0.address()) {
                next.extend(below.into_iter().rev().map(|kid| (depth + 1, kid)));
            }
            held.extend(is_linked.then(|| ctx.clone()));
            Some((depth, ctx, found))
        })
    }
}

/// A context and what was pending below it, as [`Ctx::tree`] found it.
///
/// `{}` shows a context in each line, indented by how deep it stands; `{:#}` adds the line of code that made it. A context
/// that is linked to several stands below each of them, and what is below it stands below the first of these only. It
/// holds handles to all of the contexts until it is dropped.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// let server = root.child("server");
/// let tree = root.tree();
/// assert_eq!(tree.iter().map(|(depth, ctx)| (depth, ctx.name())).collect::<Vec<_>>(), [(0, "app"), (1, "server")]);
/// ```
pub struct Tree {
    rows: Vec<(usize, Ctx)>,
}

impl Tree {
    /// The contexts, each before those below it, with how deep below the first they stand.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Ctx)> {
        self.rows.iter().map(|(depth, ctx)| (*depth, ctx))
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, Ctx(node)) in &self.rows {
            write!(f, "{:1$}", "", 2 * depth)?;
            Line(node).fmt(f)?;
            f.write_str("\n")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rows.iter().map(|(_, ctx)| ctx)).finish()
    }
}

/// One context: its name and state, and with `{:#}` the line that made it.
pub(super) struct Line<'a>(pub(super) &'a NodeRef);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(node) = self;
        write_prefix(node, f)?;
        write_state(node, node.completion().map(|completion| completion.kind()), f)?;
        if f.alternate() {
            write!(f, " from {}", node.made_at)?;
        }
        Ok(())
    }
}

fn write_prefix(node: &NodeRef, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    node.prefix().map_or(Ok(()), |prefix| write!(f, "[{prefix}]-->"))
}

fn write_state(node: &NodeRef, ended: Option<CompletionKind>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}(", node.name)?;
    match ended {
        Some(kind) => fmt::Display::fmt(&kind, f)?,
        None => f.write_str("pending")?,
    }
    f.write_str(")")
}

/// The contexts from the root to here with the state of each, so that it can be seen at which level it stopped.
impl fmt::Display for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line: Vec<&NodeRef> = std::iter::successors(Some(&self.0), |node| node.parent.as_ref()).collect();
        // To look for the cause from each level anew would take the square of the depth.
        let mut ended = None;
        for (depth, node) in line.iter().rev().enumerate() {
            ended = match ended {
                _ if !node.is_done() => None,
                Some(above) if !node.is_settled_by_itself() => Some(above),
                _ => node.completion().map(|completion| completion.kind()),
            };
            if depth > 0 {
                f.write_str("-->")?;
                write_prefix(node, f)?;
            }
            write_state(node, ended, f)?;
        }
        Ok(())
    }
}
