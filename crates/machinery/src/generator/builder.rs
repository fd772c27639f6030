//! Making generators.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::{Body, Bound, BoxedBody, Core};
use super::errors::unwrapped;
use super::head::{Head, Id};
use super::{AsyncGenerator, Thrown, Yielder};
use crate::{Ctx, CtxGuard, Name, SharedError};

/// The grace where nothing is said.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Makes generators that are sent values, live on a context, or both.
///
/// [`AsyncGenerator::new`], [`fallible`](AsyncGenerator::fallible) and [`on`](AsyncGenerator::on) are the short forms.
///
/// # Examples
///
/// A running mean, which is sent numbers:
///
/// ```
/// use machinery::generator::GeneratorBuilder;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut mean = GeneratorBuilder::new().receiving::<f64>().plain(|mut y| async move {
///     let (mut sum, mut count) = (0.0, 0.0);
///     let mut sent = y.yield_(0.0).await?;
///     while let Some(number) = sent {
///         (sum, count) = (sum + number, count + 1.0);
///         sent = y.yield_(sum / count).await?;
///     }
///     Ok(())
/// });
/// mean.next().await;
/// assert_eq!(mean.send(4.0).await.unwrap(), Some(4.0));
/// assert_eq!(mean.send(8.0).await.unwrap(), Some(6.0));
/// assert_eq!(mean.next().await, None);
/// # }
/// ```
///
/// The lines of a file, on a context, with what goes wrong as the last item:
///
/// ```
/// use machinery::generator::{AsyncGenerator, GeneratorBuilder};
/// use machinery::{Ctx, SharedError};
/// use tokio::{fs::File, io::{AsyncBufReadExt, BufReader}};
///
/// fn lines(ctx: &Ctx, path: &'static str) -> AsyncGenerator<String, (), SharedError> {
///     GeneratorBuilder::new().on(ctx, path).fallible(move |_ctx, mut y| async move {
///         let mut lines = BufReader::new(File::open(path).await?).lines();
///         while let Some(line) = lines.next_line().await? {
///             y.yield_(line).await?;
///         }
///         Ok(())
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// assert!(lines(&root, "no such file").next().await.unwrap().is_err());
/// # }
/// ```
#[must_use = "it makes a generator with `plain` or `fallible`"]
pub struct GeneratorBuilder<S = (), C = ()> {
    place: C,
    types: PhantomData<fn(S)>,
}

/// The context that a [`GeneratorBuilder`] puts its generator on.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
/// use machinery::generator::{GeneratorBuilder, Place};
/// use std::time::Duration;
///
/// fn patient(builder: GeneratorBuilder<(), Place>) -> GeneratorBuilder<(), Place> {
///     builder.grace(Duration::from_secs(60))
/// }
///
/// let root = Ctx::beginning("app");
/// let lines = patient(GeneratorBuilder::new().on(&root, "lines"))
///     .plain(|_ctx, mut y| async move { y.yield_("line").await.map(drop) });
/// assert_eq!(lines.ctx().unwrap().full_name(), "app-->lines");
/// ```
#[derive(Debug)]
pub struct Place {
    guard: CtxGuard,
    grace: Duration,
}

impl GeneratorBuilder {
    /// For a generator that is sent nothing and lives on no context, unless more is said.
    pub fn new() -> Self {
        Self { place: (), types: PhantomData }
    }
}

impl Default for GeneratorBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, C> GeneratorBuilder<S, C> {
    /// The consumer may [send](AsyncGenerator::send) values of type `T`.
    pub fn receiving<T>(self) -> GeneratorBuilder<T, C> {
        GeneratorBuilder { place: self.place, types: PhantomData }
    }
}

impl<S> GeneratorBuilder<S> {
    /// The generator lives on a child of `ctx` with this name, and its closure is given that child as well.
    #[track_caller]
    pub fn on(self, ctx: &Ctx, name: impl Into<Name>) -> GeneratorBuilder<S, Place> {
        GeneratorBuilder { place: Place { guard: ctx.child(name), grace: GRACE }, types: PhantomData }
    }

