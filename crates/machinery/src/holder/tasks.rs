//! The handle through which tasks are added and looked at.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use super::refused::Refused;
use super::shared::Shared;
use super::spawning::TaskBuilder;
use crate::task::{Adopt, Outcome, Place, Task};
use crate::{Ctx, Name};

/// What a [`TaskHolder`](crate::TaskHolder) and the body of a [`task_holder`](crate::task_holder) add tasks through.
///
/// A clone is another handle to the same holder; it may be given to the tasks themselves, which may add more also
/// while the holder waits for its last. It does not keep the holder open.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, task_holder};
///
/// let root = Ctx::beginning("app");
/// task_holder(&root, async |tasks| {
///     let more = tasks.clone();
///     tasks.add("first", async move {
///         more.add("second", async {});
///     });
/// })
/// .await;
/// # }
/// ```
#[derive(Clone)]
pub struct Tasks {
    pub(crate) shared: Arc<Shared>,
}

impl Tasks {
    /// Spawns a future as a task. When it has to stop it is dropped at its next await; one that is to go on to its end is
    /// added as [`add_with(name, |_| future)`](Self::add_with).
    ///
    /// The task belongs to the holder, whatever becomes of the handle that is returned. Its error is reported, or
    /// collected by the holder.
    ///
    /// On a holder that has closed, and below a context that is done, the work is dropped, which is reported, and the
    /// task is cancelled from the start; [`try_add`](Self::try_add) gives the work back instead.
    #[doc(alias = "spawn")]
    #[doc(alias = "add_coroutine")]
    #[inline]
    #[track_caller]
    pub fn add<F>(&self, name: impl Into<Name>, future: F) -> Task<<F::Output as Outcome>::Value>
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        self.task(name).spawn(future)
    }

    /// Spawns work that is given a context of its own, a child of the holder's.
    ///
    /// When it has to stop it is told through that context, and may clean up asynchronously for as long as it likes, or
    /// until the holder's grace ends. The context completes when the work ends.
    ///
    /// # Panics
    ///
    /// If `work` does when it is called, which is before this returns. What its future throws is the task's failure.
    #[doc(alias = "add_coroutine")]
    #[track_caller]
    pub fn add_with<C, F>(&self, name: impl Into<Name>, work: C) -> Task<<F::Output as Outcome>::Value>
    where
        C: FnOnce(Ctx) -> F,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        self.task(name).spawn_with(work)
    }

    /// Spawns a future that is not `Send`, on the thread that runs the current `LocalSet` or local runtime.
    ///
    /// # Panics
    ///
    /// Outside a `LocalSet` and a local runtime, as Tokio's `spawn_local` does.
    #[track_caller]
    pub fn add_local<F>(&self, name: impl Into<Name>, future: F) -> Task<<F::Output as Outcome>::Value>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.task(name).spawn_local(future)
    }

    /// Takes over a task that runs already: a [`Task`] of another holder or of the background, or a Tokio
    /// [`JoinHandle`](tokio::task::JoinHandle).
    ///
    /// The task that is returned stands for it here: it is waited for, and when it has to stop the original is
    /// cancelled (a `JoinHandle` aborted) and waited for. A `Task` stays in its own holder as well: a failure that is
    /// reported or collected there is not reported here once more. Where this holder does not take it, it is cancelled.
    ///
    /// This is how work that blocks gets into a holder: `tasks.add_task("parse", tokio::task::spawn_blocking(parse))`. It
    /// cannot be stopped once it runs, so that the holder waits for its end, or until its grace is over.
    #[doc(alias = "spawn_blocking")]
    #[track_caller]
    pub fn add_task<A: Adopt>(&self, name: impl Into<Name>, task: A) -> Task<A::Value> {
        self.task(name).adopt(task)
    }

    /// Like [`add`](Self::add), and gives the work back where it is not taken.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the work, if the holder has closed or stopped, its context is done, or there is no runtime.
    #[track_caller]
    pub fn try_add<F>(
        &self,
        name: impl Into<Name>,
        future: F,
    ) -> Result<Task<<F::Output as Outcome>::Value>, Refused<F>>
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        self.task(name).try_spawn(future)
    }

    /// Like [`add_with`](Self::add_with), and gives the work back where it is not taken.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the work, if the holder has closed or stopped, its context is done, or there is no runtime.
    #[track_caller]
    pub fn try_add_with<C, F>(
        &self,
        name: impl Into<Name>,
        work: C,
    ) -> Result<Task<<F::Output as Outcome>::Value>, Refused<C>>
    where
        C: FnOnce(Ctx) -> F,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        self.task(name).try_spawn_with(work)
    }

    /// A task to be spawned with options.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use machinery::{Ctx, task_holder};
    ///
    /// let root = Ctx::beginning("app");
    /// task_holder(&root, async |tasks| {
    ///     // Its error is nobody's but ours.
    ///     let guess = tasks.task("guess").silent().spawn(async { Err::<u32, _>("no idea") });
    ///     assert!(guess.await.is_err());
    /// })
    /// .await;
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn task(&self, name: impl Into<Name>) -> TaskBuilder<'_> {
        TaskBuilder::new(&self.shared, name.into(), Location::caller())
    }

    /// The holder's own context, above all of its tasks.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.shared.ctx
    }

    /// How many tasks are held: those that are not over yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let core = self.shared.core.lock();
        core.running - core.telling
    }

    /// Whether the task is held here and is not over yet.
    #[must_use]
    pub fn contains<T>(&self, task: &Task<T>) -> bool {
        match task.place() {
            Place::Held { shared, .. } => Arc::ptr_eq(shared, &self.shared) && !task.is_done(),
            Place::Refused(..) => false,
        }
    }

    /// Whether work is refused: the holder is finished or gone, or has been told to stop.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let core = self.shared.core.lock();
        core.closed || core.stopped_at.is_some()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("ctx", self.ctx()).field("pending", &self.pending()).finish()
    }
}
