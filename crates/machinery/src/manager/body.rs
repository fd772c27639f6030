//! Sources as the engine sees them: something that is asked for its next step.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use pin_project_lite::pin_project;

use super::feed::{Given, IntoFeed};
use crate::error::panic_message;
use crate::generator::{AsyncGenerator, GeneratorError, Items, stop_async_generator};
use crate::task::Adopt;
use crate::task::error::{Cut, is_echo};
use crate::task::work::End;
use crate::{Ctx, SharedError};

/// One step of a source.
pub(crate) enum Step<T> {
    /// An item; more may follow.
    Item(Given<T>),
    /// The only result of a function, a future or a task.
    Only(Given<T>),
    /// An iterator or a stream has ended, with what.
    End(Option<SharedError>),
}

pub(crate) trait Body<T>: Send {
    /// Takes one step.
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>>;

    /// What was taken from the source already and has not been given on.
    fn taken(self: Pin<&mut Self>) -> Option<Step<T>> {
        None
    }

    /// Whether its items are taken elsewhere, also while nobody steps it.
    fn runs_elsewhere(&self) -> bool {
        false
    }

    /// What a source that is left half-way still has to do, if that takes its time.
    fn close(self: Pin<&mut Self>) -> Option<Closing> {
        None
    }

    /// Asks the source to end early; says whether it wants to be stepped until it has.
    fn stop(self: Pin<&mut Self>) -> bool {
        false
    }
}

/// The clean-up of a source, with the error that it ends with.
pub(crate) type Closing = Pin<Box<dyn Future<Output = Result<(), SharedError>> + Send>>;

pub(crate) type BoxBody<T> = Pin<Box<dyn Body<T>>>;

impl<T> Body<T> for BoxBody<T> {
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        self.get_mut().as_mut().step(cx)
    }

    fn taken(self: Pin<&mut Self>) -> Option<Step<T>> {
        self.get_mut().as_mut().taken()
    }

    fn runs_elsewhere(&self) -> bool {
        self.as_ref().runs_elsewhere()
    }

    fn close(self: Pin<&mut Self>) -> Option<Closing> {
        self.get_mut().as_mut().close()
    }

    fn stop(self: Pin<&mut Self>) -> bool {
        self.get_mut().as_mut().stop()
    }
}

/// The error of a source that panicked.
///
/// # Examples
///
/// ```
/// use machinery::manager::SourcePanicked;
/// use machinery::{Ctx, QueueManagerResult as Fed, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("panics");
/// let (feeder, mut results) = queue_manager::<u32>(&root).build();
/// feeder.add_fn("broken", || -> u32 { panic!("no luck") });
/// let Some(Fed::Failure { exception, .. }) = results.next().await else { panic!() };
/// assert_eq!(exception.downcast_ref::<SourcePanicked>().unwrap().message(), "no luck");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct SourcePanicked {
    message: Box<str>,
}

impl SourcePanicked {
    /// The message of the panic.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SourcePanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the source panicked: {}", self.message)
    }
}

impl std::error::Error for SourcePanicked {}

/// Runs code of the user; a panic becomes an error with its message.
pub(crate) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, SharedError> {
    catch_unwind(AssertUnwindSafe(f))
        .map_err(|payload| Arc::new(SourcePanicked { message: panic_message(payload) }) as SharedError)
}

/// Clones a context value.
#[inline]
pub(crate) fn cloned<C: Clone>(context: &C) -> Result<C, SharedError> {
    guarded(|| context.clone())
}

/// An iterator that begins when its first turn comes.
pub(crate) enum IterBody<I: IntoIterator> {
    Fresh(Option<I>),
    Begun(I::IntoIter),
}

// Nothing in it is ever pinned.
impl<I: IntoIterator> Unpin for IterBody<I> {}

