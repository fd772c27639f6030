//! The small interfaces that contexts, promises, tasks and events share.
//!
//! | trait | asks for | who has it |
//! | --- | --- | --- |
//! | [`FutureStatus`] | is it done, how did it end | contexts, promises, tasks, events |
//! | [`WaitByCallback`] | tell a waker once, when it is complete | the same, and their guards and references |
//! | [`WithRepr`] | a name and a state to show | the same |
//! | [`FutureCallback`], [`FutureCtxCallback`] | what a done callback looks like | closures |
//!
//! A type of your own that has [`WaitByCallback`] can be given to [`wait_for_first`](crate::wait_for_first) and
//! [`wait_for_all`](crate::wait_for_all) beside them.

use std::fmt;
use std::task::Waker;

use crate::{Ctx, Name, SharedError};

/// What can be asked of something that completes once: is it done, was it cancelled, what came of it.
///
/// Asking changes nothing and never waits. Exactly one of [`is_cancelled`](Self::is_cancelled),
/// [`exception`](Self::exception) and [`result`](Self::result) has an answer once [`is_done`](Self::is_done), with
/// three exceptions: a context never has a result, a deadline that passed is none of the three, and a task whose value
/// was taken by an await has it no more.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::protocols::FutureStatus;
///
/// fn verdict<F: FutureStatus<Value = u32>>(of: &F) -> String {
///     match (of.result(), of.exception()) {
///         (Some(value), _) => format!("got {value}"),
///         (_, Some(error)) => format!("failed: {error}"),
///         _ if of.is_cancelled() => "cancelled".into(),
///         _ => "not yet".into(),
///     }
/// }
///
/// let promise = Promise::new("answer");
/// assert_eq!(verdict(&promise), "not yet");
/// promise.set_result(42);
/// assert_eq!(verdict(&promise), "got 42");
/// ```
pub trait FutureStatus {
    /// What it results in.
    type Value;

    /// Whether it is over, however it ended.
    fn is_done(&self) -> bool;

    /// Whether it ended by being cancelled.
    fn is_cancelled(&self) -> bool;

    /// The error that it ended with; none while it is pending.
    ///
    /// Whoever asks has read the error: it is not reported as unread any more.
    fn exception(&self) -> Option<SharedError>;

    /// The value that it ended with; none while it is pending.
    fn result(&self) -> Option<Self::Value>;
}

/// A done callback that is given what is done: any `FnOnce(&F) + Send + 'static`.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::protocols::FutureCallback;
///
/// fn printer() -> impl FutureCallback<Promise<u32>> {
///     |promise: &Promise<u32>| println!("{promise:?}")
/// }
///
/// let promise = Promise::new("answer");
/// promise.add_done_callback(printer());
/// promise.set_result(42);
/// ```
pub trait FutureCallback<F: ?Sized>: FnOnce(&F) + Send + 'static {}

impl<F: ?Sized, C: FnOnce(&F) + Send + 'static> FutureCallback<F> for C {}

/// A done callback that is given a context as well: any `FnOnce(&Ctx, &F) + Send + 'static`.
///
/// # Examples
///
/// ```
/// use machinery::{Completion, Ctx};
/// use machinery::protocols::FutureCtxCallback;
///
/// fn printer() -> impl FutureCtxCallback<Completion> {
///     |ctx: &Ctx, completion: &Completion| println!("{}: {completion}", ctx.name())
/// }
///
/// Ctx::beginning("root").add_on_done(printer());
/// ```
#[doc(alias = "FutureCTXCallback")]
pub trait FutureCtxCallback<F: ?Sized>: FnOnce(&Ctx, &F) + Send + 'static {}

impl<F: ?Sized, C: FnOnce(&Ctx, &F) + Send + 'static> FutureCtxCallback<F> for C {}

