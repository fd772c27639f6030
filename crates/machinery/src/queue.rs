//! An asynchronous queue on a context.
//!
//! Any number of producers on any threads append to a [`Queue`], and a task takes the items as a stream. The queue
//! lives on a child context of its own, so it ends with the context that it was made on.
//!
//! ```
//! use machinery::{Ctx, queue};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let root = Ctx::beginning("app");
//! let jobs = queue(&root).name("jobs").empty_on_finished().build();
//! jobs.append("sweep");
//! jobs.append("mop");
//! jobs.append_priority("fire!");
//! root.cancel_because("closing time");
//! jobs.append("too late");
//!
//! let mut done = Vec::new();
//! let mut stream = jobs.stream();
//! while let Some(job) = stream.next().await {
//!     done.push(job);
//! }
//! assert_eq!(done, ["fire!", "sweep", "mop"]);
//! assert_eq!(jobs.remaining().collect::<Vec<_>>(), ["too late"]);
//! # }
//! ```
//!
//! # The end
//!
//! A stream of the queue ends when the context completes, and when the [breaker](Queue::breaker) is set: the first is
//! for good, and after the second a new stream goes on where the old one stopped. What the stream did not yield is in
//! the queue still, and [`remaining`](Queue::remaining) takes it out. With
//! [`empty_on_finished`](QueueBuilder::empty_on_finished) a stream yields what is left before it ends; what is
//! appended after the end waits for `remaining`.
//!
//! # Instructions
//!
//! An instruction is a function that stands in the queue among the items. It runs in the consumer when its turn
//! comes, and yields nothing. A panic in it is reported through the context's tramp, and the consumer goes on.
//!
//! # Capacity
//!
//! A queue takes everything, unless it is given a [`capacity`](QueueBuilder::capacity). Then
//! [`append_wait`](Queue::append_wait) waits for room and [`try_append`](Queue::try_append) refuses where there is
//! none. [`append`](Queue::append), priority items and instructions never wait and are never refused; they count,
//! though.

mod backlog;
mod engine;
mod ensure;
mod limited;
mod line;
mod room;
mod shared;
mod stream;

use std::fmt;
use std::sync::Arc;

use crate::{Ctx, Event, Name, SyncQueue};

pub use ensure::{EnsuredQueue, EnsuringBuilder, Refused, downcast};
pub use limited::LimitedQueue;
pub use room::{AppendError, AppendWait, TryAppendError};
pub use stream::{QueueStream, Remaining};

pub(crate) use ensure::Ensurer;
pub(crate) use shared::{Consumer, Options, Shared};

/// An unlimited queue on a context, appended to from anywhere and consumed as a stream.
///
/// It is a handle: clones are the same queue. Appending never waits, needs no runtime and works from any thread. The
/// items come out in the order in which they were appended, priority ones first.
///
/// # Drop
///
/// When the last handle and the last stream are gone the queue's context is cancelled, and the items are dropped. A
/// panic of one in its drop is reported, and the others are dropped all the same.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Queue};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("app");
/// let queue = Queue::new(&root);
/// let producer = queue.clone();
/// std::thread::spawn(move || producer.append("from a thread"));
///
/// let mut items = queue.stream();
/// assert_eq!(items.next().await, Some("from a thread"));
/// # });
/// ```
#[doc(alias = "EnsureItemGetter")]
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send + 'static> Queue<T> {
    /// A queue on a child of `ctx`, without any options.
    #[track_caller]
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        queue(ctx).build()
    }
}

impl<T> Queue<T> {
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

    /// Appends a function that runs in the consumer when its turn comes, and yields nothing.
    ///
    /// It may do anything with this queue, but a handle of the queue that it holds keeps the queue alive until it has
    /// run.
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

    /// Appends an item at the back as soon as there is room for it.
    ///
    /// On a queue without a capacity there always is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the item out of the line and drops it, and those behind move up. It has been
    /// appended if the future has said so, and in one more case: a consumer that finds the queue empty takes the item
    /// of the first in line without waiting for that future to be polled again. So a future that is kept but not
    /// polled holds up nobody.
    ///
    /// # Errors
    ///
    /// [`AppendError`] with the item once the queue's context has completed.
    ///
    /// # Fairness
    ///
    /// First come, first served, in the order of the first polls. Nobody who comes later, by
    /// [`try_append`](Self::try_append) either, takes room that somebody waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, queue};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("app");
    /// let queue = queue(&root).capacity(2).build();
    /// let producer = async {
    ///     for n in 0..10 {
    ///         queue.append_wait(n).await.unwrap();
    ///     }
    /// };
    /// let consumer = async {
    ///     let mut items = queue.stream();
    ///     for n in 0..10 {
    ///         assert_eq!(items.next().await, Some(n));
    ///     }
    /// };
    /// tokio::join!(producer, consumer);
    /// # });
    /// ```
    pub fn append_wait(&self, item: T) -> AppendWait<'_, T> {
        AppendWait::new(&self.shared, item)
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

