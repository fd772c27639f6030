//! What a source yields: a value, an error, or another source.

use std::error::Error;
use std::fmt;
use std::future::Future;

use futures_core::Stream;

use super::body::{Body, BoxBody, FnBody, FutureBody, GeneratorBody, IterBody, StreamBody, TaskBody};
use super::sources::QueueInput;
use crate::error::share;
use crate::generator::{AsyncGenerator, Items};
use crate::task::Adopt;
use crate::{Name, SharedError};

/// What a source yields: a value, an error, or a source to go on with.
///
/// Sources that only yield values yield them as they are, or as `Result`s. One that also yields sources yields
/// `Feed`s, or `Result`s of them; see [`IntoFeed`]. Where the compiler cannot tell which is meant (a closure that only panics, a
/// bare `Ok`, branches of different kinds), [`Feed::value`] says it.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Feed, queue_manager};
///
/// fn countdown(from: u32) -> Feed<u32> {
///     Feed::iter([Feed::value(from)].into_iter().chain((from > 0).then(|| Feed::function(move || countdown(from - 1)))))
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("countdown");
/// let (feeder, mut results) = queue_manager::<u32>(&root).build();
/// feeder.add_fn("start", || countdown(3));
/// drop(feeder);
/// let mut values = Vec::new();
/// while let Some(result) = results.next().await {
///     values.extend(result.into_value());
/// }
/// assert_eq!(values, [3, 2, 1, 0]);
/// # });
/// ```
pub struct Feed<T>(pub(crate) Given<T>);

pub(crate) enum Given<T> {
    Value(T),
    Error(SharedError),
    Source(Box<Sub<T>>),
}

/// A source before it is opened.
pub(crate) struct Sub<T> {
    pub(crate) body: BoxBody<T>,
    pub(crate) name: Option<Name>,
    pub(crate) kind: QueueInput,
    pub(crate) place: Place,
    pub(crate) end_at_first_error: bool,
}

/// Where the steps of a source are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In turn, where the results are consumed.
    Turn,
    /// In a task that is spawned at once.
    Spawned,
    /// In a task that fetches ahead for a consumer that is slow to come back.
    OwnTask,
    /// On a thread where blocking is allowed.
    Lane,
}

impl<T> Sub<T> {
    pub(crate) fn new(kind: QueueInput, place: Place, body: impl Body<T> + 'static) -> Self {
        Self { body: Box::pin(body), name: None, kind, place, end_at_first_error: false }
    }
}

impl<T> Feed<T> {
    /// A plain value, also if it is iterable.
    pub fn value(value: T) -> Self {
        Self(Given::Value(value))
    }