/// Something that can be waited for beside others, by [`wait_for_first`](crate::wait_for_first) and
/// [`wait_for_all`](crate::wait_for_all).
///
/// It tells a waker when it completes. An implementation keeps three rules:
///
/// - a waker that was taken in is woken exactly once, when the thing completes and never before, unless it is removed
///   first;
/// - taking in and removing cost the same however many wakers there are;
/// - no lock is held while a waker is woken, cloned or dropped.
///
/// # Examples
///
/// ```
/// use std::task::Waker;
/// use machinery::{Event, wait_for_all};
/// use machinery::protocols::{WaitByCallback, WaiterId};
///
/// /// A door that is open as long as an event is set.
/// struct Door(Event);
///
/// impl WaitByCallback for Door {
///     fn is_complete(&self) -> bool {
///         self.0.is_complete()
///     }
///     fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
///         self.0.add_waiter(waker)
///     }
///     fn remove_waiter(&self, id: WaiterId) {
///         self.0.remove_waiter(id);
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let door = Door(Event::new());
/// door.0.set();
/// wait_for_all([&door]).await;
/// # });
/// ```
pub trait WaitByCallback: Send + Sync {
    /// Whether it is complete at this moment.
    fn is_complete(&self) -> bool;

    /// Takes in a waker, to be woken once on completion; `None`, without having kept or woken it, if that has come.
    fn add_waiter(&self, waker: Waker) -> Option<WaiterId>;

    /// Takes a waker out again. Does nothing when it has been woken.
    fn remove_waiter(&self, id: WaiterId);
}

macro_rules! wait_through {
    ($($pointer:ty),*) => {$(
        impl<W: WaitByCallback + ?Sized> WaitByCallback for $pointer {
            fn is_complete(&self) -> bool {
                (**self).is_complete()
            }

            fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
                (**self).add_waiter(waker)
            }

            fn remove_waiter(&self, id: WaiterId) {
                (**self).remove_waiter(id);
            }
        }
    )*};
}

wait_through!(&W, Box<W>, std::sync::Arc<W>);

/// Says which waker [`WaitByCallback::remove_waiter`] is to take out.
///
/// # Examples
///
/// ```
/// use machinery::protocols::WaiterId;
///
/// // The third use of slot 7.
/// assert_ne!(WaiterId::new(7, 3), WaiterId::new(7, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId {
    pub(crate) key: u32,
    pub(crate) stamp: u64,
}

impl WaiterId {
    /// An id made of a key and a stamp that tells two uses of the same key apart.
    #[must_use]
    pub fn new(key: u32, stamp: u64) -> Self {
        Self { key, stamp }
    }

    /// The key.
    #[must_use]
    pub fn key(self) -> u32 {
        self.key
    }

    /// The stamp.
    #[must_use]
    pub fn stamp(self) -> u64 {
        self.stamp
    }
}

/// Something with a name and a state, which a [`Tramp`](crate::Tramp) can name, show and report.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::protocols::{FutureState, WithRepr};
///
/// let promise = Promise::<u32>::new("answer");
/// assert_eq!(promise.repr_name().unwrap(), "answer");
/// assert!(matches!(promise.repr_state(), FutureState::Pending));
/// ```
pub trait WithRepr {
    /// The name, if it has one.
    fn repr_name(&self) -> Option<Name>;

    /// The state, with the error if there is one. Looking here does not count as having read the error.
    fn repr_state(&self) -> FutureState;

    /// Gives it another name; says whether it takes one.
    fn set_repr_name(&self, name: Name) -> bool {
        let _ = name;
        false
    }

    /// Is told that somebody has dealt with its error, which then is not reported as unread.
    fn mark_error_read(&self) {}
}

/// How something that completes once stands, for [`WithRepr`].
///
/// `Display` shows `pending`, `cancelled`, `exception:Kind:message` or `result`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use machinery::protocols::FutureState;
///
/// assert_eq!(FutureState::Pending.to_string(), "pending");
/// let failed = FutureState::Failed { kind: Some("Io"), error: Arc::new(std::io::Error::other("disk full")) };
/// assert_eq!(failed.to_string(), "exception:Io:disk full");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FutureState {
    /// Not over.
    Pending,
    /// Over without a result, as it was cancelled.
    Cancelled,
    /// Over with an error.
    Failed {
        /// The name of the error's type, where a typed call knew it.
        kind: Option<&'static str>,
        /// The error.
        error: SharedError,
    },
    /// Over with a result.
    Result,
}

impl fmt::Display for FutureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Failed { kind, error } => write!(f, "exception:{}:{error}", kind.unwrap_or("Error")),
            Self::Result => f.write_str("result"),
        }
    }
}
