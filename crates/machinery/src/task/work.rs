//! The future that Tokio runs for a task: it polls the work, hears of orders to stop, and settles the task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use super::error::Cut;
use super::{Failure, Outcome, Task};
use crate::contain::contain;
use crate::error::panic_error;
use crate::holder::order::Order;
use crate::holder::shared::Shared;
use crate::{Report, SharedError};

/// How work ended.
pub(crate) enum End<V> {
    Value(V),
    Failed(Failure),
    Panicked(SharedError),
    /// Cancelled in itself, for a reason of its own.
    Cut(Cut),
    /// Stopped by an order.
    Stopped,
}

impl<V> End<V> {
    pub(crate) fn of(outcome: Result<V, Failure>) -> Self {
        match outcome {
            Ok(value) => Self::Value(value),
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// What a task does, and what it makes of an order to stop.
pub(crate) trait Job {
    type Value: Send + 'static;

    fn poll_job(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<Self::Value>>;

    /// Told to stop: whether it goes on, for its clean-up. Otherwise it is dropped where it stands.
    fn goes_on(self: Pin<&mut Self>) -> bool;

    /// Whether somebody else tells of its failure.
    fn is_told(&self) -> bool {
        false
    }
}

pin_project! {
    /// A future that is dropped when it has to stop.
    pub(crate) struct Plain<F> {
        #[pin]
        pub(crate) future: F,
    }
}

impl<F> Job for Plain<F>
where
    F: Future,
    F::Output: Outcome,
{
    type Value = <F::Output as Outcome>::Value;

    fn poll_job(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<Self::Value>> {
        self.project().future.poll(cx).map(|output| End::of(output.into_outcome()))
    }

    fn goes_on(self: Pin<&mut Self>) -> bool {
        false
    }
}

pin_project! {
    /// A future that has a context of its own, hears of the end through it, and may clean up.
    pub(crate) struct Told<F> {
        #[pin]
        pub(crate) future: F,
    }
}

impl<F> Job for Told<F>
where
    F: Future,
    F::Output: Outcome,
{
    type Value = <F::Output as Outcome>::Value;

    fn poll_job(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<Self::Value>> {
        self.project().future.poll(cx).map(|output| End::of(output.into_outcome()))
    }

    fn goes_on(self: Pin<&mut Self>) -> bool {
        true
    }
}

/// A task that was started elsewhere: it is cancelled there, and waited for.
pub(crate) struct Adopted<A: Adopt>(pub(crate) A);

impl<A: Adopt> Job for Adopted<A> {
    type Value = A::Value;

    fn poll_job(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<A::Value>> {
        self.0.poll_end(cx)
    }

    fn goes_on(self: Pin<&mut Self>) -> bool {
        self.0.stop();
        true
    }

    fn is_told(&self) -> bool {
        self.0.tells()
    }
}

impl<A: Adopt> Drop for Adopted<A> {
    fn drop(&mut self) {
        // After its end this does nothing.
        self.0.stop();
    }
}

/// A running task that a holder can take over: a [`Task`], or Tokio's [`JoinHandle`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
///
/// let root = Ctx::beginning("app");
/// let tasks = TaskHolder::new(&root);
/// let foreign = tokio::task::spawn_blocking(|| 6 * 7);
/// assert_eq!(tasks.add_task("foreign", foreign).await.unwrap(), 42);
/// tasks.finish().await;
/// # }
/// ```
pub trait Adopt: Unpin + Send + 'static + sealed::Sealed {
    /// What the task results in.
    type Value: Send + 'static;

    #[doc(hidden)]
    #[expect(private_interfaces, reason = "sealed: nobody else calls or implements it")]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End<Self::Value>>;

    /// Whether a failure is reported or collected where the task came from, too.
    #[doc(hidden)]
    fn tells(&self) -> bool;

    #[doc(hidden)]
    fn stop(&self);
}

#[expect(unnameable_types, reason = "seals the trait")]
mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for super::Task<T> {}
    impl<R> Sealed for super::JoinHandle<R> {}
}

impl<R: Outcome + Send + 'static> Adopt for JoinHandle<R> {
    type Value = R::Value;

    #[expect(private_interfaces, reason = "sealed: nobody else calls or implements it")]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End<R::Value>> {
        Poll::Ready(match ready!(Pin::new(self).poll(cx)) {
            Ok(outcome) => End::of(outcome.into_outcome()),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => End::Panicked(panic_error(panic)),
                Err(cancelled) => End::Cut(Cut::Elsewhere(Some(Arc::new(cancelled)))),
            },
        })
    }

    fn tells(&self) -> bool {
        false
    }

    fn stop(&self) {
        self.abort();
    }
}

impl<T: Send + 'static> Adopt for Task<T> {
    type Value = T;

    #[expect(private_interfaces, reason = "sealed: nobody else calls or implements it")]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End<T>> {
        Poll::Ready(match ready!(Pin::new(self).poll(cx)) {
            Ok(value) => End::Value(value),
            Err(error) => match error.error() {
                Some(panic) if error.is_panic() => End::Panicked(panic.clone()),
                Some(own) => End::Failed(Failure { error: own.clone(), kind: error.kind() }),
                None => End::Cut(Cut::Elsewhere(Some(Arc::new(error)))),
            },
        })
    }

