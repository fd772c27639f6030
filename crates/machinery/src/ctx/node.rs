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
//! 4. Bits are set under the node's lock, except by that compare-and-swap.
//! 5. A node holds its parent; a parent knows its children by weak references, which they take out when they go.
//!
//! # Lock order
//!
//! No thread holds the locks of two nodes at once, and no user code runs under any.

use std::any::{Any, TypeId};
use std::panic::Location;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::callbacks::Callbacks;
use super::completion::Record;
use super::deadline::Timer;
use super::wakers::WakerSet;
use crate::Name;
use crate::slab::Slab;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};
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
/// There may be something in `watch`, or the node has several parents or a timer.
pub(super) const WATCHED: u32 = 16;
/// The guard gave the node's lifetime to the parent.
pub(super) const HANDED: u32 = 32;

const UNLINKED: u32 = u32::MAX;

pub(crate) struct Node {
    pub(super) state: AtomicU32,
    /// The place in the parent's `kids`. Written once, under the parent's lock.
    key: AtomicU32,
    pub(super) name: Name,
    pub(super) made_at: &'static Location<'static>,
    pub(super) parent: Option<Arc<Node>>,
    /// What was chosen when the node was made. A plain child has none of it.
    pub(super) fixed: Option<Box<Fixed>>,
    pub(super) links: Mutex<Links>,
}

#[derive(Default)]
pub(super) struct Links {
    pub(super) kids: Option<Box<Slab<Weak<Node>>>>,
    pub(super) watch: Option<Box<Watch>>,
}

/// What never changes after a node is made.
#[derive(Default)]
pub(super) struct Fixed {
    pub(super) prefix: Option<Name>,
    pub(super) tramp: Option<Arc<dyn Tramp>>,
    pub(super) values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    pub(super) runtime: Option<Handle>,
    /// The earliest instant at which this node can still be pending, where it has one of its own.
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
    pub(super) node: Arc<Node>,
    key: AtomicU32,
}

impl MoreParent {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, key: AtomicU32::new(UNLINKED) }
    }
}

