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

use std::panic::Location;
use std::sync::{Arc, Weak};

use super::completion::{Cause, Record};
use super::node::{CLOSED, DONE, Links, Node, OWN, WATCHED};
use super::notify::Outbox;
use crate::slab::Slab;
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, thread};

type Kids = Box<Slab<Weak<Node>>>;

/// What an attempt to settle a node found.
enum Claim {
    /// Somebody was first.
    Lost,
    /// Settled, with nothing below it.
    Alone,
    /// Settled, with these below it.
    Above(Kids),
}

impl Node {
    /// Completes this node, and answers whether this call was the one. Returns after the callbacks have run.
    pub(super) fn complete(self: &Arc<Self>, cause: Cause, location: &'static Location<'static>) -> bool {
        self.settle(cause, location).map(Outbox::send).is_some()
    }

    /// Claims and marks. The winner has to send what comes back.
    pub(super) fn settle(self: &Arc<Self>, cause: Cause, location: &'static Location<'static>) -> Option<Outbox> {
        if self.is_closed() {
            return None;
        }
        self.settle_by(&Arc::new(Record::new(self, cause, location)))
    }

    fn settle_by(self: &Arc<Self>, record: &Arc<Record>) -> Option<Outbox> {
        let mut outbox = Outbox::of(self);
        let mut links = self.links.lock();
        match self.claim(&mut links, Some(record)) {
            Claim::Lost => return None,
            Claim::Alone => self.finish(links, &mut outbox),
            Claim::Above(kids) => {
                drop(links);
                sweep(self, kids, record, &mut outbox);
            }
        }
        Some(outbox)
    }

    /// For a fresh node with several parents, one of which is settled already.
    pub(super) fn settle_like(self: &Arc<Self>, parent: &Arc<Node>) {
        if let Some(record) = parent.settled_record()
            && let Some(outbox) = self.settle_by(&record)
        {
            outbox.send();
        }
    }

    fn claim(&self, links: &mut Links, record: Option<&Arc<Record>>) -> Claim {
        let bits = if record.is_some() { CLOSED | OWN } else { CLOSED };
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & CLOSED != 0 {
                return Claim::Lost;
            }
            // Against the compare-and-swap of a sweep, which takes no lock.
            match self.state.compare_exchange_weak(state, state | bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if let Some(record) = record {
            links.watch().record = Some(Arc::clone(record));
        }
        match links.kids.take() {
            Some(kids) if !kids.is_empty() => Claim::Above(kids),
            _ => Claim::Alone,
        }
    }

    /// Marks a settled node below which everything is done, and collects whom to tell.
    fn finish(self: &Arc<Self>, mut links: MutexGuard<'_, Links>, outbox: &mut Outbox) {
        let mut blocked = Vec::new();
        let mut keep_alive = None;
        if let Some(watch) = &mut links.watch {
            watch.waiters.take_all(&mut outbox.wakers);
            if let Some(drain_waiters) = &mut watch.drain_waiters {
                drain_waiters.take_all(&mut outbox.wakers);
            }
            if watch.callbacks.as_ref().is_some_and(|callbacks| !callbacks.is_empty()) {
                outbox.callbacks.push(Arc::clone(self));
            }
            blocked = std::mem::take(&mut watch.blocked);
            keep_alive = watch.keep_alive.take();
        }
        // Release: whoever sees it sees the cause. Under the lock and after `CLOSED`, nobody else writes.
        let state = self.state.load(Ordering::Relaxed);
        self.state.store(state | DONE, Ordering::Release);
        drop(links);
        outbox.keep.extend(keep_alive);
        for thread in blocked {
            thread.unpark();
        }
        if let Some(timer) = self.fixed.as_ref().and_then(|fixed| fixed.timer.as_ref()) {
            timer.disarm();
        }
    }

    /// Waits for another thread that has settled this node to mark it.
    fn wait_until_done(&self, mut links: MutexGuard<'_, Links>) {
        if self.is_done() {
            return;
        }
        links.watch().blocked.push(thread::current());
        drop(links);
        while !self.is_done() {
            thread::park();
        }
    }
}

/// A settled node, and those of its children that are still to do.
struct Frame<I> {
    node: Arc<Node>,
    kids: I,
}

/// Marks what is below `top`, then `top`. No recursion: the depth of a tree is the user's business.
fn sweep(top: &Arc<Node>, kids: Kids, record: &Arc<Record>, outbox: &mut Outbox) {
    let mut path = vec![Frame { node: Arc::clone(top), kids: kids.into_values() }];
    while let Some(frame) = path.last_mut() {
        // Backwards, as the outbox is read backwards: that puts parents before children, and siblings in their order.
        let Some(kid) = frame.kids.next_back() else {
            let Some(Frame { node, .. }) = path.pop() else {
                break;
            };
            node.finish(node.links.lock(), outbox);
            outbox.keep_if_owned(node);
            continue;
        };
        let Some(kid) = kid.upgrade() else { continue };
        if kid.state.compare_exchange(0, CLOSED | DONE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            outbox.keep_if_owned(kid);
            continue;
        }
        let mut links = kid.links.lock();
        // A node with several parents cannot find the record by going up, as it does not know along which of them.
        let linked = kid.fixed.as_ref().is_some_and(|fixed| !fixed.more_parents.is_empty());
        match kid.claim(&mut links, linked.then_some(record)) {
            Claim::Lost => kid.wait_until_done(links),
            Claim::Alone => kid.finish(links, outbox),
            Claim::Above(kids) => {
                drop(links);
                path.push(Frame { node: kid, kids: kids.into_values() });
                continue;
            }
        }
        outbox.keep_if_owned(kid);
    }
}

impl Outbox {
    /// Where this may be the last handle, what the user gave to the node is dropped once nothing is half done.
    fn keep_if_owned(&mut self, node: Arc<Node>) {
        if node.fixed.is_some() || node.state.load(Ordering::Relaxed) & WATCHED != 0 {
            self.keep.push(node);
        }
    }
}
