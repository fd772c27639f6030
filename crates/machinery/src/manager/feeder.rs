//! The side that sources go in at.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_core::Stream;

use super::body::{Body, FnBody, FutureBody, GeneratorBody, IterBody, StreamBody, TaskBody};
use super::feed::{Feed, Given, IntoFeed, Place, Sub};
use super::node::Owner;
use super::result::Added;
use super::shared::{Entry, Inbox, Shared};
use super::sources::QueueInput;
use crate::generator::{AsyncGenerator, Items};
use crate::sync::atomic::Ordering;
use crate::task::Adopt;
use crate::{Ctx, Event, Name, NoRuntime, SharedError};

/// Takes sources for a manager, from any thread or task, the sources themselves included.
///
/// It is a handle: clones feed the same manager. Adding never waits, and costs the same however many sources there are. Futures and
/// tasks run from then on; everything else is asked for its next item when its turn comes.
///
/// Sources are refused once the context of the manager is complete, and values once the stream of results has ended: the refusal is reported
/// through the context's `Tramp`, and [`Added`] gives the source back.
///
/// # Panics
///
/// Adding passes on a panic of the context value's `clone`, or of the function that makes an empty one. Nothing has been added then.
///
/// # Drop
///
/// Dropping the last feeder is the same as [`set_as_finished_if_out_of_sources`](Self::set_as_finished_if_out_of_sources).
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("feeding");
/// let (feeder, mut results) = queue_manager::<u64>(&root).build();
///
/// feeder.add_value("one", 1);
/// feeder.add_fn("two", || 2);
/// feeder.add_iter("more", 3..5);
/// feeder.add_future("soon", async { 5 });
/// feeder.add_stream("stream", futures_util::stream::iter([6]));
/// drop(feeder);
///
/// let mut sum = 0;
/// while let Some(result) = results.next().await {
///     sum += result.into_value().unwrap_or(0);
/// }
/// assert_eq!(sum, 21);
/// # });
/// ```
pub struct QueueFeeder<T, C = ()> {
    shared: Arc<Shared<T, C>>,
    empty: Empty<C>,
    context: Option<C>,
}

/// Makes the context values of sources that are given none. It is the feeders' alone, so that it goes with the last one.
pub(crate) enum Empty<C> {
    // It costs no allocation.
    Plain(fn() -> C),
    Made(Arc<dyn Fn() -> C + Send + Sync>),
}

impl<C> Empty<C> {
    fn make(&self) -> C {
        match self {
            Self::Plain(make) => make(),
            Self::Made(make) => make(),
        }
    }
}

impl<C> Clone for Empty<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(make) => Self::Plain(*make),
            Self::Made(make) => Self::Made(Arc::clone(make)),
        }
    }
}

