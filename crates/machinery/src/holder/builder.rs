//! The options of a holder.

use std::fmt;
use std::time::Duration;

use super::failures::{CollectAll, FailFast, GoOn};
use super::{TaskHolder, Tasks};
use crate::sync::atomic::AtomicBool;
use crate::{Ctx, Name};

/// The options of a holder: its name, its grace, and what becomes of failures.
///
/// [`build`](Self::build) makes the value, [`scope`](Self::scope) the scope.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let done = TaskHolder::builder(&root)
///     .name("downloads")
///     .grace(Duration::from_secs(5))
///     .collect_all()
///     .scope(async |tasks| {
///         tasks.add("good", async { Ok::<_, std::io::Error>(()) });
///         tasks.add("bad", async { Err::<(), _>("no route") });
///         tasks.add("worse", async { panic!("a mistake") });
///     })
///     .await;
///
/// let failures = done.unwrap_err();
/// let mut names: Vec<_> = failures.tasks().map(|error| error.name().as_str()).collect();
/// names.sort_unstable();
/// assert_eq!(names, ["bad", "worse"]);
/// # }
/// ```
#[must_use = "nothing is held until it is built"]
pub struct HolderBuilder<'a, P = GoOn> {
    ctx: &'a Ctx,
    name: Name,
    grace: Option<Duration>,
    policy: P,
}

impl<'a> HolderBuilder<'a> {
    pub(super) fn new(ctx: &'a Ctx) -> Self {
        Self { ctx, name: "task_holder".into(), grace: None, policy: GoOn }
    }
}

impl<'a, P> HolderBuilder<'a, P> {
    /// Names the holder's context; `task_holder` where none is given.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// How long tasks may clean up once they have been told to stop. What has not stopped then is aborted and
    /// reported. Without it they are waited for, however long they take.
    ///
    /// It is for work that is told: a future given to [`add`](super::Tasks::add) is dropped at its next await, with or without it.
    /// One that is to go on to its own end within the grace is added as `add_with(name, |_| future)`. The body of a
    /// [scope](Self::scope) that has not returned by then is reported as well, and still waited for.
    ///
    /// It needs a runtime with a clock, and is not kept where there is none.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Has the first failure stop the other tasks and complete the holder's context with it.
    ///
    /// The end of the holder is a `Result` then.
    pub fn fail_fast(self) -> HolderBuilder<'a, FailFast> {
        self.with(FailFast)
    }

    /// Has every failure collected with its name, instead of reported. The other tasks go on.
    ///
    /// The end of the holder is a `Result` then.
    pub fn collect_all(self) -> HolderBuilder<'a, CollectAll> {
        self.with(CollectAll)
    }

    fn with<Q>(self, policy: Q) -> HolderBuilder<'a, Q> {
        HolderBuilder { ctx: self.ctx, name: self.name, grace: self.grace, policy }
    }
}

impl<P: super::failures::OnFailurePolicy> HolderBuilder<'_, P> {
    /// Makes the holder as a value, to be ended with [`TaskHolder::finish`].
    #[track_caller]
    pub fn build(self) -> TaskHolder<P> {
        let guard = self.ctx.child(self.name);
        let tasks = Tasks::of(&guard, guard.canceller(), P::ON_FAILURE);
        TaskHolder {
            tasks,
            guard: Some(guard),
            grace: self.grace,
            policy: self.policy,
            own_stop: AtomicBool::new(false),
        }
    }
}

impl<P> fmt::Debug for HolderBuilder<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderBuilder")
            .field("ctx", self.ctx)
            .field("name", &self.name)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
