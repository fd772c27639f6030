//! Why work with a time limit gave no value.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::task::Failure;
use crate::{Completion, Ctx, Name, NoRuntime, SharedError};

/// Why work with a time limit gave no value: its own error, its timeout, or the completion of its context.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, async_with_timeout};
///
/// let root = Ctx::beginning("app");
/// let error = async_with_timeout(&root, "parse", async { "x".parse::<u32>() }).await.unwrap_err();
/// assert!(!error.is_timeout());
/// assert!(error.error().unwrap().is::<std::num::ParseIntError>());
///
/// root.cancel_because("SIGTERM");
/// let error = async_with_timeout(&root, "late", async {}).await.unwrap_err();
/// assert_eq!(error.completion().unwrap().reason(), Some("SIGTERM"));
/// # }
/// ```
pub struct TimeoutError(Box<Inner>);

struct Inner {
    why: Why,
    name: Name,
    /// Not the context itself: an error may end up as the cause of that context's completion, which the context holds.
    path: Box<str>,
}

#[derive(Debug)]
pub(super) enum Why {
    Timeout(Duration),
    Supplied(Failure),
    Completed(Completion),
    Failed(Failure),
    NoRuntime(NoRuntime),
}

impl TimeoutError {
    pub(super) fn new(why: Why, name: Name, ctx: Ctx) -> Self {
        let why = match why {
            Why::Completed(completion) => Why::Completed(completion.let_go()),
            other => other,
        };
        Self(Box::new(Inner { why, name, path: ctx.full_name().into_boxed_str() }))
    }

    /// Whether the timeout passed before the work was done, whatever error was supplied for it.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.why, Why::Timeout(_) | Why::Supplied(_))
    }

    /// The completion of the context, if that came before the work was done and before its timeout.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        match &self.0.why {
            Why::Completed(completion) => Some(completion),
            _ => None,
        }
    }

    /// The error of the work, or the one that was supplied for a timeout.
    #[must_use]
    pub fn error(&self) -> Option<&SharedError> {
        match &self.0.why {
            Why::Failed(failure) | Why::Supplied(failure) => Some(failure.error()),
            _ => None,
        }
    }

    /// The name of the type of [`error`](Self::error), where the type says something.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match &self.0.why {
            Why::Failed(failure) | Why::Supplied(failure) => failure.kind(),
            _ => None,
        }
    }

    /// Whether there is no Tokio runtime with a clock, so that the work was not begun.
    #[must_use]
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.0.why, Why::NoRuntime(_))
    }

    /// The name of the work.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { why, name, path } = &*self.0;
        match why {
            Why::Timeout(after) => write!(f, "`{name}` of `{path}` was not done within {after:?}"),
            Why::Supplied(failure) => fmt::Display::fmt(failure, f),
            Why::Completed(completion) => write!(f, "`{name}` of `{path}` was stopped: {completion}"),
            Why::Failed(failure) => write!(f, "`{name}` of `{path}` failed: {failure}"),
            Why::NoRuntime(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl fmt::Debug for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { why, name, path } = &*self.0;
        f.debug_struct("TimeoutError").field("name", name).field("path", path).field("why", why).finish()
    }
}

impl Error for TimeoutError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.why {
            Why::Timeout(_) => None,
            // It reads as the supplied error, whose sources these are.
            Why::Supplied(failure) => failure.error().source(),
            Why::Failed(failure) => Some(&**failure.error()),
            Why::Completed(completion) => Some(completion),
            Why::NoRuntime(error) => Some(error),
        }
    }
}

/// `TimedOut` for a timeout and for a deadline that has passed; otherwise the kind of the work's own `io::Error`, if it
/// was one.
impl From<TimeoutError> for io::Error {
    fn from(error: TimeoutError) -> Self {
        let kind = match &error.0.why {
            Why::Timeout(_) | Why::Supplied(_) => io::ErrorKind::TimedOut,
            Why::Completed(completion) => completion.io_kind(),
            Why::Failed(failure) => crate::error::io_kind(failure.error()),
            Why::NoRuntime(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
