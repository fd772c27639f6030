//! The future that Tokio runs for a task: it polls the work, hears of orders to stop, and settles the task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use super::error::Cut;
use super::{Failure, Outcome, Task};
use crate::SharedError;
use crate::contain::contain;
use crate::error::panic_error;
use crate::holder::shared::{Order, Shared};

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
                Err(_) => End::Cut(Cut::Elsewhere),
            },
        })
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
            Err(error) if error.is_panic() => match error.error() {
                Some(panic) => End::Panicked(panic.clone()),
                None => End::Cut(Cut::Elsewhere),
            },
            Err(error) => match error.error() {
                Some(own) => End::Failed(Failure { error: own.clone(), kind: error.kind() }),
                None => End::Cut(Cut::Elsewhere),
            },
        })
    }

    fn stop(&self) {
        self.cancel();
    }
}

pin_project! {
    /// What is spawned. It holds the work until the end, and then nothing.
    pub(crate) struct Work<J: Job> {
        #[pin]
        job: Option<J>,
        shared: Arc<Shared>,
        key: u32,
        // Only Tokio polls this, with the one waker that the task has for life: it is handed in once.
        registered: bool,
    }

    impl<J: Job> PinnedDrop for Work<J> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.job.is_some() {
                // Dropped by the runtime, or by a spawn that failed.
                let end = dispose(this.job.as_mut(), End::Cut(Cut::Shutdown));
                this.shared.settle(*this.key, end);
            }
        }
    }
}

/// Drops the work where it stands; a panic of that drop is how the work ended.
fn dispose<J: Job>(mut job: Pin<&mut Option<J>>, end: End<J::Value>) -> End<J::Value> {
    match contain(|| job.as_mut().set(None)) {
        Ok(()) => end,
        Err(panic) => {
            if let End::Value(value) = end {
                let _ = contain(|| drop(value));
            }
            End::Panicked(panic)
        }
    }
}

impl<J: Job> Work<J> {
    pub(crate) fn new(shared: Arc<Shared>, key: u32, job: J) -> Self {
        Self { job: Some(job), shared, key, registered: false }
    }
}

impl<J: Job> Future for Work<J> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let Some(mut job) = this.job.as_mut().as_pin_mut() else {
                return Poll::Ready(());
            };
            let order = this.shared.order_for(*this.key);
            let stopped = match order {
                Order::Run => false,
                // What it throws shows again when it is polled or dropped.
                Order::Stop => !contain(|| job.as_mut().goes_on()).unwrap_or(false),
                Order::Abort => true,
            };
            let end = if stopped {
                End::Stopped
            } else {
                match contain(|| job.poll_job(cx)) {
                    Ok(Poll::Ready(end)) => end,
                    Err(panic) => End::Panicked(panic),
                    Ok(Poll::Pending) if *this.registered => return Poll::Pending,
                    Ok(Poll::Pending) => {
                        *this.registered = true;
                        if this.shared.register(*this.key, cx.waker().clone()) == order {
                            return Poll::Pending;
                        }
                        // The order came before the waker did, and woke nobody.
                        continue;
                    }
                }
            };
            let end = dispose(this.job.as_mut(), end);
            this.shared.settle(*this.key, end);
            return Poll::Ready(());
        }
    }
}
