//! Deadlines: one driver task for each runtime serves all contexts on it.
//!
//! # Invariants
//!
//! 1. An entry is in the map from when its context is made until it fires, or the context completes or is dropped.
//! 2. While there are entries and the runtime lives, the driver sleeps until the earliest of them at the latest.
//! 3. The driver never sleeps longer than [`HOP`], as far away timers are where timer wheels break.
//!
//! 4. The pointers in the map are followed under its lock only, and a node leaves the map before it is freed.
//!
//! The lock is a leaf: nothing is locked, and no user code runs, while it is held. Contexts are completed, and
//! callbacks run, in the driver's own task and never inside Tokio's timer driver.

#![expect(unsafe_code, reason = "follows the pointers of its map under the lock of the map")]

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use super::completion::Cause;
use super::family::{NodePtr, NodeRef};
use super::notify::{Outbox, let_go_of_last};
use crate::sync::Mutex;
use crate::{spawn, time};

/// How long the driver sleeps at most.
const HOP: Duration = Duration::from_secs(24 * 60 * 60);

/// The deadlines of all contexts on one runtime.
pub(super) struct Timers {
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    entries: BTreeMap<(Instant, u64), NodePtr>,
    next: u64,
    /// Wakes the driver, where it sleeps until `until`.
    sleeper: Option<Waker>,
    until: Option<Instant>,
    /// The driver has gone with its runtime, and no deadline would fall any more.
    ended: bool,
}

/// A runtime that contexts use, with its timers once somebody needs them.
pub(super) struct Home {
    pub(super) handle: Handle,
    timers: OnceLock<Option<Arc<Timers>>>,
}

impl Home {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, timers: OnceLock::new() }
    }

    pub(super) fn timers(&self) -> Option<Arc<Timers>> {
        self.timers.get_or_init(|| Timers::of(&self.handle)).clone()
    }
}

/// A context's place among the timers of its runtime.
pub(super) struct Timer {
    timers: Arc<Timers>,
    key: (Instant, u64),
}

impl Timers {
    /// The timers of the runtime behind `handle`; their driver is started with the first use. Answers `None` where
    /// that runtime was built without a clock.
    pub(super) fn of(handle: &Handle) -> Option<Arc<Self>> {
        type Registry = std::sync::Mutex<HashMap<tokio::runtime::Id, Weak<Timers>>>;
        static REGISTRY: OnceLock<Registry> = OnceLock::new();

        let registry = REGISTRY.get_or_init(Registry::default);
        let lock = || registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(timers) = lock().get(&handle.id()).and_then(Weak::upgrade) {
            return Some(timers);
        }
        // Tokio says that a runtime has no clock by a panic only.
        let probe = catch_unwind(AssertUnwindSafe(|| {
            let _inside = handle.enter();
            drop(tokio::time::sleep(Duration::ZERO));
        }));
        probe.ok()?;
        let timers = Arc::new(Self { shared: Mutex::new(Shared::default()) });
        {
            let mut registry = lock();
            if let Some(timers) = registry.get(&handle.id()).and_then(Weak::upgrade) {
                return Some(timers);
            }
            registry.retain(|_, timers| timers.strong_count() > 0);
            registry.insert(handle.id(), Arc::downgrade(&timers));
        }
        spawn::driver(handle, Driver { timers: Arc::clone(&timers), sleep: None });
        Some(timers)
    }

    /// Takes a place. The entry is made by [`Timer::arm`]. Answers `None` where the runtime has been shut down.
    pub(super) fn reserve(self: &Arc<Self>, deadline: Instant) -> Option<Timer> {
        let mut shared = self.shared.lock();
        shared.next += 1;
        let key = (deadline, shared.next);
        (!shared.ended).then(|| Timer { timers: Arc::clone(self), key })
    }
}

impl Timer {
    pub(super) fn arm(&self, node: &NodeRef) {
        let sleeper = {
            let mut shared = self.timers.shared.lock();
            shared.entries.insert(self.key, node.pointer());
            if shared.until.is_none_or(|until| self.key.0 < until) { shared.sleeper.take() } else { None }
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        // The context may have been completed before there was an entry to take out.
        if node.is_closed() {
            self.disarm();
        }
    }

    pub(super) fn disarm(&self) {
        self.timers.shared.lock().entries.remove(&self.key);
    }
}

/// Completes contexts when their time has come; ends with the runtime.
struct Driver {
    timers: Arc<Timers>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Driver {
    fn take_due(&self) -> Vec<NodeRef> {
        let now = time::now();
        let mut due = Vec::new();
        let mut shared = self.timers.shared.lock();
        while let Some(entry) = shared.entries.first_entry()
            && entry.key().0 <= now
        {
            let node = entry.remove();
            // SAFETY: it was in the map, whose lock is held, and a node leaves the map before it is freed.
            due.extend(unsafe { node.upgrade() });
        }
        due
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.timers.shared.lock().ended = true;
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.take_due();
            let outboxes: Vec<_> = due
                .iter()
                .map(|node| {
                    let mut outbox = Outbox::default();
                    node.settle(Cause::DeadlinePassed, &mut outbox);
                    (node.clone(), outbox)
                })
                .collect();
            Outbox::send_all(outboxes);
            for node in due {
                // This may be the last handle, and the drop of what the user gave must not end the driver.
                let_go_of_last(node);
            }
            let waker = cx.waker().clone();
            let next = {
                let mut shared = self.timers.shared.lock();
                let next = shared.entries.keys().next().map(|key| key.0);
                shared.until = next;
                shared.sleeper = Some(waker);
                next
            };
            let Some(next) = next else {
                self.sleep = None;
                return Poll::Pending;
            };
            let until = next.min(time::now() + HOP);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
