//! One timer that is set again and again, for waits of any length.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use crate::{Ctx, NoRuntime, SharedError, error};

/// The longest single sleep. Timers that are far away have broken near ones, so a long wait is made of short ones.
const HOP: Duration = Duration::from_secs(60 * 60);

/// A timer that costs nothing until it has to wait.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
}

impl Alarm {
    /// Waits until `until`, which may change from call to call; the caller reads the clock again when it is ready, as
    /// one sleep is not always the whole wait.
    ///
    /// It waits on the runtime that polls it, or else on the one that `ctx` knows.
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
            none => match make(now, until, ctx) {
                Ok(sleep) => none.insert(sleep),
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        self.until = Some(until);
        // Tokio panics where the runtime of the timer has been shut down.
        match catch_unwind(AssertUnwindSafe(|| sleep.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                self.sleep = None;
                Poll::Ready(Err(error::panic_error(panic)))
            }
        }
    }
}

fn hop(now: Instant, until: Instant) -> Instant {
    until.min(now + HOP)
}

fn make(now: Instant, until: Instant, ctx: &Ctx) -> Result<Pin<Box<Sleep>>, SharedError> {
    let outside = Handle::try_current().is_err();
    let runtime = if outside { Some(ctx.runtime()) } else { None };
    let runtime = runtime.transpose().map_err(|missing: NoRuntime| -> SharedError { std::sync::Arc::new(missing) })?;
    catch_unwind(|| {
        let _inside = runtime.as_ref().map(Handle::enter);
        Box::pin(tokio::time::sleep_until(hop(now, until)))
    })
    .map_err(error::panic_error)
}
