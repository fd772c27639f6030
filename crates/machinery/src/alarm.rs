//! One timer that is set again and again, for waits of any length.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep};

use crate::{Ctx, NoRuntime, SharedError, error};

/// The longest single sleep. Timers that are far away have broken near ones, so a long wait is made of short ones.
const HOP: Duration = Duration::from_secs(60 * 60);

/// A timer that costs nothing until it has to wait.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The runtime that polled when `sleep` was made.
    runtime: Option<Id>,
    until: Option<Instant>,
}

impl Alarm {
    /// Waits until `until`, which may change from call to call; the caller reads the clock again when it is ready, as
    /// one sleep is not always the whole wait.
    ///
    /// It waits on the runtime that polls it first, or else on the one that `ctx` knows; see [`follow`](Self::follow).
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        until: Instant,
        ctx: &Ctx,
    ) -> Poll<Result<(), SharedError>> {
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if self.until != Some(until) || sleep.is_elapsed() {
                    sleep.as_mut().reset(hop(now, until));
                }
                sleep
            }
            none => match begin(now, until, ctx) {
                Ok((sleep, runtime)) => {
                    self.runtime = Some(runtime);
                    none.insert(sleep)
                }
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        self.until = Some(until);
        // Tokio panics where the runtime of the timer has been shut down.
        match catch_unwind(AssertUnwindSafe(|| sleep.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                let error = error::panic_error(panic);
                if self.follow(ctx) {
                    return self.poll(cx, now, until, ctx);
                }
                self.sleep = None;
                Poll::Ready(Err(error))
            }
        }
    }

    /// Moves to the runtime that polls now; says whether it is another one. To be called where another task polls than
    /// before: a timer of a runtime that nobody drives any more never fires.
    pub(crate) fn follow(&mut self, ctx: &Ctx) -> bool {
        let moved = self.sleep.is_some() && runtime(ctx).is_ok_and(|runtime| Some(runtime.id()) != self.runtime);
        if moved {
            self.sleep = None;
        }
        moved
    }
}

fn hop(now: Instant, until: Instant) -> Instant {
    until.min(now + HOP)
}

fn runtime(ctx: &Ctx) -> Result<Handle, SharedError> {
    let known = |_| ctx.runtime().map_err(|missing: NoRuntime| -> SharedError { Arc::new(missing) });
    Handle::try_current().or_else(known)
}

fn begin(now: Instant, until: Instant, ctx: &Ctx) -> Result<(Pin<Box<Sleep>>, Id), SharedError> {
    let polling = runtime(ctx)?;
    let sleep = make(now, until, &polling).or_else(|error| match ctx.runtime() {
        // The one that polls was built without a clock.
        Ok(known) if known.id() != polling.id() => make(now, until, &known),
        _ => Err(error),
    });
    Ok((sleep?, polling.id()))
}

fn make(now: Instant, until: Instant, runtime: &Handle) -> Result<Pin<Box<Sleep>>, SharedError> {
    catch_unwind(|| {
        let _inside = runtime.enter();
        Box::pin(tokio::time::sleep_until(hop(now, until)))
    })
    .map_err(error::panic_error)
}
