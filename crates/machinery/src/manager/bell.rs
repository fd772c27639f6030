//! How sources and feeders call the consumer.
//!
//! Invariants:
//!
//! 1. `news` is not zero from the moment something is left for the consumer until the consumer begins to collect. It is written
//!    under the lock only; its bits say where to look.
//! 2. The consumer sleeps only with its waker in `sleeper`, put there under the lock while `news` was zero. Whoever
//!    adds to `news` takes the waker out in the same critical section, so no call is lost.
//! 3. A source that calls is put into `turns` unless it is there since the consumer collected last, which its record says by the number of
//!    the round. What was made ready before a call is seen by the poll that follows, as the consumer takes the lock in between.
//! 4. Once the bell is closed nothing is put into `turns`: the handles in there would keep the sources, and these the bell.
//! 5. The wakers of tasks are cloned, woken and dropped without the lock, and no handle of a source is dropped under it.
//!
//! Lock order: the lock of a bell is the last one; nothing is locked while it is held.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::link::LinkRef;
use super::shared::Resume;
use crate::contain::wake;
use crate::sync::BriefMutex;
use crate::sync::atomic::{AtomicU8, Ordering};

/// Turns were asked for.
const TURNS: u8 = 1;
/// Something was put in, or has changed.
const AROUND: u8 = 2;
/// A source that was set aside may go on.
const RESUMED: u8 = 4;

pub(crate) struct Bell {
    news: AtomicU8,
    // A wake takes it for a few instructions, and nothing else that it does is atomic.
    state: BriefMutex<State>,
}

struct State {
    round: u64,
    closed: bool,
    turns: Vec<LinkRef>,
    resumed: Vec<Resume>,
    sleeper: Option<Waker>,
}

impl Default for Bell {
    fn default() -> Self {
        let state = State { round: 1, closed: false, turns: Vec::new(), resumed: Vec::new(), sleeper: None };
        Self { news: AtomicU8::new(0), state: BriefMutex::new(state) }
    }
}

impl State {
    /// Whether a call of `link` has to be left, and if so counts it as left.
    fn wants(&self, link: &LinkRef) -> bool {
        if self.closed || link.called.load(Ordering::Relaxed) == self.round {
            return false;
        }
        link.called.store(self.round, Ordering::Relaxed);
        true
    }
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

    /// Lets a source go on that was set aside.
    pub(crate) fn resume(&self, resume: Resume) {
        let (sleeper, refused) = {
            let mut state = self.state.lock();
            let refused = if state.closed {
                Some(resume)
            } else {
                state.resumed.push(resume);
                self.add(RESUMED);
                None
            };
            (state.sleeper.take(), refused)
        };
        drop(refused);
        if let Some(waker) = sleeper {
            wake(waker);
        }
    }

    /// Asks for a turn of a source.
    #[inline]
    pub(crate) fn call(&self, link: LinkRef) {
        let (sleeper, left_over) = {
            let mut state = self.state.lock();
            if state.wants(&link) {
                state.turns.push(link);
                self.add(TURNS);
                (state.sleeper.take(), None)
            } else {
                (None, Some(link))
            }
        };
        drop(left_over);
        if let Some(waker) = sleeper {
            wake(waker);
        }
    }

    /// Asks for a turn of a source.
    #[inline]
    pub(crate) fn call_by_ref(&self, link: &LinkRef) {
        let sleeper = {
            let mut state = self.state.lock();
            if !state.wants(link) {
                return;
            }
            state.turns.push(link.clone());
            self.add(TURNS);
            state.sleeper.take()
        };
        if let Some(waker) = sleeper {
            wake(waker);
        }
    }

    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire) != 0
    }

    /// Moves the turns that were asked for into `turns`, which has to be empty, and those who may go on into `resumed`; says whether
    /// there is more to look for.
    pub(crate) fn collect(&self, turns: &mut Vec<LinkRef>, resumed: &mut Vec<Resume>) -> bool {
        let mut state = self.state.lock();
        let news = self.news.load(Ordering::Relaxed);
        self.news.store(0, Ordering::Relaxed);
        state.round += 1;
        std::mem::swap(&mut state.turns, turns);
        if news & RESUMED != 0 {
            resumed.append(&mut state.resumed);
        }
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

    /// Forgets the consumer, which has stopped and may still be asked for what is left.
    pub(crate) fn leave(&self) {
        let sleeper = self.state.lock().sleeper.take();
        drop(sleeper);
    }

    /// Forgets the consumer, and all calls that it has not collected and that will still come.
    pub(crate) fn close(&self) {
        let forgotten = {
            let mut state = self.state.lock();
            state.closed = true;
            (state.sleeper.take(), std::mem::take(&mut state.turns), std::mem::take(&mut state.resumed))
        };
        drop(forgotten);
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