    /// Makes a generator that ends with an error only where one is thrown in; see [`AsyncGenerator::new`].
    pub fn plain<Y, F, Fut>(self, body: F) -> AsyncGenerator<Y, S>
    where
        Y: Send + 'static,
        S: Send + 'static,
        F: FnOnce(Yielder<Y, S>) -> Fut,
        Fut: Future<Output = Result<(), Thrown>> + Send + 'static,
    {
        let id = Id::new();
        let body = plain(id, body(Yielder::new(id)));
        AsyncGenerator::from_core(Core::new(body, None))
    }

    /// Makes a generator that may end with any error; see [`AsyncGenerator::fallible`].
    pub fn fallible<Y, F, Fut>(self, body: F) -> AsyncGenerator<Y, S, SharedError>
    where
        Y: Send + 'static,
        S: Send + 'static,
        F: FnOnce(Yielder<Y, S>) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let id = Id::new();
        let body = fallible(id, body(Yielder::new(id)));
        AsyncGenerator::from_core(Core::new(body, None))
    }
}

impl<S> GeneratorBuilder<S, Place> {
    /// How long a stop waits for the generator before it is dropped; 10 s where nothing is said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.place.grace = grace;
        self
    }

    /// Makes a generator that ends with an error only where one is thrown in; see [`AsyncGenerator::on`].
    pub fn plain<Y, F, Fut>(self, body: F) -> AsyncGenerator<Y, S>
    where
        Y: Send + 'static,
        S: Send + 'static,
        F: FnOnce(Ctx, Yielder<Y, S>) -> Fut,
        Fut: Future<Output = Result<(), Thrown>> + Send + 'static,
    {
        let id = Id::new();
        let body = plain(id, body(self.place.guard.ctx(), Yielder::new(id)));
        AsyncGenerator::from_core(Core::new(body, Some(self.place.bound())))
    }

    /// Makes a generator that may end with any error; see [`AsyncGenerator::fallible`].
    pub fn fallible<Y, F, Fut>(self, body: F) -> AsyncGenerator<Y, S, SharedError>
    where
        Y: Send + 'static,
        S: Send + 'static,
        F: FnOnce(Ctx, Yielder<Y, S>) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let id = Id::new();
        let body = fallible(id, body(self.place.guard.ctx(), Yielder::new(id)));
        AsyncGenerator::from_core(Core::new(body, Some(self.place.bound())))
    }
}

impl Place {
    fn bound(self) -> Box<Bound> {
        Box::new(Bound::new(self.guard, self.grace))
    }
}

fn plain<Y, S>(id: Id<Y, S>, body: impl Future<Output = Result<(), Thrown>> + Send + 'static) -> BoxedBody<Y, S>
where
    Y: Send + 'static,
    S: Send + 'static,
{
    Box::pin(Headed { head: Head::new(id), body, unwrap: Thrown::into_error })
}

fn fallible<Y, S>(
    id: Id<Y, S>,
    body: impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
) -> BoxedBody<Y, S>
where
    Y: Send + 'static,
    S: Send + 'static,
{
    Box::pin(Headed { head: Head::new(id), body, unwrap: unwrapped })
}

pin_project_lite::pin_project! {
    /// A body with its head, and what takes the error that it ends with out of its wrappings.
    struct Headed<B, U, Y, S> {
        head: Head<Y, S>,
        #[pin]
        body: B,
        unwrap: U,
    }
}

impl<B, E, U, Y, S> Body<Y, S> for Headed<B, U, Y, S>
where
    B: Future<Output = Result<(), E>> + Send,
    U: Fn(E) -> SharedError + Send,
    Y: Send,
    S: Send,
{
    #[inline]
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Y>> {
        let this = self.project();
        if !this.head.is_ready() {
            return Poll::Ready(None);
        }
        this.head.enter(cx, |cx| this.body.poll(cx), this.unwrap)
    }

    fn head(&self) -> Option<&Head<Y, S>> {
        Some(&self.head)
    }

    fn head_mut(self: Pin<&mut Self>) -> Option<&mut Head<Y, S>> {
        Some(self.project().head)
    }
}

impl<S, C: fmt::Debug> fmt::Debug for GeneratorBuilder<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorBuilder").field("place", &self.place).finish_non_exhaustive()
    }
}
