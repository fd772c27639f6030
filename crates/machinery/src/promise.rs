//! A named value that is settled once, from anywhere.

mod awaited;
mod error;
mod flat;
mod inner;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::ctx::{CallbackId, Removal};
use crate::error::{kind_of, share};
use crate::protocols::{FutureCallback, FutureState, FutureStatus, WaitByCallback, WaiterId, WithRepr};
use crate::{Ctx, Name, SharedError};

pub use awaited::{Awaited, Settled};
pub use error::PromiseError;
use inner::{Inner, Settlement};

/// A named value that is settled once, from anywhere, and that any number of tasks wait for.
///
/// It is a handle: clones are the same promise. The first of [`set_result`](Self::set_result),
/// [`set_exception`](Self::set_exception) and [`cancel`](Self::cancel) settles it for good. To wait for it, await it or a
/// reference to it; each of those who wait gets a clone of the value, or use [`settled`](Self::settled) and
/// [`value`](Self::value) and nothing is cloned: so a value that is not `Clone` is awaited in an `Arc`, or read in place. No
/// runtime is needed.
///
/// There is no sender whose drop would end the wait, as that of a oneshot channel does: where whoever was to settle it may be gone,
/// wait through [`ctx.run(&promise)`](crate::Ctx::run), which ends with the context that this one works on.
///
/// # Drop
///
/// An error that nobody has read by the time the last handle is dropped is reported: through the
/// [`Tramp`](crate::Tramp) of the context that the promise was made [`on`](Self::on), or, where there is none, to `tracing`.
/// A promise whose last handle is dropped unsettled is gone without a trace, as nobody can be waiting for it.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let port = Promise::new("port");
/// let reader = tokio::spawn(port.clone().into_future());
///
/// assert!(port.set_result(8080));
/// assert!(!port.cancel());
/// assert_eq!(reader.await.unwrap().unwrap(), 8080);
/// # });
/// ```
#[doc(alias = "oneshot")]
pub struct Promise<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Promise<T> {
    /// A new promise that belongs to no context.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// assert!(!promise.is_done());
    /// ```
    #[must_use]
    pub fn new(name: impl Into<Name>) -> Self {
        Self { inner: Arc::new(Inner::new(name.into(), None)) }
    }

    /// A new promise whose unread error, and whose callbacks' panics, are reported through the tramp of `ctx`.
    ///
    /// It keeps the context's handle and, unlike what else lives on a context, does not end with it: `ctx.run(promise)` waits for
    /// either.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, Promise};
    ///
    /// let ctx = Ctx::beginning("root");
    /// let promise = Promise::<u32>::on(&ctx, "answer");
    /// promise.set_exception("nobody reads this"); // reported when `promise` is dropped
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let answer = Promise::<u32>::on(&ctx, "answer");
    /// ctx.cancel_because("whoever had it is gone");
    /// assert_eq!(ctx.run(&answer).await.unwrap_err().reason(), Some("whoever had it is gone"));
    /// # });
    /// ```
    #[must_use]
    pub fn on(ctx: &Ctx, name: impl Into<Name>) -> Self {
        Self { inner: Arc::new(Inner::new(name.into(), Some(ctx.clone()))) }
    }

    /// The name.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(machinery::Promise::<u32>::new("answer").name(), "answer");
    /// ```
    #[must_use]
    pub fn name(&self) -> Name {
        self.inner.name()
    }

    /// The context that the promise was made on.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, Promise};
    ///
    /// let ctx = Ctx::beginning("root");
    /// assert_eq!(Promise::<u32>::on(&ctx, "answer").ctx(), Some(&*ctx));
    /// assert_eq!(Promise::<u32>::new("answer").ctx(), None);
    /// ```
    #[must_use]
    pub fn ctx(&self) -> Option<&Ctx> {
        self.inner.ctx.as_ref()
    }

