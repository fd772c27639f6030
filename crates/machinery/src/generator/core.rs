//! What drives a body: resuming it, throwing into it, stopping it, and cutting it off.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::Thrown;
use super::errors::Kind;
use super::frame::{ANSWERED, Answer, ELSEWHERE, ENDED, GONE, INSIDE, Rare, WATCHED};
use crate::alarm::Alarm;
use crate::contain::wake;
use crate::ctx::{Busy, Done};
use crate::tramp::Report;
use crate::{Ctx, CtxGuard, SharedError, time};

/// A body that knows the generator's id.
pub(super) trait Body<Y, S>: Send {
    /// Polls it, and gives what it yields, or `None` when it has ended.
    fn resume(self: Pin<&mut Self>, answered: bool, rare: &mut Rare<Y, S>, cx: &mut Context<'_>) -> Poll<Option<Y>>;
}

pub(super) type BoxedBody<Y, S> = Pin<Box<dyn Body<Y, S>>>;

/// In the place of a body that has ended; it takes no memory.
struct Gone;

impl<Y, S> Body<Y, S> for Gone {
    fn resume(self: Pin<&mut Self>, _: bool, _: &mut Rare<Y, S>, _: &mut Context<'_>) -> Poll<Option<Y>> {
        Poll::Ready(None)
    }
}

impl<Y, S> Rare<Y, S> {
    fn new() -> Self {
        Self { alerts: ELSEWHERE, answer: None, inside: None, result: None, last: None }
    }

    fn is_ended(&self) -> bool {
        self.alerts & ENDED != 0
    }

    /// Whether the body stands at a yield, and so can be answered.
    fn stands(&self) -> bool {
        self.alerts & (ELSEWHERE | GONE | ENDED) == 0 && !self.is_throw_pending()
    }

    fn is_throw_pending(&self) -> bool {
        matches!(self.answer, Some(Answer::Thrown(_)))
    }

    fn answer(&mut self, answer: Answer<S>) {
        self.alerts |= ANSWERED;
        let before = self.answer.replace(answer);
        drop(before);
    }

    /// Before the body is polled from wherever it is: whether it is answered.
    #[inline(always)]
    fn begin(&mut self, watched: bool, outside: &Waker) -> bool {
        if self.alerts & INSIDE != 0 {
            self.wake_inside(outside);
        }
        let alerts = mem::replace(&mut self.alerts, if watched { WATCHED } else { 0 });
        alerts & ANSWERED != 0
    }

    #[cold]
    #[inline(never)]
    fn wake_inside(&mut self, outside: &Waker) {
        if let Some(inside) = self.inside.take()
            && !inside.will_wake(outside)
        {
            wake(inside);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn finish(&mut self, result: Result<(), SharedError>, last: Option<Y>) {
        self.result = Some(result);
        self.last = last;
    }
}

/// Ends a generator whose body panics.
struct Unwinding<'a, Y, S>(&'a mut Rare<Y, S>);

impl<Y, S> Drop for Unwinding<'_, Y, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.alerts |= ENDED;
    }
}

/// What came of letting the body go on.
pub(super) enum Resumed<Y> {
    Item(Y),
    /// An item, and the body has ended.
    Last(Y),
    Ended(Result<(), SharedError>),
}

/// A generator without the types that its consumer sees.
pub(super) struct Core<Y, S> {
    /// Another one, of no size, once it has ended.
    body: BoxedBody<Y, S>,
    rare: Rare<Y, S>,
    started: bool,
    /// How the body ended, where that comes after an item.
    outcome: Option<Result<(), SharedError>>,
    /// An error that found nobody to take it.
    unclaimed: Option<SharedError>,
    /// Somebody stops it, so that its context's completion is no news.
    stopping: bool,
    /// The error that was thrown in for it to end: what it yields afterwards is not wanted.
    exit: Option<SharedError>,
    bound: Option<Box<Bound>>,
}

/// What a generator on a context has in addition.
pub(super) struct Bound {
    guard: CtxGuard,
    /// While the body lives it is work of the context.
    busy: Option<Busy>,
    grace: Duration,
    /// The end of the grace, once it has begun.
    deadline: Option<Instant>,
    alarm: Alarm,
    done: Done,
}

impl Bound {
    pub(super) fn new(guard: CtxGuard, grace: Duration) -> Self {
        Self { busy: Some(guard.busy()), deadline: None, alarm: Alarm::default(), done: guard.done(), guard, grace }
    }

    pub(super) fn ctx(&self) -> &Ctx {
        &self.guard
    }

