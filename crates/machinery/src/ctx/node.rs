//! A node of the tree: what every context is made of.
//!
//! # Invariants
//!
//! 1. `CLOSED` is set once, by whoever settles the node; from then on it takes no children, and its cause is fixed:
//!    its own record (`OWN`), or that of the nearest ancestor that has one.
//! 2. `DONE` follows `CLOSED`, and is set on a node only after it has been set on everything below. So whoever
//!    sees a node as done sees everything below it as done.
//! 3. A node whose state is zero has neither children, nor anything in `watch` that completion would have to look
//!    at. Only such a node may be completed without its lock, by one compare-and-swap.
//! 4. Bits are set under the node's lock, except by that compare-and-swap, and `UNLINKED`, which is set by the sweep of
//!    the parent under the parent's lock.
//! 5. A node holds its parents; a parent lists its children, and holds only those that are at work.
//!
//! # Lock order
//!
//! A parent's lock before its child's, and never more than these two. No user code runs under either.

use std::any::{Any, TypeId};
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::busy::AtWork;
use super::callbacks::Callbacks;
use super::completion::Completion;
use super::deadline::{Home, Timer};
use super::family::{Count, Family, NodeRef, Place};
use super::wakers::WakerSet;
use crate::Name;
use crate::slab::Slab;
use crate::sync::BriefMutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::thread::Thread;
use crate::tramp::Tramp;

/// Everything below is done, and so is this.
pub(super) const DONE: u32 = 1;
/// Settled; `DONE` will follow without any user code in between.
pub(super) const CLOSED: u32 = 2;
/// The cause is this node's own record, rather than an ancestor's.
pub(super) const OWN: u32 = 4;
/// Has had children.
pub(super) const KIDS: u32 = 8;
/// There may be something in `watch`, or there is something in `fixed`.
pub(super) const WATCHED: u32 = 16;
/// The guard gave the node's lifetime to the parent.
pub(super) const HANDED: u32 = 32;
/// Not in the list of the first parent: never was, or its sweep is over.
pub(super) const UNLINKED: u32 = 64;

/// In this order, so that what completion and waiting touch lies together.
#[repr(C)]
pub(crate) struct Node {
    pub(super) count: Count,
    pub(super) state: AtomicU32,
    /// The place in the first parent's list. Written once, under that parent's lock.
    place: AtomicU32,
    /// The lower half of when the node was settled by itself. Written once, under its lock.
    pub(super) settled_at: AtomicU32,
    pub(super) links: BriefMutex<Links>,
    pub(super) name: Name,
    pub(super) made_at: &'static Location<'static>,
    pub(super) parent: Option<NodeRef>,
    /// What was chosen when the node was made. A plain child has none of it.
    pub(super) fixed: Option<Box<Fixed>>,
}

#[derive(Default)]
pub(super) struct Links {
    pub(super) family: Family,
    /// The first of those who wait for the completion; a node rarely has more.
    pub(super) waiter: Option<Waker>,
    pub(super) watch: Option<Box<Watch>>,
}

/// What never changes after a node is made.
#[derive(Default)]
pub(super) struct Fixed {
    pub(super) prefix: Option<Name>,
    pub(super) tramp: Option<Arc<dyn Tramp>>,
    pub(super) values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    /// The runtime, for a root and for whoever chose one.
    pub(super) home: Option<Box<Home>>,
    /// The earliest instant at which this node can still be pending, where that is not simply the parent's.
    pub(super) deadline: Option<Instant>,
    /// The line that asked for that deadline.
    pub(super) deadline_set_at: Option<&'static Location<'static>>,
    pub(super) timer: Option<Timer>,
    /// The parents beyond the first.
    pub(super) more_parents: Vec<MoreParent>,
    /// Keeps the parent's name, tramp, values and runtime, and neither its completion nor its deadline.
    pub(super) detached: bool,
}

pub(super) struct MoreParent {
    pub(super) node: NodeRef,
    place: AtomicU32,
    /// As the bit `UNLINKED` for the first parent.
    unlinked: AtomicBool,
}

impl MoreParent {
    pub(super) fn new(node: NodeRef) -> Self {
        Self { node, place: AtomicU32::new(0), unlinked: AtomicBool::new(true) }
    }
}

