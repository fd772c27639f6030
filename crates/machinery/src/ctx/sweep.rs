//! Completion: settle a node, mark everything below it, then tell those who wait.
//!
//! # The life of a completion
//!
//! 1. *Claim.* Under the node's lock `CLOSED` is set. Whoever sets it has won; the record is stored with it.
//! 2. *Mark.* Everything below is claimed going down and marked `DONE` coming up. A node that nobody watches takes
//!    one compare-and-swap. A node that another thread is completing already is waited for: that thread runs no user
//!    code before it has marked it. A sweep waits only for what stands below every node that others could wait for it
//!    to mark, so that no circle of waiting can form.
//! 3. *Tell.* With no lock held, wakers are woken, then callbacks run, those of a parent before those of its
//!    children.

#![expect(unsafe_code, reason = "follows the pointers of a parent's list under the parent's lock")]

use std::task::Waker;

use super::completion::{Cause, Settlement};
use super::family::{Family, NodePtr, NodeRef};
use super::node::{CLOSED, DONE, KIDS, Links, Node, OWN, UNLINKED, WATCHED};
use super::notify::{self, Outbox};
use crate::sync::atomic::Ordering;
use crate::sync::{BriefGuard, thread};
use crate::time::Stamp;

/// The state of a node that nobody watched, when a sweep is over with it.
const SWEPT: u32 = CLOSED | DONE | UNLINKED;

/// What a node that settles by itself writes down.
enum Why {
    Own(Settlement),
    /// It follows one of several parents.
    Like(NodeRef),
}

impl NodeRef {
    /// Completes this node, and answers whether this call was the one. Returns after the callbacks have run.
    pub(super) fn complete(&self, cause: Cause) -> bool {
        let Some((settlement, at_low)) = self.settlement(cause) else { return false };
        let settlement = match self.settle_leaf(settlement, at_low) {
            Ok(waiter) => {
                if let Some(waker) = waiter {
                    notify::tell_one(self, waker);
                }
                return true;
            }
            Err(settlement) => settlement,
        };
        let mut outbox = Outbox::default();
        let won = self.settle_by(Why::Own(settlement), at_low, &mut outbox);
        outbox.send(self);
        won
    }

    /// Settles a node that has nothing below and at most one waiter to tell, as most have; gives the settlement back
    /// where there is more to it.
    #[inline]
    fn settle_leaf(&self, settlement: Settlement, at_low: u32) -> Result<Option<Waker>, Settlement> {
        let mut links = self.links.lock();
        if !links.family.is_empty() || links.watch.is_some() || !self.claim(CLOSED | OWN | DONE) {
            return Err(settlement);
        }
        self.settled_at.store(at_low, Ordering::Relaxed);
        // What was there had never had a child.
        let family = std::mem::replace(&mut links.family, Family::Settled(settlement));
        let waiter = links.waiter.take();
        drop(links);
        drop(family);
        self.disarm();
        Ok(waiter)
    }

    /// Claims and marks. The winner has to send the outbox.
    pub(super) fn settle(&self, cause: Cause, outbox: &mut Outbox) -> bool {
        let Some((settlement, at_low)) = self.settlement(cause) else { return false };
        self.settle_by(Why::Own(settlement), at_low, outbox)
    }

    /// What is to be written down, and the lower half of when; nothing where the node is settled already.
    #[inline]
    fn settlement(&self, cause: Cause) -> Option<(Settlement, u32)> {
        if self.is_closed() {
            return None;
        }
        let (at_high, at_low) = Stamp::now().halves();
        Some((cause.settlement(at_high), at_low))
    }

    /// For a fresh node one of whose parents is settled already.
    pub(super) fn settle_like(&self, parent: &NodeRef) {
        let mut outbox = Outbox::default();
        let won = parent.origin().is_some_and(|origin| self.settle_by(Why::Like(origin), 0, &mut outbox));
        if !won {
            // A sweep of another parent came first, and has not marked it yet, perhaps.
            self.wait_until_done();
        }
        outbox.send(self);
    }

