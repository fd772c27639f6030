//! Named, spawned tasks, and what work may return.
//!
//! A [`Task`] is the handle to work that runs in a [`TaskHolder`](crate::TaskHolder) or
//! [in the background](crate::async_as_background) of a context. Work is a plain future, which is dropped at its next
//! await when it has to stop, or a closure that is given a [`Ctx`], is told through that, and may clean up.
//! What it may return is said by [`Outcome`].

pub(crate) mod error;
pub(crate) mod graced;
mod outcome;
mod status;
pub(crate) mod work;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use error::TaskError;
pub use outcome::{Failure, Fallible, Outcome, Plain};
pub use work::Adopt;

use crate::contain::contain;
use crate::ctx::{CallbackId, Removal};
use crate::holder::order::Order;
use crate::holder::shared::Shared;
use crate::{Ctx, Name, Report};

/// A named task that has been spawned: it can be awaited, cancelled, asked and watched.
///
/// Awaiting it gives what the work returned, or a [`TaskError`]: its failure, its panic with the message, or that it
/// was cancelled. The value is given once; to poll it again after that is a mistake and panics.
///
/// The task belongs to its holder or its context, and not to this handle. Errors of a task that is
/// [silent](crate::holder::TaskBuilder::silent) wait here for whoever awaits it; those of all others are reported as
/// they happen, or collected by the holder, whether somebody awaits the task or not.
///
/// # Cancel safety
///
/// Awaiting `&mut task` loses nothing when it is dropped; a later await gives the result.
///
/// # Panics
///
/// Polled again after it gave its result.
///
/// # Drop
///
/// Neither detaches the work from its holder nor stops it nor loses its error: an error that nobody has read is
/// reported then, or when the task ends.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, task_holder};
///
/// let root = Ctx::beginning("app");
/// let sum = task_holder(&root, async |tasks| {
///     let first = tasks.add("first", async { 40 });
///     let second = tasks.add("second", async { 2 });
///     first.await.unwrap() + second.await.unwrap()
/// })
/// .await;
/// assert_eq!(sum, 42);
/// # }
/// ```
pub struct Task<T> {
    place: Place,
    value: PhantomData<fn() -> T>,
}

#[derive(Clone)]
pub(crate) enum Place {
    Held {
        shared: Arc<Shared>,
        key: u32,
    },
    /// It was never started, and this says why.
    Refused(TaskError, Ctx),
}

impl<T> Task<T> {
    /// Takes over one handle that has been counted.
    pub(crate) fn held(shared: Arc<Shared>, key: u32) -> Self {
        Self { place: Place::Held { shared, key }, value: PhantomData }
    }

