//! How contexts are made.

use std::any::{Any, TypeId};
use std::cell::OnceCell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::completion::Cause;
use super::deadline::{Home, Timers};
use super::family::NodeRef;
use super::node::{Fixed, MoreParent, Node};
use super::{Ctx, CtxGuard};
use crate::tramp::Tramp;
use crate::{Name, NoRuntime, time};

/// What a context can be given beside its name.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), machinery::NoRuntime> {
/// use machinery::{Ctx, CtxOptions, ctx::CompletionKind};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let options = CtxOptions::new().prefix("http").timeout(Duration::from_secs(3));
/// let request = root.child_with("request", options)?;
/// assert_eq!(request.full_name(), "app-->[http]-->request");
/// assert_eq!(request.done().await.kind(), CompletionKind::DeadlinePassed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "options do nothing until they are given to a context"]
pub struct CtxOptions {
    prefix: Option<Name>,
    limit: Option<(Limit, &'static Location<'static>)>,
    tramp: Option<Arc<dyn Tramp>>,
    values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    runtime: Option<Handle>,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    At(Instant),
    After(Duration),
}

impl CtxOptions {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `[prefix]-->` before the name in the full name.
    pub fn prefix(mut self, prefix: impl Into<Name>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Completes the context at `deadline`, on Tokio's clock, within its resolution of a millisecond.
    ///
    /// A deadline that is later than the parent's is the parent's; one that has passed completes the context at once.
    /// Callbacks run in the task that serves all deadlines of the runtime, so that one that blocks holds up the others.
    #[track_caller]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.limit = Some((Limit::At(deadline), Location::caller()));
        self
    }

    /// Completes the context that long after it is made. The longest durations mean never.
    #[track_caller]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit = Some((Limit::After(timeout), Location::caller()));
        self
    }

    /// A timeout, as from another line than the one that calls.
    pub(super) fn within(timeout: Duration, location: &'static Location<'static>) -> Self {
        Self { limit: Some((Limit::After(timeout), location)), ..Self::default() }
    }

    /// Replaces the [`Tramp`] for this context and everything below it.
    pub fn tramp(self, tramp: impl Tramp) -> Self {
        self.shared_tramp(Arc::new(tramp))
    }

    /// Replaces the [`Tramp`] by one that is shared already.
    pub fn shared_tramp(mut self, tramp: Arc<dyn Tramp>) -> Self {
        self.tramp = Some(tramp);
        self
    }

    /// Carries a value, which [`Ctx::value`] finds by its type from here and from everywhere below.
    ///
    /// Of two values of one type the nearest is found, and on one context the one that was given last.
    pub fn value<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.values.push((TypeId::of::<T>(), Arc::new(value)));
        self
    }

    /// Has the context and everything below it use this runtime, instead of the one in which the root was made.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }
}

impl fmt::Debug for CtxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtxOptions")
            .field("prefix", &self.prefix)
            .field("limit", &self.limit.map(|limit| limit.0))
            .field("tramp", &self.tramp.is_some())
            .field("values", &self.values.len())
            .field("runtime", &self.runtime.is_some())
            .finish()
    }
}

/// Whom a new context hangs on.
pub(super) enum Above<'a> {
    Nobody,
    Parent(&'a Ctx),
    Detached(&'a Ctx),
    /// The first gives name and tramp.
    Linked(&'a Ctx, Vec<NodeRef>),
}

impl Above<'_> {
    fn first(&self) -> Option<&Ctx> {
        match self {
            Self::Nobody => None,
            Self::Parent(ctx) | Self::Detached(ctx) | Self::Linked(ctx, _) => Some(ctx),
        }
    }

    /// The instant at which those above complete at the latest.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Nobody | Self::Detached(_) => None,
            Self::Parent(ctx) => ctx.deadline(),
            Self::Linked(ctx, more) => more.iter().filter_map(|node| node.deadline()).chain(ctx.deadline()).min(),
        }
    }
}