/// What changes while a node lives, and most nodes never need.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) record: Option<Arc<Record>>,
    pub(super) waiters: WakerSet,
    pub(super) drain_waiters: Option<Box<WakerSet>>,
    pub(super) callbacks: Option<Box<Callbacks>>,
    /// How many tasks run here, plus how many children have any.
    pub(super) busy: usize,
    /// Threads that complete an ancestor and came upon this node while another thread was completing it.
    pub(super) blocked: Vec<Thread>,
    /// Holds a node that was handed over and has callbacks, so that they run however many handles are gone.
    pub(super) keep_alive: Option<Arc<Node>>,
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
        parent: Option<Arc<Node>>,
        fixed: Option<Box<Fixed>>,
    ) -> Self {
        Self {
            state: AtomicU32::new(0),
            key: AtomicU32::new(UNLINKED),
            name,
            made_at,
            parent,
            fixed,
            links: Mutex::new(Links { kids: None, watch: None }),
        }
    }

    /// Hangs `self` below its parents. Where one of them is settled already, so is `self` from here on.
    pub(super) fn link(self: &Arc<Self>) {
        let Some(fixed) = self.fixed.as_deref() else {
            if let Some(parent) = &self.parent
                && !self.link_to(parent, &self.key)
            {
                // Nobody else can have seen it. The cause is found by going up.
                self.state.store(CLOSED | DONE, Ordering::Release);
            }
            return;
        };
        if fixed.timer.is_some() || !fixed.more_parents.is_empty() {
            // Completion has more to do here than one compare-and-swap.
            self.state.store(WATCHED, Ordering::Relaxed);
        }
        let first = self.parent.iter().filter(|_| !fixed.detached).map(|node| (node, &self.key));
        let more = fixed.more_parents.iter().map(|more| (&more.node, &more.key));
        for (parent, key) in first.chain(more) {
            if !self.link_to(parent, key) {
                self.settle_like(parent);
                return;
            }
        }
        if let Some(timer) = &fixed.timer {
            timer.arm(self);
        }
    }

    fn link_to(self: &Arc<Self>, parent: &Arc<Node>, key: &AtomicU32) -> bool {
        let weak = Arc::downgrade(self);
        let mut links = parent.links.lock();
        let mut state = parent.state.load(Ordering::Relaxed);
        if state & (KIDS | CLOSED) == 0 {
            // Closes the door to completion without the lock, unless it has been through it already.
            state = parent.state.fetch_or(KIDS, Ordering::AcqRel);
        }
        if state & CLOSED != 0 {
            drop(links);
            return false;
        }
        let place = links.kids.get_or_insert_default().insert(weak);
        key.store(place, Ordering::Relaxed);
        true
    }

    pub(super) fn is_done(&self) -> bool {
        // Acquire: pairs with the release in the sweep that set it, so that the cause can be read.
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether nothing waits here, and nobody has to be told.
    pub(super) fn is_unwatched(&self) -> bool {
        self.state.load(Ordering::Acquire) & WATCHED == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// The parents whose completion this one follows.
    pub(super) fn parents(&self) -> impl Iterator<Item = &Arc<Node>> {
        let fixed = self.fixed.as_deref();
        let followed = !fixed.is_some_and(|fixed| fixed.detached);
        let more = fixed.map_or(&[][..], |fixed| &fixed.more_parents);
        self.parent.iter().filter(move |_| followed).chain(more.iter().map(|more| &more.node))
    }

    /// This node and those above it, along the first parents.
    pub(super) fn lineage(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }

    /// What was fixed, here and above.
    pub(super) fn inherited(&self) -> impl Iterator<Item = &Fixed> {
        self.lineage().filter_map(|node| node.fixed.as_deref())
    }

    /// The instant at which this node completes at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.inherited()
            .find(|fixed| fixed.deadline.is_some() || fixed.detached || !fixed.more_parents.is_empty())?
            .deadline
    }

    /// The record that says why this node is settled.
    pub(super) fn record(&self) -> Option<Arc<Record>> {
        if !self.is_done() {
            return None;
        }
        self.settled_record()
    }

    /// The record as a sweep sees it: the node is settled, though perhaps not done yet.
    pub(super) fn settled_record(&self) -> Option<Arc<Record>> {
        self.lineage()
            .find(|node| node.state.load(Ordering::Acquire) & OWN != 0)
            .and_then(|node| node.links.lock().watch.as_ref()?.record.clone())
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

    fn unlink(&self) {
        if let Some(parent) = &self.parent {
            unlink_from(parent, &self.key);
        }
        if let Some(fixed) = &self.fixed {
            for more in &fixed.more_parents {
                unlink_from(&more.node, &more.key);
            }
        }
    }
}

fn unlink_from(parent: &Node, key: &AtomicU32) {
    let key = key.load(Ordering::Relaxed);
    // A settled parent has given its list of children away, and never gets another.
    if key == UNLINKED || parent.is_closed() {
        return;
    }
    let weak = {
        let mut links = parent.links.lock();
        links.kids.as_mut().and_then(|kids| kids.remove(key))
    };
    drop(weak);
}

impl Drop for Node {
    fn drop(&mut self) {
        self.unlink();
        // By hand, so that the end of a chain of a million does not overflow the stack.
        let mut above = self.take_parents();
        while let Some(parent) = above.pop_one() {
            if let Some(mut parent) = Arc::into_inner(parent) {
                parent.unlink();
                above.add(parent.take_parents());
            }
        }
    }
}

/// Parents that a dying node lets go of: nearly always one at most.
struct Released {
    one: Option<Arc<Node>>,
    more: Vec<Arc<Node>>,
}

impl Released {
    fn pop_one(&mut self) -> Option<Arc<Node>> {
        self.one.take().or_else(|| self.more.pop())
    }

    fn add(&mut self, other: Released) {
        self.more.extend(other.more);
        match self.one {
            None => self.one = other.one,
            Some(_) => self.more.extend(other.one),
        }
    }
}

impl Node {
    fn take_parents(&mut self) -> Released {
        let more = match &mut self.fixed {
            Some(fixed) => fixed.more_parents.drain(..).map(|more| more.node).collect(),
            None => Vec::new(),
        };
        // What is kept for a node's own record leads upwards as well.
        let record = match self.links.get_mut().watch.as_mut() {
            Some(watch) => watch.record.take().and_then(Arc::into_inner),
            None => None,
        };
        let mut released = Released { one: self.parent.take(), more };
        if let Some(parent) = record.and_then(|record| record.parent) {
            released.more.push(parent);
        }
        released
    }
}
