//! The side that results come out at.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use tokio::task::coop;

use super::QueueManagerResult;
use super::engine::{Engine, Turn, leave_entry, leave_source};
use super::shared::Shared;
use crate::ctx::Done;
use crate::event::EventWait;
use crate::{Ctx, CtxGuard, Event, SharedError};

/// What is reported of an error that was still queued when the stream was dropped.
pub(crate) const UNREAD: &str = "source failed and nobody read its failure";

/// How many turns without a result are taken before the task yields to the scheduler.
const TURNS: usize = 64;

/// The results of all sources of a manager, as one stream.
///
/// Sources are stepped while the stream is polled, one step of one source at a time and each in its turn: so a consumer that is slow to come
/// back slows iterators and streams down. Only what runs elsewhere (futures and tasks, blocking sources up to the buffer, and streams in a
/// task of their own up to a few items) goes on meanwhile.
///
/// The stream yields [`Stopped`](QueueManagerResult::Stopped) once. It is the last result if the manager ran out of sources. If the context
/// completed, it comes next, and what is queued follows; then the stream ends, after futures, tasks and generators have ended. The
/// end of a stream that was stopped by the [`breaker`](Self::breaker) is not final: it goes on once that is cleared.
///
/// # Fairness
///
/// Between two turns of one source, every other source that is ready has at most two. A value, or what a future ended with, takes
/// one turn; the results of blocking sources take as many in a round as there are sources that have left some.
/// The completion of the context is noticed before each result. The stream takes part in Tokio's cooperative scheduling: each result
/// counts, and after 64 turns without a result it lets other tasks run.
///
/// # Drop
///
/// The context of the manager is cancelled, sources are dropped and tasks cancelled; it waits for nothing, and whoever waits for the context
/// waits for it. Errors that were queued are reported through the context's `Tramp`. Values that were queued are dropped;
/// [`remaining`](Self::remaining) takes them.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, QueueManagerResult as Fed, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("streaming");
/// let (feeder, mut results) = queue_manager(&root).build();
/// feeder.add_iter("endless", 0_u64..);
/// let mut values = Vec::new();
/// while let Some(result) = results.next().await {
///     match result {
///         Fed::Success { value, .. } if value == 3 => drop(root.cancel_because("enough")),
///         Fed::Success { value, .. } => values.push(value),
///         Fed::Stopped { exception } => assert!(exception.unwrap().to_string().contains("enough")),
///         _ => {}
///     }
/// }
/// assert_eq!(values, [0, 1, 2]);
/// # });
/// ```
pub struct Streamer<T: Send + 'static, C: Clone + Send + 'static = ()> {
    shared: Arc<Shared<T, C>>,
    engine: Engine<T, C>,
    guard: CtxGuard,
    ring: Waker,
    done: Option<Done>,
    broken: Option<EventWait>,
    state: State,
    /// How often the breaker had been set when sources last went on.
    breaks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Sources take turns.
    Running,
    /// The context is complete: what is queued is yielded, and what still runs is waited for.
    Stopping,
    Ended,
}

// Nothing that is pinned lies in it but in boxes.
impl<T: Send + 'static, C: Clone + Send + 'static> Unpin for Streamer<T, C> {}

impl<T: Send + 'static, C: Clone + Send + 'static> Streamer<T, C> {
    pub(crate) fn new(shared: Arc<Shared<T, C>>, guard: CtxGuard) -> Self {
        let ring = Waker::from(Arc::clone(&shared.bell));
        Self { shared, engine: Engine::new(), guard, ring, done: None, broken: None, state: State::Running, breaks: 0 }
    }

