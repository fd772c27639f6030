//! Consuming a queue.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::shared::{Consumer, Shared};

/// The items of a [`Queue`](super::Queue), as they come.
///
/// It ends when the context of the queue completes or its breaker is set; with
/// [`empty_on_finished`](super::QueueBuilder::empty_on_finished) it first yields what is in the queue at that moment.
/// Once ended it stays so. A new one continues where this one stopped.
///
/// Each item goes to one stream. Several streams of one queue share its items, and all of them are woken when one
/// comes, so that a stream that is kept but not polled holds nothing up. A breaker ends every stream that was made
/// before it was set, also if another stream is made, and the breaker cleared, before they are polled.
///
/// # Cancel safety
///
/// An item leaves the queue in the poll that yields it, and at no other time. Dropping the stream at any point loses
/// nothing and leaves nothing registered.
///
/// # Fairness
///
/// It takes its share of Tokio's cooperative budget: a task that finds items without end lets others run after about
/// 1,000 of them, or 128 instructions.
///
/// # Drop
///
/// What has not been yielded stays in the queue.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Queue};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("app");
/// let queue = Queue::new(&root);
/// queue.append("first");
/// queue.append("second");
///
/// let mut items = queue.stream();
/// assert_eq!(items.next().await, Some("first"));
/// drop(items);
///
/// let mut items = queue.stream();
/// assert_eq!(items.next().await, Some("second"));
/// # });
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct QueueStream<T> {
    shared: Arc<Shared<T>>,
    consumer: Consumer,
}

impl<T> QueueStream<T> {
    pub(super) fn new(shared: &Arc<Shared<T>>) -> Self {
        Self { shared: Arc::clone(shared), consumer: Consumer::start(shared) }
    }

    /// The next item; `None` once the stream has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait takes no item.
    #[expect(clippy::should_implement_trait, reason = "it is the name that streams have for it")]
    pub fn next(&mut self) -> impl Future<Output = Option<T>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
    }
}

impl<T> Stream for QueueStream<T> {
    type Item = T;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        this.consumer.poll_next::<T, true>(&this.shared, Some(cx))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, if self.consumer.is_over() { Some(0) } else { None })
    }
}

impl<T> FusedStream for QueueStream<T> {
    fn is_terminated(&self) -> bool {
        self.consumer.is_over()
    }
}

impl<T> Drop for QueueStream<T> {
    fn drop(&mut self) {
        self.consumer.stop(&self.shared);
    }
}

impl<T> fmt::Debug for QueueStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueStream")
            .field("name", &self.shared.ctx().name())
            .field("ended", &self.consumer.is_over())
            .finish_non_exhaustive()
    }
}

/// What is left in a queue, taken out as the iterator goes on, without waiting.
///
/// It runs the instructions that it comes to. Whatever is appended meanwhile is taken as well.
///
/// # Drop
///
/// What it has not yielded stays in the queue.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Queue};
///
/// let root = Ctx::beginning("app");
/// let queue = Queue::new(&root);
/// root.cancel();
/// queue.append(1);
/// assert_eq!(queue.remaining().collect::<Vec<_>>(), [1]);
/// assert!(queue.is_empty());
/// ```
#[must_use = "iterators do nothing unless consumed"]
pub struct Remaining<'a, T> {
    shared: &'a Shared<T>,
}

impl<'a, T> Remaining<'a, T> {
    pub(crate) fn new(shared: &'a Shared<T>) -> Self {
        Self { shared }
    }
}

impl<T> Iterator for Remaining<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.shared.next_remaining()
    }
}

impl<T> fmt::Debug for Remaining<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remaining").field("name", &self.shared.ctx().name()).finish_non_exhaustive()
    }
}
