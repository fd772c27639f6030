//! How a task ends without a value.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;

use super::Failure;
use crate::holder::Failures;
use crate::timeout::TimeoutError;
use crate::{Completion, Name, SharedError};

/// Why a task gave no value: it failed, it panicked, or it was cancelled.
///
/// It knows the name of the task and the path of its context, and the error itself is its `source()`. A clone is a
/// reference to the same.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
///
/// let root = Ctx::beginning("app");
/// let tasks = TaskHolder::builder(&root).name("tasks").build();
/// let task = tasks.task("fetch").silent().spawn(async { Err::<(), _>("no route") });
///
/// let error = task.await.unwrap_err();
/// assert_eq!(error.to_string(), "task `fetch` of `app-->tasks` failed: no route");
/// assert_eq!(error.error().unwrap().to_string(), "no route");
/// tasks.finish().await;
/// # }
/// ```
#[derive(Clone)]
pub struct TaskError(Arc<Inner>);

struct Inner {
    why: Why,
    name: Name,
    /// Not the context itself: an error may end up as the cause of that context's completion, which the context holds.
    path: Arc<str>,
    location: &'static Location<'static>,
}

pub(crate) enum Why {
    Failed(Failure),
    Panicked(SharedError),
    Cancelled(Cut),
}

/// What cancelled a task.
#[derive(Debug)]
pub(crate) enum Cut {
    /// Somebody called `cancel` on it.
    Asked,
    /// Its context, or its holder, stopped.
    Context(Option<Completion>),
    /// Its grace was over.
    Grace,
    /// The holder was dropped with the task in it.
    HolderDropped,
    /// The runtime dropped it.
    Shutdown,
    /// It was never started.
    Refused(SharedError),
    /// What it took over was cancelled by somebody else, as the handle says.
    Elsewhere(Option<SharedError>),
}

/// Whether an error only says that something was stopped: what is awaited below a context ends with such. One that says
/// why something else failed is an error of the task's own. `of_this` is why the task's context is done.
pub(crate) fn is_echo(error: &SharedError, of_this: &impl Fn() -> Option<Completion>) -> bool {
    let only_stopped = |why: &Completion| why.is_cancelled() || of_this().is_some_and(|of_this| of_this.is_same(why));
    if let Some(of_scope) = error.downcast_ref::<Failures>() {
        return of_scope.is_empty()
            && of_scope.completion().is_none_or(only_stopped)
            && of_scope.body().is_none_or(|body| is_echo(&body.error, of_this));
    }
    let of_work = || error.downcast_ref::<TimeoutError>().and_then(TimeoutError::completion);
    match error.downcast_ref().or_else(of_work) {
        Some(why) => only_stopped(why),
        None => error.downcast_ref::<TaskError>().is_some_and(TaskError::is_cancelled),
    }
}

impl TaskError {
    /// `path` is that of the task's context.
    pub(crate) fn new(why: Why, name: Name, path: Arc<str>, location: &'static Location<'static>) -> Self {
        Self(Arc::new(Inner { why, name, path, location }))
    }

    /// Whether it is a reference to the same as `other`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the task was stopped before its end, or never started.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.why, Why::Cancelled(_))
    }

    /// Whether the task panicked. The message of the panic is in [`error`](Self::error).
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.0.why, Why::Panicked(_))
    }

    /// Whether the task was never started, as what it was added to had closed, was done, or had no runtime.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0.why, Why::Cancelled(Cut::Refused(_)))
    }

    /// Whether the task was stopped where it awaited, before it could end by itself: its grace was over, its holder was
    /// dropped, or the runtime shut down.
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
    /// let tasks = TaskHolder::builder(&root).grace(Duration::from_secs(5)).build();
    /// let deaf = tasks.add_with("deaf", |_ctx| std::future::pending::<()>());
    /// let good = tasks.add_with("good", |ctx| async move { drop(ctx.done().await) });
    /// tasks.stop().await;
    /// assert!(deaf.error().unwrap().is_aborted());
    /// assert!(good.error().is_none());
    /// # }
    /// ```
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        matches!(self.0.why, Why::Cancelled(Cut::Grace | Cut::HolderDropped | Cut::Shutdown))
    }

    /// The error that the task failed with, or its panic as one; `None` for a task that was cancelled.
    #[must_use]
    pub fn error(&self) -> Option<&SharedError> {
        match &self.0.why {
            Why::Failed(failure) => Some(&failure.error),
            Why::Panicked(error) => Some(error),
            Why::Cancelled(_) => None,
        }
    }

    /// The name of the error's type, where the task said it.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match &self.0.why {
            Why::Failed(failure) => failure.kind,
            Why::Panicked(_) => Some("Panic"),
            Why::Cancelled(_) => None,
        }
    }

    /// The completion that cancelled the task, if it was cancelled by its context's.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        match &self.0.why {
            Why::Cancelled(Cut::Context(completion)) => completion.as_ref(),
            _ => None,
        }
    }

    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The full name of the context that the task ran on: the one of its holder, or the one that it was started on.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The line that spawned the task.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task `{}` of `{}` ", self.0.name, self.0.path)?;
        match &self.0.why {
            Why::Failed(failure) => write!(f, "failed: {failure}"),
            // The error of a panic says that it is one.
            Why::Panicked(error) => fmt::Display::fmt(error, f),
            Why::Cancelled(Cut::Asked | Cut::Elsewhere(_) | Cut::Context(None)) => f.write_str("was cancelled"),
            Why::Cancelled(Cut::Context(Some(completion))) => write!(f, "was cancelled: {completion}"),
            Why::Cancelled(Cut::Grace) => f.write_str("was aborted, as its grace was over"),
            Why::Cancelled(Cut::HolderDropped) => f.write_str("was aborted, as its holder was dropped"),
            Why::Cancelled(Cut::Shutdown) => f.write_str("was cancelled: the runtime was shut down"),
            Why::Cancelled(Cut::Refused(reason)) => write!(f, "was refused: {reason}"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TaskError");
        debug.field("name", &self.0.name).field("path", &self.0.path);
        match &self.0.why {
            Why::Failed(failure) => debug.field("failed", &failure.error),
            Why::Panicked(error) => debug.field("panicked", error),
            Why::Cancelled(cut) => debug.field("cancelled", cut),
        };
        debug.field("location", &format_args!("{}", self.0.location)).finish()
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.why {
            Why::Failed(failure) => Some(&*failure.error),
            Why::Panicked(error) => Some(&**error),
            Why::Cancelled(Cut::Context(Some(completion))) => Some(completion),
            Why::Cancelled(Cut::Refused(reason) | Cut::Elsewhere(Some(reason))) => Some(&**reason),
            Why::Cancelled(_) => None,
        }
    }
}

/// With the kind of the `io::Error` that the task failed with, if it was one.
impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        let kind = error.error().map_or(io::ErrorKind::Other, crate::error::io_kind);
        Self::new(kind, error)
    }
}
