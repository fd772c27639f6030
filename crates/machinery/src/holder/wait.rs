//! Waiting for the last task, and for the end of the grace.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::Abort;
use super::shared::Shared;
use crate::Report;
use crate::task::graced::Grace;
use crate::time::Rounded;

/// Waits until nothing runs, and closes the holder in that moment.
pub(super) struct Wait<'a> {
    shared: &'a Shared,
    grace: Option<Grace>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(shared: &'a Shared, grace: Option<Duration>) -> Self {
        Self { shared, grace: grace.map(|length| Grace::after(&shared.ctx, length)) }
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        keep_grace(&mut this.grace, this.shared, cx);
        // The clone of a waker is user code.
        let waker = cx.waker().clone();
        let (old, after) = {
            let mut core = this.shared.core.lock();
            if core.running == 0 && !core.ending {
                core.closed = true;
                (core.waiter.take(), Some(core.after()))
            } else {
                (core.waiter.replace(waker), None)
            }
        };
        drop(old);
        match after {
            Some(after) => {
                after.run(&this.shared.ctx, &this.shared.core);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}

/// Aborts what is left once the grace is over, and gives the grace when that is.
pub(super) fn keep_grace(grace: &mut Option<Grace>, shared: &Shared, cx: &mut Context<'_>) -> Option<Duration> {
    grace.as_mut()?.poll_over(&shared.ctx, cx).is_ready().then_some(())?;
    let length = grace.take()?.length();
    abort_what_is_left(shared, length);
    Some(length)
}

fn abort_what_is_left(shared: &Shared, grace: Duration) {
    let now = crate::time::now();
    let left: Vec<_> = {
        let core = shared.core.lock();
        if core.abort.is_some() {
            // The wait of the scope's body was first, and has told of them.
            return;
        }
        let running = core.tasks.iter().filter(|entry| !entry.is_settled());
        running.map(|entry| (entry.name.clone(), entry.location, shared.age(entry, now))).collect()
    };
    shared.abort(Abort::Grace);
    for (name, at, age) in left {
        let running = match age {
            Some(age) => format!("has been running for {}", Rounded(age)),
            None => "has been running without a pause since before it was told".to_owned(),
        };
        let what = format!(
            "task `{name}`, spawned at {at}, {running} and has not stopped within its grace of {grace:?}: it is aborted"
        );
        Report::new(&shared.ctx, &what).task(&name).at(at).send();
    }
}
