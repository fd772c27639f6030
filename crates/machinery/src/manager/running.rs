//! Futures and tasks: spawned as soon as they are fed, as far as the limit allows.
//!
//! Invariants:
//!
//! 1. `running` counts what has been spawned and has not ended; something waits only while `running` is at the limit, or above it through
//!    tasks that were running before they came here. Whatever ends starts the next one, so that the queue moves without the
//!    consumer.
//! 2. `live` counts what is spawned and what waits. It goes down after the result has been put in, and whoever takes it to zero rings
//!    the bell.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::body::{BoxBody, Closing, Step, guarded};
use super::feed::{Given, Sub};
use super::going::Counted;
use super::leave;
use super::link::LinkRef;
use super::shared::{Resume, Shared};
use super::sources::{QueueInput, Sources};
use crate::SharedError;
use crate::ctx::Done;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub(crate) struct Running<T, C> {
    limit: usize,
    live: AtomicUsize,
    state: Mutex<State<T, C>>,
}

struct State<T, C> {
    running: usize,
    waiting: VecDeque<Waiting<T, C>>,
}

pub(crate) struct Waiting<T, C> {
    run: Run<T, C>,
    resume: Option<Resume>,
}

/// The future that is spawned.
pub(crate) struct Run<T, C> {
    body: Option<BoxBody<T>>,
    context: Option<C>,
    link: LinkRef,
    shared: Arc<Shared<T, C>>,
    done: Option<Done>,
    busy: Option<Counted>,
    ending: bool,
}

// The body is pinned in its box, and nothing else in here is.
impl<T, C> Unpin for Run<T, C> {}

