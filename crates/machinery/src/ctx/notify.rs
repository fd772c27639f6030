//! Telling those who wait, with no lock held and without recursion.
//!
//! While callbacks run on a thread, completions that they cause on that thread are marked at once, and those who
//! wait for them are told after the callbacks under way. So a chain of callbacks of any length takes no stack.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::family::NodeRef;
use crate::sync::thread_local;
use crate::tramp::Report;

/// Whom one completion has to tell.
pub(super) struct Outbox {
    origin: NodeRef,
    pub(super) wakers: Vec<Waker>,
    /// Nodes with callbacks, last first.
    pub(super) callbacks: Vec<NodeRef>,
    /// Nodes to be let go of when all is told.
    pub(super) keep: Vec<NodeRef>,
}

thread_local! {
    /// What to tell after the callbacks that run now; `None` while none runs.
    static LATER: RefCell<Option<VecDeque<Outbox>>> = const { RefCell::new(None) };
}

impl Outbox {
    pub(super) fn of(origin: &NodeRef) -> Self {
        Self { origin: origin.clone(), wakers: Vec::new(), callbacks: Vec::new(), keep: Vec::new() }
    }

    /// Tells everybody; or, from within a callback, has them told after those under way.
    pub(super) fn send(self) {
        if self.wakers.is_empty() && self.callbacks.is_empty() && self.keep.is_empty() {
            return;
        }
        // In the destructors of a thread's locals there is no later: it is told straight away.
        let mut outbox = Some(self);
        let first = LATER.try_with(|later| {
            let mut later = later.borrow_mut();
            match &mut *later {
                Some(queue) => {
                    queue.extend(outbox.take());
                    false
                }
                None => {
                    *later = Some(VecDeque::new());
                    true
                }
            }
        });
        if let Some(outbox) = outbox {
            outbox.tell();
        }
        if first != Ok(true) {
            return;
        }
        loop {
            let next = LATER.try_with(|later| {
                let mut later = later.borrow_mut();
                let next = later.as_mut().and_then(VecDeque::pop_front);
                if next.is_none() {
                    *later = None;
                }
                next
            });
            match next {
                Ok(Some(outbox)) => outbox.tell(),
                _ => break,
            }
        }
    }

    /// Never panics: what user code throws is reported.
    fn tell(self) {
        let Self { origin, wakers, callbacks, keep } = self;
        wake_all(&origin, wakers);
        for node in callbacks.into_iter().rev() {
            node.run_callbacks();
        }
        for node in keep {
            let mut node = Some(node);
            contain(&origin, "the drop of what a context held panicked", || drop(node.take()));
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