    /// Reports work that is not taken, and is the task that it would have been.
    pub(crate) fn refused(ctx: &Ctx, error: TaskError) -> Self {
        let report = Report::new(ctx, "a task was refused").task(error.name()).at(error.location());
        match std::error::Error::source(&error).map(ToString::to_string) {
            Some(reason) => report.error(&crate::error::share(reason)).send(),
            None => report.send(),
        }
        Self { place: Place::Refused(error, ctx.clone()), value: PhantomData }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> Name {
        match &self.place {
            Place::Held { shared, key } => shared.name_of(*key),
            Place::Refused(error, _) => error.name().clone(),
        }
    }

    /// The line that spawned it.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        match &self.place {
            Place::Held { shared, key } => shared.location_of(*key),
            Place::Refused(error, _) => error.location(),
        }
    }

    /// The context that it belongs to: the one of its holder, or the one that it was started on.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        match &self.place {
            Place::Held { shared, .. } => &shared.ctx,
            Place::Refused(_, ctx) => ctx,
        }
    }

    /// Whether the task is over and has cleaned up.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.place {
            Place::Held { shared, key } => shared.is_settled(*key),
            Place::Refused(..) => true,
        }
    }

    /// Whether the task is over because it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.look_at_error().is_some_and(|error| error.is_cancelled())
    }

    /// Why the task gave no value; `None` while it runs and when it gave one.
    ///
    /// Whoever asks has read the error: it is not reported as unread any more.
    #[must_use]
    pub fn error(&self) -> Option<TaskError> {
        let error = self.look_at_error()?;
        self.mark_read();
        Some(error)
    }

    /// Like [`error`](Self::error), without counting as having read it.
    pub(crate) fn look_at_error(&self) -> Option<TaskError> {
        match &self.place {
            Place::Held { shared, key } => shared.error_of(*key),
            Place::Refused(error, _) => Some(error.clone()),
        }
    }

    /// Whether its error waits for whoever awaits it, instead of being told of at once.
    pub(crate) fn is_silent(&self) -> bool {
        match &self.place {
            Place::Held { shared, key } => shared.is_silent(*key),
            Place::Refused(..) => false,
        }
    }

    pub(crate) fn mark_read(&self) {
        if let Place::Held { shared, key } = &self.place {
            shared.mark_read(*key);
        }
    }

    /// Asks the task to stop, and says whether it ran and had not been asked before.
    ///
    /// A plain future is dropped where it awaits. Work that has a context is told by it, and may clean up; nothing
    /// hurries it unless its holder is stopped and its grace ends, or somebody calls [`abort`](Self::abort). The task
    /// is done only once that is over.
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.order(Order::Stop, Location::caller())
    }

    /// Has the work dropped where it awaits, also if it has a context and cleans up; says whether it ran and had not
    /// been asked to stop before.
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    #[track_caller]
    pub fn abort(&self) -> bool {
        self.order(Order::Abort, Location::caller())
    }

    fn order(&self, order: Order, location: &'static Location<'static>) -> bool {
        match &self.place {
            Place::Held { shared, key } => shared.stop_one(*key, order, location),
            Place::Refused(..) => false,
        }
    }

    /// Has `callback` called with this task once it is over; straight away if it is over now.
    ///
    /// It runs exactly once, in the task, before its holder counts the task as gone; also when this handle is dropped
    /// before. A panic in it is reported.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use machinery::{Ctx, Task, task_holder};
    ///
    /// let root = Ctx::beginning("app");
    /// task_holder(&root, async |tasks| {
    ///     let task = tasks.add("quick", async {});
    ///     task.add_done_callback(|task: &Task<()>| println!("{} is over", task.name()));
    /// })
    /// .await;
    /// # }
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static) -> CallbackId {
        match &self.place {
            Place::Held { shared, key } => shared.add_callback(
                *key,
                Box::new(move |shared, key| {
                    shared.retain(key);
                    callback(&Self::held(Arc::clone(shared), key));
                }),
            ),
            Place::Refused(error, ctx) => {
                if let Err(panic) = contain(|| callback(self)) {
                    Report::new(ctx, "a callback panicked").task(error.name()).error(&panic).send();
                }
                CallbackId::RUN
            }
        }
    }

    /// Takes a callback out again, and says whether this call prevented its run.
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn remove_done_callback(&self, id: CallbackId) -> Removal {
        match &self.place {
            Place::Held { shared, key } => shared.remove_callback(*key, id),
            Place::Refused(..) => Removal::AlreadyRun,
        }
    }

    /// Whether the callback is registered on this very task and has not begun to run.
    #[must_use]
    pub fn has_direct_done_callback(&self, id: CallbackId) -> bool {
        match &self.place {
            Place::Held { shared, key } => shared.has_callback(*key, id),
            Place::Refused(..) => false,
        }
    }
}

impl<T: Send + 'static> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.place {
            Place::Held { shared, key } => shared.poll_result(*key, cx),
            Place::Refused(error, _) => Poll::Ready(Err(error.clone())),
        }
    }
}

// It holds no value that could be pinned.
impl<T> Unpin for Task<T> {}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Place::Held { shared, key } = &self.place {
            shared.release(*key);
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = crate::protocols::WithRepr::repr_state(self);
        write!(f, "<Task#{}({state})>", self.name())
    }
}
