//! Waiting in a thread for what tasks wait for with a waker.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::alarm::Alarm;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::park_timeout;
use crate::sync::thread::{self, Thread};
use crate::{Ctx, time};

/// Wakes one thread, and remembers that it did, as the thread may not have parked yet.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: what was done before the wake is seen by the thread's next poll.
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls until there is an answer; the thread sleeps in between until it is woken.
pub(super) fn block_on<R>(poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    block_on_with(poll, |_| thread::park())
}

/// The same, for so long at most: on Tokio's clock where the context has a runtime, and otherwise on the real one.
pub(super) fn block_on_for<R>(
    ctx: &Ctx,
    timeout: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Option<R> {
    // In the destructors of a thread Tokio has nothing to offer any more.
    let without_tokio = time::is_tokio_gone();
    let runtime = if without_tokio { None } else { ctx.runtime().ok() };
    // Its clock, which may be paused, is to be read, and not that of this thread.
    let _entered = runtime.as_ref().map(Handle::enter);
    let Some(until) = time::now_anywhere().checked_add(timeout) else {
        return Some(block_on(poll));
    };
    let mut alarm = (!without_tokio).then(Alarm::default);
    block_on_at_most(
        |cx| {
            if let Poll::Ready(answer) = poll(cx) {
                return Poll::Ready(Some(answer));
            }
            if time::now_anywhere() >= until {
                return Poll::Ready(None);
            }
            while let Some(set) = &mut alarm {
                match set.poll(cx, time::now_anywhere(), until, ctx) {
                    Poll::Ready(Ok(())) if time::now_anywhere() >= until => return Poll::Ready(None),
                    Poll::Ready(Ok(())) => {}
                    // There is the real clock as well.
                    Poll::Ready(Err(_)) => alarm = None,
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        },
        // The runtime may not be running, or have no timers.
        || until.saturating_duration_since(time::now_anywhere()),
    )
}

/// As [`block_on`], but it also polls again after so long, on the real clock, which `remaining` says before each sleep.
fn block_on_at_most<R>(poll: impl FnMut(&mut Context<'_>) -> Poll<R>, remaining: impl Fn() -> Duration) -> R {
    block_on_with(poll, |woken| {
        park_timeout(remaining());
        // Woken or not, it is time for a look.
        woken.store(true, Ordering::Relaxed);
    })
}

fn block_on_with<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>, sleep: impl Fn(&AtomicBool)) -> R {
    let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parker));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = poll(&mut cx) {
            return answer;
        }
        // The thread may also be unparked by somebody else; only the flag counts.
        while !parker.woken.swap(false, Ordering::Acquire) {
            sleep(&parker.woken);
        }
    }
}
