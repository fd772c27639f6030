//! Consuming a queue from a thread.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::task::Poll;

use crate::queue::{Consumer, Shared};

use super::park::block_on;

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
        match self.poll_now() {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
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

    #[cold]
    fn wait_for_next(&mut self) -> Option<T> {
        for round in 0..SPINS + YIELDS {
            if round < SPINS {
                for _ in 0..FIRST_PAUSE << round {
                    std::hint::spin_loop();
                }
            } else {
                crate::sync::thread::yield_now();
            }
            if let Poll::Ready(item) = self.poll_now() {
                return item;
            }
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