impl<T, I> Body<T> for IterBody<I>
where
    I: IntoIterator<Item: IntoFeed<T>, IntoIter: Send> + Send,
{
    fn step(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Step<T>> {
        let this = self.get_mut();
        if let Self::Fresh(fresh) = this {
            match fresh.take() {
                Some(fresh) => *this = Self::Begun(fresh.into_iter()),
                None => return Poll::Ready(Step::End(None)),
            }
        }
        let Self::Begun(items) = this else { return Poll::Ready(Step::End(None)) };
        Poll::Ready(match items.next() {
            Some(item) => Step::Item(item.into_feed().0),
            None => Step::End(None),
        })
    }
}

/// A function that runs once.
pub(crate) struct FnBody<F>(pub(crate) Option<F>);

impl<F> Unpin for FnBody<F> {}

impl<T, F, R> Body<T> for FnBody<F>
where
    F: FnOnce() -> R + Send,
    R: IntoFeed<T>,
{
    fn step(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Step<T>> {
        Poll::Ready(match self.get_mut().0.take() {
            Some(function) => Step::Only(function().into_feed().0),
            None => Step::End(None),
        })
    }
}

pin_project! {
    pub(crate) struct StreamBody<S> {
        #[pin]
        pub(crate) stream: S,
    }
}

impl<T, S> Body<T> for StreamBody<S>
where
    S: Stream<Item: IntoFeed<T>> + Send,
{
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        Poll::Ready(match ready!(self.project().stream.poll_next(cx)) {
            Some(item) => Step::Item(item.into_feed().0),
            None => Step::End(None),
        })
    }
}

pin_project! {
    pub(crate) struct FutureBody<F> {
        #[pin]
        pub(crate) future: F,
    }
}

impl<T, F> Body<T> for FutureBody<F>
where
    F: Future<Output: IntoFeed<T>> + Send,
{
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        Poll::Ready(Step::Only(ready!(self.project().future.poll(cx)).into_feed().0))
    }
}

/// A generator, which is closed if it is left half-way.
pub(crate) struct GeneratorBody<Y: Send + 'static, S: Send + 'static, E>(Option<AsyncGenerator<Y, S, E>>);

impl<Y: Send + 'static, S: Send + 'static, E> GeneratorBody<Y, S, E> {
    pub(crate) fn new(generator: AsyncGenerator<Y, S, E>) -> Self {
        Self(Some(generator))
    }
}

impl<T, Y, S, E> Body<T> for GeneratorBody<Y, S, E>
where
    Y: Send + 'static,
    S: Send + 'static,
    E: Items<Item<Y>: IntoFeed<T>> + 'static,
{
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        let Some(generator) = &mut self.get_mut().0 else { return Poll::Ready(Step::End(None)) };
        Poll::Ready(match ready!(Pin::new(generator).poll_next(cx)) {
            Some(item) => Step::Item(item.into_feed().0),
            None => Step::End(None),
        })
    }

    fn close(self: Pin<&mut Self>) -> Option<Closing> {
        let mut generator = self.get_mut().0.take().filter(|generator| !generator.is_terminated())?;
        Some(Box::pin(async move {
            match stop_async_generator(&mut generator, None, None).await {
                // What was thrown in to stop it is no error of its own, nor is what its context told it.
                Err(error) if error.downcast_ref::<GeneratorError>().is_some_and(GeneratorError::is_cancellation) => {
                    Ok(())
                }
                Err(error) if is_echo(&error, &|| generator.ctx().and_then(Ctx::completion)) => Ok(()),
                ended => ended,
            }
        }))
    }
}

/// A task that was running before it came here.
pub(crate) struct TaskBody<A> {
    task: A,
    stopped: bool,
}

impl<A> TaskBody<A> {
    pub(crate) fn new(task: A) -> Self {
        Self { task, stopped: false }
    }
}

impl<T, A> Body<T> for TaskBody<A>
where
    A: Adopt<Value: IntoFeed<T>>,
{
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.task.poll_end(cx)) {
            End::Value(value) => Step::Only(value.into_feed().0),
            End::Failed(failure) => Step::Only(Given::Error(failure.error)),
            End::Panicked(panic) => Step::Only(Given::Error(panic)),
            End::Cut(Cut::Elsewhere(Some(cancelled))) if !this.stopped => Step::Only(Given::Error(cancelled)),
            // What the manager has stopped itself has no result.
            End::Cut(_) | End::Stopped => Step::End(None),
        })
    }

    fn stop(self: Pin<&mut Self>) -> bool {
        let this = self.get_mut();
        this.stopped = true;
        this.task.stop();
        true
    }
}
