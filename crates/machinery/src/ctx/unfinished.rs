//! What is still at work below a context, to be looked at where a shutdown takes its time.

use std::collections::HashSet;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::tree::Line;
use super::{Busy, Ctx};
use crate::time::Rounded;
use crate::{Name, time};

/// Whoever can say what some piece of work of a context is.
pub(crate) trait Witness: Send + Sync {
    /// What is going on, and how many pieces of the context's count that is, or `usize::MAX` for all of them.
    fn testify(&self) -> (usize, Vec<UnfinishedWork>);
}

/// A piece of work that is counted under its own name.
pub(crate) struct NamedBusy {
    _busy: Busy,
    // The count goes first.
    _named: Arc<Named>,
}

struct Named {
    what: &'static str,
    name: Name,
    location: Option<&'static Location<'static>>,
    since: Instant,
}

impl Witness for Named {
    fn testify(&self) -> (usize, Vec<UnfinishedWork>) {
        let Self { what, name, location, since } = self;
        let age = time::now().saturating_duration_since(*since);
        let work = UnfinishedWork::new(format!("{what} `{name}`"), *location).running_for_so_long(Some(age));
        (1, vec![work])
    }
}

/// A context at or below which there is work.
struct Row {
    depth: usize,
    ctx: Ctx,
    work: Vec<UnfinishedWork>,
    /// How many pieces of work nobody can name.
    unnamed: usize,
}

impl Ctx {
    /// Counts one more piece of work, that began at `since`, until the answer is dropped.
    pub(crate) fn busy_named(
        &self,
        what: &'static str,
        name: &Name,
        location: Option<&'static Location<'static>>,
        since: Instant,
    ) -> NamedBusy {
        let named = Arc::new(Named { what, name: name.clone(), location, since });
        let witness: Weak<Named> = Arc::downgrade(&named);
        NamedBusy { _busy: self.busy_as(witness), _named: named }
    }

    /// What is still at work on this context and below: what [`drained`](Self::drained) and
    /// [`close`](crate::CtxGuard::close) wait for. To be printed when a shutdown takes its time.
    ///
    /// It shows the contexts that have work, also those that are done, which [`tree`](Self::tree) does not; and of each what
    /// the work is: the tasks of holders and those in the background with their lines and ages, the sources of queue managers that run, and
    /// work with a timeout. Generators and tasks that borrow are only counted, beside the name of their context.
    ///
    /// What waits for somebody else is no work: the body of a scope that does not return, a stream whose feeder somebody keeps, a
    /// queue without items. [What it hangs on](crate::manual::recipes#what-it-hangs-on) has these too.
    ///
    /// For diagnosis: work begins and ends meanwhile, and the threads of a queue manager stay for a moment when they have
    /// nothing to do. The cost is linear in the most work that there has been at once since there was none, and each context is
    /// locked while what stands directly below it is listed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use machinery::{Ctx, TaskHolder};
    /// use std::time::Duration;
    ///
    /// let root = Ctx::beginning("app");
    /// let connections = TaskHolder::builder(&root).name("connections").build();
    /// connections.add_with("10.0.0.7", |_| tokio::time::sleep(Duration::from_secs(3600))); // deaf to its context
    ///
    /// root.cancel();
    /// if tokio::time::timeout(Duration::from_secs(5), root.drained()).await.is_err() {
    ///     let unfinished = root.unfinished();
    ///     let shown = unfinished.to_string();
    ///     assert!(shown.starts_with("app(cancelled)\n  connections(cancelled)\n    task `10.0.0.7` from "));
    ///     assert!(shown.ends_with(", running for 5s\n"));
    /// #   assert_eq!(unfinished.iter().count(), 2);
    /// } else {
    ///     unreachable!("the task sleeps for an hour");
    /// }
    /// # }
    /// ```
    pub fn unfinished(&self) -> Unfinished {
        let rows = self.walk(|ctx| {
            let Testimony { mut below, witnesses, own } = ctx.testimony();
            // One whose work ends as other work begins on it may be listed twice for a moment.
            let mut listed = HashSet::with_capacity(below.len());
            below.retain(|kid| listed.insert(kid.0.address()));
            let mut work = Vec::new();
            let mut named = 0;
            for witness in witnesses.iter().filter_map(Weak::upgrade) {
                let (count, more) = witness.testify();
                named = count.saturating_add(named);
                work.extend(more);
            }
            (below, (work, own.saturating_sub(named)))
        });
        Unfinished { rows: rows.map(|(depth, ctx, (work, unnamed))| Row { depth, ctx, work, unnamed }).collect() }
    }