    fn tells(&self) -> bool {
        !self.is_silent()
    }

    fn stop(&self) {
        self.order(Order::Stop, self.location());
    }
}

/// Where the task stands in its holder.
pub(crate) struct Spot {
    shared: Arc<Shared>,
    key: u32,
    /// Only Tokio polls the work, with the one waker that the task has for life: it is handed in once.
    registered: bool,
}

impl Spot {
    pub(crate) fn new(shared: Arc<Shared>, key: u32) -> Self {
        Self { shared, key, registered: false }
    }
}

/// Polls the work and follows orders, until its end.
fn drive<J: Job>(mut job: Pin<&mut J>, spot: &mut Spot, cx: &mut Context<'_>) -> Poll<End<J::Value>> {
    loop {
        let order = spot.shared.order_for(spot.key);
        let stopped = match order {
            Order::Run => false,
            // What it throws shows again when it is polled or dropped.
            Order::Stop => !contain(|| job.as_mut().goes_on()).unwrap_or(false),
            Order::Abort => true,
        };
        if stopped {
            return Poll::Ready(End::Stopped);
        }
        match contain(|| job.as_mut().poll_job(cx)) {
            Ok(Poll::Ready(end)) => {
                if job.is_told() {
                    spot.shared.mark_told(spot.key);
                }
                return Poll::Ready(end);
            }
            Err(panic) => return Poll::Ready(End::Panicked(panic)),
            Ok(Poll::Pending) if spot.registered => return Poll::Pending,
            Ok(Poll::Pending) => {
                spot.registered = true;
                if spot.shared.register(spot.key, cx.waker().clone()) == order {
                    return Poll::Pending;
                }
                // The order came before the waker did, and woke nobody.
            }
        }
    }
}

/// Drops the work. A panic of that drop is how the work ended; where it has failed before, the panic is reported.
fn dispose<V>(shared: &Shared, key: u32, drop_it: impl FnOnce(), end: End<V>) -> End<V> {
    match contain(drop_it) {
        Ok(()) => end,
        Err(panic) => match end {
            End::Failed(_) | End::Panicked(_) => {
                let (name, at) = (shared.name_of(key), shared.location_of(key));
                let report = Report::new(&shared.ctx, "the drop of a task that had failed panicked").task(&name).at(at);
                report.error(&panic).send();
                end
            }
            end => {
                let _ = contain(|| drop(end));
                End::Panicked(panic)
            }
        },
    }
}

pin_project! {
    /// What is spawned. It holds the work until the end, and then nothing.
    pub(crate) struct Work<J: Job> {
        #[pin]
        job: Option<J>,
        spot: Spot,
    }

    impl<J: Job> PinnedDrop for Work<J> {
        fn drop(this: Pin<&mut Self>) {
            // By the runtime, or by a spawn that failed.
            this.end(End::Cut(Cut::Shutdown));
        }
    }
}

impl<J: Job> Work<J> {
    pub(crate) fn new(spot: Spot, job: J) -> Self {
        Self { job: Some(job), spot }
    }

    fn end(self: Pin<&mut Self>, end: End<J::Value>) {
        let mut this = self.project();
        if this.job.is_some() {
            let end = dispose(&this.spot.shared, this.spot.key, || this.job.set(None), end);
            this.spot.shared.settle(this.spot.key, end);
        }
    }
}

impl<J: Job> Future for Work<J> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        if let Some(job) = this.job.as_pin_mut() {
            let end = ready!(drive(job, this.spot, cx));
            self.end(end);
        }
        Poll::Ready(())
    }
}

/// Like [`Work`], in one word, with the work in an allocation of its own.
///
/// It is for work with a context, which is seldom small. What Tokio allocates comes in multiples of 128 bytes, of which
/// 24 in the smallest are for what is spawned: a word fits with room to spare, and nothing is rounded up for the rest.
pub(crate) struct Boxed<J: Job> {
    /// Until the end.
    inner: Option<Pin<Box<Inner<J>>>>,
}

pin_project! {
    struct Inner<J> {
        spot: Spot,
        #[pin]
        job: J,
    }
}

impl<J: Job> Boxed<J> {
    pub(crate) fn new(spot: Spot, job: J) -> Self {
        Self { inner: Some(Box::pin(Inner { spot, job })) }
    }

    fn end(&mut self, end: End<J::Value>) {
        if let Some(inner) = self.inner.take() {
            let (shared, key) = (Arc::clone(&inner.spot.shared), inner.spot.key);
            let end = dispose(&shared, key, || drop(inner), end);
            shared.settle(key, end);
        }
    }
}

impl<J: Job> Drop for Boxed<J> {
    fn drop(&mut self) {
        self.end(End::Cut(Cut::Shutdown));
    }
}

impl<J: Job> Future for Boxed<J> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(inner) = &mut self.inner {
            let inner = inner.as_mut().project();
            let end = ready!(drive(inner.job, inner.spot, cx));
            self.end(end);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_any_size_is_spawned_as_one_word() {
        type Large = Told<std::future::Ready<[u8; 1_000]>>;
        assert_eq!(size_of::<Boxed<Large>>(), size_of::<usize>());
    }
}
