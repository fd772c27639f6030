//! A holder of tasks: it spawns them, and makes certain that they are cleaned up.
//!
//! Two forms. The scope, [`task_holder`], waits for all of its tasks before it returns, and its body may borrow:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use machinery::{Ctx, task_holder};
//!
//! let root = Ctx::beginning("app");
//! let hosts = vec!["a".to_owned(), "b".to_owned()];
//! task_holder(&root, async |tasks| {
//!     for host in &hosts {
//!         tasks.add(host, async {}); // a future: dropped at its next await when it has to stop
//!     }
//!     tasks.add_with("flush", |ctx| async move {
//!         ctx.run(async {}).await // a closure with a context: told, and given time to clean up
//!     });
//! })
//! .await;
//! # }
//! ```
//!
//! The value, [`TaskHolder`], is finished by [`TaskHolder::finish`]. Both have the same options, in [`HolderBuilder`].

mod age;
mod borrowing;
mod builder;
mod core;
mod entry;
mod failures;
mod held;
pub(crate) mod order;
mod rack;
mod refused;
mod scope;
pub(crate) mod shared;
pub(crate) mod spawning;
mod tasks;
mod wait;
mod watch;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub use borrowing::{BorrowingTask, BorrowingTasks};
pub use builder::HolderBuilder;
pub use failures::{CollectAll, FailFast, Failures, GoOn, Policy};
pub use held::HeldTask;
pub use refused::Refused;
pub use scope::task_holder;
pub use spawning::TaskBuilder;
pub use tasks::Tasks;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{Ctx, CtxGuard, Report};
use core::Abort;

/// A holder of tasks as a value, to be ended with [`finish`](Self::finish).
///
/// It lives on a child context of its own. Tasks are added through [`Tasks`], to which it derefs and whose clones may
/// be given away, to the tasks too. Of tasks that have finished it keeps nothing.
///
/// - A failing task is reported and does not stop its siblings; [`HolderBuilder`] has the other policies, under which
///   `finish` returns a `Result`.
/// - When the context above completes, the tasks are cancelled at once.
/// - With a [`grace`](HolderBuilder::grace), what has not stopped by its end is aborted, and reported with its name,
///   where it was spawned and for how long it has been running. The grace is kept while somebody waits in `finish`.
///
/// # Drop
///
/// Without `finish`, aborts what is left and says so. It waits for nothing: the context above does, in its
/// `drained()` and `close()`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
///
/// let root = Ctx::beginning("app");
/// let tasks = TaskHolder::new(&root);
/// tasks.add("first", async {});
/// let second = tasks.add("second", async { 7 });
/// tasks.finish().await;
/// assert!(second.is_done());
/// # }
/// ```
#[doc(alias = "JoinSet")]
#[doc(alias = "TaskTracker")]
pub struct TaskHolder<P = GoOn> {
    tasks: Tasks,
    /// Until it is finished.
    guard: Option<CtxGuard>,
    grace: Option<Duration>,
    policy: P,
    /// Whether the stop, if there was one, was the owner's.
    own_stop: AtomicBool,
}

impl TaskHolder {
    /// A holder below `ctx`, with the name `task_holder` and without options.
    #[track_caller]
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        Self::builder(ctx).build()
    }

    /// A holder below `ctx` with options.
    pub fn builder(ctx: &Ctx) -> HolderBuilder<'_> {
        HolderBuilder::new(ctx)
    }
}

impl<P: Policy<()>> TaskHolder<P> {
    /// Waits until every task has finished, those included that are added meanwhile, and closes the holder.
    ///
    /// From then on work is refused. Under the policies that collect, the answer is a `Result`.
    ///
    /// # Cancel safety
    ///
    /// A drop of the future drops the holder: what is left is aborted and reported.
    pub async fn finish(mut self) -> P::Output {
        self.wait().await;
        self.close(())
    }

