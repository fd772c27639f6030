//! Telling those who wait, with no lock held and without recursion.
//!
//! While callbacks run on a thread, completions that they cause on that thread are marked at once, and those who
//! wait for them are told after the callbacks under way. So a chain of callbacks of any length takes no stack.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use super::Ctx;
use super::family::NodeRef;
use crate::sync::thread_local;
use crate::tramp::{Report, report_somewhere};

const DROP_PANICKED: &str = "the drop of what a context held panicked";

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
    /// Whether `LATER` has anything; by itself, as a look at a plain cell costs nothing.
    static HAS_LATER: Cell<bool> = const { Cell::new(false) };
    /// What to tell after those that run now.
    static LATER: RefCell<VecDeque<(NodeRef, Outbox)>> = const { RefCell::new(VecDeque::new()) };
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.wakers.first.is_none() && self.wakers.more.is_empty() && self.callbacks.is_empty() && self.keep.is_empty()
    }

    /// Tells everybody; or, from within a callback, has them told after those under way.
    #[inline]
    pub(super) fn send(mut self, origin: &NodeRef) {
        if self.is_empty() {
            return;
        }
        // Where this thread is ending there is no later: everybody is told straight away.
        if let Ok(true) = TELLING.try_with(|telling| telling.replace(true)) {
            self.send_later(origin);
            return;
        }
        if let Some(first) = self.wakers.first.take() {
            contain(origin, "a waker panicked", || first.wake());
        }
        if !self.is_empty() {
            self.tell(origin);
        }
        tell_later();
    }

    /// Tells everybody of several completions, in their order, and after them whomever these cause to be told.
    pub(super) fn send_all(all: impl IntoIterator<Item = (NodeRef, Self)>) {
        let mut all = all.into_iter().filter(|(_, outbox)| !outbox.is_empty());
        if let Ok(true) = TELLING.try_with(|telling| telling.replace(true)) {
            all.for_each(|(origin, outbox)| outbox.send_later(&origin));
            return;
        }
        if let Some((first, mut outbox)) = all.next() {
            all.for_each(|(origin, outbox)| outbox.send_later(&origin));
            outbox.tell(&first);
        }
        tell_later();
    }

    #[cold]
    fn send_later(self, origin: &NodeRef) {
        let mut item = Some((origin.clone(), self));
        let queued = LATER.try_with(|later| {
            later.borrow_mut().extend(item.take());
            HAS_LATER.with(|has| has.set(true));
        });
        if queued.is_err()
            && let Some((origin, mut outbox)) = item
        {
            outbox.tell(&origin);
        }
    }

    /// Never panics: what user code throws is reported.
    fn tell(&mut self, origin: &NodeRef) {
        wake_all(origin, self.wakers.first.take().into_iter().chain(self.wakers.more.drain(..)));
        for node in self.callbacks.drain(..).rev() {
            node.run_callbacks();
            let_go(origin, node);
        }
        for node in self.keep.drain(..) {
            let_go(origin, node);
        }
    }
}

/// Wakes the only one who waits, as [`Outbox::send`] does.
#[inline]
pub(super) fn tell_one(origin: &NodeRef, waker: Waker) {
    if let Ok(true) = TELLING.try_with(|telling| telling.replace(true)) {
        let wakers = Wakers { first: Some(waker), more: Vec::new() };
        Outbox { wakers, ..Outbox::default() }.send_later(origin);
        return;
    }
    contain(origin, "a waker panicked", || waker.wake());
    tell_later();
}

/// Tells whomever those who were told have caused to be told.
#[inline]
fn tell_later() {
    while let Some((origin, mut outbox)) = next_later() {
        outbox.tell(&origin);
        let_go_of_last(origin);
    }
    let _ = TELLING.try_with(|telling| telling.set(false));
}

fn next_later() -> Option<(NodeRef, Outbox)> {
    if !HAS_LATER.try_with(Cell::get).unwrap_or(false) {
        return None;
    }
    let next = LATER.try_with(|later| later.borrow_mut().pop_front()).ok().flatten();
    if next.is_none() {
        HAS_LATER.with(|has| has.set(false));
    }
    next
}

/// Wakes every one of them, also when one panics.
pub(super) fn wake_all(origin: &NodeRef, wakers: impl IntoIterator<Item = Waker>) {
    let mut wakers = wakers.into_iter();
    let mut all = false;
    while !all {
        contain(origin, "a waker panicked", || {
            for waker in wakers.by_ref() {
                waker.wake();
            }
            all = true;
        });
    }
}

/// Drops a handle, with what the user gave to the context if it is the last; a panic is reported in the name of `origin`.
fn let_go(origin: &NodeRef, node: NodeRef) {
    contain(origin, DROP_PANICKED, || drop(node));
}

/// The same where no handle is held that could report it, other than one of the context above.
pub(super) fn let_go_of_last(node: NodeRef) {
    let (above, name) = (node.parent.clone().map(Ctx), node.name.clone());
    if let Err(panic) = crate::contain::contain(|| drop(node)) {
        report_somewhere(above.as_ref(), DROP_PANICKED, &name, &panic);
    }
    if let Err(panic) = crate::contain::contain(|| drop(above)) {
        report_somewhere(None, DROP_PANICKED, &name, &panic);
    }
}

/// Runs user code; a panic is reported in the name of `origin`.
pub(super) fn contain(origin: &NodeRef, what: &str, run: impl FnOnce()) {
    if let Err(error) = crate::contain::contain(run) {
        Report::new(&Ctx(origin.clone()), what).error(&error).send();
    }
}
