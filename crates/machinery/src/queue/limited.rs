//! What a function that runs between two items may do with the queue.

use std::fmt;

use crate::Event;

use super::shared::Shared;

/// The limited view of a queue that is given to the functions of
/// [`process_after_yielded`](super::Queue::process_after_yielded).
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Queue};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("app");
/// let queue = Queue::new(&root);
/// queue.process_after_yielded(|queue| {
///     if queue.is_empty() {
///         queue.breaker().set();
///     }
/// });
/// queue.append(1);
/// queue.append(2);
///
/// let mut items = queue.stream();
/// assert_eq!(items.next().await, Some(1));
/// assert_eq!(items.next().await, Some(2));
/// assert_eq!(items.next().await, None); // the breaker
/// # });
/// ```
pub struct LimitedQueue<'a, T> {
    shared: &'a Shared<T>,
}

impl<'a, T> LimitedQueue<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>) -> Self {
        Self { shared }
    }

    /// Appends an item at the back, as [`Queue::append`](super::Queue::append) does.
    pub fn append(&self, item: T) {
        self.shared.append(item);
    }

    /// The event that stops whoever consumes the queue.
    #[must_use]
    pub fn breaker(&self) -> &Event {
        &self.shared.breaker
    }

    /// Whether nothing is in the queue.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.engine.len() == 0
    }

    /// How many items and instructions are in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.engine.len()
    }
}

impl<T> fmt::Debug for LimitedQueue<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedQueue").field("name", &self.shared.ctx().name()).field("len", &self.len()).finish()
    }
}