impl<T, C> QueueFeeder<T, C>
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    pub(crate) fn new(shared: Arc<Shared<T, C>>, empty: Empty<C>) -> Self {
        Self { shared, empty, context: None }
    }

    /// A feeder of the same manager whose sources carry `context`.
    ///
    /// Every result of such a source, and of every source that it yields, has the value: a clone, but for the last one. A source whose
    /// value panics when it is cloned is ended with that panic, and what it had just given, or is ahead, is let go of: an error is reported, a task
    /// stopped, a generator closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, queue_manager};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("with a context value");
    /// let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| "nobody").build();
    /// feeder.with_context("alice").add_value("age", 7);
    /// feeder.add_value("age", 8);
    /// assert_eq!(results.next().await.unwrap().context(), Some(&"alice"));
    /// assert_eq!(results.next().await.unwrap().context(), Some(&"nobody"));
    /// # });
    /// ```
    #[must_use]
    pub fn with_context(&self, context: C) -> Self {
        self.of(Some(context))
    }

    /// Adds a plain value.
    pub fn add_value(&self, name: impl Into<Name>, value: T) -> Added<T> {
        let name = name.into();
        let context = self.context();
        let first = {
            let mut inbox = self.shared.inbox.lock();
            if inbox.closed {
                drop(inbox);
                return self.refused(&name, value, context);
            }
            let first = inbox.entries.is_empty();
            match inbox.entries.back_mut() {
                // A run of values shares one name: a million of them take little more room than by themselves.
                Some(Entry::Values { name: last, count })
                    if std::ptr::eq(last.as_str(), name.as_str()) || *last == name =>
                {
                    *count += 1
                }
                _ => inbox.entries.push_back(Entry::Values { name, count: 1 }),
            }
            inbox.values.push_back((value, context));
            inbox.turns += 1;
            first
        };
        if first {
            self.shared.bell.ring();
        }
        Added::Taken
    }

    /// Adds an iterator, or something that can be made one, as a `Vec`.
    ///
    /// It is made one when its first turn comes. `next` is called where the results are consumed: what blocks is added with
    /// [`add_blocking_iter`](Self::add_blocking_iter).
    #[doc(alias = "add_sync_iterator")]
    pub fn add_iter<I>(&self, name: impl Into<Name>, items: I) -> Added<I>
    where
        I: IntoIterator<Item: IntoFeed<T>, IntoIter: Send> + Send + 'static,
    {
        self.offer_in_turn(name.into(), QueueInput::Iterator, items, |items| IterBody::Fresh(Some(items)))
    }

    /// Adds an iterator whose `next` may block: it is made and stepped on a thread of the runtime's blocking pool.
    pub fn add_blocking_iter<I>(&self, name: impl Into<Name>, items: I) -> Added<I>
    where
        I: IntoIterator<Item: IntoFeed<T>, IntoIter: Send> + Send + 'static,
    {
        self.offer(name.into(), items, |items| {
            Sub::new(QueueInput::Iterator, Place::Lane, IterBody::Fresh(Some(items)))
        })
    }

    /// Adds a function, which runs when its turn comes, where the results are consumed.
    #[doc(alias = "add_sync_function")]
    pub fn add_fn<F, R>(&self, name: impl Into<Name>, function: F) -> Added<F>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoFeed<T> + 'static,
    {
        self.offer_in_turn(name.into(), QueueInput::Function, function, |function| FnBody(Some(function)))
    }

    /// Adds a function that may block: it runs on a thread of the runtime's blocking pool.
    pub fn add_blocking_fn<F, R>(&self, name: impl Into<Name>, function: F) -> Added<F>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoFeed<T> + 'static,
    {
        self.offer(name.into(), function, |function| {
            Sub::new(QueueInput::Function, Place::Lane, FnBody(Some(function)))
        })
    }

    /// Adds a stream, which is polled when its turn comes, where the results are consumed.
    #[doc(alias = "add_async_generator")]
    pub fn add_stream<S>(&self, name: impl Into<Name>, stream: S) -> Added<S>
    where
        S: Stream<Item: IntoFeed<T>> + Send + 'static,
    {
        self.offer_in_turn(name.into(), QueueInput::Stream, stream, |stream| StreamBody { stream })
    }

    /// Adds a future: it is spawned at once, or as soon as the limit on running futures allows.
    ///
    /// It is dropped when the context completes, and the stream of results ends only after that. Without a runtime it is refused.
    #[doc(alias = "add_coroutine")]
    pub fn add_future<F>(&self, name: impl Into<Name>, future: F) -> Added<F>
    where
        F: Future<Output: IntoFeed<T>> + Send + 'static,
    {
        self.offer_spawned(name.into(), future, |future| {
            Sub::new(QueueInput::Future, Place::Spawned, FutureBody { future })
        })
    }

    /// Adds an async generator, which is polled when its turn comes.
    ///
    /// When the context completes before it has ended it is stopped and closed, and the stream of results ends only once its clean-up is
    /// over. An error that the clean-up ends with is one more failure.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{AsyncGenerator, Ctx, queue_manager};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("generators");
    /// let (feeder, mut results) = queue_manager::<u32>(&root).build();
    /// feeder.add_generator("numbers", AsyncGenerator::new(|mut y| async move {
    ///     y.yield_(1).await?;
    ///     Ok(())
    /// }));
    /// assert_eq!(results.next().await.unwrap().into_value(), Some(1));
    /// # });
    /// ```
    #[doc(alias = "add_async_generator")]
    pub fn add_generator<Y, S, E>(
        &self,
        name: impl Into<Name>,
        generator: AsyncGenerator<Y, S, E>,
    ) -> Added<AsyncGenerator<Y, S, E>>
    where
        Y: Send + 'static,
        S: Send + 'static,
        E: Items<Item<Y>: IntoFeed<T>> + 'static,
    {
        self.offer_in_turn(name.into(), QueueInput::Stream, generator, GeneratorBody::new)
    }

    /// Adds a task that runs already: a [`Task`](crate::Task), or Tokio's `JoinHandle`.
    ///
    /// It counts among the running futures, and none waits for it. When the context completes it is cancelled, and the stream of results
    /// ends only when it has ended.
    ///
    /// A task that fails or panics gives its error as a failure. One that somebody else cancels gives what its handle says, a
    /// [`TaskError`](crate::TaskError) or a `JoinError`, which knows that it was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, queue_manager};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("tasks");
    /// let (feeder, mut results) = queue_manager::<u32>(&root).build();
    /// feeder.add_task("elsewhere", tokio::task::spawn_blocking(|| 6_u32 * 7));
    /// assert_eq!(results.next().await.unwrap().into_value(), Some(42));
    /// # });
    /// ```
    pub fn add_task<A>(&self, name: impl Into<Name>, task: A) -> Added<A>
    where
        A: Adopt<Value: IntoFeed<T>>,
    {
        self.offer_spawned(name.into(), task, |task| Sub::new(QueueInput::Task, Place::Spawned, TaskBody::new(task)))
    }

    /// Adds whatever a [`Feed`] can be: a source with options, or a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, Feed, queue_manager};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let root = Ctx::beginning("with options");
    /// let (feeder, _results) = queue_manager::<u32>(&root).build();
    /// feeder.add("strict", Feed::iter(["1", "x", "2"].map(str::parse::<u32>)).end_at_first_error());
    /// feeder.add("slow", Feed::iter(1..4).blocking());
    /// feeder.add("ahead", Feed::stream(futures_util::stream::iter([1])).in_own_task());
    /// # });
    /// ```
    pub fn add(&self, name: impl Into<Name>, feed: Feed<T>) -> Added<Feed<T>> {
        let name = name.into();
        match feed.0 {
            Given::Value(value) => match self.add_value(name, value) {
                Added::Taken => Added::Taken,
                Added::Refused(value) => Added::Refused(Feed::value(value)),
            },
            Given::Error(error) => self
                .offer_in_turn(name, QueueInput::Function, error, |error| {
                    FnBody(Some(move || Feed(Given::Error(error))))
                })
                .map(|error| Feed(Given::Error(error))),
            Given::Source(sub) if sub.place == Place::Spawned => {
                self.offer_spawned(name, sub, |sub| *sub).map(|sub| Feed(Given::Source(sub)))
            }
            Given::Source(sub) => self.offer(name, sub, |sub| *sub).map(|sub| Feed(Given::Source(sub))),
        }
    }

    /// Lets the manager stop once all sources are exhausted and everything has been yielded.
    ///
    /// It may be called at any time; sources may still be added until then, by the sources too.
    pub fn set_as_finished_if_out_of_sources(&self) {
        // Release: what this thread added before is seen by the consumer that finds the flag set.
        self.shared.finished.store(true, Ordering::Release);
        self.shared.bell.ring();
    }

    /// The context of the manager.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.shared.ctx
    }

    /// While it is set no source takes a further step: what is queued is yielded, then the stream ends.
    ///
    /// Once it is cleared, the stream can be polled again and goes on where it was.
    #[must_use]
    pub fn breaker(&self) -> &Event {
        &self.shared.breaker
    }

    /// Its context value: the user's code, which may panic, and then nothing has been added.
    fn context(&self) -> C {
        self.context.clone().unwrap_or_else(|| self.empty.make())
    }

    /// Offers a source that takes its turns where the results are consumed.
    fn offer_in_turn<S, B>(&self, name: Name, kind: QueueInput, source: S, wrap: impl FnOnce(S) -> B) -> Added<S>
    where
        B: Body<T> + 'static,
    {
        self.put_in(name, source, |inbox, name, source, context| {
            let link = self.shared.new_link(kind, Some(name), None);
            inbox.put_source(Owner::new(link, &self.shared.bell, context, wrap(source), false))
        })
    }

    fn offer<S>(&self, name: Name, source: S, wrap: impl FnOnce(S) -> Sub<T>) -> Added<S> {
        self.put_in(name, source, |inbox, name, source, context| {
            let mut sub = wrap(source);
            sub.name = Some(name);
            if sub.place == Place::Turn {
                let Sub { body, name, kind, end_at_first_error, .. } = sub;
                let link = self.shared.new_link(kind, name, None);
                inbox.put_source(Owner::new(link, &self.shared.bell, context, body, end_at_first_error))
            } else {
                inbox.put(Entry::Elsewhere { sub: Box::new(sub), context })
            }
        })
    }

    /// Puts a source into the inbox, unless the manager has stopped. `put` says whether it is the first entry.
    #[inline]
    fn put_in<S>(&self, name: Name, source: S, put: impl FnOnce(&mut Inbox<T, C>, Name, S, C) -> bool) -> Added<S> {
        let context = self.context();
        if self.shared.ctx.is_done() {
            return self.refused(&name, source, context);
        }
        let first = {
            let mut inbox = self.shared.inbox.lock();
            if inbox.closed {
                drop(inbox);
                return self.refused(&name, source, context);
            }
            put(&mut inbox, name, source, context)
        };
        if first {
            self.shared.bell.ring();
        }
        Added::Taken
    }

    fn offer_spawned<S>(&self, name: Name, source: S, wrap: impl FnOnce(S) -> Sub<T>) -> Added<S> {
        // Counted before the context is asked: who closes it waits for what is added until then.
        let _busy = self.shared.ctx.busy();
        let context = self.context();
        if let Err(no_runtime) = self.shared.runtime() {
            return self.refused_without_runtime(&name, source, context, no_runtime);
        }
        if self.shared.ctx.is_done() {
            return self.refused(&name, source, context);
        }
        {
            let inbox = self.shared.inbox.lock();
            if inbox.closed {
                drop(inbox);
                return self.refused(&name, source, context);
            }
            self.shared.running.count();
        }
        let mut sub = wrap(source);
        sub.name = Some(name);
        self.shared.running.start(&self.shared, sub, None, Some(context), None);
        Added::Taken
    }

    fn refused<S>(&self, name: &Name, source: S, context: C) -> Added<S> {
        self.shared.report_named("source refused: the queue manager has stopped", Some(name), None);
        self.shared.dispose(Some(name), context);
        Added::Refused(source)
    }

    fn refused_without_runtime<S>(&self, name: &Name, source: S, context: C, error: NoRuntime) -> Added<S> {
        let error: SharedError = Arc::new(error);
        self.shared.report_named("source refused", Some(name), Some(&error));
        self.shared.dispose(Some(name), context);
        Added::Refused(source)
    }
}

impl<S> Added<S> {
    fn map<R>(self, f: impl FnOnce(S) -> R) -> Added<R> {
        match self {
            Self::Taken => Added::Taken,
            Self::Refused(source) => Added::Refused(f(source)),
        }
    }
}

impl<T, C> QueueFeeder<T, C> {
    /// One more feeder of the same manager.
    fn of(&self, context: Option<C>) -> Self {
        self.shared.feeders.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), empty: self.empty.clone(), context }
    }
}

impl<T, C: Clone> Clone for QueueFeeder<T, C> {
    fn clone(&self) -> Self {
        self.of(self.context.clone())
    }
}

impl<T, C> Drop for QueueFeeder<T, C> {
    fn drop(&mut self) {
        // AcqRel: what every feeder added is seen by the consumer that finds none left.
        if self.shared.feeders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.bell.ring();
        }
    }
}

impl<T, C> fmt::Debug for QueueFeeder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("QueueFeeder");
        self.shared.describe(&mut shown);
        shown.finish_non_exhaustive()
    }
}
