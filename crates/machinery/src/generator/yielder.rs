//! The body's side of a generator.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Thrown;
use super::errors::Kind;
use super::slot::{ANSWERED, Answer, ELSEWHERE, Link, NEXT, STANDS, with_current};

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
    link: Arc<Link<S>>,
    types: PhantomData<fn(Y)>,
}

impl<Y, S> Yielder<Y, S>
where
    Y: Send + 'static,
    S: Send + 'static,
{
    pub(super) fn new(link: Arc<Link<S>>) -> Self {
        Self { link, types: PhantomData }
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
    pub fn yield_(&mut self, item: Y) -> Yield<'_, Y, S> {
        Yield { yielder: self, item: Some(item), state: State::New }
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
/// that is dropped is lost, but for an error that it throws, which comes up at the next yield.
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
    yielder: &'a mut Yielder<Y, S>,
    /// Until it is handed over.
    item: Option<Y>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
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
        let link = &*this.yielder.link;
        match this.state {
            State::Standing if link.state() == NEXT => {
                link.set_state(ELSEWHERE);
                this.state = State::Over;
                Poll::Ready(Ok(None))
            }
            State::New if link.state() != ANSWERED => this.hand_over(cx),
            _ => this.poll_rarely(cx),
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> Yield<'_, Y, S> {
    #[inline(always)]
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<S>, Thrown>> {
        let Self { yielder, item, state } = self;
        let found = with_current::<Y, S, _>(&yielder.link, |slot| {
            slot.remember(cx.waker());
            // An item whose yield was dropped goes first.
            if slot.item.is_none()
                && let Some(item) = item.take()
            {
                slot.item = Some(item);
                *state = State::Standing;
                yielder.link.set_state(STANDS);
            }
        });
        match found {
            Some(()) => Poll::Pending,
            None => self.misused(),
        }
    }

    #[cold]
    #[inline(never)]
    fn poll_rarely(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<S>, Thrown>> {
        assert!(self.state != State::Over, "`yield_` was polled after its end");
        if self.yielder.link.state() == ANSWERED {
            return self.take_answer();
        }
        // It was polled without the generator having been.
        let found = with_current::<Y, S, _>(&self.yielder.link, |slot| slot.remember(cx.waker()));
        match found {
            Some(()) => Poll::Pending,
            None => self.misused(),
        }
    }

    /// Ends it, and drops an item that was not handed over.
    fn over(&mut self) {
        self.state = State::Over;
        self.item = None;
    }

    #[cold]
    #[inline(never)]
    fn misused(&mut self) -> Poll<Result<Option<S>, Thrown>> {
        self.over();
        Poll::Ready(Err(Thrown::new(Kind::Misused.into())))
    }

    #[cold]
    #[inline(never)]
    fn take_answer(&mut self) -> Poll<Result<Option<S>, Thrown>> {
        self.over();
        Poll::Ready(match self.yielder.link.take_answer() {
            Some(Answer::Thrown(thrown)) => Err(thrown),
            Some(Answer::Sent(value)) => Ok(Some(value)),
            None => Ok(None),
        })
    }
}

impl<Y: Send + 'static, S: Send + 'static> Yield<'_, Y, S> {
    #[cold]
    #[inline(never)]
    fn abandon(&mut self) {
        if !self.yielder.link.is_throw_pending() {
            drop(self.yielder.link.take_answer());
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> Drop for Yield<'_, Y, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.state == State::Standing {
            self.abandon();
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> fmt::Debug for Yield<'_, Y, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yield").finish_non_exhaustive()
    }
}
