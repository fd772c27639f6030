//! Streams that run in a task of their own, a few items ahead of the consumer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use super::body::{Body, BoxBody, Step, guarded};
use super::feed::Given;
use super::link::LinkRef;
use super::shared::Shared;
use super::streamer::UNREAD;
use super::{going, leave};
use crate::ctx::Done;

/// How many items such a stream is ahead.
const AHEAD: usize = 16;

/// Spawns the task, with a context value for what its clean-up may fail with; gives the end that the consumer reads.
pub(crate) fn start<T, C>(
    shared: &Arc<Shared<T, C>>,
    link: &LinkRef,
    context: C,
    body: BoxBody<T>,
    end_at_first_error: bool,
) -> BoxBody<T>
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    let (steps, items) = mpsc::channel(AHEAD + 1);
    shared.running.count();
    let puller = Puller {
        counted: Counted { shared: Arc::clone(shared), _busy: shared.going.count(&shared.ctx, link) },
        steps: Some(steps),
        body: Some(body),
        end: None,
        ended: false,
        end_at_first_error,
        link: link.clone(),
        context: Some(context),
    };
    drop(crate::spawn::spawn(&shared.ctx, puller.run()));
    Box::pin(Ahead { items, link: link.clone(), shared: Arc::clone(shared), ended: false })
}

/// A step on its way to the consumer.
enum Sent<T: Send + 'static, C: Clone + Send + 'static> {
    Step(Step<T>),
    Kept(Kept<T, C>),
}

/// An error or a source, which is not just dropped where nobody fetches it.
struct Kept<T: Send + 'static, C: Clone + Send + 'static> {
    given: Option<Given<T>>,
    link: LinkRef,
    shared: Arc<Shared<T, C>>,
}