    /// The next result, or nothing once the stream has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call loses nothing.
    #[expect(clippy::should_implement_trait, reason = "it is the name that streams have for it")]
    pub fn next(&mut self) -> Next<'_, T, C> {
        Next { streamer: self }
    }

    /// Takes what is left, without waiting and without a further step of any source.
    ///
    /// That is what was taken from its source and has not been yielded: plain values, what futures and tasks have ended with, what blocking
    /// sources and streams in tasks of their own are ahead, and iteration stops that are due.
    pub fn remaining(&mut self) -> Vec<QueueManagerResult<T, C>> {
        self.engine.take_queued(&self.shared, self.state != State::Running);
        self.engine.queued.drain(..).collect()
    }

    /// While it is set no source takes a further step: what is queued is yielded, then the stream ends.
    ///
    /// Once it is cleared, the stream can be polled again and goes on where it was.
    #[must_use]
    pub fn breaker(&self) -> &Event {
        &self.shared.breaker
    }

    /// The context of the manager.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.shared.ctx
    }

    #[inline]
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<QueueManagerResult<T, C>>> {
        match self.state {
            State::Running => {
                if self.shared.ctx.is_done() {
                    return Poll::Ready(Some(self.stop()));
                }
                // Asked for first: a breaker that is set after that is noticed the next time.
                let breaks = self.shared.breaker.times_set();
                if self.shared.breaker.is_set() {
                    return Poll::Ready(self.next_while_broken());
                }
                if self.breaks != breaks {
                    self.breaks = breaks;
                    self.resume();
                }
                if let Some(result) = self.engine.queued.pop_front() {
                    return Poll::Ready(Some(result));
                }
                self.poll_running(cx)
            }
            State::Stopping => self.poll_stopping(cx),
            State::Ended => Poll::Ready(None),
        }
    }

    #[inline]
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Option<QueueManagerResult<T, C>>> {
        for _ in 0..TURNS {
            match self.engine.turn(&self.shared) {
                Some(Turn::Yield(result)) => return Poll::Ready(Some(result)),
                // The source may have seen to it itself.
                Some(Turn::Nothing) if self.is_interrupted() => break,
                Some(Turn::Nothing) => {}
                None => {
                    // What blocking sources have left without a call is left to gather.
                    if self.shared.bell.has_news() {
                        continue;
                    }
                    if self.has_finished() {
                        self.state = State::Ended;
                        self.shared.bell.leave();
                        return Poll::Ready(Some(QueueManagerResult::Stopped { exception: None }));
                    }
                    if !self.watch() || self.is_interrupted() {
                        break;
                    }
                    if self.shared.bell.sleep(cx.waker()) {
                        return Poll::Pending;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the context is complete, or the breaker has been set since sources last went on.
    fn is_interrupted(&self) -> bool {
        self.shared.ctx.is_done() || self.shared.breaker.times_set() != self.breaks
    }

    /// Sees to it that completion and breaker ring the bell; says `false` if one of them is there already.
    fn watch(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.ring);
        if self.done.is_none() {
            let mut done = self.shared.ctx.done();
            if Pin::new(&mut done).poll(&mut cx).is_ready() {
                return false;
            }
            self.done = Some(done);
        }
        // One that was set and cleared again has called, and would not call a second time.
        let broken = self.broken.get_or_insert_with(|| self.shared.breaker.wait());
        if Pin::new(broken).poll(&mut cx).is_ready() {
            self.broken = None;
            return false;
        }
        true
    }

    /// Whether all sources are exhausted and none will come; closes the inbox if so.
    fn has_finished(&mut self) -> bool {
        if !self.shared.is_finished() || !self.engine.is_out() || !self.is_idle() {
            return false;
        }
        self.close()
    }

    /// Whether nothing runs elsewhere.
    fn is_idle(&self) -> bool {
        self.shared.running.live() == 0 && self.shared.lane.live() == 0
    }

    /// Closes the inbox, if it is empty still.
    fn close(&self) -> bool {
        // What a worker has left is seen here, as it was left before the source was uncounted.
        if self.shared.bell.has_news() || self.shared.lane.pulse().has_left() {
            return false;
        }
        let mut inbox = self.shared.inbox.lock();
        if !inbox.entries.is_empty() || self.shared.running.live() != 0 {
            return false;
        }
        inbox.closed = true;
        true
    }

    fn next_while_broken(&mut self) -> Option<QueueManagerResult<T, C>> {
        // It has rung, and has to be made anew for the next time.
        self.broken = None;
        if self.engine.queued.is_empty() {
            self.engine.take_queued(&self.shared, false);
        }
        self.engine.queued.pop_front()
    }

    fn resume(&mut self) {
        self.shared.resumed.notify_waiters();
        self.shared.lane.kick(&self.shared);
    }

    /// The context is complete: sources are dropped, and what was taken from them stays queued.
    fn stop(&mut self) -> QueueManagerResult<T, C> {
        self.state = State::Stopping;
        self.done = None;
        self.broken = None;
        self.engine.take_queued(&self.shared, true);
        self.engine.drop_sources(&self.shared, true);
        self.shared.resumed.notify_waiters();
        let exception = self.shared.ctx.completion().map(|completion| Arc::new(completion.let_go()) as SharedError);
        QueueManagerResult::Stopped { exception }
    }

    fn poll_stopping(&mut self, cx: &mut Context<'_>) -> Poll<Option<QueueManagerResult<T, C>>> {
        loop {
            if let Some(result) = self.engine.queued.pop_front() {
                return Poll::Ready(Some(result));
            }
            // Asked for before all is taken: what a stream in a task of its own was ahead at its end is there by then.
            let was_idle = self.is_idle();
            self.engine.take_queued(&self.shared, true);
            self.shared.lane.drop_waiting(&self.shared);
            if !self.engine.queued.is_empty() {
                continue;
            }
            // Asked for once all calls are collected: the one that tells of the end of what runs now is still to come.
            if !self.is_idle() {
                if self.shared.bell.sleep(cx.waker()) {
                    return Poll::Pending;
                }
            } else if was_idle && self.close() {
                self.state = State::Ended;
                self.engine.drop_sources(&self.shared, false);
                self.shared.bell.leave();
                return Poll::Ready(None);
            }
        }
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Stream for Streamer<T, C> {
    type Item = QueueManagerResult<T, C>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let budget = ready!(coop::poll_proceed(cx));
        let result = self.poll_result(cx);
        if result.is_ready() {
            budget.made_progress();
        }
        result
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Drop for Streamer<T, C> {
    fn drop(&mut self) {
        // Whoever waits for the context on another thread waits for these drops, and for the clean-up that they begin.
        let _busy = self.shared.ctx.busy();
        if self.state != State::Ended {
            self.guard.cancel_as_made("its stream of results was dropped");
        }
        self.engine.take_queued(&self.shared, true);
        self.engine.drop_sources(&self.shared, false);
        let (late, values, fresh) = {
            let mut inbox = self.shared.inbox.lock();
            inbox.closed = true;
            (std::mem::take(&mut inbox.entries), std::mem::take(&mut inbox.values), std::mem::take(&mut inbox.fresh))
        };
        for entry in late {
            leave_entry(&self.shared, entry);
        }
        for (value, context) in values {
            self.shared.dispose(None, value);
            self.shared.dispose(None, context);
        }
        for source in fresh {
            leave_source(&self.shared, source);
        }
        self.shared.bell.close();
        self.shared.lane.discard(&self.shared);
        for result in self.engine.queued.drain(..) {
            dispose(&self.shared, result);
        }
    }
}

/// Drops a result that nobody has read.
fn dispose<T, C>(shared: &Shared<T, C>, result: QueueManagerResult<T, C>) {
    match result {
        QueueManagerResult::Success { sources, value, context } => {
            let name = sources.nearest().name();
            shared.dispose(name, value);
            shared.dispose(name, context);
        }
        QueueManagerResult::Failure { sources, exception, context } => {
            shared.report(UNREAD, &sources, Some(&exception));
            let name = sources.nearest().name();
            shared.dispose(name, exception);
            shared.dispose(name, context);
        }
        QueueManagerResult::IterationStop { sources, exception, context } => {
            let name = sources.nearest().name();
            shared.dispose(name, exception);
            shared.dispose(name, context);
        }
        QueueManagerResult::Stopped { .. } => {}
    }
}

/// What the stream may be waiting for: how many feeders there are, whether it may stop without them, and how many futures
/// and tasks, blocking sources, and open iterators and streams it has.
impl<T: Send + 'static, C: Clone + Send + 'static> fmt::Debug for Streamer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Streamer");
        self.shared.describe(&mut shown);
        shown.field("open", &self.engine.how_many_open()).finish_non_exhaustive()
    }
}

/// The future of [`Streamer::next`].
///
/// # Cancel safety
///
/// Dropping it loses nothing.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("next");
/// let (feeder, mut results) = queue_manager(&root).build();
/// feeder.add_value("only", 1);
/// assert_eq!(results.next().await.unwrap().into_value(), Some(1));
/// # });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Next<'a, T: Send + 'static, C: Clone + Send + 'static> {
    streamer: &'a mut Streamer<T, C>,
}

impl<T: Send + 'static, C: Clone + Send + 'static> Future for Next<'_, T, C> {
    type Output = Option<QueueManagerResult<T, C>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.streamer).poll_next(cx)
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> fmt::Debug for Next<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("streamer", &self.streamer).finish()
    }
}
