//! Asynchronous generators: streams that can be sent to, thrown into, and closed with asynchronous clean-up.
//!
//! A [`Stream`] that is dropped half-way has no way to await anything. A generator has: its body is told at the yield
//! where it stands, as an error that `?` passes on, and what it awaits then is awaited.
//!
//! ```
//! use machinery::generator::AsyncGenerator;
//!
//! # async fn connect() -> std::io::Result<Connection> { Ok(Connection(2)) }
//! # struct Connection(u32);
//! # impl Connection {
//! #     async fn line(&mut self) -> std::io::Result<Option<String>> {
//! #         self.0 = match self.0.checked_sub(1) { Some(left) => left, None => return Ok(None) };
//! #         Ok(Some(format!("line {}", self.0)))
//! #     }
//! #     async fn say_goodbye(self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), machinery::SharedError> {
//! let mut lines = AsyncGenerator::fallible(|mut y| async move {
//!     let mut connection = connect().await?;
//!     while let Some(line) = connection.line().await? {
//!         if y.yield_(line).await.is_err() {
//!             break;
//!         }
//!     }
//!     connection.say_goodbye().await?;
//!     Ok(())
//! });
//! while let Some(line) = lines.next().await {
//!     if line? == "line 1" {
//!         break;
//!     }
//! }
//! lines.close().await?; // the body says goodbye
//! # Ok(())
//! # }
//! ```
//!
//! # Items and errors
//!
//! A generator from [`AsyncGenerator::new`] ends with an error only where the consumer has thrown one in, so its items are
//! plain `Y`. One from [`AsyncGenerator::fallible`] may end with any error, which is its last item, so its items are
//! `Result<Y, SharedError>`.
//!
//! # Contexts
//!
//! A generator [on a context](AsyncGenerator::on) is stopped when its context completes: the completion is thrown in at
//! the yield where it stands, as soon as it is polled, and a body that is inside an await of its own sees it in the
//! context that it was given. One that passes either on with `?` has ended well. It has its grace to clean up, and the
//! context is [drained](crate::Ctx::drained) only when it has. If it is dropped half-way, its clean-up goes on as a task of
//! the context.

mod builder;
mod core;
mod errors;
mod head;
mod left;
mod stop;
mod yielder;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

pub use self::builder::{GeneratorBuilder, Place};
use self::core::{Core, Resumed};
pub use self::errors::{GeneratorError, SendError, Thrown};
pub use self::stop::stop_async_generator;
pub use self::yielder::{Yield, Yielder};
use crate::error::share;
use crate::{Ctx, Name, SharedError};

/// An asynchronous generator: a [`Stream`] of `Y` made from a body that yields, which can be sent values of type `S`,
/// thrown into, and closed.
///
/// The body is a future, made by a closure that is given a [`Yielder`]. It runs only while the generator is polled, in
/// whichever task does that.
///
/// `E` says what the items are: plain `Y` for [`Infallible`], and `Result<Y, SharedError>` for [`SharedError`].
///
/// # Panics
///
/// A panic of the body goes through to whoever polls the generator, which is finished then.
///
/// # Drop
///
/// Dropping a generator half-way never waits. On a context with a runtime its clean-up goes on as a task, which the context
/// counts as its own: the generator is closed there, and an error that it ends with is reported through the context's
/// `Tramp`. On a context without a runtime the body is dropped, and that is reported. Without a context the body is
/// dropped, as with any stream.
///
/// # Examples
///
/// As a stream, with the adapters of any crate:
///
/// ```
/// use machinery::generator::AsyncGenerator;
/// use tokio_stream::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let countdown = AsyncGenerator::new(|mut y| async move {
///     for left in (1..=3).rev() {
///         y.yield_(left).await?;
///     }
///     Ok(())
/// });
/// let seen: Vec<u32> = countdown.collect().await;
/// assert_eq!(seen, [3, 2, 1]);
/// # }
/// ```
#[must_use = "a generator does nothing until it is polled"]
pub struct AsyncGenerator<Y: Send + 'static, S: Send + 'static = (), E = Infallible> {
    core: Core<Y, S>,
    items: PhantomData<fn() -> E>,
}

