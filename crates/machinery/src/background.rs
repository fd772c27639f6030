//! Work in the background of a context.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use crate::holder::shared::{OnFailure, Shared};
use crate::holder::spawning::TaskBuilder;
use crate::task::{Outcome, Task};
use crate::{Ctx, Name};

/// Spawns a future as a named task of a context, without a holder.
///
/// The task ends with the context: when that completes, the future is dropped at its next await, and `drained()` of
/// the context and of all above waits for it. The error waits for whoever awaits the [`Task`]; one whose handle is
/// dropped unread is reported all the same. [`background`] has the options.
///
/// Below a context that is done, the work is dropped, which is reported, and the task is cancelled from the start.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, async_as_background};
///
/// let root = Ctx::beginning("app");
/// let index = async_as_background(&root, "index", async { 6 * 7 });
/// assert_eq!(index.await.unwrap(), 42);
/// # }
/// ```
#[track_caller]
pub fn async_as_background<F>(ctx: &Ctx, name: impl Into<Name>, future: F) -> Task<<F::Output as Outcome>::Value>
where
    F: Future + Send + 'static,
    F::Output: Outcome,
{
    background(ctx, name).spawn(future)
}

/// Spawns work that is given a context of its own as a named task of a context, without a holder.
///
/// Like [`async_as_background`]; but when `ctx` completes the work is told through its own context, and may clean up.
///
/// # Panics
///
/// If `work` does when it is called, which is before this returns.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, async_as_background_with};
///
/// let root = Ctx::beginning("app");
/// let flush = async_as_background_with(&root, "flush", |ctx| async move {
///     ctx.done().await;
///     "flushed"
/// });
/// root.close().await; // waits for the clean-up
/// assert_eq!(flush.await.unwrap(), "flushed");
/// # }
/// ```
#[track_caller]
pub fn async_as_background_with<C, F>(ctx: &Ctx, name: impl Into<Name>, work: C) -> Task<<F::Output as Outcome>::Value>
where
    C: FnOnce(Ctx) -> F,
    F: Future + Send + 'static,
    F::Output: Outcome,
{
    background(ctx, name).spawn_with(work)
}

/// A task of a context that is about to be spawned, with options.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, background::background};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let sync = background(&root, "sync")
///     .reported() // an error goes to the log at once
///     .grace(Duration::from_secs(5))
///     .spawn_with(|ctx| async move {
///         ctx.done().await;
///         Ok::<_, std::io::Error>(())
///     });
/// root.close().await;
/// assert!(sync.await.is_ok());
/// # }
/// ```
#[track_caller]
pub fn background(ctx: &Ctx, name: impl Into<Name>) -> BackgroundBuilder<'_> {
    BackgroundBuilder { ctx, name: name.into(), location: Location::caller(), silent: true, grace: None }
}

/// The options of a task in the background. [`background`] makes it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let root = machinery::Ctx::beginning("app");
/// let builder = machinery::background::background(&root, "index").reported();
/// assert_eq!(builder.spawn(async { 7 }).await.unwrap(), 7);
/// # }
/// ```
#[must_use = "nothing runs until it is spawned"]
pub struct BackgroundBuilder<'a> {
    ctx: &'a Ctx,
    name: Name,
    location: &'static Location<'static>,
    silent: bool,
    grace: Option<Duration>,
}

impl BackgroundBuilder<'_> {
    /// Has an error reported at once, whether somebody awaits the task or not.
    #[doc(alias = "silent")]
    pub fn reported(mut self) -> Self {
        self.silent = false;
        self
    }

    /// How long work that is given a context may clean up once it has been told to stop. If it has not stopped then it
    /// is dropped where it awaits, which is reported. Without it, it may take as long as it likes.
    ///
    /// It needs a runtime with a clock, and is not kept where there is none.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Spawns a future, as [`async_as_background`] does.
    pub fn spawn<F>(self, future: F) -> Task<<F::Output as Outcome>::Value>
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        self.alone(|task, _| task.spawn(future))
    }

    /// Spawns work with a context, as [`async_as_background_with`] does.
    ///
    /// # Panics
    ///
    /// If `work` does when it is called, which is before this returns.
    pub fn spawn_with<C, F>(self, work: C) -> Task<<F::Output as Outcome>::Value>
    where
        C: FnOnce(Ctx) -> F,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        self.alone(|task, grace| match grace {
            Some(grace) => task.spawn_graced(work, grace),
            None => task.spawn_with(work),
        })
    }

    /// Spawns a future that is not `Send`.
    ///
    /// # Panics
    ///
    /// Outside a `LocalSet` and a local runtime, as Tokio's `spawn_local` does.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> Task<<F::Output as Outcome>::Value>
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.alone(|task, _| task.spawn_local(future))
    }

    /// A place for one task that ends with it.
    #[track_caller]
    fn alone<T>(self, spawn: impl FnOnce(TaskBuilder<'_>, Option<Duration>) -> Task<T>) -> Task<T> {
        let shared = Shared::new(self.ctx, None, OnFailure::Report);
        shared.follow();
        let task = spawn(TaskBuilder::new(&shared, self.name, self.location).silent_if(self.silent).last(), self.grace);
        // Where the task was refused, nothing else closes it.
        shared.close();
        task
    }
}

impl fmt::Debug for BackgroundBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundBuilder")
            .field("ctx", self.ctx)
            .field("name", &self.name)
            .field("silent", &self.silent)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
