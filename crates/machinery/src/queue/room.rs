//! Appending to a queue that has a capacity.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::engine::{Offer, Refusal};
use super::shared::Shared;

/// The future of [`Queue::append_wait`](super::Queue::append_wait).
///
/// # Cancel safety
///
/// As said there.
///
/// # Examples
///
/// ```
/// use futures_util::FutureExt;
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let queue = queue(&root).capacity(1).build();
/// queue.append_wait(1).now_or_never().expect("there is room").unwrap();
///
/// let waiting = queue.append_wait(2);
/// assert!(waiting.now_or_never().is_none()); // and dropped: nothing was appended
/// assert_eq!(queue.remaining().collect::<Vec<_>>(), [1]);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct AppendWait<'a, T> {
    shared: &'a Shared<T>,
    offer: Offer<T>,
}

impl<'a, T> AppendWait<'a, T> {
    pub(crate) fn new(shared: &'a Shared<T>, item: T) -> Self {
        Self { shared, offer: Offer::Holding(item) }
    }
}

// Nothing is pinned: the item is only ever moved.
impl<T> Unpin for AppendWait<'_, T> {}

impl<T> Future for AppendWait<'_, T> {
    type Output = Result<(), AppendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.shared.poll_append(&mut this.offer, cx).map_err(AppendError)
    }
}

impl<T> Drop for AppendWait<'_, T> {
    fn drop(&mut self) {
        let item = self.shared.engine.withdraw(&mut self.offer);
        drop(item);
    }
}

impl<T> fmt::Debug for AppendWait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendWait").field("queue", &self.shared.ctx().name()).finish_non_exhaustive()
    }
}

/// The queue's context has completed, so that a wait for room would never end. Holds the item.
///
/// # Examples
///
/// ```
/// use futures_util::FutureExt;
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let queue = queue(&root).capacity(1).build();
/// root.cancel();
/// let refused = queue.append_wait(7).now_or_never().expect("no wait").unwrap_err();
/// assert_eq!(refused.into_inner(), 7);
/// ```
pub struct AppendError<T>(T);

impl<T> AppendError<T> {
    /// The item that was not appended.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Display for AppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the context of the queue has completed")
    }
}

impl<T> fmt::Debug for AppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendError").finish_non_exhaustive()
    }
}

impl<T> Error for AppendError<T> {}

/// Why [`Queue::try_append`](super::Queue::try_append) did not append the item that this holds.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let queue = queue(&root).capacity(1).build();
/// queue.try_append(1).unwrap();
/// let refused = queue.try_append(2).unwrap_err();
/// assert!(refused.is_full());
/// assert_eq!(refused.into_inner(), 2);
/// ```
pub struct TryAppendError<T> {
    item: T,
    why: Refusal,
}

impl<T> TryAppendError<T> {
    pub(crate) fn new((item, why): (T, Refusal)) -> Self {
        Self { item, why }
    }

    /// Whether there was no room, or only room that others wait for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.why == Refusal::Full
    }

    /// Whether the context of the queue has completed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.why == Refusal::Closed
    }

    /// The item that was not appended.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.item
    }
}

impl<T> fmt::Display for TryAppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Refusal::Full => "the queue is full",
            Refusal::Closed => "the context of the queue has completed",
        })
    }
}

impl<T> fmt::Debug for TryAppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryAppendError").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<T> Error for TryAppendError<T> {}
