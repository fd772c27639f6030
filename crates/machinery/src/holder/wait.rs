//! Waiting for the last task, and for the end of the grace.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::shared::{Abort, Shared};
use crate::ctx::Done;
use crate::{CtxGuard, CtxOptions, Report};

/// Waits until nothing runs, and closes the holder in that moment.
pub(super) struct Wait<'a> {
    shared: &'a Shared,
    grace: Grace,
}

/// Has what does not stop aborted.
pub(super) struct Grace {
    length: Option<Duration>,
    running: Option<(CtxGuard, Done)>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(shared: &'a Shared, grace: Option<Duration>) -> Self {
        Self { shared, grace: Grace::new(grace) }
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // The clone of a waker is user code.
        let waker = cx.waker().clone();
        let old = {
            let mut core = this.shared.core.lock();
            if core.running == 0 {
                core.closed = true;
                Err(core.waiter.take())
            } else {
                Ok(core.waiter.replace(waker))
            }
        };
        match old {
            Ok(old) => {
                drop(old);
                this.grace.watch(this.shared, cx);
                Poll::Pending
            }
            Err(old) => {
                drop(old);
                // What counted as busy is let go of.
                this.shared.close();
                Poll::Ready(())
            }
        }
    }
}

impl Grace {
    pub(super) fn new(length: Option<Duration>) -> Self {
        Self { length, running: None }
    }

    /// Whether there is anything to watch for.
    pub(super) fn is_set(&self) -> bool {
        self.length.is_some()
    }

    /// Looks whether the grace has begun, and whether it is over. The waiter of the holder is woken when it begins.
    pub(super) fn watch(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let Some(length) = self.length else { return };
        if self.running.is_none() {
            let Some(since) = shared.core.lock().stopped_at else { return };
            let mut options = CtxOptions::new();
            // One that is too long to be told is no limit.
            if let Some(end) = since.checked_add(length) {
                options = options.deadline(end);
            }
            let Ok(guard) = shared.ctx.detached_with("grace", options) else {
                Report::new(&shared.ctx, "a holder's grace is not kept, as there is no clock").send();
                self.length = None;
                return;
            };
            let done = guard.done();
            self.running = Some((guard, done));
        }
        if let Some((_, done)) = &mut self.running
            && Pin::new(done).poll(cx).is_ready()
        {
            self.length = None;
            self.running = None;
            abort_what_is_left(shared, length);
        }
    }
}

fn abort_what_is_left(shared: &Shared, grace: Duration) {
    let now = crate::time::now();
    let left: Vec<_> = {
        let core = shared.core.lock();
        let running = core.tasks.iter().filter(|(_, entry)| !entry.is_settled());
        running.map(|(_, entry)| (entry.name.clone(), entry.location, shared.age(entry, now))).collect()
    };
    shared.abort(Abort::Grace);
    for (name, location, age) in left {
        let running = match age {
            Some(age) => format!("has been running for {age:?}"),
            None => "has been running without a pause since before it was told".to_owned(),
        };
        let what = format!(
            "task `{name}`, spawned at {location}, {running} and has not stopped within its grace of {grace:?}: it is aborted"
        );
        Report::new(&shared.ctx, &what).task(&name).at(location).send();
    }
}