    /// An error.
    pub fn error(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Given::Error(share(error)))
    }

    fn source(kind: QueueInput, place: Place, body: impl Body<T> + 'static) -> Self {
        Self(Given::Source(Box::new(Sub::new(kind, place, body))))
    }

    /// A function, which runs when its turn comes.
    #[doc(alias = "add_sync_function")]
    pub fn function<F, R>(function: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoFeed<T> + 'static,
    {
        Self::source(QueueInput::Function, Place::Turn, FnBody(Some(function)))
    }

    /// An iterator, or something that can be made one; it is made one when its first turn comes.
    #[doc(alias = "add_sync_iterator")]
    pub fn iter<I>(items: I) -> Self
    where
        I: IntoIterator<Item: IntoFeed<T>, IntoIter: Send> + Send + 'static,
    {
        Self::source(QueueInput::Iterator, Place::Turn, IterBody::Fresh(Some(items)))
    }

    /// A stream.
    #[doc(alias = "add_async_generator")]
    pub fn stream<S>(stream: S) -> Self
    where
        S: Stream<Item: IntoFeed<T>> + Send + 'static,
    {
        Self::source(QueueInput::Stream, Place::Turn, StreamBody { stream })
    }

    /// A future, which is spawned as soon as it is fed.
    ///
    /// One that yields such futures in its turn is made by a function that returns a `Feed`: see the
    /// [recipe](crate::manual::recipes#a-crawl-that-feeds-itself).
    #[doc(alias = "add_coroutine")]
    pub fn future<F>(future: F) -> Self
    where
        F: Future<Output: IntoFeed<T>> + Send + 'static,
    {
        Self::source(QueueInput::Future, Place::Spawned, FutureBody { future })
    }

    /// An async generator, which is closed if the manager stops before it has ended.
    #[doc(alias = "add_async_generator")]
    #[must_use]
    pub fn generator<Y, S, E>(generator: AsyncGenerator<Y, S, E>) -> Self
    where
        Y: Send + 'static,
        S: Send + 'static,
        E: Items<Item<Y>: IntoFeed<T>> + 'static,
    {
        Self::source(QueueInput::Stream, Place::Turn, GeneratorBody::new(generator))
    }

    /// A task that runs already: a [`Task`](crate::Task), or Tokio's `JoinHandle`.
    #[doc(alias = "add_task")]
    pub fn task<A>(task: A) -> Self
    where
        A: Adopt<Value: IntoFeed<T>>,
    {
        Self::source(QueueInput::Task, Place::Spawned, TaskBody::new(task))
    }

    /// A function that may block: it runs on a thread of the runtime's blocking pool.
    pub fn blocking_function<F, R>(function: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoFeed<T> + 'static,
    {
        Self::source(QueueInput::Function, Place::Lane, FnBody(Some(function)))
    }

    /// An iterator whose `next` may block: it is made and stepped on a thread of the runtime's blocking pool.
    ///
    /// It is stepped ahead of the consumer by as much as
    /// [`blocking_buffer`](super::QueueManagerBuilder::blocking_buffer) allows.
    pub fn blocking_iter<I>(items: I) -> Self
    where
        I: IntoIterator<Item: IntoFeed<T>, IntoIter: Send> + Send + 'static,
    {
        Self::source(QueueInput::Iterator, Place::Lane, IterBody::Fresh(Some(items)))
    }

    /// Takes the steps of a function or an iterator off the async threads; changes nothing for other sources.
    #[must_use]
    pub fn blocking(mut self) -> Self {
        if let Given::Source(sub) = &mut self.0
            && matches!(sub.kind, QueueInput::Function | QueueInput::Iterator)
        {
            sub.place = Place::Lane;
        }
        self
    }

    /// Lets a stream run in a task of its own, a few items ahead, for a consumer that is slow to come back; changes
    /// nothing for other sources.
    #[must_use]
    pub fn in_own_task(mut self) -> Self {
        if let Given::Source(sub) = &mut self.0
            && sub.kind == QueueInput::Stream
        {
            sub.place = Place::OwnTask;
        }
        self
    }

    /// Ends the source at its first error, instead of going on as iterators of `Result` do.
    #[must_use]
    pub fn end_at_first_error(mut self) -> Self {
        if let Given::Source(sub) = &mut self.0 {
            sub.end_at_first_error = true;
        }
        self
    }

    /// Names a source; plain values go by the name of the source that yields them.
    #[must_use]
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        if let Given::Source(sub) = &mut self.0 {
            sub.name = Some(name.into());
        }
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Given::Value(value) => f.debug_tuple("Feed::value").field(value).finish(),
            Given::Error(error) => f.debug_tuple("Feed::error").field(error).finish(),
            Given::Source(sub) => write!(f, "Feed({} {:?})", sub.kind, sub.name.as_deref().unwrap_or("-")),
        }
    }
}

/// What may come out of a source of a manager of `T`s: a `T`, a [`Feed<T>`], or a `Result` of either.
///
/// An `Err` becomes a [`Failure`](super::QueueManagerResult::Failure).
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Feed, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("feeds");
/// let (feeder, _results) = queue_manager::<u32>(&root).build();
/// feeder.add_iter("values", [1, 2]);
/// feeder.add_iter("results", ["1", "x"].map(str::parse::<u32>));
/// feeder.add_iter("sources", [Feed::iter([1]), Feed::value(2)]);
/// feeder.add_fn("either", || Ok::<_, std::fmt::Error>(Feed::iter([1])));
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be fed to a manager of `{T}`",
    label = "neither `{T}`, nor `Feed<{T}>`, nor a `Result` of one of them",
    note = "convert the item, or say what is meant with `Feed::value(..)`, `Feed::iter(..)`, `Feed::stream(..)`"
)]
pub trait IntoFeed<T> {
    /// Says what it is.
    fn into_feed(self) -> Feed<T>;
}

impl<T> IntoFeed<T> for T {
    fn into_feed(self) -> Feed<T> {
        Feed(Given::Value(self))
    }
}

impl<T> IntoFeed<T> for Feed<T> {
    fn into_feed(self) -> Feed<T> {
        self
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> IntoFeed<T> for Result<T, E> {
    fn into_feed(self) -> Feed<T> {
        match self {
            Ok(value) => Feed(Given::Value(value)),
            Err(error) => Feed::error(error),
        }
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> IntoFeed<T> for Result<Feed<T>, E> {
    fn into_feed(self) -> Feed<T> {
        match self {
            Ok(feed) => feed,
            Err(error) => Feed::error(error),
        }
    }
}
