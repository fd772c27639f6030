//! A queue between threads on a context.
//!
//! A [`SyncQueue`] is a [`Queue`] for threads: a consumer is a blocking iterator instead of a stream.
//! It ends when the context completes, and its thread is woken for that at once.
//!
//! ```
//! use machinery::{Ctx, sync_queue};
//!
//! let root = Ctx::beginning("app");
//! let jobs = sync_queue(&root).name("jobs").empty_on_finished().build();
//! let workers: Vec<_> = (0..2)
//!     .map(|_| {
//!         let jobs = jobs.iter();
//!         std::thread::spawn(move || jobs.count())
//!     })
//!     .collect();
//!
//! for job in 0..100 {
//!     jobs.append(job);
//! }
//! root.cancel_because("closing time");
//! let done: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
//! assert_eq!(done, 100);
//! ```

mod ensure;
mod iter;
mod park;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::queue::{AppendError, AppendWait, LimitedQueue, Options, Remaining, Shared, TryAppendError};
use crate::{Ctx, Event, Name, Queue};

pub use ensure::{EnsuredSyncQueue, EnsuringSyncBuilder};
pub use iter::{NextTimeoutError, SyncIter};

/// A queue between threads on a context, appended to from anywhere and consumed by blocking iterators.
///
/// It is a handle: clones are the same queue, and any of them produces and consumes. Appending never waits. The
/// items come out in the order in which they were appended, priority ones first.
///
/// # Drop
///
/// When the last handle and the last iterator are gone the queue's context is cancelled, and the items are dropped. A
/// panic of one in its drop is reported, and the others are dropped all the same.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, SyncQueue};
///
/// let root = Ctx::beginning("app");
/// let queue = SyncQueue::new(&root);
/// let producer = queue.clone();
/// std::thread::spawn(move || producer.append("from a thread"));
/// assert_eq!(queue.iter().next(), Some("from a thread"));
/// ```
pub struct SyncQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + 'static> SyncQueue<T> {
    /// A queue on a child of `ctx`, without any options.
    #[track_caller]
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        sync_queue(ctx).build()
    }
}

impl<T> SyncQueue<T> {
    /// Appends an item at the back.
    ///
    /// It never waits, whatever the capacity is. Once the queue's context has completed, the item is left to
    /// [`remaining`](Self::remaining).
    #[inline]
    pub fn append(&self, item: T) {
        self.shared.append(item);
    }

    /// Appends an item in front of everything: of two such items the later one comes out first.
    pub fn append_priority(&self, item: T) {
        self.shared.append_priority(item);
    }

    /// Appends a function that runs in the consumer's thread when its turn comes, and yields nothing.
    ///
    /// # Panics
    ///
    /// A panic in `f` is reported through the context's tramp; the consumer goes on.
    pub fn append_instruction(&self, f: impl FnOnce() + Send + 'static) {
        self.shared.append_instruction(Box::new(f));
    }

    /// Appends a function as [`append_instruction`](Self::append_instruction) does, but in front of everything.
    ///
    /// # Panics
    ///
    /// A panic in `f` is reported through the context's tramp; the consumer goes on.
    pub fn append_instruction_priority(&self, f: impl FnOnce() + Send + 'static) {
        self.shared.append_instruction_priority(Box::new(f));
    }

    /// Appends an item at the back, and blocks the thread until there is room for it.
    ///
    /// On a queue without a capacity there always is.
    ///
    /// # Errors
    ///
    /// [`AppendError`] with the item once the queue's context has completed.
    ///
    /// # Fairness
    ///
    /// First come, first served. Nobody who comes later, by [`try_append`](Self::try_append) either, takes room that
    /// somebody waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, sync_queue};
    ///
    /// let root = Ctx::beginning("app");
    /// let queue = sync_queue(&root).capacity(2).build();
    /// let producer = queue.clone();
    /// let thread = std::thread::spawn(move || (0..10).try_for_each(|n| producer.append_wait(n)));
    /// assert_eq!(queue.iter().take(10).sum::<i32>(), 45);
    /// assert!(thread.join().unwrap().is_ok());
    /// ```
    pub fn append_wait(&self, item: T) -> Result<(), AppendError<T>> {
        let mut wait = AppendWait::new(&self.shared, item);
        park::block_on(|cx| Pin::new(&mut wait).poll(cx))
    }