    /// Whether it is settled, in whichever way. One atomic load.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// assert!(!promise.is_done());
    /// promise.cancel();
    /// assert!(promise.is_done());
    /// ```
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.inner.settled.get().is_some()
    }

    /// Whether it was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// promise.cancel();
    /// assert!(promise.is_cancelled());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.inner.settled.get(), Some(Settlement::Cancelled))
    }

    /// The value, where it was settled with one; by reference, as it never changes again.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::new("answer");
    /// assert_eq!(promise.value(), None);
    /// promise.set_result(42);
    /// assert_eq!(promise.value(), Some(&42));
    /// ```
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self.inner.settled.get() {
            Some(Settlement::Result(value)) => Some(value),
            _ => None,
        }
    }

    /// The error, where it was settled with one. Whoever asks has read it.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// promise.set_exception("no idea");
    /// assert_eq!(promise.exception().unwrap().to_string(), "no idea");
    /// ```
    #[must_use]
    pub fn exception(&self) -> Option<&SharedError> {
        match self.inner.settled.get() {
            Some(Settlement::Failed { error, .. }) => {
                self.inner.mark_read();
                Some(error)
            }
            _ => None,
        }
    }

    /// How it was settled; `None` while it is not. An error that is returned counts as read.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::new("answer");
    /// assert!(promise.outcome().is_none());
    /// promise.set_result(42);
    /// assert_eq!(*promise.outcome().unwrap().unwrap(), 42);
    /// ```
    #[must_use]
    pub fn outcome(&self) -> Option<Result<&T, PromiseError>> {
        let error = match self.inner.settled.get()? {
            Settlement::Result(value) => return Some(Ok(value)),
            Settlement::Failed { error, .. } => {
                self.inner.mark_read();
                Some(error.clone())
            }
            Settlement::Cancelled => None,
        };
        Some(Err(PromiseError::new(self.name(), error)))
    }

    /// Waits until it is settled, and leaves its value where it is.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait loses nothing and leaves nothing registered.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// struct NotClone(u32);
    ///
    /// let promise = machinery::Promise::new("answer");
    /// promise.set_result(NotClone(42));
    /// promise.settled().await;
    /// assert_eq!(promise.value().unwrap().0, 42);
    /// # });
    /// ```
    pub fn settled(&self) -> Settled<T> {
        Settled::new(self.clone())
    }

    /// Whether `other` is a handle of the same promise.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// assert!(promise.same_as(&promise.clone()));
    /// assert!(!promise.same_as(&machinery::Promise::new("answer")));
    /// ```
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Takes a callback out again, and says whether this call prevented its run.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Promise;
    /// use machinery::ctx::Removal;
    ///
    /// let promise = Promise::<u32>::new("answer");
    /// let id = promise.add_done_callback(|_| unreachable!());
    /// assert_eq!(promise.remove_done_callback(id), Removal::Removed);
    /// promise.cancel();
    /// ```
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn remove_done_callback(&self, id: CallbackId) -> Removal {
        self.inner.remove_callback(id)
    }

    /// Whether the callback is registered on this very promise and has not begun to run.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// let id = promise.add_done_callback(|_| {});
    /// assert!(promise.has_direct_done_callback(id));
    /// promise.cancel();
    /// assert!(!promise.has_direct_done_callback(id));
    /// ```
    #[must_use]
    pub fn has_direct_done_callback(&self, id: CallbackId) -> bool {
        self.inner.has_callback(id)
    }
}

impl<T: 'static> Promise<T> {
    /// Has `callback` run, once, when the promise is settled, on the thread that settles it.
    ///
    /// Callbacks run in the order of registration, with no lock held. If the promise is settled already, the
    /// callback runs before this returns. A panic in it is reported and stops no other callback. Settling other promises
    /// from a callback does not grow the stack: their callbacks run after those under way.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Promise;
    ///
    /// let (first, second) = (Promise::new("first"), Promise::new("second"));
    /// first.add_done_callback({
    ///     let second = second.clone();
    ///     move |first: &Promise<u32>| {
    ///         second.set_result(first.value().unwrap() + 1);
    ///     }
    /// });
    /// first.set_result(1);
    /// assert_eq!(second.value(), Some(&2));
    /// ```
    pub fn add_done_callback(&self, callback: impl FutureCallback<Self>) -> CallbackId {
        let callback = Box::new(move |promise: &dyn Any| {
            if let Some(promise) = promise.downcast_ref() {
                callback(promise);
            }
        });
        self.inner.add_callback(callback).unwrap_or_else(|callback| {
            self.run(callback);
            CallbackId::RUN
        })
    }
}