/// What changes while a node lives, and most nodes never need.
#[derive(Default)]
pub(super) struct Watch {
    /// For a node with several parents that did not settle itself: where its completion began.
    pub(super) like: Option<NodeRef>,
    pub(super) waiters: Option<Box<Slab<Waker>>>,
    pub(super) drain_waiters: Option<Box<WakerSet>>,
    pub(super) callbacks: Option<Box<Callbacks>>,
    /// How many pieces of work there are here, plus how many children have any.
    pub(super) busy: usize,
    pub(super) at_work: Option<Box<AtWork>>,
    /// Threads that complete an ancestor and came upon this node while another thread was completing it.
    pub(super) blocked: Vec<Thread>,
    /// Holds a node that was handed over and has callbacks, so that they run however many handles are gone.
    pub(super) keep_alive: Option<NodeRef>,
}

impl Links {
    pub(super) fn watch(&mut self) -> &mut Watch {
        self.watch.get_or_insert_default()
    }
}

impl Node {
    pub(super) fn new(
        name: Name,
        made_at: &'static Location<'static>,
        parent: Option<NodeRef>,
        fixed: Option<Box<Fixed>>,
    ) -> Self {
        let state = match &fixed {
            None if parent.is_some() => 0,
            None => UNLINKED,
            Some(fixed) if parent.is_some() && !fixed.detached => WATCHED,
            Some(_) => WATCHED | UNLINKED,
        };
        Self {
            count: Count::one(),
            state: AtomicU32::new(state),
            place: AtomicU32::new(0),
            settled_at: AtomicU32::new(0),
            name,
            made_at,
            parent,
            fixed,
            links: BriefMutex::new(Links::default()),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        // Acquire: pairs with the release in the sweep that set it, so that the cause can be read.
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether it has a cause of its own, instead of that of the nearest node above that has one.
    pub(super) fn is_settled_by_itself(&self) -> bool {
        self.state.load(Ordering::Acquire) & OWN != 0
    }

    /// Whether nothing waits here, and nobody has to be told.
    pub(super) fn is_unwatched(&self) -> bool {
        self.state.load(Ordering::Acquire) & WATCHED == 0
    }

    /// Makes a sweep take the lock of this node. Answers false where it is done already. The caller holds the lock.
    pub(super) fn set_watched(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        if state & (WATCHED | DONE) == 0 {
            state = self.state.fetch_or(WATCHED, Ordering::AcqRel);
        }
        state & DONE == 0
    }

    pub(super) fn more_parents(&self) -> &[MoreParent] {
        self.fixed.as_ref().map_or(&[], |fixed| &fixed.more_parents)
    }

    /// The parents whose completion this one follows.
    pub(super) fn parents(&self) -> impl Iterator<Item = &NodeRef> {
        let detached = self.fixed.as_ref().is_some_and(|fixed| fixed.detached);
        self.parent.iter().filter(move |_| !detached).chain(self.more_parents().iter().map(|more| &more.node))
    }

    /// This node and those above it, along the first parents.
    pub(super) fn lineage(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }

    /// What was fixed, here and above.
    pub(super) fn inherited(&self) -> impl Iterator<Item = &Fixed> {
        self.lineage().filter_map(|node| node.fixed.as_deref())
    }

    /// The nearest runtime, from here upwards, that was given to a node or found by a root.
    pub(super) fn home(&self) -> Option<&Home> {
        self.inherited().find_map(|fixed| fixed.home.as_deref())
    }

    /// The instant at which this node completes at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.inherited()
            .find(|fixed| fixed.deadline.is_some() || fixed.detached || !fixed.more_parents.is_empty())?
            .deadline
    }

    pub(super) fn deadline_set_at(&self) -> &'static Location<'static> {
        self.fixed.as_ref().and_then(|fixed| fixed.deadline_set_at).unwrap_or(self.made_at)
    }

    /// The names from the root to here.
    pub(super) fn write_path(&self, out: &mut String) {
        let line: Vec<&Node> = self.lineage().collect();
        for (depth, node) in line.iter().rev().enumerate() {
            if depth > 0 {
                out.push_str("-->");
                if let Some(prefix) = node.prefix() {
                    out.push('[');
                    out.push_str(prefix);
                    out.push_str("]-->");
                }
            }
            out.push_str(&node.name);
        }
    }

    pub(super) fn prefix(&self) -> Option<&Name> {
        self.fixed.as_ref()?.prefix.as_ref()
    }

    /// Says that a sweep of `parent` is over with this node, which may be freed from here on.
    pub(super) fn set_unlinked(&self, parent: &Node) {
        for more in self.more_parents() {
            if std::ptr::eq(&*more.node, parent) {
                more.unlinked.store(true, Ordering::Release);
                return;
            }
        }
        self.state.fetch_or(UNLINKED, Ordering::AcqRel);
    }

    /// What has to happen before a node is freed: no list may lead to it.
    pub(super) fn leave_lists(&self) {
        let unlinked = || self.state.load(Ordering::Acquire) & UNLINKED != 0;
        if let Some(parent) = &self.parent
            && !unlinked()
        {
            let mut links = parent.links.lock();
            if !unlinked() {
                links.family.remove(self.place.load(Ordering::Relaxed));
            }
        }
        let Some(fixed) = &self.fixed else { return };
        for more in &fixed.more_parents {
            if !more.unlinked.load(Ordering::Acquire) {
                let mut links = more.node.links.lock();
                if !more.unlinked.load(Ordering::Acquire) {
                    links.family.remove(more.place.load(Ordering::Relaxed));
                }
            }
        }
        if let Some(timer) = &fixed.timer {
            timer.disarm();
        }
    }

    /// Gives away every handle to a node above.
    pub(super) fn take_parents(&mut self, mut give: impl FnMut(NodeRef)) {
        if let Some(parent) = self.parent.take() {
            give(parent);
        }
        if let Some(fixed) = &mut self.fixed {
            for more in fixed.more_parents.drain(..) {
                give(more.node);
            }
        }
        if let Some(like) = self.links.get_mut().watch.as_mut().and_then(|watch| watch.like.take()) {
            give(like);
        }
    }
}

impl NodeRef {
    /// Hangs a fresh node below its parents. Where one of them is settled already, so is this from here on.
    pub(super) fn link(&self) {
        let Some(fixed) = self.fixed.as_deref() else {
            if let Some(parent) = &self.parent
                && !self.link_to(parent, |place| self.place.store(place, Ordering::Relaxed))
            {
                // Nobody else can have seen it. The cause is found by going up.
                self.state.store(CLOSED | DONE | UNLINKED, Ordering::Release);
            }
            return;
        };
        if let Some(parent) = &self.parent
            && !fixed.detached
            && !self.link_to(parent, |place| self.place.store(place, Ordering::Relaxed))
        {
            self.state.fetch_or(UNLINKED, Ordering::AcqRel);
            self.settle_like(parent);
            return;
        }
        for more in &fixed.more_parents {
            let linked = self.link_to(&more.node, |place| {
                more.place.store(place, Ordering::Relaxed);
                more.unlinked.store(false, Ordering::Release);
            });
            if !linked {
                self.settle_like(&more.node);
                return;
            }
        }
        if let Some(timer) = &fixed.timer {
            timer.arm(self);
        }
    }