/// What the items of an [`AsyncGenerator`] are; for [`Infallible`] and [`SharedError`], and nobody else to implement.
///
/// # Examples
///
/// ```
/// use machinery::SharedError;
/// use machinery::generator::Items;
/// use std::convert::Infallible;
///
/// let plain: <Infallible as Items>::Item<u32> = 7;
/// let fallible: <SharedError as Items>::Item<u32> = Ok(7);
/// assert_eq!(fallible.unwrap(), plain);
/// ```
pub trait Items: sealed::Sealed + 'static {
    /// What the consumer gets for a `Y` that is yielded.
    type Item<Y>;
}

mod sealed {
    use std::task::Poll;

    use crate::SharedError;

    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed: Sized {
        fn item<Y>(item: Y) -> Self::Item<Y>
        where
            Self: super::Items;

        fn items<Y>(polled: Poll<Option<Y>>) -> Poll<Option<Self::Item<Y>>>
        where
            Self: super::Items;

        /// The last item, or the error back where there is none for it.
        fn error<Y>(error: SharedError) -> Result<Self::Item<Y>, SharedError>
        where
            Self: super::Items;
    }
}

impl Items for Infallible {
    type Item<Y> = Y;
}

impl sealed::Sealed for Infallible {
    fn item<Y>(item: Y) -> Y {
        item
    }

    #[inline(always)]
    fn items<Y>(polled: Poll<Option<Y>>) -> Poll<Option<Y>> {
        polled
    }

    fn error<Y>(error: SharedError) -> Result<Y, SharedError> {
        Err(error)
    }
}

impl Items for SharedError {
    type Item<Y> = Result<Y, Self>;
}

impl sealed::Sealed for SharedError {
    fn item<Y>(item: Y) -> Result<Y, Self> {
        Ok(item)
    }

    #[inline(always)]
    fn items<Y>(polled: Poll<Option<Y>>) -> Poll<Option<Result<Y, Self>>> {
        polled.map(|item| item.map(Ok))
    }

    fn error<Y>(error: Self) -> Result<Result<Y, Self>, Self> {
        Ok(Err(error))
    }
}

