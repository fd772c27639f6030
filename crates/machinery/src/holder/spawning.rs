//! Spawning one task, with its options.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::refused::{Reason, Refused};
use super::shared::Shared;
use crate::task::error::{Cut, Why};
use crate::task::graced::{Grace, Graced};
use crate::task::work::{Adopted, Boxed, End, Job, Plain, Spot, Told, Work};
use crate::task::{Adopt, Outcome, Task, TaskError};
use crate::{Ctx, CtxGuard, Name};

/// A task that is about to be spawned. [`Tasks::task`](super::Tasks::task) makes it.
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
/// let task = tasks.task("guess").silent().spawn(async { "no idea".parse::<u32>() });
/// assert_eq!(task.await.unwrap_err().kind(), Some("ParseIntError"));
/// tasks.finish().await;
/// # }
/// ```
#[must_use = "nothing runs until it is spawned"]
pub struct TaskBuilder<'a> {
    shared: &'a Arc<Shared>,
    name: Name,
    location: &'static Location<'static>,
    silent: bool,
    /// Nothing comes after it.
    last: bool,
}

impl<'a> TaskBuilder<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, name: Name, location: &'static Location<'static>) -> Self {
        Self { shared, name, location, silent: false, last: false }
    }

    /// Has its error wait for whoever awaits the task, instead of being reported or collected at once.
    ///
    /// An error whose handle is dropped unread is reported all the same.
    pub fn silent(self) -> Self {
        self.silent_if(true)
    }

    pub(crate) fn silent_if(mut self, silent: bool) -> Self {
        self.silent = silent;
        self
    }

    /// Closes behind it.
    pub(crate) fn last(mut self) -> Self {
        self.last = true;
        self
    }

    /// Spawns a future, as [`Tasks::add`](super::Tasks::add) does.
    #[inline]
    pub fn spawn<F>(self, future: F) -> Task<<F::Output as Outcome>::Value>
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let (shared, location) = (self.shared, self.location);
        match self.try_spawn(future) {
            Ok(task) => task,
            Err(refused) => refuse(shared, location, refused),
        }
    }

    /// Spawns work with a context, as [`Tasks::add_with`](super::Tasks::add_with) does.
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
        self.or_refused(|this| this.try_spawn_with(work))
    }

    /// Spawns a future that is not `Send`, as [`Tasks::add_local`](super::Tasks::add_local) does.
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
        self.or_refused(|this| match this.reserve(None) {
            Ok(place) => Ok(place.run(|work| crate::spawn::local_task(work), Plain { future })),
            Err((name, reason)) => Err(Refused { work: future, name, reason }),
        })
    }

    /// Spawns work with a context that is not `Send`.
    ///
    /// # Panics
    ///
    /// Outside a `LocalSet` and a local runtime, as Tokio's `spawn_local` does; or if `work` does when it is called.
    #[track_caller]
    pub fn spawn_local_with<C, F>(self, work: C) -> Task<<F::Output as Outcome>::Value>
    where
        C: FnOnce(Ctx) -> F,
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.or_refused(|this| {
            this.told(work, |place, job| place.run_boxed(|work| crate::spawn::local_task(work), job))
        })
    }

    /// Takes over a running task, as [`Tasks::add_task`](super::Tasks::add_task) does.
    pub fn adopt<A: Adopt>(self, task: A) -> Task<A::Value> {
        self.or_refused(|this| {
            let (place, runtime) = match this.place_on_runtime() {
                Ok(both) => both,
                // The drop of it stops it.
                Err((name, reason)) => return Err(Refused { work: Adopted(task), name, reason }),
            };
            Ok(place.run(|work| crate::spawn::task(&runtime, work), Adopted(task)))
        })
    }

    /// Like [`spawn`](Self::spawn), and gives the work back where it is not taken.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the work, if the holder has closed or stopped, its context is done, or there is no runtime.
    #[inline]
    pub fn try_spawn<F>(self, future: F) -> Result<Task<<F::Output as Outcome>::Value>, Refused<F>>
    where
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let shared = self.shared;
        if let Some(runtime) = shared.runtime_ref() {
            return match self.reserve_key(None) {
                Ok(key) => Ok(run(shared, key, |spot| crate::spawn::task(runtime, Work::new(spot, Plain { future })))),
                Err((name, reason)) => Err(Refused { work: future, name, reason }),
            };
        }
        match self.place_on_runtime() {
            Ok((place, runtime)) => Ok(place.run(|work| crate::spawn::task(&runtime, work), Plain { future })),
            Err((name, reason)) => Err(Refused { work: future, name, reason }),
        }
    }

    /// Like [`spawn_with`](Self::spawn_with), and gives the work back where it is not taken.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the work, if the holder has closed or stopped, its context is done, or there is no runtime.
    pub fn try_spawn_with<C, F>(self, work: C) -> Result<Task<<F::Output as Outcome>::Value>, Refused<C>>
    where
        C: FnOnce(Ctx) -> F,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let runtime = match self.shared.runtime() {
            Ok(runtime) => runtime,
            Err(error) => return Err(Refused { work, name: self.name, reason: Reason::NoRuntime(error) }),
        };
        self.told(work, |place, job| place.run_boxed(|work| crate::spawn::task(&runtime, work), job))
    }

    /// Like `spawn_with`, with a limit on its clean-up.
    pub(crate) fn spawn_graced<C, F>(self, work: C, grace: Duration) -> Task<<F::Output as Outcome>::Value>
    where
        C: FnOnce(Ctx) -> F,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        let (name, location) = (self.name.clone(), self.location);
        self.or_refused(|this| {
            let runtime = match this.shared.runtime() {
                Ok(runtime) => runtime,
                Err(error) => return Err(Refused { work, name: this.name, reason: Reason::NoRuntime(error) }),
            };
            this.told_as(work, |place, ctx, future| {
                let grace = Grace::after(&ctx, grace);
                place.run(|work| crate::spawn::task(&runtime, work), Graced { future, ctx, grace, name, location })
            })
        })
    }

    fn told<C, F, T>(self, work: C, run: impl FnOnce(Reserved<'a>, Told<F>) -> Task<T>) -> Result<Task<T>, Refused<C>>
    where
        C: FnOnce(Ctx) -> F,
    {
        self.told_as(work, |place, _, future| run(place, Told { future }))
    }

    fn told_as<C, F, T>(self, work: C, run: impl FnOnce(Reserved<'a>, Ctx, F) -> Task<T>) -> Result<Task<T>, Refused<C>>
    where
        C: FnOnce(Ctx) -> F,
    {
        let guard = self.shared.ctx.child_at(self.name.clone(), self.location);
        let ctx = guard.ctx();
        match self.reserve(Some(guard)) {
            Ok(place) => {
                let future = work(ctx.clone());
                Ok(run(place, ctx, future))
            }
            Err((name, reason)) => Err(Refused { work, name, reason }),
        }
    }

    #[inline]
    fn reserve_key(self, guard: Option<CtxGuard>) -> Result<u32, (Name, Reason)> {
        self.shared.reserve(self.name, self.location, self.silent, guard, self.last)
    }

    fn reserve(self, guard: Option<CtxGuard>) -> Result<Reserved<'a>, (Name, Reason)> {
        let shared = self.shared;
        Ok(Reserved { shared, key: self.reserve_key(guard)?, started: false })
    }

    fn place_on_runtime(self) -> Result<(Reserved<'a>, Handle), (Name, Reason)> {
        match self.shared.runtime() {
            Ok(runtime) => Ok((self.reserve(None)?, runtime)),
            Err(error) => Err((self.name, Reason::NoRuntime(error))),
        }
    }

    fn or_refused<T, W>(self, spawn: impl FnOnce(Self) -> Result<Task<T>, Refused<W>>) -> Task<T> {
        let (shared, location) = (self.shared, self.location);
        match spawn(self) {
            Ok(task) => task,
            Err(refused) => refuse(shared, location, refused),
        }
    }
}

#[cold]
fn refuse<T, W>(shared: &Shared, location: &'static Location<'static>, refused: Refused<W>) -> Task<T> {
    let Refused { work, name, reason } = refused;
    let why = Why::Cancelled(Cut::Refused(reason.into_error()));
    let task = Task::refused(&shared.ctx, TaskError::new(why, name, shared.path(), location));
    drop(work);
    task
}

impl fmt::Debug for TaskBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("name", &self.name).field("silent", &self.silent).finish_non_exhaustive()
    }
}

/// A place that is counted, with one handle. A drop without `run` gives it back.
struct Reserved<'a> {
    shared: &'a Arc<Shared>,
    key: u32,
    started: bool,
}

impl Reserved<'_> {
    fn run<J: Job>(mut self, spawn: impl FnOnce(Work<J>), job: J) -> Task<J::Value> {
        self.started = true;
        run(self.shared, self.key, |spot| spawn(Work::new(spot, job)))
    }

    fn run_boxed<J: Job>(mut self, spawn: impl FnOnce(Boxed<J>), job: J) -> Task<J::Value> {
        self.started = true;
        run(self.shared, self.key, |spot| spawn(Boxed::new(spot, job)))
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.started {
            self.shared.settle::<()>(self.key, End::Cut(Cut::Elsewhere(None)));
            self.shared.release(self.key);
        }
    }
}

#[inline]
fn run<T>(shared: &Arc<Shared>, key: u32, spawn: impl FnOnce(Spot)) -> Task<T> {
    let task = Task::held(Arc::clone(shared), key);
    // Where this fails, the work settles the task when it is dropped.
    spawn(Spot::new(Arc::clone(shared), key));
    task
}
