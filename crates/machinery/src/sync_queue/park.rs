//! Waiting in a thread for what tasks wait for with a waker.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::park_timeout;
use crate::sync::thread::{self, Thread};

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

/// The same, but it also polls again after so long, on the real clock, which `remaining` says before each sleep.
pub(super) fn block_on_at_most<R>(
    poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
    remaining: impl Fn() -> Duration,
) -> R {
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
