//! Keeping hold of a thing until its finish is over, whoever drops what.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{AsyncExit, Ended};
use crate::error::{PanicError, drop_payload, share};
use crate::tramp::Report;
use crate::{Ctx, Name, SharedError, time};

type Finish = Pin<Box<dyn Future<Output = Result<(), SharedError>> + Send>>;

/// A thing whose finish has not begun. Dropped, it hands the finish to the context.
pub(super) struct Guarded<R: AsyncExit> {
    ctx: Ctx,
    name: Name,
    thing: Option<R>,
}

impl<R: AsyncExit> Guarded<R> {
    pub(super) fn new(ctx: &Ctx, name: Name, thing: R) -> Self {
        Self { ctx: ctx.clone(), name, thing: Some(thing) }
    }

    pub(super) fn thing(&mut self) -> &mut R {
        self.thing.as_mut().expect("taken by `finish` and by the drop alone")
    }

    pub(super) fn finish(mut self, ended: Ended) -> Finishing {
        let thing = self.thing.take().expect("taken by `finish` and by the drop alone");
        Finishing::new(&self.ctx, &self.name, thing, ended)
    }
}

impl<R: AsyncExit> Drop for Guarded<R> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            drop(Finishing::new(&self.ctx, &self.name, thing, Ended::Dropped));
        }
    }
}

/// A finish under way. Dropped before it is over, it goes on as a task of the context.
pub(super) struct Finishing {
    ctx: Ctx,
    name: Name,
    finish: Option<Finish>,
}

impl Finishing {
    fn new<R: AsyncExit>(ctx: &Ctx, name: &Name, thing: R, ended: Ended) -> Self {
        let finish = async move { thing.finish(ended).await.map_err(share) };
        Self { ctx: ctx.clone(), name: name.clone(), finish: Some(Box::pin(finish)) }
    }

    /// For when there is an error to return already: that of the finish is reported. So is the one to return where this
    /// is dropped, as then nobody gets it.
    pub(super) async fn unreturned(self, error: SharedError) {
        let mut held = Held { ctx: self.ctx.clone(), name: self.name.clone(), error: Some(error) };
        let ended = caught(self).await;
        held.error = None;
        report_failure(&held.ctx, &held.name, ended);
    }

    fn hand_over(&self, finish: Finish) {
        let left = Left { ctx: self.ctx.clone(), name: self.name.clone(), over: false };
        match self.ctx.runtime() {
            Ok(_) => {
                let busy = self.ctx.busy_named("the finish of", &self.name, None, time::now());
                let going_on = async move {
                    left.run(finish).await;
                    drop(busy);
                };
                drop(crate::spawn::spawn(&self.ctx, going_on));
            }
            Err(no_runtime) => left.give_up(&(Arc::new(no_runtime) as SharedError)),
        }
    }
}

impl Future for Finishing {
    type Output = Result<(), SharedError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(finish) = &mut self.finish else {
            return Poll::Ready(Ok(()));
        };
        match catch_unwind(AssertUnwindSafe(|| finish.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                self.finish = None;
                Poll::Ready(result)
            }
            Err(payload) => {
                // It is over: there is nothing left to hand to the context.
                self.finish = None;
                resume_unwind(payload)
            }
        }
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        if let Some(finish) = self.finish.take() {
            self.hand_over(finish);
        }
    }
}

/// An error that is to be returned once finish is over.
struct Held {
    ctx: Ctx,
    name: Name,
    error: Option<SharedError>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            Report::new(&self.ctx, "dropped half-way, with an error that nobody read")
                .task(&self.name)
                .error(&error)
                .send();
        }
    }
}

/// A finish that the context runs, or has no way to run.
struct Left {
    ctx: Ctx,
    name: Name,
    over: bool,
}

impl Left {
    async fn run(mut self, finish: Finish) {
        let ended = caught(finish).await;
        self.over = true;
        report_failure(&self.ctx, &self.name, ended);
    }

    fn give_up(mut self, why: &SharedError) {
        self.over = true;
        self.report().error(why).send();
    }

    fn report(&self) -> Report<'_> {
        Report::new(&self.ctx, "dropped half-way, and finish did not run to its end").task(&self.name)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if !self.over {
            self.report().send();
        }
    }
}

fn report_failure(ctx: &Ctx, name: &Name, ended: Result<Result<(), SharedError>, Caught>) {
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => panic.error(),
    };
    Report::new(ctx, "finish failed").task(name).error(&error).send();
}

/// A panic of the user's, kept until finish is over.
pub(super) struct Caught {
    /// Until it goes on.
    payload: Option<Box<dyn Any + Send>>,
    error: SharedError,
}

impl Caught {
    pub(super) fn error(&self) -> SharedError {
        self.error.clone()
    }

    pub(super) fn resume(mut self) -> ! {
        resume_unwind(self.payload.take().expect("taken here and by the drop alone"))
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.take() {
            drop_payload(payload);
        }
    }
}

/// Runs `future` to its end, or to its panic.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Caught> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => {
            let error = Arc::new(PanicError::of(&*payload));
            Poll::Ready(Err(Caught { payload: Some(payload), error }))
        }
    })
    .await
}
