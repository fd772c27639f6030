//! What a manager yields.

use super::feed::{Given, Sub};
use super::link::LinkRef;
use super::sources::Sources;
use crate::SharedError;

/// One result of a queue manager.
///
/// `sources` says where it came from, nearest first, and `context` is the context value of the source that was added.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, QueueManagerResult as Fed, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("results");
/// let (feeder, mut results) = queue_manager::<u32>(&root).build();
/// feeder.add_iter("numbers", ["1", "x"].map(str::parse::<u32>));
/// drop(feeder);
///
/// assert!(matches!(results.next().await, Some(Fed::Success { value: 1, .. })));
/// let Some(Fed::Failure { sources, exception, .. }) = results.next().await else { panic!() };
/// assert_eq!(format!("{sources}: {exception}"), "iterator `numbers`: invalid digit found in string");
/// assert!(matches!(results.next().await, Some(Fed::IterationStop { exception: None, .. })));
/// assert!(matches!(results.next().await, Some(Fed::Stopped { exception: None })));
/// assert!(results.next().await.is_none());
/// # });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub enum QueueManagerResult<T, C = ()> {
    /// A value.
    #[doc(alias = "QueueManagerSuccess")]
    Success {
        /// Where the value came from.
        sources: Sources,
        /// The value.
        value: T,
        /// The context value of the source.
        context: C,
    },
    /// An error or a panic of a source.
    #[doc(alias = "QueueManagerFailure")]
    Failure {
        /// Where the error came from.
        sources: Sources,
        /// The error; a panic is a [`SourcePanicked`](super::SourcePanicked).
        exception: SharedError,
        /// The context value of the source.
        context: C,
    },
    /// An iterator or a stream has ended; there is one for each.
    #[doc(alias = "QueueManagerIterationStop")]
    IterationStop {
        /// The source that ended.
        sources: Sources,
        /// The error or panic that ended it, or nothing if it was exhausted.
        exception: Option<SharedError>,
        /// The context value of the source.
        context: C,
    },
    /// The manager has stopped; there is one.
    #[doc(alias = "QueueManagerStopped")]
    Stopped {
        /// Nothing if all sources were exhausted, otherwise the [`Completion`](crate::Completion) of the context.
        exception: Option<SharedError>,
    },
}

impl<T, C> QueueManagerResult<T, C> {
    /// Where the result came from; only [`Stopped`](Self::Stopped) has no source.
    #[must_use]
    pub fn sources(&self) -> Option<&Sources> {
        match self {
            Self::Success { sources, .. } | Self::Failure { sources, .. } | Self::IterationStop { sources, .. } => {
                Some(sources)
            }
            Self::Stopped { .. } => None,
        }
    }

    /// The error, of whichever kind of result.
    #[must_use]
    pub fn exception(&self) -> Option<&SharedError> {
        match self {
            Self::Success { .. } => None,
            Self::Failure { exception, .. } => Some(exception),
            Self::IterationStop { exception, .. } | Self::Stopped { exception } => exception.as_ref(),
        }
    }

    /// The value, if this is a [`Success`](Self::Success).
    #[doc(alias = "value")]
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Success { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The context value; only [`Stopped`](Self::Stopped) has none.
    #[must_use]
    pub fn context(&self) -> Option<&C> {
        match self {
            Self::Success { context, .. } | Self::Failure { context, .. } | Self::IterationStop { context, .. } => {
                Some(context)
            }
            Self::Stopped { .. } => None,
        }
    }
}

/// What became of a source that was offered to a [`QueueFeeder`](super::QueueFeeder).
///
/// A source is refused once the context of the manager is complete or its stream has ended. That has been reported
/// through the context's `Tramp` already, so the answer may be ignored.
///
/// # Examples
///
/// ```
/// use machinery::{Added, Ctx, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("late");
/// let (feeder, _results) = queue_manager::<u32>(&root).build();
/// assert!(feeder.add_iter("in time", vec![1]).is_taken());
/// root.cancel();
/// assert_eq!(feeder.add_iter("too late", vec![2]).into_refused(), Some(vec![2]));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added<S> {
    /// The manager has it.
    Taken,
    /// The manager takes no more; here it is again.
    Refused(S),
}

impl<S> Added<S> {
    /// Whether the manager has it.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Taken)
    }

    /// The source, if it was refused.
    #[must_use]
    pub fn into_refused(self) -> Option<S> {
        match self {
            Self::Taken => None,
            Self::Refused(source) => Some(source),
        }
    }
}

/// The result that `given` is, or the source that it is.
pub(crate) fn of<T, C>(link: &LinkRef, given: Given<T>, context: C) -> Result<QueueManagerResult<T, C>, SubOf<T, C>> {
    let sources = Sources::link(link);
    match given {
        Given::Value(value) => Ok(QueueManagerResult::Success { sources, value, context }),
        Given::Error(exception) => Ok(QueueManagerResult::Failure { sources, exception, context }),
        Given::Source(sub) => Err((sub, context)),
    }
}

type SubOf<T, C> = (Box<Sub<T>>, C);
