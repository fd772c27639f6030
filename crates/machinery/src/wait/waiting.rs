//! The one engine behind both waits: a counter that the members count down, and the waker of the waiting task.
//!
//! Invariants:
//!
//! 1. `left` starts at how many completions are needed. A member's waker counts one down when it is woken, and
//!    never below zero. [`WaitByCallback`](crate::protocols::WaitByCallback) wakes each waker once at most.
//! 2. Whoever counts down to zero takes the task's waker and wakes it. A poll stores the waker first and looks
//!    at `left` afterwards, so one of the two sees the other.
//! 3. A registration is held from the first poll until the wait ends or is dropped, whichever comes first.
//!
//! Lock order: the lock of `task` is innermost, and is not held while any waker is used or any member is called.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::members::WaitMembers;
use crate::contain::wake_all;
use crate::error::drop_payload;
use crate::protocols::WaiterId;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    First,
    All,
}

pub(super) struct Waiting<M: WaitMembers> {
    members: M,
    until: Until,
    stage: Stage,
}

enum Stage {
    /// Not polled yet.
    Fresh,
    /// The answer was known, and the task has been sent once round the scheduler.
    Yielded,
    Registered {
        shared: Arc<Shared>,
        ids: Vec<Option<WaiterId>>,
    },
    Over,
}

struct Shared {
    left: AtomicUsize,
    task: Mutex<Option<Waker>>,
}

impl Shared {
    /// Counts one completion. Says whether it was the last that was needed.
    fn count_one(&self) -> bool {
        // AcqRel: the poll that reads zero sees what every member did before it completed.
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)) == Ok(1)
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.count_one() {
            let task = self.task.lock().take();
            wake_all(task);
        }
    }
}

impl<M: WaitMembers> Waiting<M> {
    pub(super) fn new(members: M, until: Until) -> Self {
        Self { members, until, stage: Stage::Fresh }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.stage {
            Stage::Fresh => self.begin(cx),
            Stage::Yielded => {
                self.stage = Stage::Over;
                Poll::Ready(())
            }
            Stage::Registered { shared, .. } => {
                if !shared.is_over() {
                    store_waker(&shared.task, cx.waker());
                    if !shared.is_over() {
                        return Poll::Pending;
                    }
                }
                self.end();
                Poll::Ready(())
            }
            Stage::Over => Poll::Ready(()),
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let count = self.members.count();
        if count == 0 {
            self.stage = Stage::Over;
            return Poll::Ready(());
        }
        let mut complete = (0..count).map(|index| self.members.member(index).is_complete());
        let known = match self.until {
            Until::First => complete.any(|it_is| it_is),
            Until::All => complete.all(|it_is| it_is),
        };
        if known {
            self.stage = Stage::Yielded;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }

        let shared = Arc::new(Shared {
            left: AtomicUsize::new(match self.until {
                Until::First => 1,
                Until::All => count,
            }),
            task: Mutex::new(Some(cx.waker().clone())),
        });
        let waker = Waker::from(Arc::clone(&shared));
        self.stage = Stage::Registered { shared: Arc::clone(&shared), ids: Vec::with_capacity(count) };
        for index in 0..count {
            let id = self.members.member(index).add_waiter(waker.clone());
            let Stage::Registered { ids, .. } = &mut self.stage else { unreachable!("set above") };
            ids.push(id);
            if id.is_none() {
                waker.wake_by_ref();
            }
            if self.until == Until::First && shared.is_over() {
                break;
            }
        }
        // Over by now: the wake-up that said so is what sends the task round the scheduler.
        Poll::Pending
    }

    fn end(&mut self) {
        if let Stage::Registered { ids, .. } = std::mem::replace(&mut self.stage, Stage::Over) {
            let mut registered = ids.into_iter().enumerate().filter_map(|(index, id)| Some((index, id?)));
            let (mut all, mut panicked) = (false, None);
            while !all {
                let left = catch_unwind(AssertUnwindSafe(|| {
                    for (index, id) in registered.by_ref() {
                        self.members.member(index).remove_waiter(id);
                    }
                    all = true;
                }));
                match left {
                    // A member of a foreign type: those after it are left all the same.
                    Err(panic) if panicked.is_none() => panicked = Some(panic),
                    Err(another) => drop_payload(another),
                    Ok(()) => {}
                }
            }
            match panicked {
                // In a drop that another panic causes, a second one would be the end of the process.
                Some(panic) if std::thread::panicking() => drop_payload(panic),
                Some(panic) => resume_unwind(panic),
                None => {}
            }
        }
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("members", &self.members.count()).finish_non_exhaustive()
    }
}

impl<M: WaitMembers> Drop for Waiting<M> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Stores a clone of `waker` unless what is stored wakes the same task.
fn store_waker(slot: &Mutex<Option<Waker>>, waker: &Waker) {
    if slot.lock().as_ref().is_some_and(|stored| stored.will_wake(waker)) {
        return;
    }
    let clone = waker.clone();
    let replaced = slot.lock().replace(clone);
    drop(replaced);
}
