//! Calls the consumer to what blocking sources have left: at once while that is rare, in batches while it is not.
//!
//! A call puts one thread to sleep less and wakes one more, which costs several times what a fast source takes for an item. So once calls
//! follow one another closely the pulse takes over for a while: a thread of the blocking pool that looks every [`PERIOD`] whether
//! something has been left. Meanwhile workers only call when much has been left, and when they run out of work. Nothing waits
//! longer than a period for its call, also if the source that left it blocks for good in its next step.
//!
//! Invariants:
//!
//! 1. `left` is true from the moment a worker has left something until the consumer begins to fetch.
//! 2. Whoever makes `left` true either rings the bell or finds `on_duty` true afterwards. The pulse looks at `left` once more after it
//!    has made `on_duty` false. Both sides are sequentially consistent, so one of them sees the other.
//! 3. `called` is true only if the bell has been rung, or is about to be, since the consumer last began to fetch.
//! 4. The pulse goes off duty when nothing has been left without a call for a while, whether or not the consumer ever comes: a
//!    runtime that shuts down does not wait for it for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::shared::Shared;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::time;

/// How often the pulse looks.
const PERIOD: Duration = Duration::from_micros(500);

/// After how many looks at nothing it goes off duty.
const IDLE: u32 = 10;

/// Calls that are nearer to one another than this follow closely.
const CLOSE: Duration = Duration::from_micros(200);

/// How many calls follow closely before the pulse takes over.
const MANY: u32 = 8;

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    left: AtomicBool,
    called: AtomicBool,
    on_duty: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    last: Option<Instant>,
    close: u32,
    /// The pulse has been spawned and has not gone off duty.
    spawned: bool,
}

impl Pulse {
    /// Whether something waits to be fetched.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    /// Called by the consumer before it fetches; says whether there is anything.
    pub(crate) fn begin_fetch(&self) -> bool {
        self.called.store(false, Ordering::SeqCst);
        self.left.swap(false, Ordering::SeqCst)
    }

    /// Calls the consumer, if something has been left and nobody has called.
    pub(crate) fn call(&self, bell: &Bell) -> bool {
        let call = self.left.load(Ordering::SeqCst) && !self.called.swap(true, Ordering::SeqCst);
        if call {
            bell.ring();
        }
        call
    }

    /// Says that something has been left, and whether it is `much` by now.
    pub(crate) fn left<T: Send + 'static, C: Clone + Send + 'static>(&self, shared: &Arc<Shared<T, C>>, much: bool) {
        let first = !self.left.load(Ordering::Relaxed) && !self.left.swap(true, Ordering::SeqCst);
        if first && !self.on_duty.load(Ordering::SeqCst) {
            shared.bell.ring();
            if self.calls_are_close() {
                Self::take_over(shared);
            }
        } else if much && !self.called.load(Ordering::Relaxed) {
            self.call(&shared.bell);
        }
    }

    fn calls_are_close(&self) -> bool {
        let now = time::real_now();
        let mut calls = self.calls.lock();
        let close = calls.last.replace(now).is_some_and(|last| now.saturating_duration_since(last) < CLOSE);
        calls.close = if close { calls.close + 1 } else { 0 };
        let takes_over = calls.close >= MANY && !calls.spawned;
        calls.spawned |= takes_over;
        takes_over
    }

    /// Without a runtime nobody takes over, and every call is made at once.
    fn take_over<T: Send + 'static, C: Clone + Send + 'static>(shared: &Arc<Shared<T, C>>) {
        if let Ok(handle) = shared.runtime() {
            let shared = Arc::clone(shared);
            drop(handle.spawn_blocking(move || shared.lane.pulse().beat(&shared)));
        }
    }

    fn beat<T, C>(&self, shared: &Shared<T, C>) {
        self.on_duty.store(true, Ordering::SeqCst);
        let mut idle = 0;
        while idle < IDLE && shared.lane.live() > 0 && !shared.ctx.is_done() {
            std::thread::sleep(PERIOD);
            idle = if self.call(&shared.bell) { 0 } else { idle + 1 };
        }
        self.on_duty.store(false, Ordering::SeqCst);
        *self.calls.lock() = Calls::default();
        self.call(&shared.bell);
    }
}