    /// Appends an item at the back, and blocks the thread for so long at most until there is room for it.
    ///
    /// The time is told as by [`SyncIter::next_timeout`].
    ///
    /// # Errors
    ///
    /// [`TryAppendError`] with the item if there was no room in time, or once the queue's context has completed.
    ///
    /// # Fairness
    ///
    /// As with [`append_wait`](Self::append_wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, sync_queue};
    /// use std::time::Duration;
    ///
    /// let root = Ctx::beginning("app");
    /// let queue = sync_queue(&root).capacity(1).build();
    /// queue.append_timeout("one", Duration::from_secs(1)).unwrap();
    /// let late = queue.append_timeout("two", Duration::ZERO).unwrap_err();
    /// assert!(late.is_full());
    /// assert_eq!(late.into_inner(), "two");
    /// ```
    pub fn append_timeout(&self, item: T, timeout: Duration) -> Result<(), TryAppendError<T>> {
        let Err(refused) = self.try_append(item) else { return Ok(()) };
        if refused.is_done() || timeout.is_zero() {
            return Err(refused);
        }
        let mut wait = AppendWait::new(&self.shared, refused.into_inner());
        match park::block_on_for(self.ctx(), timeout, |cx| Pin::new(&mut wait).poll(cx)) {
            Some(appended) => appended.map_err(TryAppendError::from),
            None => wait.withdraw().map_or(Ok(()), |item| Err(TryAppendError::full(item))),
        }
    }

    /// Appends an item at the back if there is room for it now.
    ///
    /// With a capacity of zero there is, for one item, while a consumer waits. The item stays in the queue if that one goes
    /// away instead of taking it.
    ///
    /// # Errors
    ///
    /// [`TryAppendError`] with the item if there is no room, or if the queue's context has completed.
    pub fn try_append(&self, item: T) -> Result<(), TryAppendError<T>> {
        self.shared.try_append(item).map_err(|refused| TryAppendError::new(&self.shared, refused))
    }

    /// Has `f` run each time that a consumer comes back after an item, before the next one, in the consumer's thread.
    ///
    /// `f` is given a limited view of the queue. There may be several such functions; they run in the order in which
    /// they were added, for as long as the queue lives. `f` should hold no handle of this queue, which would keep the
    /// queue alive for ever.
    ///
    /// # Panics
    ///
    /// A panic in `f` is reported through the context's tramp; the consumer goes on.
    pub fn process_after_yielded(&self, f: impl Fn(&LimitedQueue<'_, T>) + Send + Sync + 'static) {
        self.shared.process_after_yielded(Arc::new(f));
    }

    /// Starts a consumer, and clears the [breaker](Self::breaker).
    pub fn iter(&self) -> SyncIter<T> {
        SyncIter::new(&self.shared)
    }

    /// Takes out what is left, without waiting; instructions run when it comes to them.
    ///
    /// What is appended meanwhile is taken as well, and so are the items of producers that wait for room.
    pub fn remaining(&self) -> Remaining<'_, T> {
        Remaining::new(&self.shared)
    }

    /// The event that ends every iterator of this queue that there is when it is set.
    #[must_use]
    pub fn breaker(&self) -> &Event {
        &self.shared.breaker
    }