impl<T: Send + 'static, C: Clone + Send + 'static> Sent<T, C> {
    fn fetched(self) -> Step<T> {
        match self {
            Self::Step(step) => step,
            Self::Kept(mut kept) => kept.given.take().map_or(Step::End(None), Step::Item),
        }
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Drop for Kept<T, C> {
    fn drop(&mut self) {
        if let Some(given) = self.given.take() {
            leave::given(&self.shared, &self.link, given, None, UNREAD);
        }
    }
}

struct Counted<T, C> {
    shared: Arc<Shared<T, C>>,
    _busy: going::Counted,
}

impl<T, C> Drop for Counted<T, C> {
    fn drop(&mut self) {
        self.shared.running.uncount(&self.shared);
    }
}

struct Puller<T: Send + 'static, C: Clone + Send + 'static> {
    body: Option<BoxBody<T>>,
    steps: Option<mpsc::Sender<Sent<T, C>>>,
    end: Option<Step<T>>,
    ended: bool,
    end_at_first_error: bool,
    link: LinkRef,
    context: Option<C>,
    // The last one: all that it holds is gone before it is uncounted.
    counted: Counted<T, C>,
}

impl<T: Send + 'static, C: Clone + Send + 'static> Puller<T, C> {
    async fn run(mut self) {
        let shared = Arc::clone(&self.counted.shared);
        let Some(steps) = self.steps.take() else { return };
        let mut done = shared.ctx.done();
        // One place for the step, and one for the end that follows a panic at once.
        while let Some(places) = until(&mut done, steps.reserve_many(2)).await {
            let Ok(mut places) = places else { break };
            let Some(step) = until(&mut done, self.step(&shared, &steps)).await.flatten() else { break };
            if let Step::Item(Given::Error(error)) = &step
                && self.end_at_first_error
                && !self.ended
            {
                self.ended = true;
                self.end = Some(Step::End(Some(Arc::clone(error))));
            }
            let last = matches!(step, Step::End(_));
            for step in [Some(step), self.end.take()].into_iter().flatten() {
                if let Some(place) = places.next() {
                    place.send(self.sent(step));
                }
            }
            if last || self.ended {
                break;
            }
        }
        if let Some(body) = self.body.take() {
            leave::body(&shared, &self.link, body, self.context.take());
        }
        // What the consumer did not fetch before it dropped its end.
        shared.dispose(self.link.name.as_ref(), steps);
    }

    fn sent(&self, step: Step<T>) -> Sent<T, C> {
        match step {
            Step::Item(given @ (Given::Error(_) | Given::Source(_))) => Sent::Kept(Kept {
                given: Some(given),
                link: self.link.clone(),
                shared: Arc::clone(&self.counted.shared),
            }),
            step => Sent::Step(step),
        }
    }

    /// The next step, or nothing once the consumer has dropped its end.
    async fn step(&mut self, shared: &Shared<T, C>, steps: &mpsc::Sender<Sent<T, C>>) -> Option<Step<T>> {
        let Self { body, end, ended, .. } = self;
        let body = body.as_mut()?;
        let mut closed = std::pin::pin!(steps.closed());
        let mut resumed = std::pin::pin!(None);
        std::future::poll_fn(move |cx| {
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            // Nothing is taken from the stream while the breaker is set, also if it was asked before.
            while shared.breaker.is_set() {
                if resumed.is_none() {
                    // It is told of what comes from here on, and so the breaker is looked at again.
                    resumed.set(Some(shared.resumed.notified()));
                    continue;
                }
                if let Some(waiting) = resumed.as_mut().as_pin_mut() {
                    ready!(waiting.poll(cx));
                }
                resumed.set(None);
            }
            resumed.set(None);
            Poll::Ready(Some(match guarded(|| body.as_mut().step(cx)) {
                Ok(step) => ready!(step),
                Err(panic) => {
                    *ended = true;
                    *end = Some(Step::End(Some(Arc::clone(&panic))));
                    Step::Item(Given::Error(panic))
                }
            }))
        })
        .await
    }
}

/// Waits for `future`, or gives nothing once the context is complete.
async fn until<F: Future>(done: &mut Done, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        if Pin::new(&mut *done).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

impl<T: Send + 'static, C: Clone + Send + 'static> Drop for Puller<T, C> {
    fn drop(&mut self) {
        // Where the runtime is gone they are still there.
        let shared = &self.counted.shared;
        shared.dispose(self.link.name.as_ref(), self.body.take());
        shared.dispose(self.link.name.as_ref(), self.context.take());
    }
}

struct Ahead<T: Send + 'static, C: Clone + Send + 'static> {
    items: mpsc::Receiver<Sent<T, C>>,
    link: LinkRef,
    shared: Arc<Shared<T, C>>,
    ended: bool,
}

impl<T: Send + 'static, C: Clone + Send + 'static> Drop for Ahead<T, C> {
    fn drop(&mut self) {
        // One by one: the channel would not survive two that panic. Once it is closed no more than one can follow.
        self.items.close();
        while let Ok(sent) = self.items.try_recv() {
            self.shared.dispose(self.link.name.as_ref(), sent);
        }
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Body<T> for Ahead<T, C> {
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        let this = self.get_mut();
        let step = ready!(this.items.poll_recv(cx)).map(Sent::fetched);
        if step.is_none() && this.shared.ctx.is_done() {
            // It did not end: it was stopped, and so will be the manager.
            return Poll::Pending;
        }
        this.ended = matches!(step, None | Some(Step::End(_)));
        Poll::Ready(step.unwrap_or_else(|| Step::End(Some(Arc::new(super::running::RuntimeGone)))))
    }

    fn runs_elsewhere(&self) -> bool {
        true
    }

    fn taken(self: Pin<&mut Self>) -> Option<Step<T>> {
        let this = self.get_mut();
        if this.ended {
            return None;
        }
        let step = this.items.try_recv().ok().map(Sent::fetched);
        this.ended = matches!(step, Some(Step::End(_)));
        step
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Unpin for Ahead<T, C> {}
