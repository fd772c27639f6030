//! Consuming a queue from a thread.

use std::error::Error;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use std::{fmt, io};

use super::park::{block_on, block_on_for};
use crate::queue::{Consumer, Shared};

/// How often a consumer looks again before it sleeps: at first after a pause that doubles, then after giving way to
/// other threads. Being woken costs a thread more than all of that. The first pause is long enough for a busy producer to
/// leave several items: two threads that hand over one at a time are slowed down by the cache lines that they share.
const SPINS: u32 = 6;
const FIRST_PAUSE: u32 = 16;
const YIELDS: u32 = 4;

/// The items of a [`SyncQueue`](super::SyncQueue), as they come: an iterator that blocks its thread while there is
/// none.
///
/// It ends when the context of the queue completes or its breaker is set; with
/// [`empty_on_finished`](super::SyncQueueBuilder::empty_on_finished) it first yields what is in the queue at that
/// moment. The thread is woken at once by either. Once ended it stays so. A new one continues where this one stopped.
///
/// Each item goes to one consumer, and any number of threads may each have their own iterator.
///
/// It blocks: in a task it would hold up the runtime's worker. For tasks there is [`Queue`](crate::Queue).
///
/// # Drop
///
/// What has not been yielded stays in the queue.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, SyncQueue};
///
/// let root = Ctx::beginning("app");
/// let queue = SyncQueue::new(&root);
/// let items = queue.iter();
/// let consumer = std::thread::spawn(move || items.take(2).sum::<u32>());
/// queue.append(1);
/// queue.append(2);
/// assert_eq!(consumer.join().unwrap(), 3);
/// ```
#[must_use = "iterators do nothing unless consumed"]
pub struct SyncIter<T> {
    shared: Arc<Shared<T>>,
    consumer: Consumer,
}

impl<T> SyncIter<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>) -> Self {
        Self { shared: Arc::clone(shared), consumer: Consumer::start(shared) }
    }

    /// The next item, if there is one now.
    pub fn try_next(&mut self) -> Option<T> {
        self.consumer.try_next(&self.shared)
    }

    /// The next item, if one comes within `timeout`, or `None` at the end.
    ///
    /// The time is that of Tokio's clock where the queue's context has a runtime, so that a test can pause it, and the real
    /// one otherwise. A paused clock does not go on by itself while a `spawn_blocking` of its runtime runs: wait
    /// in a thread of its own there.
    ///
    /// # Errors
    ///
    /// [`NextTimeoutError`] where neither an item nor the end came in time; the iterator can be asked again.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, SyncQueue};
    /// use std::time::Duration;
    ///
    /// let root = Ctx::beginning("app");
    /// let queue = SyncQueue::new(&root);
    /// let mut items = queue.iter();
    /// assert!(items.next_timeout(Duration::ZERO).is_err());
    /// queue.append(7);
    /// assert_eq!(items.next_timeout(Duration::from_secs(1)).unwrap(), Some(7));
    /// root.cancel();
    /// assert_eq!(items.next_timeout(Duration::from_secs(1)).unwrap(), None);
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<T>, NextTimeoutError> {
        if let Poll::Ready(item) = self.poll_now() {
            return Ok(item);
        }
        if timeout > Duration::ZERO
            && let Poll::Ready(item) = self.look_again()
        {
            return Ok(item);
        }
        let ctx = self.shared.ctx().clone();
        let waited = block_on_for(&ctx, timeout, |cx| self.consumer.poll_next::<T, false>(&self.shared, Some(cx)));
        self.consumer.stop(&self.shared);
        waited.ok_or_else(|| NextTimeoutError { path: ctx.full_name().into_boxed_str(), timeout })
    }

    /// Whether the iterator has found its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.consumer.is_over()
    }

    #[inline]
    fn poll_now(&mut self) -> Poll<Option<T>> {
        self.consumer.poll_next::<T, false>(&self.shared, None)
    }

    /// Looks so often that there is no need to sleep where an item is about to come.
    fn look_again(&mut self) -> Poll<Option<T>> {
        for round in 0..SPINS + YIELDS {
            if round < SPINS {
                for _ in 0..FIRST_PAUSE << round {
                    std::hint::spin_loop();
                }
            } else {
                crate::sync::thread::yield_now();
            }
            if let Poll::Ready(item) = self.poll_now() {
                return Poll::Ready(item);
            }
        }
        Poll::Pending
    }

    #[cold]
    fn wait_for_next(&mut self) -> Option<T> {
        if let Poll::Ready(item) = self.look_again() {
            return item;
        }
        let item = block_on(|cx| self.consumer.poll_next::<T, false>(&self.shared, Some(cx)));
        // The waker of this wait is of no use to the next one.
        self.consumer.stop(&self.shared);
        item
    }
}

impl<T> Iterator for SyncIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self.poll_now() {
            Poll::Ready(item) => item,
            Poll::Pending => self.wait_for_next(),
        }
    }
}

impl<T> FusedIterator for SyncIter<T> {}

impl<T> Drop for SyncIter<T> {
    fn drop(&mut self) {
        self.consumer.stop(&self.shared);
    }
}

impl<T> fmt::Debug for SyncIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncIter")
            .field("name", &self.shared.ctx().name())
            .field("ended", &self.consumer.is_over())
            .finish_non_exhaustive()
    }
}

/// No item came in time.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, sync_queue};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let jobs = sync_queue(&root).name("jobs").build::<u32>();
/// let late = jobs.iter().next_timeout(Duration::ZERO).unwrap_err();
/// assert_eq!(late.to_string(), "no item came in 0ns from the queue `app-->jobs`");
/// assert_eq!(std::io::Error::from(late).kind(), std::io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextTimeoutError {
    path: Box<str>,
    timeout: Duration,
}

impl fmt::Display for NextTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no item came in {:?} from the queue `{}`", self.timeout, self.path)
    }
}

impl Error for NextTimeoutError {}

impl From<NextTimeoutError> for io::Error {
    fn from(error: NextTimeoutError) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}
