//! Completion: settle a node, mark everything below it, then tell those who wait.
//!
//! # The life of a completion
//!
//! 1. *Claim.* Under the node's lock `CLOSED` is set. Whoever sets it has won; the record is stored with it.
//! 2. *Mark.* Everything below is claimed going down and marked `DONE` coming up. A node that nobody watches takes
//!    one compare-and-swap. A node that another thread is completing already is waited for: that thread runs no user
//!    code before it has marked it, and threads wait only downwards, so that no circle of waiting can form.
//! 3. *Tell.* With no lock held, wakers are woken, then callbacks run, those of a parent before those of its
//!    children.

#![expect(unsafe_code, reason = "follows the pointers of a parent's list under the parent's lock")]

use std::panic::Location;
use std::sync::Arc;

use super::completion::{Cause, Record};
use super::family::NodeRef;
use super::node::{CLOSED, DONE, KIDS, Links, Node, OWN, UNLINKED, WATCHED, Watch};
use super::notify::Outbox;
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, thread};

/// The state of a node that nobody watched, when a sweep is over with it.
const SWEPT: u32 = CLOSED | DONE | UNLINKED;

impl NodeRef {
    /// Completes this node, and answers whether this call was the one. Returns after the callbacks have run.
    pub(super) fn complete(&self, cause: Cause, location: &'static Location<'static>) -> bool {
        self.settle(cause, location).map(Outbox::send).is_some()
    }

    /// Claims and marks. The winner has to send what comes back.
    pub(super) fn settle(&self, cause: Cause, location: &'static Location<'static>) -> Option<Outbox> {
        if self.is_closed() {
            return None;
        }
        self.settle_by(&Arc::new(Record::new(self, cause, location)))
    }

    fn settle_by(&self, record: &Arc<Record>) -> Option<Outbox> {
        let mut outbox = Outbox::of(self);
        let mut links = self.links.lock();
        if !self.claim(&mut links, record) {
            return None;
        }
        if links.kids.is_empty() {
            if self.mark(links, &mut outbox) {
                outbox.callbacks.push(self.clone());
            }
        } else {
            drop(links);
            sweep(self, record, &mut outbox);
        }
        Some(outbox)
    }

    /// For a fresh node one of whose parents is settled already.
    pub(super) fn settle_like(&self, parent: &Node) {
        if let Some(record) = parent.settled_record()
            && let Some(outbox) = self.settle_by(&record)
        {
            outbox.send();
        }
    }
}

impl Node {
    /// Settles this node with a record of its own, unless somebody was first.
    fn claim(&self, links: &mut Links, record: &Arc<Record>) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & CLOSED != 0 {
                return false;
            }
            // Against a sweep of the parent, which may claim without this lock.
            let settled = state | CLOSED | OWN;
            match self.state.compare_exchange_weak(state, settled, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        links.watch().record = Some(Arc::clone(record));
        true
    }

    /// Marks a settled node below which everything is done, and collects whom to tell. Answers whether there are
    /// callbacks.
    fn mark(&self, mut links: MutexGuard<'_, Links>, outbox: &mut Outbox) -> bool {
        let mut has_callbacks = false;
        let mut blocked = Vec::new();
        if let Some(watch) = &mut links.watch {
            has_callbacks = outbox.collect(watch);
            blocked = std::mem::take(&mut watch.blocked);
        }
        // Release: whoever sees it sees the cause.
        self.state.fetch_or(DONE, Ordering::Release);
        drop(links);
        for thread in blocked {
            thread.unpark();
        }
        self.disarm();
        has_callbacks
    }

    fn disarm(&self) {
        if let Some(timer) = self.fixed.as_ref().and_then(|fixed| fixed.timer.as_ref()) {
            timer.disarm();
        }
    }

    /// Waits for another thread that has settled this node to mark it.
    fn wait_until_done(&self) {
        let mut links = self.links.lock();
        if !self.set_watched() {
            return;
        }
        links.watch().blocked.push(thread::current());
        drop(links);
        while !self.is_done() {
            thread::park();
        }
    }
}

enum Step {
    /// Settled by this sweep, and may have children.
    Descend(NodeRef),
    /// Settled by this sweep, and everything below is done by now.
    Finish(NodeRef),
    /// Settled by another thread, which has not marked it yet.
    Await(NodeRef),
}

