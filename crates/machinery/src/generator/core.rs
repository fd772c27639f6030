//! What drives a body: resuming it, throwing into it, stopping it, and cutting it off.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::Thrown;
use super::errors::Kind;
use super::head::{End, Head};
use crate::alarm::Alarm;
use crate::ctx::{Busy, Done};
use crate::task::error::is_echo;
use crate::tramp::Report;
use crate::{Ctx, CtxGuard, SharedError, time};

/// A body with its head.
pub(super) trait Body<Y, S>: Send {
    /// Lets it go on, and gives what it yields; `None` when it has ended, or when there is more to look at before.
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Y>>;

    /// None once it is gone.
    fn head(&self) -> Option<&Head<Y, S>>;

    fn head_mut(self: Pin<&mut Self>) -> Option<&mut Head<Y, S>>;
}

pub(super) type BoxedBody<Y, S> = Pin<Box<dyn Body<Y, S>>>;

/// In the place of a body that has ended; it takes no memory.
struct Gone;

impl<Y, S> Body<Y, S> for Gone {
    fn resume(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Y>> {
        Poll::Ready(None)
    }

    fn head(&self) -> Option<&Head<Y, S>> {
        None
    }

    fn head_mut(self: Pin<&mut Self>) -> Option<&mut Head<Y, S>> {
        None
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
    /// It is on a context, or exits.
    is_watched: bool,
    /// How the body ended, where that comes after an item.
    outcome: Option<Result<(), SharedError>>,
    /// An error that found nobody to take it.
    unclaimed: Option<SharedError>,
    /// Somebody stops it, so that its context's completion is no news.
    stopping: bool,
    /// The error that was thrown in for it to end: what it yields afterwards is not wanted.
    exit: Option<SharedError>,
    /// That is still to be thrown in, as another error was to come up before.
    exit_waits: bool,
    bound: Option<Box<Bound>>,
}

/// What a generator on a context has in addition.
pub(super) struct Bound {
    guard: CtxGuard,
    /// Once the body has begun, and while it lives, it is work of the context.
    busy: Option<Busy>,
    grace: Duration,
    /// The end of the grace, once it has begun.
    deadline: Option<Instant>,
    alarm: Alarm,
    done: Done,
    /// The body has ended, and nothing had completed its context before.
    ended_first: bool,
}

impl Bound {
    pub(super) fn new(guard: CtxGuard, grace: Duration) -> Self {
        Self {
            busy: None,
            deadline: None,
            alarm: Alarm::default(),
            done: guard.done(),
            guard,
            grace,
            ended_first: false,
        }
    }

    pub(super) fn ctx(&self) -> &Ctx {
        &self.guard
    }

    /// Whether `error` only says that the context had completed under the body.
    fn has_told(&self, error: &SharedError) -> bool {
        !self.ended_first && self.guard.is_done() && is_echo(error, &|| self.guard.completion())
    }

    fn begin_grace(&mut self) {
        if self.deadline.is_none() {
            let now = time::now();
            // A grace beyond all time has no end that anybody could wait for.
            self.deadline = Some(now.checked_add(self.grace).unwrap_or(now + Duration::from_secs(u32::MAX.into())));
        }
    }
}

/// Lets the context go when this is dropped, also where the body panics.
struct Ending<'a>(&'a mut Option<Box<Bound>>);

impl Drop for Ending<'_> {
    /// The body has ended: its context does too.
    fn drop(&mut self) {
        if let Some(bound) = self.0 {
            bound.alarm = Alarm::default();
            bound.ended_first |= bound.guard.cancel_as_made("the generator has ended");
            bound.busy = None;
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
            is_watched: bound.is_some(),
            outcome: None,
            unclaimed: None,
            stopping: false,
            exit: None,
            exit_waits: false,
            bound,
        }
    }

    fn head(&self) -> Option<&Head<Y, S>> {
        self.body.head()
    }

    fn head_mut(&mut self) -> Option<&mut Head<Y, S>> {
        self.body.as_mut().head_mut()
    }

    /// One that has ended, to leave in the place of one that is taken away.
    pub(super) fn ended() -> Self {
        Self::new(Box::pin(Gone), None)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.head().is_none_or(Head::is_ended)
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
        self.head().is_none_or(Head::is_started)
    }

