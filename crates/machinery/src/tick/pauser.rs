//! Holding tickers back.
//!
//! # Invariants
//!
//! 1. `holds` is the number of living [`PauseGuard`]s.
//! 2. A ticker has its seat from its start to its end. The guard that takes `holds` to zero pokes every seat
//!    afterwards, so a ticker that saw `holds` above zero is poked.
//!
//! The lock is a leaf; signals are poked, and let go of, after it is unlocked.

use std::fmt;
use std::sync::{Arc, Weak};

use super::signal::Signal;
use crate::slab::Slab;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Holds tickers back: while it is held they give no ticks.
///
/// It is given to any number of tickers with [`TickerBuilder::pauser`](super::TickerBuilder::pauser), and its clones
/// are the same pauser. It is held as long as at least one guard from [`hold`](Self::hold) lives. When the last one is
/// let go, a tick that fell due meanwhile comes at once, and then the grid goes on. A ticker that is held back still
/// ends with its context or its `max_time`.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
/// use machinery::tick::{Pauser, tick};
/// use std::time::Duration;
/// use tokio::time::{Instant, sleep};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// let pauser = Pauser::new();
/// let start = Instant::now();
/// let mut ticker = tick(Duration::from_secs(5), &root).pauser(&pauser).start();
/// ticker.next().await;
///
/// let pause = pauser.hold();
/// tokio::spawn(async move {
///     sleep(Duration::from_secs(28)).await;
///     drop(pause);
/// });
/// ticker.next().await;
/// assert_eq!(start.elapsed(), Duration::from_secs(28));
/// ticker.next().await;
/// assert_eq!(start.elapsed(), Duration::from_secs(30));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Pauser(Arc<Shared>);

#[derive(Default)]
struct Shared {
    holds: AtomicUsize,
    seats: Mutex<Slab<Weak<Signal>>>,
}

/// Keeps a [`Pauser`] held until it is dropped.
///
/// # Examples
///
/// ```
/// use machinery::tick::Pauser;
///
/// let pauser = Pauser::new();
/// let pause = pauser.hold();
/// assert!(pauser.is_held());
/// pause.release();
/// assert!(!pauser.is_held());
/// ```
#[must_use = "the pauser is held as long as the guard lives"]
pub struct PauseGuard(Arc<Shared>);

impl Pauser {
    /// A pauser that nobody holds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds the tickers back until the guard is dropped.
    ///
    /// It may be held several times; the tickers go on when all guards are gone.
    pub fn hold(&self) -> PauseGuard {
        self.0.holds.fetch_add(1, Ordering::Relaxed);
        PauseGuard(Arc::clone(&self.0))
    }

    /// Whether somebody holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        // Acquire: pairs with the decrement in the drop of a guard.
        self.0.holds.load(Ordering::Acquire) > 0
    }

    pub(super) fn sit(&self, signal: &Arc<Signal>) -> Seat {
        let key = self.0.seats.lock().insert(Arc::downgrade(signal));
        Seat { pauser: self.clone(), key }
    }
}

impl PauseGuard {
    /// Lets go, as a drop does.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for PauseGuard {
    fn drop(&mut self) {
        // Release: what was done while it was held is seen by the ticks that follow.
        if self.0.holds.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let held_back: Vec<_> = {
            let seats = self.0.seats.lock();
            seats.iter().filter_map(|(_, seat)| seat.upgrade()).collect()
        };
        for signal in held_back {
            signal.poke();
            signal.let_go();
        }
    }
}

/// A ticker's place with its pauser.
pub(super) struct Seat {
    pauser: Pauser,
    key: u32,
}

impl Seat {
    pub(super) fn is_held(&self) -> bool {
        self.pauser.is_held()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let seat = self.pauser.0.seats.lock().remove(self.key);
        drop(seat);
    }
}

impl fmt::Debug for Pauser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pauser").field("held", &self.is_held()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PauseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseGuard").finish_non_exhaustive()
    }
}