    /// Has `f` run each time that a consumer comes back after an item, before the next one.
    ///
    /// `f` is given a limited view of the queue. There may be several such functions; they run in the order in which
    /// they were added, for as long as the queue lives. `f` should hold no handle of this queue, which would keep the
    /// queue alive for ever.
    ///
    /// # Panics
    ///
    /// A panic in `f` is reported through the context's tramp; the consumer goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, Queue};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("app");
    /// let queue = Queue::new(&root);
    /// queue.process_after_yielded(|queue| queue.append(0));
    /// queue.append(1);
    ///
    /// let mut items = queue.stream();
    /// assert_eq!(items.next().await, Some(1));
    /// assert!(queue.is_empty()); // not before the consumer comes back
    /// assert_eq!(items.next().await, Some(0));
    /// # });
    /// ```
    pub fn process_after_yielded(&self, f: impl Fn(&LimitedQueue<'_, T>) + Send + Sync + 'static) {
        self.shared.process_after_yielded(Arc::new(f));
    }

    /// Starts a consumer, and clears the [breaker](Self::breaker).
    pub fn stream(&self) -> QueueStream<T> {
        QueueStream::new(&self.shared)
    }

    /// Takes out what is left, without waiting; instructions run when it comes to them.
    ///
    /// What is appended meanwhile is taken as well, and so are the items of producers that wait for room.
    pub fn remaining(&self) -> Remaining<'_, T> {
        Remaining::new(&self.shared)
    }

    /// The event that ends every stream of this queue that there is when it is set.
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

    /// The same queue for threads: what blocks there waits here, so that one side may be threads and the other tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, queue};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("app");
    /// let lines = queue(&root).capacity(2).build();
    /// let reader = lines.for_threads();
    /// let thread = std::thread::spawn(move || (0..10).try_for_each(|n| reader.append_wait(n))); // blocks where it is full
    ///
    /// let mut items = lines.stream();
    /// for n in 0..10 {
    ///     assert_eq!(items.next().await, Some(n));
    /// }
    /// assert!(thread.join().unwrap().is_ok());
    /// # });
    /// ```
    #[must_use]
    pub fn for_threads(&self) -> SyncQueue<T> {
        SyncQueue::sharing(&self.shared)
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

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.append(item));
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("ctx", &format_args!("{}", self.ctx().full_name()))
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// Starts the making of a [`Queue`] on a child of `ctx`.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let jobs = queue(&root).name("jobs").capacity(100).build::<String>();
/// assert_eq!(jobs.ctx().full_name(), "app-->jobs");
/// ```
#[doc(alias = "mpsc")]
pub fn queue(ctx: &Ctx) -> QueueBuilder {
    QueueBuilder { ctx: ctx.clone(), name: Name::from("queue"), capacity: None, empty_on_finished: false }
}

/// Options for a [`Queue`], made with [`queue`].
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let queue = queue(&root).empty_on_finished().build();
/// queue.append(1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `build`"]
pub struct QueueBuilder {
    ctx: Ctx,
    name: Name,
    capacity: Option<usize>,
    empty_on_finished: bool,
}

impl QueueBuilder {
    /// The name of the queue's context; `queue` where none is given.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// How many entries there is room for; without this, for all.
    ///
    /// It holds for [`append_wait`](Queue::append_wait) and [`try_append`](Queue::try_append). With a capacity of
    /// zero every item is handed from a producer that waits to a consumer that waits, or that looks by
    /// [`remaining`](Queue::remaining).
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Has streams yield what is left before they end.
    ///
    /// What is left is what was in the queue when its context completed, or when the stream noticed the breaker.
    pub fn empty_on_finished(mut self) -> Self {
        self.empty_on_finished = true;
        self
    }

    /// Converts values of type `U` to items at the door, with a function that gives back what it cannot convert.
    ///
    /// [`downcast`] is one for values of any type. Without an ensurer, what is appended is of the queue's type already.
    #[doc(alias = "EnsureItemGetter")]
    pub fn item_ensurer<U, T: Send + 'static>(
        self,
        ensurer: impl Fn(U) -> Result<T, U> + Send + Sync + 'static,
    ) -> EnsuringBuilder<U, T> {
        EnsuringBuilder::new(self, Arc::new(ensurer))
    }

    /// Makes the queue.
    ///
    /// On a context that is done the queue is done from the start.
    #[track_caller]
    #[must_use]
    pub fn build<T: Send + 'static>(self) -> Queue<T> {
        let options = Options { name: self.name, capacity: self.capacity, empty_on_finished: self.empty_on_finished };
        Queue { shared: Shared::new(&self.ctx, options) }
    }
}
