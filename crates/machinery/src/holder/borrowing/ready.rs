//! Which tasks that borrow were woken.
//!
//! # Invariants
//!
//! 1. A link is in the list at most once: who sets `queued` puts it there, and the holder clears it before it polls. It
//!    counts as queued from the start, until it is polled for the first time.
//! 2. The holder's waker is stored at the begin of each of its turns and taken by the first to wake it after that.
//! 3. Wakers are cloned, woken and dropped outside the lock, which is innermost.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::contain::wake_all;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(super) struct Ready {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    woken: Vec<u32>,
    runner: Option<Waker>,
}

impl Ready {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner::default()) })
    }

    /// A turn begins.
    pub(super) fn listen(&self, waker: Waker) {
        let old = self.inner.lock().runner.replace(waker);
        drop(old);
    }

    /// Takes those that were woken.
    pub(super) fn woken(&self) -> Vec<u32> {
        std::mem::take(&mut self.inner.lock().woken)
    }

    /// Wakes who runs the tasks.
    pub(super) fn wake(&self) {
        let runner = self.inner.lock().runner.take();
        wake_all(runner);
    }
}

/// The waker of one task.
pub(super) struct Link {
    ready: Arc<Ready>,
    key: AtomicU32,
    queued: AtomicBool,
    pub(super) cancelled: AtomicBool,
}

impl Link {
    pub(super) fn new(ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self {
            ready: Arc::clone(ready),
            key: AtomicU32::new(0),
            queued: AtomicBool::new(true),
            cancelled: AtomicBool::new(false),
        })
    }

    /// The holder takes the task up, to be polled soon.
    pub(super) fn stand_at(&self, key: u32) {
        // Relaxed: it is read by those who find `queued` cleared, which the first poll does after this.
        self.key.store(key, Ordering::Relaxed);
        self.ready.inner.lock().woken.push(key);
    }

    /// The task is about to be polled, with this waker.
    pub(super) fn polled(self: &Arc<Self>) -> Waker {
        // AcqRel: what was done before a wake-up that this clears is seen by the poll.
        self.queued.swap(false, Ordering::AcqRel);
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: see `polled`.
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let key = self.key.load(Ordering::Relaxed);
        let runner = {
            let mut inner = self.ready.inner.lock();
            inner.woken.push(key);
            inner.runner.take()
        };
        wake_all(runner);
    }
}