    /// Cancels every task, waits for their clean-up, and closes the holder.
    ///
    /// # Cancel safety
    ///
    /// A drop of the future drops the holder: what is left is aborted and reported.
    #[doc(alias = "abort_all")]
    #[doc(alias = "shutdown")]
    #[track_caller]
    pub fn stop(mut self) -> impl Future<Output = P::Output> {
        self.cancel();
        async move {
            self.wait().await;
            self.close(())
        }
    }
}

impl<P> TaskHolder<P> {
    /// Cancels the holder's context and with it every task; says whether this call was the one.
    ///
    /// [`finish`](Self::finish) waits for their clean-up.
    #[track_caller]
    pub fn cancel(&self) -> bool {
        let first = self.guard.as_ref().is_some_and(CtxGuard::cancel);
        // Relaxed: it is read once the holder is its reader's alone.
        self.own_stop.fetch_or(first, Ordering::Relaxed);
        first
    }

    /// A handle through which others may add tasks, to be given away.
    #[must_use]
    pub fn handle(&self) -> Tasks {
        self.tasks.clone()
    }

    fn cancel_because(&self, reason: &'static str) {
        let first = self.guard.as_ref().is_some_and(|guard| guard.cancel_as_made(reason));
        self.own_stop.fetch_or(first, Ordering::Relaxed);
    }

    async fn wait(&mut self) {
        wait::Wait::new(&self.tasks.shared, self.grace).await;
    }

    /// Everything is over: gives what the policy makes of it.
    fn close<R>(&mut self, body: R) -> P::Output
    where
        P: Policy<R>,
    {
        let (failures, cut) = self.tasks.shared.take_failures();
        let own_stop = self.own_stop.load(Ordering::Relaxed);
        let completion = self.tasks.ctx().completion().filter(|_| !own_stop);
        // The guard ends the holder's context, whose completion is nobody's doing.
        drop(self.guard.take());
        self.policy.conclude(body, Failures::new(self.tasks.ctx(), failures, completion, cut))
    }
}

impl<P> Deref for TaskHolder<P> {
    type Target = Tasks;

    fn deref(&self) -> &Tasks {
        &self.tasks
    }
}

impl<P> Drop for TaskHolder<P> {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        let shared = &self.tasks.shared;
        shared.close();
        let left = self.tasks.held();
        if !left.is_empty() {
            shared.abort(Abort::HolderDropped);
        }
        drop(guard);
        if !left.is_empty() {
            let what = format!("a holder was dropped with {}: what was left is aborted", Left(&left));
            Report::new(&shared.ctx, &what).at(shared.ctx.location()).send();
        }
        shared.abandon_failures();
    }
}

impl<P> fmt::Debug for TaskHolder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHolder").field("tasks", &self.tasks).field("grace", &self.grace).finish_non_exhaustive()
    }
}

/// Those that are left, as a sentence has them: the first of them by name.
struct Left<'a>(&'a [HeldTask]);

impl fmt::Display for Left<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 16;
        match self.0.len() {
            1 => f.write_str("1 task running: ")?,
            many => write!(f, "{many} tasks running: ")?,
        }
        for (at, task) in self.0.iter().take(NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{task}")?;
        }
        match self.0.len() {
            many if many > NAMED => write!(f, ", and {} more", many - NAMED),
            _ => Ok(()),
        }
    }
}

impl Tasks {
    fn of(ctx: &Ctx, canceller: crate::ctx::Canceller, on_failure: shared::OnFailure) -> Self {
        let shared = shared::Shared::new(ctx, Some(canceller), on_failure);
        shared.follow();
        Self { shared: Arc::clone(&shared) }
    }

    /// What is held at this moment: every task that is not over yet, in no particular order.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let root = machinery::Ctx::beginning("app");
    /// let tasks = machinery::TaskHolder::new(&root);
    /// tasks.add("poll", std::future::pending::<()>());
    /// for task in tasks.held() {
    ///     println!("{} from {}", task.name(), task.location());
    /// }
    /// tasks.stop().await;
    /// # }
    /// ```
    #[must_use]
    pub fn held(&self) -> Vec<HeldTask> {
        self.shared.held()
    }
}