    fn link_to(&self, parent: &Node, keep: impl FnOnce(Place)) -> bool {
        let mut links = parent.links.lock();
        let mut state = parent.state.load(Ordering::Relaxed);
        if state & (KIDS | CLOSED) == 0 {
            // Closes the door to completion without the lock, unless it has been through it already.
            state = parent.state.fetch_or(KIDS, Ordering::AcqRel);
        }
        if state & CLOSED != 0 {
            return false;
        }
        keep(links.family.insert(self.pointer()));
        true
    }
}

impl NodeRef {
    /// The nearest node, from here upwards, that has a cause of its own. The caller knows that this one is settled.
    fn settled_above(&self) -> Option<&NodeRef> {
        let mut node = self;
        while !node.is_settled_by_itself() {
            node = node.parent.as_ref()?;
        }
        Some(node)
    }

    /// Where the completion of this settled node began.
    pub(super) fn origin(&self) -> Option<NodeRef> {
        let above = self.settled_above()?;
        let like = above.links.lock().watch.as_ref().and_then(|watch| watch.like.clone());
        Some(like.unwrap_or_else(|| above.clone()))
    }

    /// Why this node is done.
    pub(super) fn completion(&self) -> Option<Completion> {
        if !self.is_done() {
            return None;
        }
        let above = self.settled_above()?;
        above.own_completion().or_else(|| above.origin()?.own_completion())
    }

    fn own_completion(&self) -> Option<Completion> {
        let links = self.links.lock();
        let Family::Settled(settlement) = &links.family else { return None };
        let settlement = settlement.clone();
        drop(links);
        Some(Completion::new(self.clone(), settlement, self.settled_at.load(Ordering::Relaxed)))
    }
}
