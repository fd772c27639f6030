//! Work that was not taken.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{Completion, Name, NoRuntime, SharedError};

/// The error of a holder that does not take work, with the work in it.
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
/// let more = tasks.handle();
/// tasks.finish().await;
///
/// let refused = more.try_add("late", async { 7 }).unwrap_err();
/// assert!(refused.is_closed());
/// assert_eq!(refused.to_string(), "`late` was refused: the holder has closed");
/// assert_eq!(refused.into_work().await, 7);
/// # }
/// ```
pub struct Refused<W> {
    pub(super) work: W,
    pub(super) name: Name,
    pub(super) reason: Reason,
}

/// Why work is not taken.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// Its last wait is over, or it was dropped, or it was told to stop.
    Closed,
    Done(Completion),
    NoRuntime(NoRuntime),
}

impl<W> Refused<W> {
    /// Gives the work back.
    #[must_use]
    pub fn into_work(self) -> W {
        self.work
    }

    /// Whether the holder has closed: it is finished, stopped or gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.reason, Reason::Closed)
    }

    /// The completion of the holder's context, if that is why.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        match &self.reason {
            Reason::Done(completion) => Some(completion),
            _ => None,
        }
    }

    /// Whether there is no Tokio runtime to run the work on.
    #[must_use]
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.reason, Reason::NoRuntime(_))
    }

    /// The name that the task would have had.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl Reason {
    pub(crate) fn into_error(self) -> SharedError {
        match self {
            Self::Closed => crate::error::share("the holder has closed"),
            Self::Done(completion) => Arc::new(completion),
            Self::NoRuntime(error) => Arc::new(error),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the holder has closed"),
            Self::Done(completion) => write!(f, "the context is done: {completion}"),
            Self::NoRuntime(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<W> fmt::Display for Refused<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` was refused: {}", self.name, self.reason)
    }
}

impl<W> fmt::Debug for Refused<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("name", &self.name).field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<W> Error for Refused<W> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Closed => None,
            Reason::Done(completion) => Some(completion),
            Reason::NoRuntime(error) => Some(error),
        }
    }
}