/// Marks what is below `top`, then `top`. No recursion: the depth of a tree is the user's business.
fn sweep(top: &NodeRef, record: &Arc<Record>, outbox: &mut Outbox) {
    let mut steps = vec![Step::Descend(top.clone())];
    let mut below = Vec::new();
    while let Some(step) = steps.pop() {
        match step {
            Step::Descend(node) => {
                close_kids(&node, record, &mut below, outbox);
                steps.push(Step::Finish(node));
                steps.append(&mut below);
            }
            Step::Finish(node) => {
                let state = node.state.load(Ordering::Relaxed);
                // Nobody has to be told, unless somebody comes in between.
                let told = state & WATCHED == 0
                    && node.state.compare_exchange(state, state | DONE, Ordering::AcqRel, Ordering::Relaxed).is_ok();
                if !told && node.mark(node.links.lock(), outbox) {
                    outbox.callbacks.push(node.clone());
                }
                outbox.keep_if_owned(node);
            }
            Step::Await(node) => {
                node.wait_until_done();
                outbox.keep.push(node);
            }
        }
    }
}

/// Takes the list of a settled node. Marks those in it that have nothing below them, and adds to `below` what is left.
///
/// A node that is being buried is left alone: nobody will ever look at it, and its burier finds the list empty.
fn close_kids(parent: &NodeRef, record: &Arc<Record>, below: &mut Vec<Step>, outbox: &mut Outbox) {
    let mut links = parent.links.lock();
    let kids = std::mem::take(&mut links.kids);
    for pointer in kids.iter() {
        // SAFETY: it was in the parent's list, whose lock is held, and `UNLINKED` comes last.
        let kid = unsafe { pointer.follow() };
        // SAFETY: as above.
        let upgrade = || unsafe { pointer.upgrade() };
        let mut state = kid.state.load(Ordering::Relaxed);
        if state == 0 {
            match kid.state.compare_exchange(0, SWEPT, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => continue,
                Err(now) => state = now,
            }
        }
        if !kid.more_parents().is_empty() {
            if let Some(kid) = upgrade() {
                // It cannot find the record by going up, as it does not know along which of its parents.
                let won = kid.claim(&mut kid.links.lock(), record);
                kid.set_unlinked(parent);
                below.push(if won { Step::Descend(kid) } else { Step::Await(kid) });
            }
            continue;
        }
        if state & (KIDS | CLOSED) == 0 {
            let mut kid_links = kid.links.lock();
            // Under both locks, nobody else changes the state of a node with one parent.
            let state = kid.state.load(Ordering::Acquire);
            if state & (KIDS | CLOSED) == 0 {
                let has_callbacks = kid_links.watch.as_mut().is_some_and(|watch| outbox.collect(watch));
                kid.state.store(state | CLOSED | DONE, Ordering::Release);
                drop(kid_links);
                kid.disarm();
                if has_callbacks {
                    outbox.callbacks.extend(upgrade());
                }
                // Not an addition: after `DONE`, a bit that comes in between means nothing.
                kid.state.store(state | SWEPT, Ordering::Release);
                continue;
            }
        }
        if kid.is_done() {
            kid.state.fetch_or(UNLINKED, Ordering::AcqRel);
        } else if let Some(kid) = upgrade() {
            let before = kid.state.fetch_or(CLOSED | UNLINKED, Ordering::AcqRel);
            below.push(if before & CLOSED == 0 { Step::Descend(kid) } else { Step::Await(kid) });
        }
    }
    drop(links);
}

impl Outbox {
    /// Takes whom a node has to tell; answers whether it has callbacks, which stay where they are until they run.
    fn collect(&mut self, watch: &mut Watch) -> bool {
        watch.waiters.take_all(&mut self.wakers);
        if let Some(drain_waiters) = &mut watch.drain_waiters {
            drain_waiters.take_all(&mut self.wakers);
        }
        self.keep.extend(watch.keep_alive.take());
        watch.callbacks.as_ref().is_some_and(|callbacks| !callbacks.is_empty())
    }

    /// Where this may be the last handle, what the user gave to the node is dropped once nothing is half done.
    fn keep_if_owned(&mut self, node: NodeRef) {
        if node.fixed.is_some() || node.state.load(Ordering::Relaxed) & WATCHED != 0 {
            self.keep.push(node);
        }
    }
}
