//! Work with a context whose clean-up has a limit of its own.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::Outcome;
use super::error::Cut;
use super::work::{End, Job};
use crate::ctx::Done;
use crate::{Ctx, CtxGuard, CtxOptions, Name, Report};

/// A span of time that begins when a context completes. Without a clock it never ends.
pub(crate) struct Grace {
    length: Duration,
    told: Option<Done>,
    timer: Option<(CtxGuard, Done)>,
}

impl Grace {
    pub(crate) fn after(ctx: &Ctx, length: Duration) -> Self {
        Self { length, told: Some(ctx.done()), timer: None }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// Whether it is over.
    pub(crate) fn poll_over(&mut self, ctx: &Ctx, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(told) = &mut self.told {
            let Poll::Ready(completion) = Pin::new(told).poll(cx) else {
                return Poll::Pending;
            };
            self.told = None;
            let mut options = CtxOptions::new();
            // One that is too long to be told is no limit.
            if let Some(end) = completion.at().checked_add(self.length) {
                options = options.deadline(end);
            }
            match ctx.detached_with("grace", options) {
                Ok(guard) => {
                    let done = guard.done();
                    self.timer = Some((guard, done));
                }
                Err(_) => Report::new(ctx, "a grace is not kept, as there is no clock").send(),
            }
        }
        match &mut self.timer {
            Some((_, done)) => Pin::new(done).poll(cx).map(drop),
            None => Poll::Pending,
        }
    }
}

pin_project! {
    pub(crate) struct Graced<F> {
        #[pin]
        pub(crate) future: F,
        pub(crate) ctx: Ctx,
        pub(crate) grace: Grace,
        pub(crate) name: Name,
        pub(crate) location: &'static Location<'static>,
    }
}

impl<F> Job for Graced<F>
where
    F: Future,
    F::Output: Outcome,
{
    type Value = <F::Output as Outcome>::Value;

    fn poll_job(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<Self::Value>> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(End::of(output.into_outcome()));
        }
        if this.grace.poll_over(this.ctx, cx).is_pending() {
            return Poll::Pending;
        }
        let (grace, at) = (this.grace.length(), this.location);
        let what = format!("a task, spawned at {at}, has not stopped within its grace of {grace:?}: it is aborted");
        Report::new(this.ctx, &what).task(this.name).at(at).send();
        Poll::Ready(End::Cut(Cut::Grace))
    }

    fn goes_on(self: Pin<&mut Self>) -> bool {
        true
    }
}
