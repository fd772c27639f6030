//! Waiting for a promise.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Promise, PromiseError};
use crate::protocols::WaiterId;

/// The future of [`Promise::settled`]. It may be polled again after it has ended.
///
/// # Cancel safety
///
/// A dropped wait loses nothing and leaves nothing registered.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::promise::Settled;
///
/// let promise = Promise::<u32>::new("answer");
/// let settled: Settled<u32> = promise.settled();
/// drop(settled);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Settled<T> {
    promise: Promise<T>,
    id: Option<WaiterId>,
}

impl<T> Settled<T> {
    pub(super) fn new(promise: Promise<T>) -> Self {
        Self { promise, id: None }
    }

    fn forget(&mut self) {
        if let Some(id) = self.id.take() {
            self.promise.inner.remove_waiter(id);
        }
    }
}

impl<T> Future for Settled<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let inner = &this.promise.inner;
        if inner.settled.get().is_some() {
            // The winner has taken the waker, or is about to.
            this.forget();
            return Poll::Ready(());
        }
        if this.id.is_some_and(|id| inner.has_waiter(id, cx.waker())) {
            return Poll::Pending;
        }
        let id = inner.add_waiter(cx.waker().clone());
        this.forget();
        this.id = id;
        match id {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

// The promise is a handle and never pinned.
impl<T> Unpin for Settled<T> {}

impl<T> Drop for Settled<T> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl<T> fmt::Debug for Settled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settled").field(&self.promise).finish()
    }
}

/// The future of awaiting a [`Promise`]: a clone of the value, or why there is none.
///
/// It may be polled again after it has ended, and gives the same again.
///
/// # Cancel safety
///
/// A dropped wait loses nothing and leaves nothing registered.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::promise::Awaited;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let promise = Promise::new("answer");
/// let awaited: Awaited<u32> = promise.clone().into_future();
/// promise.set_result(42);
/// assert_eq!(awaited.await.unwrap(), 42);
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Awaited<T>(Settled<T>);

impl<T: Clone> Future for Awaited<T> {
    type Output = Result<T, PromiseError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let settled = &mut self.get_mut().0;
        ready!(Pin::new(&mut *settled).poll(cx));
        match settled.promise.outcome() {
            Some(outcome) => Poll::Ready(outcome.cloned()),
            None => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for Awaited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Awaited").field(&self.0.promise).finish()
    }
}

impl<T: Clone> IntoFuture for Promise<T> {
    type Output = Result<T, PromiseError>;
    type IntoFuture = Awaited<T>;

    fn into_future(self) -> Awaited<T> {
        Awaited(Settled::new(self))
    }
}

impl<T: Clone> IntoFuture for &Promise<T> {
    type Output = Result<T, PromiseError>;
    type IntoFuture = Awaited<T>;

    fn into_future(self) -> Awaited<T> {
        Awaited(self.settled())
    }
}
