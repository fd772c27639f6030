//! How a ticker that waits is reached from other tasks.
//!
//! # Invariants
//!
//! 1. `poked` is set in the critical section that changes `Inner::change` or has news of another kind, and cleared in
//!    the one that takes the change.
//! 2. Whoever sets it takes the waker out and wakes it after unlocking. So a ticker that stored its waker and found
//!    `poked` clear in the same critical section is woken by whatever comes later.
//! 3. A waker is cloned before and dropped after the critical section that stores it.
//!
//! The lock is a leaf.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::schedule::Schedule;
use crate::Ctx;
use crate::contain::contain;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::tramp::Report;

/// What the handles, the pauser and the ticker share.
#[derive(Debug)]
pub(super) struct Signal {
    ctx: Ctx,
    poked: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    change: Change,
    waker: Option<Waker>,
}

/// What several changes in a row come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    every: Option<Duration>,
    once: Option<Duration>,
}

impl Change {
    pub(super) fn apply(self, schedule: &mut Schedule) {
        if let Some(every) = self.every {
            schedule.change_after(every);
        }
        if let Some(every) = self.once {
            schedule.change_after_once(every);
        }
    }
}

impl Signal {
    pub(super) fn new(ctx: Ctx) -> Self {
        Self { ctx, poked: AtomicBool::new(false), inner: Mutex::new(Inner::default()) }
    }

    pub(super) fn change_after(&self, every: Duration) {
        self.poke_with(|inner| {
            inner.change = Change { every: Some(every), once: None };
        });
    }

    pub(super) fn change_after_once(&self, every: Duration) {
        self.poke_with(|inner| inner.change.once = Some(every));
    }

    /// Has the ticker look again; a waker that panics is reported.
    pub(super) fn poke(&self) {
        self.poke_with(|_| ());
    }

    /// Lets go of what may be the last handle by now. What the user gave to the context then goes with it.
    pub(super) fn let_go(self: Arc<Self>) {
        if let Some(Self { ctx, .. }) = Arc::into_inner(self) {
            ctx.let_go();
        }
    }

    fn poke_with(&self, news: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.inner.lock();
            news(&mut inner);
            // Release: whoever sees it sees what the poker did before, such as letting go of a pauser.
            self.poked.store(true, Ordering::Release);
            inner.waker.take()
        };
        if let Some(waker) = waker
            && let Err(panic) = contain(|| waker.wake())
        {
            Report::new(&self.ctx, "a waker panicked").error(&panic).send();
        }
    }

    /// What has been asked for since the last call, if anything has happened. The waker has to be stored again then.
    pub(super) fn take(&self) -> Option<Change> {
        // Acquire: pairs with the store in `poke_with`.
        if !self.poked.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.inner.lock();
        self.poked.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut inner.change))
    }

    /// Stores the waker; answers false, without storing it, where something has happened meanwhile.
    pub(super) fn store(&self, waker: Waker) -> bool {
        let mut inner = self.inner.lock();
        if self.poked.load(Ordering::Relaxed) {
            drop(inner);
            return false;
        }
        let old = inner.waker.replace(waker);
        drop(inner);
        drop(old);
        true
    }

    /// Forgets the waker, so that handles which live on keep nothing of a task alive.
    pub(super) fn clear(&self) {
        let old = self.inner.lock().waker.take();
        drop(old);
    }
}