    fn begin_grace(&mut self) {
        if self.deadline.is_none() {
            let now = time::now();
            // A grace beyond all time has no end that anybody could wait for.
            self.deadline = Some(now.checked_add(self.grace).unwrap_or(now + Duration::from_secs(u32::MAX.into())));
        }
    }
}

impl<Y, S> Core<Y, S>
where
    Y: Send + 'static,
    S: Send + 'static,
{
    pub(super) fn new(body: BoxedBody<Y, S>, bound: Option<Box<Bound>>) -> Self {
        Self {
            body,
            rare: Rare::new(),
            started: false,
            outcome: None,
            unclaimed: None,
            stopping: false,
            exit: None,
            bound,
        }
    }

    /// One that has ended, to leave in the place of one that is taken away.
    pub(super) fn ended() -> Self {
        let mut core = Self::new(Box::pin(Gone), None);
        core.drop_body();
        core
    }

    pub(super) fn is_finished(&self) -> bool {
        self.rare.is_ended()
    }

    /// Whether there is nothing more to come, of items or of errors.
    pub(super) fn is_terminated(&self) -> bool {
        self.is_finished() && self.outcome.is_none()
    }

    /// Whether an error has been thrown in for it to end.
    pub(super) fn is_exiting(&self) -> bool {
        self.exit.is_some()
    }

    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    pub(super) fn bound(&self) -> Option<&Bound> {
        self.bound.as_deref()
    }

    /// Keeps an error for whoever stops, closes or drops the generator.
    pub(super) fn keep(&mut self, error: SharedError) {
        self.unclaimed = Some(error);
    }

    /// How a body that has ended did so, where nobody has been told.
    pub(super) fn take_outcome(&mut self) -> Result<(), SharedError> {
        match self.unclaimed.take() {
            Some(error) => Err(error),
            None => self.outcome.take().unwrap_or(Ok(())),
        }
    }

    /// Gives the value back where it does not stand at a yield.
    pub(super) fn answer(&mut self, value: S) -> Result<(), S> {
        if !self.rare.stands() {
            return Err(value);
        }
        self.rare.answer(Answer::Sent(value));
        Ok(())
    }

    /// Whether the body stands at a yield, and may simply [`go on`](Self::go_on).
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.rare.alerts == 0
    }

    /// The same on a context that has not completed, or that has no news.
    #[inline(always)]
    pub(super) fn is_watched_and_ready(&self) -> bool {
        self.rare.alerts == WATCHED
            && self.exit.is_none()
            && self.bound.as_ref().is_some_and(|bound| self.stopping || !bound.guard.is_done())
    }

    /// After a poll in which the body has begun to wait, on a context.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        match ready!(self.poll_limits(cx)) {
            Ok(()) => self.poll(cx),
            Err(cut) => Poll::Ready(Resumed::Ended(Err(self.cut(cut)))),
        }
    }

    /// Lets the body go on. With `None` it has ended, and is [`over`](Self::over).
    #[inline(always)]
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<Option<Y>> {
        self.resume(false, cx)
    }

    #[inline(always)]
    fn resume(&mut self, answered: bool, cx: &mut Context<'_>) -> Poll<Option<Y>> {
        let unwinding = Unwinding(&mut self.rare);
        let polled = self.body.as_mut().resume(answered, unwinding.0, cx);
        mem::forget(unwinding);
        polled
    }

    /// Lets the body go on until it yields, ends or has to wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        if self.bound.is_none() && self.exit.is_none() {
            return self.poll_body(cx, false);
        }
        loop {
            if let Some(bound) = &self.bound
                && !self.stopping
                && bound.guard.is_done()
            {
                self.pass_on_completion();
            }
            match self.poll_body(cx, true) {
                Poll::Ready(Resumed::Item(item)) if self.exit.is_some() => {
                    drop(item);
                    // An item whose yield was dropped before the error came up is nobody's fault.
                    if !self.rare.is_throw_pending() {
                        return Poll::Ready(Resumed::Ended(Err(self.cut(Kind::WentOn))));
                    }
                }
                Poll::Ready(Resumed::Last(item)) if self.exit.is_some() => drop(item),
                Poll::Ready(Resumed::Ended(result)) => return Poll::Ready(Resumed::Ended(self.judge(result))),
                Poll::Ready(item) => return Poll::Ready(item),
                Poll::Pending => {
                    if let Err(cut) = ready!(self.poll_limits(cx)) {
                        return Poll::Ready(Resumed::Ended(Err(self.cut(cut))));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn poll_body(&mut self, cx: &mut Context<'_>, watched: bool) -> Poll<Resumed<Y>> {
        if self.is_finished() {
            return Poll::Ready(self.already_over());
        }
        self.started = true;
        let answered = self.rare.begin(watched, cx.waker());
        match ready!(self.resume(answered, cx)) {
            Some(item) => Poll::Ready(Resumed::Item(item)),
            None => Poll::Ready(self.over()),
        }
    }

    #[cold]
    #[inline(never)]
    fn already_over(&mut self) -> Resumed<Y> {
        Resumed::Ended(self.outcome.take().unwrap_or(Ok(())))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn over(&mut self) -> Resumed<Y> {
        let item = self.rare.last.take();
        self.drop_body();
        let result = self.rare.result.take().unwrap_or(Ok(()));
        let result = match self.rare.answer.take() {
            // It never came up: whoever threw it, or comes next, gets it back.
            Some(Answer::Thrown(thrown)) if result.is_ok() => Err(thrown.into_error()),
            _ => result,
        };
        match item {
            Some(item) => {
                self.outcome = Some(result);
                Resumed::Last(item)
            }
            None => Resumed::Ended(result),
        }
    }

    /// While the body waits: whether it has to be told or cut off.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Kind>> {
        let Some(bound) = &mut self.bound else {
            return Poll::Pending;
        };
        let Some(deadline) = bound.deadline else {
            return Pin::new(&mut bound.done).poll(cx).map(|_| Ok(()));
        };
        let now = time::now();
        if now >= deadline {
            return Poll::Ready(Err(Kind::Grace));
        }
        // Without a clock there is no grace.
        bound.alarm.poll(cx, now, deadline, &bound.guard).map_err(|_| Kind::Grace)
    }

    /// What was thrown in for the body to end is no error when it ends with it.
    fn judge(&self, result: Result<(), SharedError>) -> Result<(), SharedError> {
        match (result, &self.exit) {
            (Err(error), Some(exit)) if Arc::ptr_eq(&error, exit) => Ok(()),
            (result, _) => result,
        }
    }

    /// The context has completed: the body is told at its yield, and its grace begins.
    fn pass_on_completion(&mut self) {
        if self.is_finished() {
            return;
        }
        if let Some(completion) = self.bound.as_ref().and_then(|bound| bound.guard.completion()) {
            self.exit_with(Arc::new(completion));
        }
    }

    fn exit_with(&mut self, exit: SharedError) {
        self.begin_stop();
        if !self.is_finished() && !self.rare.is_throw_pending() {
            self.rare.answer(Answer::Thrown(Thrown::new(exit.clone())));
        }
        self.exit = Some(exit);
    }

    /// From here on the grace runs. A body that is inside an await of its own is told through its context, or, without
    /// one, is over.
    pub(super) fn begin_stop(&mut self) {
        self.stopping = true;
        let stands = self.rare.stands();
        if !self.started || (self.bound.is_none() && !stands) {
            self.drop_body();
            return;
        }
        if let Some(bound) = &mut self.bound {
            bound.begin_grace();
            if !stands {
                bound.guard.cancel_because("the generator is stopped");
            }
        }
    }

    /// Throws an error in; gives it back where nobody is there to take it.
    pub(super) fn throw(&mut self, error: SharedError) -> Result<(), SharedError> {
        if !self.started {
            self.drop_body();
        }
        if self.is_finished() {
            return Err(error);
        }
        self.rare.answer(Answer::Thrown(Thrown::new(error)));
        Ok(())
    }

    pub(super) async fn resumed(&mut self) -> Resumed<Y> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Has it end. It may be called again where it was dropped half-way.
    pub(super) async fn close(&mut self) -> Result<(), SharedError> {
        if self.is_finished() {
            return self.take_outcome();
        }
        if self.exit.is_none() {
            self.exit_with(Kind::Closed.into());
        }
        loop {
            if let Resumed::Ended(result) = self.resumed().await {
                return result;
            }
        }
    }

    fn cut(&mut self, kind: Kind) -> SharedError {
        self.drop_body();
        kind.into()
    }

    fn drop_body(&mut self) {
        self.rare.alerts |= ENDED;
        let inside = self.rare.inside.take();
        self.started = true;
        drop(mem::replace(&mut self.body, Box::pin(Gone)));
        drop(inside);
        self.let_go();
    }

    /// The body has ended: its context does too.
    fn let_go(&mut self) {
        if let Some(bound) = &mut self.bound {
            bound.alarm = Alarm::default();
            bound.guard.cancel_because("the generator has ended");
            bound.busy = None;
        }
    }

    /// Tells about an error that has nobody else to go to.
    pub(super) fn report(&self, what: &str, error: &SharedError) {
        match &self.bound {
            Some(bound) => Report::new(bound.ctx(), what).error(error).send(),
            None => {
                let _ = crate::contain::contain(|| tracing::error!("{what}: {error}"));
            }
        }
    }
}
