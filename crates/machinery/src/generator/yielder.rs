//! The body's side of a generator.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Thrown;
use super::head::{Answered, Id};

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
    /// An item whose future was polled is the consumer's, also when the future is dropped then. One that is yielded in the
    /// same poll as another before it waits for that to be taken, and is dropped if its future is. What the consumer
    /// answers to a yield that is dropped is lost, but for an error that it throws, which comes up at the next yield.
    ///
    /// # Errors
    ///
    /// The error that was thrown in. Where it was thrown before this yield began, as the body was inside an await of its
    /// own, the item is dropped.
    #[inline]
    pub fn yield_(&mut self, item: Y) -> Yield<'_, Y, S> {
        Yield { id: self.id, item: Some(item), yielder: PhantomData }
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
/// Once it was polled, the item is the consumer's, also when this is dropped then, unless another item of the same poll was
/// on its way before. What the consumer answers to a yield that is dropped is lost, but for an error that it throws, which
/// comes up at the next yield. Polled again after its end, in the body, it gives `None`.
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
    /// Until it is handed over.
    item: Option<Y>,
    yielder: PhantomData<&'a mut Yielder<Y, S>>,
}

// The item is moved and never pinned.
impl<Y: Send + 'static, S: Send + 'static> Unpin for Yield<'_, Y, S> {}

impl<Y: Send + 'static, S: Send + 'static> Future for Yield<'_, Y, S> {
    type Output = Result<Option<S>, Thrown>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // In this order the compiler follows it from one item to the next.
        if this.item.is_none() {
            match this.id.goes_on() {
                Some(true) => Poll::Ready(Ok(None)),
                Some(false) => this.wait(cx),
                None => this.poll_answered(cx),
            }
        } else {
            match this.id.hand_over(&mut this.item, cx) {
                Some(true) => Poll::Pending,
                Some(false) => this.wait(cx),
                None => this.poll_answered(cx),
            }
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> Yield<'_, Y, S> {
    /// Anything but a body that goes on from one item to the next.
    #[inline(always)]
    fn poll_answered(&mut self, cx: &Context<'_>) -> Poll<Result<Option<S>, Thrown>> {
        let answered = match self.id.take_answer(self.item.is_some()) {
            Answered::Nothing => return self.wait(cx),
            Answered::Sent(sent) => Ok(sent),
            Answered::Thrown(thrown) => Err(thrown),
            Answered::Elsewhere => Err(Thrown::misused()),
        };
        self.id.end();
        Poll::Ready(answered)
    }

    #[inline(always)]
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.id.wait(&mut self.item, cx.waker());
        Poll::Pending
    }
}

impl<Y: Send + 'static, S: Send + 'static> Drop for Yield<'_, Y, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.item.is_none() {
            self.id.let_go();
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> fmt::Debug for Yield<'_, Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yield").finish_non_exhaustive()
    }
}
