//! How sources and feeders call the consumer.
//!
//! Invariants:
//!
//! 1. `news` is not zero from the moment something is left for the consumer until the consumer begins to collect. It is written
//!    under the lock only; its bits say where to look.
//! 2. The consumer sleeps only with its waker in `sleeper`, put there under the lock while `news` was zero. Whoever
//!    adds to `news` takes the waker out in the same critical section, so no call is lost.
//! 3. The wakers of tasks are cloned, woken and dropped without the lock.
//!
//! Lock order: the lock of a bell is the last one; nothing is locked while it is held.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::contain::wake;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU8, Ordering};

/// Turns were asked for.
const TURNS: u8 = 1;
/// Marks the turn of a source that was set aside.
pub(crate) const RESUME: u32 = 1 << 31;

/// Something was put in, or has changed.
const AROUND: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    news: AtomicU8,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turns: Vec<u32>,
    sleeper: Option<Waker>,
}

impl Bell {
    /// Tells the consumer to look around.
    pub(crate) fn ring(&self) {
        let sleeper = {
            let mut state = self.state.lock();
            self.add(AROUND);
            state.sleeper.take()
        };
        if let Some(waker) = sleeper {
            wake(waker);
        }
    }

    fn add(&self, news: u8) {
        let before = self.news.load(Ordering::Relaxed);
        self.news.store(before | news, Ordering::Release);
    }

    /// Lets the source in slot `key` go on, which was set aside.
    pub(crate) fn resume(&self, key: u32) {
        self.ring_for(key | RESUME);
    }

    /// Asks for a turn of the source in slot `key`.
    pub(crate) fn ring_for(&self, key: u32) {
        let sleeper = {
            let mut state = self.state.lock();
            state.turns.push(key);
            self.add(TURNS);
            state.sleeper.take()
        };
        if let Some(waker) = sleeper {
            wake(waker);
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire) != 0
    }

    /// Moves the turns that were asked for into `turns`, which has to be empty; says whether there is more to look for.
    pub(crate) fn collect(&self, turns: &mut Vec<u32>) -> bool {
        let mut state = self.state.lock();
        let news = self.news.load(Ordering::Relaxed);
        self.news.store(0, Ordering::Relaxed);
        std::mem::swap(&mut state.turns, turns);
        news & AROUND != 0
    }

    /// Leaves a waker for the next call; says `false` if there is news already.
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let (asleep, dropped) = {
            let mut state = self.state.lock();
            if self.news.load(Ordering::Relaxed) != 0 {
                (false, Some(waker))
            } else {
                (true, state.sleeper.replace(waker))
            }
        };
        drop(dropped);
        asleep
    }

    /// Forgets the consumer.
    pub(crate) fn leave(&self) {
        let sleeper = self.state.lock().sleeper.take();
        drop(sleeper);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
