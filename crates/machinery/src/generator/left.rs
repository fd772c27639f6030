//! What is left of a generator on a context when it is dropped half-way.

use std::sync::Arc;

use super::core::Core;
use crate::contain::contain;
use crate::ctx::Busy;
use crate::error::panic_error;
use crate::tramp::Report;
use crate::{Ctx, SharedError, spawn};

/// Has the context run the clean-up as a task, or says that nobody does.
pub(super) fn hand_over<Y, S>(ctx: &Ctx, core: Core<Y, S>)
where
    Y: Send + 'static,
    S: Send + 'static,
{
    let left = Left { core: Some(core), busy: Some(ctx.busy()), ctx: ctx.clone() };
    if let Err(no_runtime) = ctx.runtime() {
        left.give_up(&(Arc::new(no_runtime) as SharedError));
        return;
    }
    // Where the runtime is shut down the task is dropped at once, and that is reported.
    drop(spawn::spawn(ctx, left.run()));
}

struct Left<Y: Send + 'static, S: Send + 'static> {
    /// Until the clean-up is over.
    core: Option<Core<Y, S>>,
    /// Until what came of it is reported as well, so that whoever waits for the context has it in the log.
    busy: Option<Busy>,
    ctx: Ctx,
}

impl<Y: Send + 'static, S: Send + 'static> Left<Y, S> {
    async fn run(mut self) {
        let Some(core) = &mut self.core else {
            return;
        };
        let mut closing = Box::pin(core.close());
        let ended = std::future::poll_fn(|cx| match contain(|| closing.as_mut().poll(cx)) {
            Ok(poll) => poll,
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        })
        .await;
        drop(closing);
        self.core = None;
        if let Err(error) = ended {
            Report::new(&self.ctx, "the clean-up of a dropped generator failed").error(&error).send();
        }
        self.busy = None;
    }

    fn give_up(mut self, why: &SharedError) {
        self.cut(Some(why));
    }

    fn cut(&mut self, why: Option<&SharedError>) {
        let Some(core) = self.core.take() else {
            return;
        };
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(core)));
        let report = Report::new(&self.ctx, "a generator was dropped half-way, and its clean-up did not run");
        match why {
            Some(why) => report.error(why).send(),
            None => report.send(),
        }
        if let Err(panic) = dropped {
            let error = panic_error(panic);
            Report::new(&self.ctx, "the drop of a generator panicked").error(&error).send();
        }
    }
}

impl<Y: Send + 'static, S: Send + 'static> Drop for Left<Y, S> {
    fn drop(&mut self) {
        self.cut(None);
    }
}
