//! Waiting in a thread for what tasks wait for with a waker.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::atomic::{AtomicBool, Ordering};
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
pub(super) fn block_on<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parker));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = poll(&mut cx) {
            return answer;
        }
        // The thread may also be unparked by somebody else; only the flag counts.
        while !parker.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