/// Makes a context with all that it can be given.
pub(super) fn make(
    name: Name,
    made_at: &'static Location<'static>,
    above: Above<'_>,
    options: CtxOptions,
) -> Result<CtxGuard, NoRuntime> {
    let outer = above.deadline();
    // Read once, and only where somebody asks.
    let clock = OnceCell::new();
    let now = || *clock.get_or_init(time::now);
    let asked = match options.limit {
        Some((Limit::At(deadline), _)) => Some(deadline),
        Some((Limit::After(timeout), _)) => now().checked_add(timeout),
        None => None,
    };
    // A deadline that does not come before that of a parent needs no timer: the parent brings it.
    let own = asked.filter(|asked| outer.is_none_or(|outer| *asked < outer));
    let parent = above.first().map(|ctx| ctx.0.clone());
    let mut fixed = Fixed {
        prefix: options.prefix,
        tramp: options.tramp,
        values: options.values,
        home: options.runtime.map(Home::new).map(Box::new),
        deadline: own.or(outer),
        deadline_set_at: options.limit.map(|limit| limit.1),
        timer: None,
        more_parents: Vec::new(),
        detached: matches!(above, Above::Detached(_)),
    };
    if above.first().is_none() && fixed.home.is_none() {
        fixed.home = current_home();
    }
    let passed = own.is_some_and(|own| own <= now());
    if let Some(own) = own
        && !passed
    {
        let home = fixed.home.as_deref().or_else(|| above.first()?.0.home());
        let timers = match home {
            Some(home) => home.timers(),
            None => Handle::try_current().ok().and_then(|handle| Timers::of(&handle)),
        };
        let timer = timers.and_then(|timers| timers.reserve(own)).ok_or_else(|| NoRuntime {
            wanted: "a deadline",
            path: above.first().map_or_else(|| name.to_string(), Ctx::full_name).into_boxed_str(),
        })?;
        fixed.timer = Some(timer);
    }
    if let Above::Linked(_, more) = above {
        fixed.more_parents = more.into_iter().map(MoreParent::new).collect();
    }
    let node = NodeRef::new(Node::new(name, made_at, parent, Some(Box::new(fixed))));
    node.link();
    if passed {
        node.complete(Cause::DeadlinePassed);
    }
    Ok(CtxGuard::new(node))
}

/// Makes a context without options, which cannot fail: only a deadline needs a runtime.
pub(super) fn make_plain(name: Name, made_at: &'static Location<'static>, above: Above<'_>) -> CtxGuard {
    let fixed = match &above {
        // A root without a runtime needs nothing beyond its name.
        Above::Nobody => current_home().map(|home| Fixed { home: Some(home), ..Fixed::default() }),
        Above::Parent(_) => None,
        Above::Detached(_) => Some(Fixed { detached: true, ..Fixed::default() }),
        Above::Linked(_, more) => Some(Fixed {
            deadline: above.deadline(),
            more_parents: more.iter().cloned().map(MoreParent::new).collect(),
            ..Fixed::default()
        }),
    };
    let parent = above.first().map(|ctx| ctx.0.clone());
    let node = NodeRef::new(Node::new(name, made_at, parent, fixed.map(Box::new)));
    node.link();
    CtxGuard::new(node)
}

/// The contexts that a linked one follows beside `first`, each once.
pub(super) fn others<'a>(first: &Ctx, others: impl IntoIterator<Item = &'a Ctx>) -> Vec<NodeRef> {
    let mut more: Vec<NodeRef> = Vec::new();
    for other in others {
        if other != first && !more.contains(&other.0) {
            more.push(other.0.clone());
        }
    }
    more
}

/// The runtime that a root is made in. A paused clock is looked for on the way, as roots are few.
fn current_home() -> Option<Box<Home>> {
    let runtime = Handle::try_current().ok()?;
    time::look_for_pause();
    Some(Box::new(Home::new(runtime)))
}