    /// Whether nothing is in the queue, neither an item nor an instruction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.engine.len() == 0
    }

    /// How many items and instructions are in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.engine.len()
    }

    /// Whether as many entries are in the queue as it has room for: with a capacity of zero always, and without one never.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|capacity| self.len() >= capacity)
    }

    /// How many entries the queue has room for; `None` if for all.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.shared.engine.capacity()
    }

    /// The same queue for tasks: what blocks here waits there, so that one side may be threads and the other tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, sync_queue};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("app");
    /// let frames = sync_queue(&root).capacity(2).build();
    /// let items = frames.iter();
    /// let encoder = std::thread::spawn(move || items.take(10).sum::<u32>());
    ///
    /// let camera = frames.for_tasks();
    /// for n in 0..10 {
    ///     camera.append_wait(n).await.unwrap(); // holds up no other task
    /// }
    /// assert_eq!(encoder.join().unwrap(), 45);
    /// # });
    /// ```
    #[must_use]
    pub fn for_tasks(&self) -> Queue<T> {
        Queue::sharing(&self.shared)
    }

    pub(crate) fn sharing(shared: &Arc<Shared<T>>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// The queue's own context, a child of the one that it was made on.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        self.shared.ctx()
    }
}

impl<T> Clone for SyncQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Extend<T> for SyncQueue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.append(item));
    }
}

impl<T> IntoIterator for &SyncQueue<T> {
    type Item = T;
    type IntoIter = SyncIter<T>;

    fn into_iter(self) -> SyncIter<T> {
        self.iter()
    }
}

impl<T> fmt::Debug for SyncQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncQueue")
            .field("ctx", &format_args!("{}", self.ctx().full_name()))
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Starts the making of a [`SyncQueue`] on a child of `ctx`.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, sync_queue};
///
/// let root = Ctx::beginning("app");
/// let jobs = sync_queue(&root).name("jobs").build::<String>();
/// assert_eq!(jobs.ctx().full_name(), "app-->jobs");
/// ```
pub fn sync_queue(ctx: &Ctx) -> SyncQueueBuilder {
    SyncQueueBuilder { ctx: ctx.clone(), name: Name::from("sync queue"), capacity: None, empty_on_finished: false }
}

/// Options for a [`SyncQueue`], made with [`sync_queue`].
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, sync_queue};
///
/// let root = Ctx::beginning("app");
/// let queue = sync_queue(&root).empty_on_finished().build();
/// queue.append(1);
/// root.cancel();
/// assert_eq!(queue.iter().collect::<Vec<_>>(), [1]);
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct SyncQueueBuilder {
    ctx: Ctx,
    name: Name,
    capacity: Option<usize>,
    empty_on_finished: bool,
}

impl SyncQueueBuilder {
    /// The name of the queue's context; `sync queue` where none is given.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// How many entries there is room for; without this, for all.
    ///
    /// It holds for [`append_wait`](SyncQueue::append_wait) and [`try_append`](SyncQueue::try_append). With a
    /// capacity of zero every item is handed from a producer that waits to a consumer that waits, or that looks by
    /// [`try_next`](SyncIter::try_next) or [`remaining`](SyncQueue::remaining).
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Has iterators yield what is left before they end.
    ///
    /// What is left is what was in the queue when its context completed, or when the iterator noticed the breaker.
    pub fn empty_on_finished(mut self) -> Self {
        self.empty_on_finished = true;
        self
    }

    /// Converts values of type `U` to items at the door, with a function that gives back what it cannot convert.
    ///
    /// [`downcast`](crate::queue::downcast) is one for values of any type. Without an ensurer, what is appended is of
    /// the queue's type already.
    pub fn item_ensurer<U, T: Send + 'static>(
        self,
        ensurer: impl Fn(U) -> Result<T, U> + Send + Sync + 'static,
    ) -> EnsuringSyncBuilder<U, T> {
        EnsuringSyncBuilder::new(self, Arc::new(ensurer))
    }

    /// Makes the queue.
    ///
    /// On a context that is done the queue is done from the start.
    #[track_caller]
    #[must_use]
    pub fn build<T: Send + 'static>(self) -> SyncQueue<T> {
        let options = Options { name: self.name, capacity: self.capacity, empty_on_finished: self.empty_on_finished };
        SyncQueue { shared: Shared::new(&self.ctx, options) }
    }
}
