//! Models of the library's races: small programs of a few threads, of which every schedule is tried, or thousands of them.
//!
//! loom tries all schedules with a few preemptions and knows the memory model; shuttle tries random ones of programs
//! that are larger. Both build the library with their own locks, atomics and threads:
//!
//! ```text
//! RUSTFLAGS="--cfg machinery_loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p machinery-models --release
//! RUSTFLAGS="--cfg machinery_shuttle" cargo test -p machinery-models --release
//! ```
//!
//! Without one of these flags there is nothing here.
#![cfg(any(machinery_loom, machinery_shuttle))]

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

#[cfg(all(machinery_loom, not(machinery_shuttle)))]
pub use loom::thread;
#[cfg(machinery_shuttle)]
pub use shuttle::thread;

/// Runs `program` under many schedules; a panic, a deadlock or a leaked modelled object in any of them fails.
pub fn model(program: impl Fn() + Send + Sync + 'static) {
    #[cfg(machinery_shuttle)]
    {
        let program = Arc::new(program);
        let again = Arc::clone(&program);
        shuttle::check_random(move || program(), 2_000);
        shuttle::check_pct(move || again(), 2_000, 3);
    }
    #[cfg(all(machinery_loom, not(machinery_shuttle)))]
    loom::model(program);
}

/// Runs `program` under many random schedules of shuttle; loom leaves it out, as it has too many for it.
pub fn large_model(program: impl Fn() + Send + Sync + 'static) {
    #[cfg(machinery_shuttle)]
    model(program);
    #[cfg(not(machinery_shuttle))]
    drop(program);
}

/// Wakes a modelled thread out of its parking. The flag is for a wake-up by the thread itself, which loom forgets.
struct Unpark {
    thread: thread::Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Polls a future to its end on this thread. A wake-up that gets lost is a deadlock, which the checkers see.
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::SeqCst) {
            thread::park();
        }
    }
}

/// Counts how often it was woken. The count is read once the threads are joined, and is no part of the race.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

impl Count {
    /// None so far.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A waker that counts here.
    #[must_use]
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

/// Polls once.
pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}