impl<Y: Send + 'static> AsyncGenerator<Y> {
    /// Makes a generator of plain items from its body.
    ///
    /// The body passes on with `?` what the consumer throws in, and can fail with nothing else: a `?` on another error does
    /// not compile, and wants [`fallible`](Self::fallible).
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::generator::AsyncGenerator;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut numbers = AsyncGenerator::new(|mut y| async move {
    ///     y.yield_(1).await?;
    ///     y.yield_(2).await?;
    ///     Ok(())
    /// });
    /// assert_eq!(numbers.next().await, Some(1));
    /// assert_eq!(numbers.next().await, Some(2));
    /// assert_eq!(numbers.next().await, None);
    /// # }
    /// ```
    pub fn new<F, Fut>(body: F) -> Self
    where
        F: FnOnce(Yielder<Y>) -> Fut,
        Fut: Future<Output = Result<(), Thrown>> + Send + 'static,
    {
        GeneratorBuilder::new().plain(body)
    }

    /// Makes a generator of plain items on a child of `ctx` with this name; the body is given that child.
    ///
    /// A body that is inside an await of its own when it is to stop can see that in the context. It has a grace of 10 s
    /// then; [`GeneratorBuilder::grace`] sets another. One that may fail with errors of its own is made with
    /// [`GeneratorBuilder::new().on(&ctx, "name").fallible(…)`](GeneratorBuilder::on).
    ///
    /// It is work of `ctx` from its first poll to its end: whoever waits for the context to drain waits for a generator that stands
    /// at a yield as well, until it is polled again, closed or dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Ctx;
    /// use machinery::generator::AsyncGenerator;
    /// use std::time::Duration;
    /// use tokio::time::sleep;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let root = Ctx::beginning("app");
    /// let mut readings = AsyncGenerator::on(&root, "readings", |ctx, mut y| async move {
    ///     while ctx.run(sleep(Duration::from_secs(60))).await.is_ok() {
    ///         y.yield_(21.5).await?;
    ///     }
    ///     sleep(Duration::from_secs(1)).await; // say goodbye
    ///     Ok(())
    /// });
    /// assert_eq!(readings.next().await, Some(21.5));
    /// root.cancel();
    /// assert_eq!(readings.next().await, None);
    /// root.drained().await;
    /// # }
    /// ```
    #[track_caller]
    pub fn on<F, Fut>(ctx: &Ctx, name: impl Into<Name>, body: F) -> Self
    where
        F: FnOnce(Ctx, Yielder<Y>) -> Fut,
        Fut: Future<Output = Result<(), Thrown>> + Send + 'static,
    {
        GeneratorBuilder::new().on(ctx, name).plain(body)
    }
}

impl<Y: Send + 'static> AsyncGenerator<Y, (), SharedError> {
    /// Makes a generator that may end with any error.
    ///
    /// Its items are `Result<Y, SharedError>`; the error that it ends with is its last item.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::generator::AsyncGenerator;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut numbers = AsyncGenerator::fallible(|mut y| async move {
    ///     for text in ["1", "2", "three"] {
    ///         y.yield_(text.parse::<u32>()?).await?;
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
    /// assert_eq!(numbers.next().await.unwrap().unwrap(), 2);
    /// assert_eq!(numbers.next().await.unwrap().unwrap_err().to_string(), "invalid digit found in string");
    /// assert!(numbers.next().await.is_none());
    /// # }
    /// ```
    pub fn fallible<F, Fut>(body: F) -> Self
    where
        F: FnOnce(Yielder<Y>) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        GeneratorBuilder::new().fallible(body)
    }
}

