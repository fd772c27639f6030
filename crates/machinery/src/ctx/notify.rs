//! Telling those who wait, with no lock held and without recursion.
//!
//! While callbacks run on a thread, completions that they cause on that thread are marked at once, and those who
//! wait for them are told after the callbacks under way. So a chain of callbacks of any length takes no stack.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::family::NodeRef;
use crate::sync::thread_local;
use crate::tramp::Report;

/// Whom one completion has to tell.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) wakers: Wakers,
    /// Nodes with callbacks, last first.
    pub(super) callbacks: Vec<NodeRef>,
    /// Nodes to be let go of when all is told.
    pub(super) keep: Vec<NodeRef>,
}

/// Wakers to be woken: nearly always one.
#[derive(Default)]
pub(super) struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Extend<Waker> for Wakers {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        let mut wakers = wakers.into_iter();
        if self.first.is_none() {
            self.first = wakers.next();
        }
        self.more.extend(wakers);
    }
}

thread_local! {
    /// Whether callbacks or wakers of this library run on this thread.
    static TELLING: Cell<bool> = const { Cell::new(false) };
    /// What to tell after those that run now.
    static LATER: RefCell<VecDeque<(NodeRef, Outbox)>> = const { RefCell::new(VecDeque::new()) };
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.wakers.first.is_none() && self.callbacks.is_empty() && self.keep.is_empty()
    }

    /// Tells everybody; or, from within a callback, has them told after those under way.
    pub(super) fn send(self, origin: &NodeRef) {
        if self.is_empty() {
            return;
        }
        // Where this thread is ending there is no later: everybody is told straight away.
        if TELLING.try_with(|telling| telling.replace(true)) != Ok(true) {
            self.tell(origin);
            while let Ok(Some((origin, outbox))) = LATER.try_with(|later| later.borrow_mut().pop_front()) {
                outbox.tell(&origin);
            }
            // Nothing that is left behind may run under the borrow.
            let _ = TELLING.try_with(|telling| telling.set(false));
            return;
        }
        let mut item = Some((origin.clone(), self));
        let _ = LATER.try_with(|later| later.borrow_mut().extend(item.take()));
        if let Some((origin, outbox)) = item {
            outbox.tell(&origin);
        }
    }

    /// Never panics: what user code throws is reported.
    fn tell(self, origin: &NodeRef) {
        let Self { wakers: Wakers { first, more }, callbacks, keep } = self;
        if let Some(first) = first {
            contain(origin, "a waker panicked", || first.wake());
        }
        if !more.is_empty() {
            wake_all(origin, more);
        }
        for node in callbacks.into_iter().rev() {
            node.run_callbacks();
        }
        for node in keep {
            contain(origin, "the drop of what a context held panicked", || drop(node));
        }
    }
}

/// Wakes every one of them, also when one panics.
pub(super) fn wake_all(origin: &NodeRef, wakers: Vec<Waker>) {
    let mut wakers = wakers.into_iter();
    while wakers.len() > 0 {
        contain(origin, "a waker panicked", || {
            for waker in wakers.by_ref() {
                waker.wake();
            }
        });
    }
}

/// Runs user code; a panic is reported in the name of `origin`.
pub(super) fn contain(origin: &NodeRef, what: &str, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        let error = crate::error::panic_error(panic);
        Report::new(&super::Ctx(origin.clone()), what).error(&error).send();
    }
}
