//! Appending to a queue that has a capacity.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::engine::{Offer, Refusal};
use super::shared::Shared;
use crate::{Completion, Ctx};

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

    /// Gives the wait up and the item back; `None` if the item has been appended, or if the future has given it back already.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use machinery::{Ctx, queue};
    /// use std::time::Duration;
    /// use tokio::time::timeout;
    ///
    /// let root = Ctx::beginning("app");
    /// let queue = queue(&root).capacity(1).build();
    /// queue.append("one".to_owned());
    /// let mut wait = queue.append_wait("two".to_owned());
    /// if timeout(Duration::from_secs(1), &mut wait).await.is_err() {
    ///     assert_eq!(wait.withdraw().as_deref(), Some("two"));
    /// }
    /// # }
    /// ```
    #[must_use = "it holds the item that was not appended"]
    pub fn withdraw(mut self) -> Option<T> {
        self.shared.engine.withdraw(&mut self.offer)
    }
}

// Nothing is pinned: the item is only ever moved.
impl<T> Unpin for AppendWait<'_, T> {}

impl<T> Future for AppendWait<'_, T> {
    type Output = Result<(), AppendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.shared.poll_append(&mut this.offer, cx).map_err(|item| AppendError::new(this.shared, item))
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
/// assert!(refused.to_string().starts_with("the queue `app-->queue` takes nothing more: `app` was cancelled at "));
/// assert_eq!(refused.into_inner(), 7);
/// ```
pub struct AppendError<T> {
    item: T,
    closed: Box<Closed>,
}

impl<T> AppendError<T> {
    #[cold]
    fn new(shared: &Shared<T>, item: T) -> Self {
        Self { item, closed: Closed::new(shared.ctx()) }
    }

    /// The item that was not appended.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.item
    }

    /// Why the queue's context has completed.
    #[must_use]
    pub fn completion(&self) -> &Completion {
        &self.closed.why
    }
}

impl<T> From<AppendError<T>> for TryAppendError<T> {
    fn from(error: AppendError<T>) -> Self {
        Self { item: error.item, closed: Some(error.closed) }
    }
}

impl<T> fmt::Display for AppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.closed, f)
    }
}

impl<T> fmt::Debug for AppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendError").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl<T> Error for AppendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.completion())
    }
}

/// Which queue takes nothing more, and why. It holds no context, as it may come to stand above the queue's own.
#[derive(Debug)]
struct Closed {
    path: String,
    why: Completion,
}

impl Closed {
    fn new(ctx: &Ctx) -> Box<Self> {
        let why = ctx.completion().expect("only a completion closes a queue");
        Box::new(Self { path: ctx.full_name(), why: why.let_go() })
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the queue `{}` takes nothing more: {}", self.path, self.why)
    }
}

/// Why [`Queue::try_append`](super::Queue::try_append) did not append the item that this holds, or did not within the time of
/// [`SyncQueue::append_timeout`](crate::SyncQueue::append_timeout).
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
    /// None where there was no room.
    closed: Option<Box<Closed>>,
}

impl<T> TryAppendError<T> {
    pub(crate) fn full(item: T) -> Self {
        Self { item, closed: None }
    }

    pub(crate) fn new(shared: &Shared<T>, (item, why): (T, Refusal)) -> Self {
        let closed = match why {
            Refusal::Full => None,
            Refusal::Closed => Some(Closed::new(shared.ctx())),
        };
        Self { item, closed }
    }

    /// Whether there was no room, or only room that others wait for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether the context of the queue has completed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.closed.is_some()
    }

    /// Why the queue's context has completed, if that is the reason.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        self.closed.as_ref().map(|closed| &closed.why)
    }

    /// The item that was not appended.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.item
    }
}

impl<T> fmt::Display for TryAppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.closed {
            None => f.write_str("the queue is full"),
            Some(closed) => fmt::Display::fmt(closed, f),
        }
    }
}

impl<T> fmt::Debug for TryAppendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryAppendError").field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl<T> Error for TryAppendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.completion().map(|why| why as _)
    }
}
