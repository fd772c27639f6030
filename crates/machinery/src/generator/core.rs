//! What drives a body: resuming it, throwing into it, stopping it, and cutting it off.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::Thrown;
use super::errors::Kind;
use super::slot::{ANSWERED, Answer, ELSEWHERE, Entered, Link, Slot};
use crate::alarm::Alarm;
use crate::ctx::{Busy, Done};
use crate::tramp::Report;
use crate::{Ctx, CtxGuard, SharedError, time};

/// A body whose error is out of its wrappings.
pub(super) type Body = Pin<Box<dyn Future<Output = Result<(), SharedError>> + Send>>;

/// What came of letting the body go on.
pub(super) enum Resumed<Y> {
    /// An item, which is there to be taken.
    Item,
    /// An item, and the body has ended.
    Last(Y),
    Ended(Result<(), SharedError>),
}

/// A generator without the types that its consumer sees.
pub(super) struct Core<Y, S> {
    /// The body is there until it has ended, and the slot until it has ended or panicked.
    body: Option<Body>,
    link: Arc<Link<S>>,
    slot: Option<Box<Slot<Y, S>>>,
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
    pub(super) fn new(link: Arc<Link<S>>, body: Body, bound: Option<Box<Bound>>) -> Self {
        Self {
            body: Some(body),
            slot: Some(Box::new(Slot::new(Arc::clone(&link)))),
            link,
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
        Self {
            body: None,
            link: Link::new(),
            slot: None,
            started: true,
            outcome: None,
            unclaimed: None,
            stopping: true,
            exit: None,
            bound: None,
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.slot.is_none()
    }

    /// Whether there is nothing more to come, of items or of errors.
    pub(super) fn is_terminated(&self) -> bool {
        self.slot.is_none() && self.outcome.is_none()
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

    /// Whether it stands at a yield, and so can be answered.
    fn stands(&self) -> bool {
        self.slot.is_some() && self.link.state() != ELSEWHERE && !self.link.is_throw_pending()
    }

    /// Gives the value back where it does not stand at a yield.
    pub(super) fn answer(&mut self, value: S) -> Result<(), S> {
        if !self.stands() {
            return Err(value);
        }
        self.link.answer(Answer::Sent(value));
        Ok(())
    }

    /// Lets the body go on until it yields, ends or has to wait.
    #[inline(always)]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        if self.bound.is_some() || self.exit.is_some() {
            return self.poll_watched(cx);
        }
        self.poll_body(cx)
    }

    #[inline(never)]
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        loop {
            if let Some(bound) = &self.bound
                && !self.stopping
                && bound.guard.is_done()
            {
                self.pass_on_completion();
            }
            match self.poll_body(cx) {
                Poll::Ready(Resumed::Item) if self.exit.is_some() => {
                    drop(self.take_item());
                    // An item whose yield was dropped before the error came up is nobody's fault.
                    if !self.link.is_throw_pending() {
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
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        // The slot is put back only when there is more to do, so that a body that panics is over.
        let (Some(body), Some(mut slot)) = (&mut self.body, self.slot.take()) else {
            return Poll::Ready(self.already_over());
        };
        self.started = true;
        slot.resume(cx.waker());
        let entered = Entered::enter(slot);
        let polled = body.as_mut().poll(cx);
        let Some(slot) = entered.leave::<Y, S>() else {
            return Poll::Ready(Resumed::Ended(Err(self.cut(Kind::Misused))));
        };
        match polled {
            Poll::Pending => {
                let handed_over = slot.item.is_some();
                self.slot = Some(slot);
                if handed_over { Poll::Ready(Resumed::Item) } else { Poll::Pending }
            }
            Poll::Ready(result) => Poll::Ready(self.over(slot.item, result)),
        }
    }

    /// Takes the item that [`Resumed::Item`] speaks of.
    #[inline(always)]
    pub(super) fn take_item(&mut self) -> Option<Y> {
        self.slot.as_mut()?.item.take()
    }

    #[cold]
    #[inline(never)]
    fn already_over(&mut self) -> Resumed<Y> {
        Resumed::Ended(self.outcome.take().unwrap_or(Ok(())))
    }

    #[cold]
    #[inline(never)]
    fn over(&mut self, item: Option<Y>, result: Result<(), SharedError>) -> Resumed<Y> {
        self.drop_body();
        let unread = match self.link.state() {
            ANSWERED => self.link.take_answer(),
            _ => None,
        };
        let result = match unread {
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
        if self.slot.is_none() {
            return;
        }
        if let Some(completion) = self.bound.as_ref().and_then(|bound| bound.guard.completion()) {
            self.exit_with(Arc::new(completion));
        }
    }

    fn exit_with(&mut self, exit: SharedError) {
        self.begin_stop();
        if self.slot.is_some() && !self.link.is_throw_pending() {
            self.link.answer(Answer::Thrown(Thrown::new(exit.clone())));
        }
        self.exit = Some(exit);
    }

    /// From here on the grace runs. A body that is inside an await of its own is told through its context, or, without
    /// one, is over.
    pub(super) fn begin_stop(&mut self) {
        self.stopping = true;
        if !self.started || (self.bound.is_none() && !self.stands()) {
            self.drop_body();
            return;
        }
        let stands = self.stands();
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
        if self.slot.is_none() {
            return Err(error);
        }
        self.link.answer(Answer::Thrown(Thrown::new(error)));
        Ok(())
    }

    pub(super) async fn resumed(&mut self) -> Resumed<Y> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Has it end. It may be called again where it was dropped half-way.
    pub(super) async fn close(&mut self) -> Result<(), SharedError> {
        if self.slot.is_none() {
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
        let body = self.body.take();
        self.slot = None;
        self.started = true;
        drop(body);
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
