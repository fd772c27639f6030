//! The body's side of a generator.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Thrown;
use super::errors::Kind;
use super::frame::{Answer, Found, Id};

/// What the body of a generator yields with.
///
/// It works in its own generator's body only, wherever that is polled. Used anywhere else, in a task of its own for
/// example or in the body of another generator, its yields end at once with an error whose
/// [`is_misuse`](super::GeneratorError::is_misuse) is true.
///
/// # Examples
///
/// ```
/// use machinery::generator::{AsyncGenerator, Thrown, Yielder};
///
/// async fn twice(y: &mut Yielder<u32>, number: u32) -> Result<(), Thrown> {
///     y.yield_(number).await?;
///     y.yield_(number).await?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut numbers = AsyncGenerator::new(|mut y| async move {
///     twice(&mut y, 1).await?;
///     twice(&mut y, 2).await
/// });
/// let mut seen = Vec::new();
/// while let Some(number) = numbers.next().await {
///     seen.push(number);
/// }
/// assert_eq!(seen, [1, 1, 2, 2]);
/// # }
/// ```
pub struct Yielder<Y, S = ()> {
    id: Id<Y, S>,
}

impl<Y, S> Yielder<Y, S>
where
    Y: Send + 'static,
    S: Send + 'static,
{
    pub(super) fn new(id: Id<Y, S>) -> Self {
        Self { id }
    }

    /// Hands `item` to the consumer, and waits until it comes back.
    ///
    /// It gives `None` where the consumer asks for the next item, and what it sent where it
    /// [sent](super::AsyncGenerator::send) something.
    ///
    /// # Cancel safety
    ///
    /// An item whose future was polled is the consumer's, also when the future is dropped then. What the consumer
    /// answers to a yield that is dropped is lost, but for an error that it throws, which comes up at the next yield.
    ///
    /// # Errors
    ///
    /// The error that was thrown in. Where it was thrown before this yield began, as the body was inside an await of its
    /// own, the item is dropped.
    #[inline]
    pub fn yield_(&mut self, item: Y) -> Yield<'_, Y, S> {
        Yield { id: self.id, stage: Stage::New(item), yielder: PhantomData }
    }
}

impl<Y, S> fmt::Debug for Yielder<Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}

/// The future of [`Yielder::yield_`].
///
/// # Cancel safety
///
/// Once it was polled, the item is the consumer's, also when this is dropped then. What the consumer answers to a yield
/// that is dropped is lost, but for an error that it throws, which comes up at the next yield. Polled again after its end it
/// gives `None`.
///
/// # Examples
///
/// ```
/// use machinery::generator::AsyncGenerator;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut numbers = AsyncGenerator::new(|mut y| async move {
///     let yielded = y.yield_(7);
///     yielded.await?;
///     Ok(())
/// });
/// assert_eq!(numbers.next().await, Some(7));
/// # }
/// ```
#[must_use = "a future does nothing until it is awaited"]
pub struct Yield<'a, Y: Send + 'static, S: Send + 'static = ()> {
    id: Id<Y, S>,
    stage: Stage<Y>,
    yielder: PhantomData<&'a mut Yielder<Y, S>>,
}

enum Stage<Y> {
    New(Y),
    Standing,
    Over,
}

// The item is moved and never pinned.
impl<Y: Send + 'static, S: Send + 'static> Unpin for Yield<'_, Y, S> {}

impl<Y: Send + 'static, S: Send + 'static> Future for Yield<'_, Y, S> {
    type Output = Result<Option<S>, Thrown>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // In this order, and without a call between one item and the next, the compiler follows it.
        if let Stage::New(_) = this.stage
            && let Stage::New(item) = mem::replace(&mut this.stage, Stage::Standing)
        {
            match this.id.hand_over(item, cx) {
                Ok(()) => return Poll::Pending,
                Err(item) => this.stage = Stage::New(item),
            }
        } else if this.id.goes_on() {
            this.stage = Stage::Over;
            return Poll::Ready(Ok(None));
        } else if let Some(sent) = this.id.take_sent() {
            this.stage = Stage::Over;
            return Poll::Ready(Ok(sent));
        }
        match this.poll_rarely(cx) {
            None => Poll::Pending,
            Some(None) => Poll::Ready(Ok(None)),
            Some(Some(thrown)) => {
                this.stage = Stage::Over;
                Poll::Ready(Err(thrown))
            }
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> Yield<'_, Y, S> {
    /// An error is thrown, or it is polled twice, or somewhere else, or to begin with with another context than the body.
    /// `None` waits.
    #[cold]
    #[inline(never)]
    fn poll_rarely(&mut self, cx: &mut Context<'_>) -> Option<Option<Thrown>> {
        if let Stage::Over = self.stage {
            return Some(None);
        }
        match (self.id.find(), mem::replace(&mut self.stage, Stage::Over)) {
            (Found::Running(Some(Answer::Thrown(thrown))), _) => return Some(Some(thrown)),
            (Found::Nothing, _) => return Some(Some(Thrown::new(Kind::Misused.into()))),
            // What was sent to a yield that is gone is lost.
            (Found::Running(_), Stage::New(item)) => {
                self.id.hand_over_inside(item);
                self.stage = Stage::Standing;
            }
            (_, stage) => self.stage = stage,
        }
        self.id.remember(cx.waker());
        None
    }
}

impl<Y: Send + 'static, S: Send + 'static> Drop for Yield<'_, Y, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Stage::Standing = self.stage {
            self.id.abandon();
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> fmt::Debug for Yield<'_, Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yield").finish_non_exhaustive()
    }
}