    fn is_throw_pending(&self) -> bool {
        self.head().is_some_and(Head::is_throw_pending)
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
            None => {
                let outcome = self.outcome.take().unwrap_or(Ok(()));
                self.judge(outcome)
            }
        }
    }

    /// Gives the value back where it does not stand at a yield.
    pub(super) fn answer(&mut self, value: S) -> Result<(), S> {
        match self.head_mut() {
            Some(head) => head.send(value),
            None => Err(value),
        }
    }

    /// Whether there is more to look after than the body.
    #[inline(always)]
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Whether there is nothing more to look after after all: the context has not completed, or that is no news.
    #[inline]
    pub(super) fn is_undisturbed(&self) -> bool {
        self.exit.is_none() && !self.has_news()
    }

    /// Whether the context has completed, and not because somebody stops the generator.
    #[inline]
    fn has_news(&self) -> bool {
        !self.stopping && self.bound.as_ref().is_some_and(|bound| bound.guard.is_done())
    }

    /// Lets the body go on. With `None` it has ended, or there is more to [look at](Self::poll).
    #[inline(always)]
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<Option<Y>> {
        self.body.as_mut().resume(cx)
    }

    /// The same on a context, which is let go where the body panics.
    #[inline(always)]
    pub(super) fn go_on_bound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Y>> {
        let ending = Ending(&mut self.bound);
        let polled = self.body.as_mut().resume(cx);
        mem::forget(ending);
        polled
    }

    /// After a poll in which the body has begun to wait.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        match task::ready!(self.poll_limits(cx)) {
            Ok(()) => self.poll(cx),
            Err(cut) => Poll::Ready(Resumed::Ended(Err(self.cut(cut)))),
        }
    }

    /// Lets the body go on until it yields, ends or has to wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        if !self.is_watched() {
            return self.poll_body(cx);
        }
        self.begin_work();
        loop {
            if self.has_news() {
                self.pass_on_completion();
            }
            match self.poll_body(cx) {
                Poll::Ready(Resumed::Item(item)) if self.exit.is_some() => {
                    drop(item);
                    // An item whose yield was dropped before the error came up is nobody's fault.
                    if !self.is_throw_pending() && !self.throw_exit() {
                        return Poll::Ready(Resumed::Ended(Err(self.cut(Kind::WentOn))));
                    }
                }
                Poll::Ready(Resumed::Last(item)) if self.exit.is_some() => drop(item),
                Poll::Ready(Resumed::Ended(result)) => return Poll::Ready(Resumed::Ended(self.judge(result))),
                Poll::Ready(item) => return Poll::Ready(item),
                Poll::Pending => {
                    if let Err(cut) = task::ready!(self.poll_limits(cx)) {
                        return Poll::Ready(Resumed::Ended(Err(self.cut(cut))));
                    }
                }
            }
        }
    }

    /// A body that goes on is work of the context. It is counted before the completion is looked for: so none begins below a
    /// context that has drained.
    fn begin_work(&mut self) {
        if !self.is_finished()
            && let Some(bound) = &mut self.bound
        {
            bound.busy.get_or_insert_with(|| bound.guard.busy());
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Resumed<Y>> {
        let Some(head) = self.head_mut() else {
            return Poll::Ready(Resumed::Ended(self.outcome.take().unwrap_or(Ok(()))));
        };
        if head.is_ended() {
            return Poll::Ready(self.over());
        }
        head.begin(cx.waker());
        match task::ready!(self.go_on_bound(cx)) {
            Some(item) => Poll::Ready(Resumed::Item(item)),
            None => Poll::Ready(self.over()),
        }
    }

    fn over(&mut self) -> Resumed<Y> {
        let last = self.head_mut().map(Head::end).and_then(|End { result, last }| {
            self.outcome = Some(result);
            last
        });
        // Where this panics the outcome is there for whoever comes next.
        self.drop_body();
        match last {
            Some(item) => Resumed::Last(item),
            None => Resumed::Ended(self.outcome.take().unwrap_or(Ok(()))),
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
        bound.alarm.follow(&bound.guard);
        // Without a clock there is no grace.
        bound.alarm.poll(cx, now, deadline, &bound.guard).map_err(|_| Kind::Grace)
    }

    /// What was thrown in for the body to end is no error when it ends with it, nor is the completion that told it inside an
    /// await of its own.
    fn judge(&self, result: Result<(), SharedError>) -> Result<(), SharedError> {
        match (result, &self.exit) {
            (Err(error), Some(exit)) if Arc::ptr_eq(&error, exit) => Ok(()),
            (Err(error), Some(_)) if self.bound.as_ref().is_some_and(|bound| bound.has_told(&error)) => Ok(()),
            (result, _) => result,
        }
    }

    /// The context has completed: the body is told at its yield, and its grace begins.
    fn pass_on_completion(&mut self) {
        if self.is_finished() {
            return;
        }
        if let Some(completion) = self.bound.as_ref().and_then(|bound| bound.guard.completion()) {
            self.exit_with(Arc::new(completion.let_go()));
        }
    }

    fn exit_with(&mut self, exit: SharedError) {
        self.begin_stop();
        self.exit = Some(exit);
        self.exit_waits = !self.is_finished();
        if !self.is_throw_pending() {
            self.throw_exit();
        }
        self.is_watched = true;
    }

    /// Whether it has not been thrown in before.
    fn throw_exit(&mut self) -> bool {
        let waits = mem::take(&mut self.exit_waits);
        if waits
            && let Some(exit) = self.exit.clone()
            && let Some(head) = self.head_mut()
        {
            head.throw(Thrown::new(exit));
        }
        waits
    }

    /// From here on the grace runs. A body that is inside an await of its own is told through its context, or, without
    /// one, is over.
    pub(super) fn begin_stop(&mut self) {
        self.stopping = true;
        let stands = self.head().is_some_and(Head::stands);
        if !self.is_started() || (self.bound.is_none() && !stands) {
            self.drop_body();
            return;
        }
        if let Some(bound) = &mut self.bound {
            bound.begin_grace();
            if !stands {
                bound.guard.cancel_as_made("the generator is stopped");
            }
        }
    }

    /// Throws an error in; gives it back where nobody is there to take it.
    pub(super) fn throw(&mut self, error: SharedError) -> Result<(), SharedError> {
        if !self.is_started() {
            self.drop_body();
        }
        match self.head_mut().filter(|head| !head.is_ended()) {
            Some(head) => {
                head.throw(Thrown::new(error));
                Ok(())
            }
            None => Err(error),
        }
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
        let body = mem::replace(&mut self.body, Box::pin(Gone));
        let _ending = Ending(&mut self.bound);
        drop(body);
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