    fn settle_by(&self, why: Why, at_low: u32, outbox: &mut Outbox) -> bool {
        let mut links = self.links.lock();
        let alone = links.family.is_empty();
        // Where nothing is below, settled and done are one step.
        let bits = if alone { CLOSED | OWN | DONE } else { CLOSED | OWN };
        // A reader takes the lock before it looks at what is written down below.
        if !self.claim(bits) {
            drop(links);
            // What the caller gave goes with it, and its drop is user code.
            drop(why);
            return false;
        }
        self.settled_at.store(at_low, Ordering::Relaxed);
        let family = match why {
            Why::Own(settlement) => std::mem::replace(&mut links.family, Family::Settled(settlement)),
            Why::Like(origin) => {
                links.watch().like = Some(origin);
                std::mem::take(&mut links.family)
            }
        };
        if alone {
            let has_callbacks = outbox.collect(&mut links);
            drop(links);
            self.disarm();
            if has_callbacks {
                outbox.callbacks.push(self.clone());
            }
        } else {
            let mut steps = vec![Step::Finish(self.clone())];
            close_kids(self, links, &family, &mut steps, outbox);
            sweep(steps, self, outbox);
        }
        true
    }
}

impl Node {
    /// Sets `CLOSED` and more, unless somebody was first. The caller holds the lock.
    fn claim(&self, bits: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & CLOSED != 0 {
                return false;
            }
            // Against a sweep of the parent, which may claim without this lock.
            match self.state.compare_exchange_weak(state, state | bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
    }

    /// Marks a settled node below which everything is done, and collects whom to tell. Answers whether there are
    /// callbacks.
    fn mark(&self, outbox: &mut Outbox) -> bool {
        let mut links = self.links.lock();
        let has_callbacks = outbox.collect(&mut links);
        let blocked = links.watch.as_mut().map(|watch| std::mem::take(&mut watch.blocked));
        // Release: whoever sees it sees the cause.
        self.state.fetch_or(DONE, Ordering::Release);
        drop(links);
        for thread in blocked.into_iter().flatten() {
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
    /// Has several parents. Settled only now that everything below it comes next: two sweeps that reach the same nodes
    /// in different orders would otherwise wait for each other, and one that reaches a node twice for itself.
    Join(NodeRef),
    /// Settled by another thread, which has not marked it yet.
    Await(NodeRef),
}

/// Marks what is below `origin`, then `origin`. No recursion: the depth of a tree is the user's business.
fn sweep(mut steps: Vec<Step>, origin: &NodeRef, outbox: &mut Outbox) {
    let mut below = Vec::new();
    while let Some(step) = steps.pop() {
        match step {
            Step::Descend(mut node) => {
                while let Some(kid) = descend(&node, &mut below, outbox) {
                    steps.push(Step::Finish(std::mem::replace(&mut node, kid)));
                }
                steps.push(Step::Finish(node));
                steps.append(&mut below);
            }
            Step::Join(node) => {
                // Either comes next.
                let won = node.follow_origin(origin);
                steps.push(if won { Step::Descend(node) } else { Step::Await(node) });
            }
            Step::Finish(node) => {
                let state = node.state.load(Ordering::Relaxed);
                // Nobody has to be told, unless somebody comes in between.
                let told = state & WATCHED == 0
                    && node.state.compare_exchange(state, state | DONE, Ordering::AcqRel, Ordering::Relaxed).is_ok();
                if !told && node.mark(outbox) {
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

/// Goes one step down; the only child below that needs more than a mark is given, so that a chain takes no stack.
fn descend(node: &NodeRef, below: &mut Vec<Step>, outbox: &mut Outbox) -> Option<NodeRef> {
    let mut links = node.links.lock();
    let family = std::mem::take(&mut links.family);
    let Family::One(kid) = family else {
        close_kids(node, links, &family, below, outbox);
        return None;
    };
    let step = close_kid(node, &links, kid, outbox);
    drop(links);
    match step? {
        Step::Descend(kid) => Some(kid),
        other => {
            below.push(other);
            None
        }
    }
}

/// Goes through what was the list of a settled node, whose lock it is given. Marks those in it that have nothing below
/// them, and adds to `below` what is left to do.
fn close_kids(
    parent: &NodeRef,
    lock: BriefGuard<'_, Links>,
    family: &Family,
    below: &mut Vec<Step>,
    outbox: &mut Outbox,
) {
    for kid in family.kids() {
        if let Some(step) = close_kid(parent, &lock, kid, outbox) {
            below.push(step);
        }
    }
    drop(lock);
}

/// Marks a child of a settled node if there is nothing below it, and says what is left to do. The lock is that of the
/// parent, in whose list the child was.
///
/// A node that is being buried is left alone: nobody will ever look at it, and its burier finds the list empty.
#[inline(always)]
fn close_kid(parent: &NodeRef, _lock: &BriefGuard<'_, Links>, pointer: NodePtr, outbox: &mut Outbox) -> Option<Step> {
    // SAFETY: it was in the parent's list, whose lock is held, and `UNLINKED` comes last.
    let kid = unsafe { pointer.follow() };
    // SAFETY: as above.
    let upgrade = || unsafe { pointer.upgrade() };
    let mut state = kid.state.load(Ordering::Relaxed);
    if state == 0 {
        match kid.state.compare_exchange(0, SWEPT, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return None,
            Err(now) => state = now,
        }
    }
    if state & WATCHED != 0 && !kid.more_parents().is_empty() {
        let kid = upgrade()?;
        kid.set_unlinked(parent);
        return Some(Step::Join(kid));
    }
    if state & (KIDS | CLOSED) == 0 {
        let mut kid_links = kid.links.lock();
        // Under both locks, nobody else changes the state of a node with one parent.
        let state = kid.state.load(Ordering::Acquire);
        if state & (KIDS | CLOSED) == 0 {
            if outbox.collect(&mut kid_links) {
                // Before `CLOSED`: a guard that sees it leaves the callbacks to this sweep, and lets go.
                outbox.callbacks.extend(upgrade());
            }
            kid.state.store(state | CLOSED | DONE, Ordering::Release);
            drop(kid_links);
            kid.disarm();
            // Not an addition: after `DONE`, a bit that comes in between means nothing.
            kid.state.store(state | SWEPT, Ordering::Release);
            return None;
        }
    }
    if kid.is_done() {
        kid.state.fetch_or(UNLINKED, Ordering::AcqRel);
        return None;
    }
    let kid = upgrade()?;
    let before = kid.state.fetch_or(CLOSED | UNLINKED, Ordering::AcqRel);
    Some(if before & CLOSED == 0 { Step::Descend(kid) } else { Step::Await(kid) })
}

impl Node {
    /// Settles a node with several parents after one of them. It cannot find the cause by going up, as it does not know
    /// along which, and so it writes down where that is.
    fn follow_origin(&self, origin: &NodeRef) -> bool {
        let mut links = self.links.lock();
        let won = self.claim(CLOSED | OWN);
        if won {
            links.watch().like = Some(origin.clone());
        }
        won
    }
}

impl Outbox {
    /// Takes whom a node has to tell; answers whether it has callbacks, which stay where they are until they run.
    fn collect(&mut self, links: &mut Links) -> bool {
        self.wakers.extend(links.waiter.take());
        let Some(watch) = &mut links.watch else { return false };
        if let Some(mut waiters) = watch.waiters.take() {
            self.wakers.extend(waiters.drain_all());
        }
        if let Some(drain_waiters) = &mut watch.drain_waiters {
            drain_waiters.take_all(&mut self.wakers);
        }
        self.keep.extend(watch.keep_alive.take());
        watch.callbacks.as_ref().is_some_and(|callbacks| !callbacks.is_empty())
    }

    /// Where this may be the last handle, what the user gave to the node is dropped once nothing is half done.
    fn keep_if_owned(&mut self, node: NodeRef) {
        if node.state.load(Ordering::Relaxed) & WATCHED != 0 {
            self.keep.push(node);
        }
    }
}