impl<Y, S, E> AsyncGenerator<Y, S, E>
where
    Y: Send + 'static,
    S: Send + 'static,
    E: Items,
{
    fn from_core(core: Core<Y, S>) -> Self {
        Self { core, items: PhantomData }
    }

    /// Lets the body go on until it yields; `None` when it has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: after a drop half-way the body stands inside an await of its own, and the next call goes on there.
    pub async fn next(&mut self) -> Option<E::Item<Y>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Has the yield where the body stands give `value`, and lets the body go on until it yields.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the value is the body's, and a drop half-way loses nothing: [`next`](Self::next) goes on. Where the body
    /// has not come back to its yield by then, an error that is thrown in takes the place of the value.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value, where the body does not stand at a yield: it has not begun, it is inside an await of
    /// its own, or it has ended.
    pub async fn send(&mut self, value: S) -> Result<Option<E::Item<Y>>, SendError<S>> {
        match self.core.answer(value) {
            Ok(()) => Ok(self.next().await),
            Err(value) => Err(SendError::new(value, self.core.is_finished())),
        }
    }

    /// Has the yield where the body stands end with `error`, and lets the body go on until it yields.
    ///
    /// `None` means that the body has ended well. A body that is inside an await of its own gets the error at its
    /// next yield, in place of what it would have yielded there. One that has not begun does not begin.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the error is the body's, and a drop half-way leaves it there: [`next`](Self::next) goes on.
    ///
    /// # Errors
    ///
    /// The error that the body ends with; `error` itself, where the body passes it on, never got to a yield, or had not
    /// begun or had ended before.
    pub async fn throw(&mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Result<Option<Y>, SharedError> {
        self.core.throw(share(error))?;
        match self.core.resumed().await {
            Resumed::Item(item) | Resumed::Last(item) => Ok(Some(item)),
            Resumed::Ended(result) => result.map(|()| None),
        }
    }

    /// Has the body end: the yield where it stands ends with an error that says so, and its clean-up is awaited.
    ///
    /// A body that is inside an await of its own is told through its context, as with [`stop_async_generator`], and one
    /// on a context has its grace. A generator that is finished, or has not begun, is simply over.
    ///
    /// # Cancel safety
    ///
    /// A drop half-way leaves the body to its clean-up; another call, or the generator's drop, goes on with it.
    ///
    /// # Errors
    ///
    /// The error that the body ends with, if it is another one than that which was thrown in, and says more than that its
    /// context has completed. A [`GeneratorError`] where
    /// the body had to be dropped, as it yielded again or as its grace was over.
    pub async fn close(&mut self) -> Result<(), SharedError> {
        self.core.close().await
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.core.is_finished()
    }

    /// The context that the generator lives on, where it lives on one.
    #[must_use]
    pub fn ctx(&self) -> Option<&Ctx> {
        self.core.bound().map(core::Bound::ctx)
    }

    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<E::Item<Y>>> {
        if self.core.is_watched() {
            return self.poll_watched(cx);
        }
        match self.core.go_on(cx) {
            Poll::Ready(None) => self.poll_rarely(cx),
            polled => E::items(polled),
        }
    }

    /// The same on a context.
    #[inline(never)]
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Option<E::Item<Y>>> {
        if !self.core.is_undisturbed() {
            return self.poll_rarely(cx);
        }
        match self.core.go_on_bound(cx) {
            Poll::Ready(None) => self.poll_rarely(cx),
            Poll::Pending => self.wait(cx),
            polled => E::items(polled),
        }
    }

    /// The body of a generator on a context waits.
    #[cold]
    #[inline(never)]
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<E::Item<Y>>> {
        self.core.wait(cx).map(|resumed| self.ended(resumed))
    }

    /// Anything but a body that goes on from wherever it is.
    #[cold]
    #[inline(never)]
    fn poll_rarely(&mut self, cx: &mut Context<'_>) -> Poll<Option<E::Item<Y>>> {
        self.core.poll(cx).map(|resumed| self.ended(resumed))
    }

    #[cold]
    #[inline(never)]
    fn ended(&mut self, resumed: Resumed<Y>) -> Option<E::Item<Y>> {
        let result = match resumed {
            Resumed::Item(item) | Resumed::Last(item) => return Some(E::item(item)),
            Resumed::Ended(result) => result,
        };
        match result.map_err(E::error) {
            Ok(()) => None,
            Err(Ok(item)) => Some(item),
            Err(Err(error)) => {
                self.keep_or_report(error);
                None
            }
        }
    }

    /// An error of a generator of plain items, which only somebody who throws can hear of.
    fn keep_or_report(&mut self, error: SharedError) {
        if self.core.bound().is_some() {
            self.core.report("a generator ended with an error", &error);
        } else {
            self.core.keep(error);
        }
    }
}

impl<Y, S, E> Stream for AsyncGenerator<Y, S, E>
where
    Y: Send + 'static,
    S: Send + 'static,
    E: Items,
{
    type Item = E::Item<Y>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E::Item<Y>>> {
        self.get_mut().poll_item(cx)
    }
}

impl<Y, S, E> FusedStream for AsyncGenerator<Y, S, E>
where
    Y: Send + 'static,
    S: Send + 'static,
    E: Items,
{
    fn is_terminated(&self) -> bool {
        self.core.is_terminated()
    }
}

impl<Y: Send + 'static, S: Send + 'static, E> Unpin for AsyncGenerator<Y, S, E> {}

impl<Y: Send + 'static, S: Send + 'static, E> Drop for AsyncGenerator<Y, S, E> {
    fn drop(&mut self) {
        if self.core.is_finished() {
            if let Err(error) = self.core.take_outcome() {
                self.core.report("a generator was dropped with an error that nobody took", &error);
            }
        } else if self.core.is_started()
            && let Some(ctx) = self.core.bound().map(|bound| bound.ctx().clone())
        {
            left::hand_over(&ctx, std::mem::replace(&mut self.core, Core::ended()));
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static, E> fmt::Debug for AsyncGenerator<Y, S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncGenerator")
            .field("ctx", &self.core.bound().map(core::Bound::ctx))
            .field("finished", &self.core.is_finished())
            .finish_non_exhaustive()
    }
}