impl<T: Send + Sync + 'static> Promise<T> {
    /// Settles it with a value; says whether this call was the one that settled it.
    ///
    /// It returns after those who wait are woken and the callbacks have run; from within a callback of another promise, the
    /// callbacks run after those under way. A value that comes too late is dropped;
    /// [`try_set_result`](Self::try_set_result) gives it back.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::new("answer");
    /// assert!(promise.set_result(42));
    /// assert!(!promise.set_result(43));
    /// assert_eq!(promise.value(), Some(&42));
    /// ```
    pub fn set_result(&self, value: T) -> bool {
        self.try_set_result(value).is_ok()
    }

    /// Settles it with a value, as [`set_result`](Self::set_result) does.
    ///
    /// # Errors
    ///
    /// The value, if the promise was settled before.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::new("answer");
    /// assert_eq!(promise.try_set_result(42), Ok(()));
    /// assert_eq!(promise.try_set_result(43), Err(43));
    /// ```
    pub fn try_set_result(&self, value: T) -> Result<(), T> {
        match self.settle(Settlement::Result(value)) {
            Err(Settlement::Result(value)) => Err(value),
            _ => Ok(()),
        }
    }

    /// Settles it with an error; says whether this call was the one that settled it.
    ///
    /// In all else it is like [`set_result`](Self::set_result). An error that comes too late is dropped: the caller was told.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// assert!(promise.set_exception("no idea"));
    /// assert_eq!(promise.exception().unwrap().to_string(), "no idea");
    /// ```
    pub fn set_exception<E: Into<Box<dyn Error + Send + Sync>>>(&self, error: E) -> bool {
        let kind = kind_of::<E>();
        self.settle(Settlement::Failed { error: share(error), kind }).is_ok()
    }

    /// Settles it without a value or an error; says whether this call was the one that settled it.
    ///
    /// # Examples
    ///
    /// ```
    /// let promise = machinery::Promise::<u32>::new("answer");
    /// assert!(promise.cancel());
    /// assert!(promise.outcome().unwrap().unwrap_err().is_cancelled());
    /// ```
    pub fn cancel(&self) -> bool {
        self.settle(Settlement::Cancelled).is_ok()
    }

    /// Settles it with an error that another promise has, and reports.
    pub(crate) fn pass_on(&self, error: &SharedError, kind: Option<&'static str>) {
        if self.fail(error, kind) {
            self.inner.mark_read();
        }
    }

    /// Settles it with an error whose kind is known.
    pub(crate) fn fail(&self, error: &SharedError, kind: Option<&'static str>) -> bool {
        let error = error.clone();
        self.settle(Settlement::Failed { error, kind }).is_ok()
    }

    fn settle(&self, how: Settlement<T>) -> Result<(), Settlement<T>> {
        self.inner.settled.set(how)?;
        inner::tell(self);
        Ok(())
    }
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("name", &self.name())
            .field("state", &format_args!("{}", self.repr_state()))
            .finish()
    }
}

impl<T: Clone> FutureStatus for Promise<T> {
    type Value = T;

    fn is_done(&self) -> bool {
        self.is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn exception(&self) -> Option<SharedError> {
        self.exception().cloned()
    }

    fn result(&self) -> Option<T> {
        self.value().cloned()
    }
}

impl<T: Send + Sync> WaitByCallback for Promise<T> {
    fn is_complete(&self) -> bool {
        self.is_done()
    }

    fn add_waiter(&self, waker: std::task::Waker) -> Option<WaiterId> {
        self.inner.add_waiter(waker)
    }

    fn remove_waiter(&self, id: WaiterId) {
        self.inner.remove_waiter(id);
    }
}

impl<T> WithRepr for Promise<T> {
    fn repr_name(&self) -> Option<Name> {
        Some(self.name())
    }

    fn repr_state(&self) -> FutureState {
        match self.inner.settled.get() {
            None => FutureState::Pending,
            Some(Settlement::Cancelled) => FutureState::Cancelled,
            Some(Settlement::Result(_)) => FutureState::Result,
            Some(Settlement::Failed { error, kind }) => FutureState::Failed { kind: *kind, error: error.clone() },
        }
    }

    fn set_repr_name(&self, name: Name) -> bool {
        self.inner.set_name(name);
        true
    }

    fn mark_error_read(&self) {
        self.inner.mark_read();
    }
}