    fn testimony(&self) -> Testimony {
        let links = self.0.links.lock();
        let Some(watch) = &links.watch else {
            return Testimony::default();
        };
        let Some(at_work) = &watch.at_work else {
            return Testimony { own: watch.busy, ..Testimony::default() };
        };
        Testimony {
            below: at_work.below.iter().map(|node| Ctx(node.clone())).collect(),
            witnesses: at_work.witnesses.iter().cloned().collect(),
            own: watch.busy - at_work.below.len(),
        }
    }
}

/// What one context knows of its work.
#[derive(Default)]
struct Testimony {
    below: Vec<Ctx>,
    witnesses: Vec<Weak<dyn Witness>>,
    own: usize,
}

/// A context and what was at work below it, as [`Ctx::unfinished`] found it.
///
/// `{}` shows a context in each line, indented by how deep it stands, and what is at work on it in the lines that follow; `{:#}`
/// adds the line of code that made the context. A context that is linked to several stands below each of them, and what is
/// below it stands below the first of these only. It holds handles to all of the contexts until it is dropped.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// assert!(root.unfinished().is_empty());
/// assert_eq!(root.unfinished().to_string(), "app(pending): nothing is at work\n");
/// ```
#[must_use]
pub struct Unfinished {
    rows: Vec<Row>,
}

impl Unfinished {
    /// Whether there was no work at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.work.is_empty() && row.unnamed == 0)
    }

    /// The contexts with work at or below them, each before those below it, with how deep below the first they stand and
    /// what is at work on themselves.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Ctx, &[UnfinishedWork])> {
        self.rows.iter().map(|row| (row.depth, &row.ctx, &*row.work))
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_empty = self.is_empty();
        for Row { depth, ctx, work, unnamed } in &self.rows {
            write!(f, "{:1$}", "", 2 * depth)?;
            Line(&ctx.0).fmt(f)?;
            if is_empty {
                f.write_str(": nothing is at work")?;
            }
            if *unnamed > 0 {
                let more = if work.is_empty() { "" } else { "more " };
                let pieces = if *unnamed == 1 { "piece" } else { "pieces" };
                write!(f, ": {unnamed} {more}{pieces} of work")?;
            }
            f.write_str("\n")?;
            for work in work {
                writeln!(f, "{:2$}{}", "", work, 2 * depth + 2)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for row in &self.rows {
            map.entry(&row.ctx, &row.work);
        }
        map.finish()
    }
}

/// One thing that is at work on a context, as [`Ctx::unfinished`] found it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, async_as_background};
///
/// let root = Ctx::beginning("app");
/// async_as_background(&root, "index", std::future::pending::<()>());
/// let unfinished = root.unfinished();
/// let (_, ctx, work) = unfinished.iter().next().unwrap();
/// assert_eq!((ctx.name(), work[0].what()), ("app", "task `index`"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UnfinishedWork {
    what: String,
    location: Option<&'static Location<'static>>,
    running_for: Option<Duration>,
}

impl UnfinishedWork {
    pub(crate) fn new(what: String, location: Option<&'static Location<'static>>) -> Self {
        Self { what, location, running_for: None }
    }

    pub(crate) fn running_for_so_long(mut self, age: Option<Duration>) -> Self {
        self.running_for = age;
        self
    }

    /// What kind of work it is, and its name.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The line of code that began it, where that is known.
    #[must_use]
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.location
    }

    /// For how long it has been running, where that is known: see [`HeldTask::running_for`](crate::holder::HeldTask::running_for).
    #[must_use]
    pub fn running_for(&self) -> Option<Duration> {
        self.running_for
    }
}

/// What it is, the line and the age.
impl fmt::Display for UnfinishedWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(location) = self.location {
            write!(f, " from {location}")?;
        }
        match self.running_for {
            Some(age) => write!(f, ", running for {}", Rounded(age)),
            None => Ok(()),
        }
    }
}