impl<T, C> Running<T, C> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, live: AtomicUsize::new(0), state: Mutex::new(State { running: 0, waiting: VecDeque::new() }) }
    }

    pub(crate) fn count(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn uncount(&self, shared: &Shared<T, C>) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.bell.ring();
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Drops what has not been started.
    pub(crate) fn drop_waiting(&self, shared: &Shared<T, C>) {
        loop {
            let waiting = std::mem::take(&mut self.state.lock().waiting);
            if waiting.is_empty() {
                return;
            }
            for mut one in waiting {
                one.run.drop_body();
                shared.dispose(one.run.link.name.as_ref(), one.run.context.take());
                drop(one);
                self.uncount(shared);
            }
        }
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Running<T, C> {
    /// Starts a future that has been counted already, or queues it; says whether it was started.
    ///
    /// `resume` goes on once a queued one is started. Without a context value it has no result.
    pub(crate) fn start(
        &self,
        shared: &Arc<Shared<T, C>>,
        mut sub: Sub<T>,
        parent: Option<Sources>,
        context: Option<C>,
        resume: Option<Resume>,
    ) -> bool {
        let is_task = sub.kind == QueueInput::Task;
        let run = Run {
            link: shared.link(&mut sub, parent),
            body: Some(sub.body),
            context,
            shared: Arc::clone(shared),
            done: None,
            busy: None,
            ending: false,
        };
        let run = {
            let mut state = self.state.lock();
            if state.running < self.limit || is_task {
                state.running += 1;
                run
            } else {
                state.waiting.push_back(Waiting { run, resume });
                return false;
            }
        };
        spawn(run);
        true
    }

    /// Called when something that was running has ended.
    fn start_next(&self, shared: &Arc<Shared<T, C>>) {
        let next = {
            let mut state = self.state.lock();
            let next = if state.running > self.limit {
                None
            } else if shared.depth_first {
                state.waiting.pop_back()
            } else {
                state.waiting.pop_front()
            };
            if next.is_none() {
                state.running -= 1;
            }
            next
        };
        if let Some(Waiting { run, resume }) = next {
            spawn(run);
            if let Some(resume) = resume {
                shared.bell.resume(resume);
            }
        }
    }
}

fn spawn<T: Send + 'static, C: Clone + Send + 'static>(mut run: Run<T, C>) {
    let shared = Arc::clone(&run.shared);
    run.busy = Some(shared.going.count(&shared.ctx, &run.link));
    // A context that has lost its runtime drops the future, and the drop says so.
    drop(crate::spawn::spawn(&shared.ctx, run));
}

impl<T, C> Run<T, C> {
    fn deliver_failed(&mut self, error: SharedError) {
        if let Some(context) = self.context.take() {
            self.shared.arrive_failed(&self.link, error, context);
        }
    }

    /// Stops a task, which may be on a runtime that goes on; says what it had failed with already.
    fn last_error(&mut self) -> Option<SharedError> {
        let body = self.body.as_mut().filter(|_| self.link.kind == QueueInput::Task)?;
        let step = guarded(|| {
            body.as_mut().stop();
            body.as_mut().step(&mut Context::from_waker(Waker::noop()))
        });
        match step {
            Ok(Poll::Ready(Step::Only(Given::Error(error)))) => Some(error),
            step => {
                self.shared.dispose(self.link.name.as_ref(), step);
                None
            }
        }
    }

    fn drop_body(&mut self) {
        if let Some(body) = self.body.take() {
            self.shared.dispose(self.link.name.as_ref(), body);
        }
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Run<T, C> {
    fn deliver(&mut self, given: Given<T>) {
        leave::arrive(&self.shared, &self.link, given, self.context.take());
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Future for Run<T, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.shared.ctx.is_done() && !this.ending {
                this.ending = true;
                let waits = this.body.as_mut().is_some_and(|body| guarded(|| body.as_mut().stop()).unwrap_or(false));
                if !waits {
                    this.drop_body();
                }
            }
            let Some(body) = this.body.as_mut() else { break };
            match guarded(|| body.as_mut().step(cx)) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(Step::Only(given) | Step::Item(given))) => {
                    this.drop_body();
                    this.deliver(given);
                    break;
                }
                Ok(Poll::Ready(Step::End(_))) => {
                    this.drop_body();
                    break;
                }
                Err(panic) => {
                    this.drop_body();
                    this.deliver(Given::Error(panic));
                    break;
                }
            }
            if this.ending {
                return Poll::Pending;
            }
            let done = this.done.get_or_insert_with(|| this.shared.ctx.done());
            if Pin::new(done).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        this.done = None;
        let shared = Arc::clone(&this.shared);
        if let Some(context) = this.context.take() {
            shared.dispose(this.link.name.as_ref(), context);
        }
        // The next one is counted below the context before this one is not any more: who waits for all of them sees no gap.
        shared.running.start_next(&shared);
        this.busy = None;
        shared.running.uncount(&shared);
        Poll::Ready(())
    }
}

impl<T, C> Drop for Run<T, C> {
    fn drop(&mut self) {
        // What has ended has given its body up; what was never spawned has no claim to be reported.
        if self.body.is_none() || self.busy.is_none() {
            return;
        }
        let failed = self.last_error();
        self.drop_body();
        if failed.is_some() || !self.shared.ctx.is_done() {
            self.deliver_failed(failed.unwrap_or_else(|| Arc::new(RuntimeGone)));
        }
        self.shared.dispose(self.link.name.as_ref(), self.context.take());
        // Starting the next one here would recurse once for each: on a runtime that is gone none of them can run.
        let waiting = {
            let mut state = self.shared.running.state.lock();
            state.running -= 1;
            std::mem::take(&mut state.waiting)
        };
        for mut one in waiting {
            one.run.drop_body();
            one.run.deliver_failed(Arc::new(RuntimeGone));
            if let Some(resume) = one.resume {
                self.shared.bell.resume(resume);
            }
            self.shared.running.uncount(&self.shared);
        }
        self.busy = None;
        self.shared.running.uncount(&self.shared);
    }
}

/// Runs the clean-up of a source in a task that is counted. Its error is reported if there is no context value for a result.
pub(crate) fn close<T, C>(shared: &Arc<Shared<T, C>>, link: &LinkRef, context: Option<C>, closing: Closing)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    shared.running.count();
    let closer = Closer {
        closing: Some(closing),
        link: link.clone(),
        context,
        shared: Arc::clone(shared),
        busy: Some(shared.going.count(&shared.ctx, link)),
    };
    // Without a runtime the clean-up is dropped, and what was to be cleaned up says so.
    drop(crate::spawn::spawn(&shared.ctx, closer));
}

struct Closer<T, C> {
    closing: Option<Closing>,
    link: LinkRef,
    context: Option<C>,
    shared: Arc<Shared<T, C>>,
    busy: Option<Counted>,
}

impl<T, C> Unpin for Closer<T, C> {}

impl<T: Send + 'static, C: Clone + Send + 'static> Future for Closer<T, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(closing) = &mut this.closing else { return Poll::Ready(()) };
        let ended = match guarded(|| closing.as_mut().poll(cx)) {
            Ok(ended) => ready!(ended),
            Err(panic) => Err(panic),
        };
        if let Err(error) = ended {
            leave::arrive(&this.shared, &this.link, Given::Error(error), this.context.take());
        }
        Poll::Ready(())
    }
}

impl<T, C> Drop for Closer<T, C> {
    fn drop(&mut self) {
        self.shared.dispose(self.link.name.as_ref(), self.closing.take());
        self.shared.dispose(self.link.name.as_ref(), self.context.take());
        self.busy = None;
        self.shared.running.uncount(&self.shared);
    }
}

/// The error of a source whose runtime went away before it had ended.
#[derive(Debug)]
pub(crate) struct RuntimeGone;

impl fmt::Display for RuntimeGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime was shut down before the source had ended")
    }
}

impl std::error::Error for RuntimeGone {}
