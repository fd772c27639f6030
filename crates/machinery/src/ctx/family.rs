//! Who holds whom: counted handles to nodes, and a parent's list of its children.
//!
//! A parent lists its children by plain pointers rather than by `Weak`, as a sweep over a million children would
//! otherwise pay four atomic operations a child instead of one, and a child twice the atomic operations to be made and
//! dropped.
//!
//! # Invariants
//!
//! 1. A [`NodeRef`] counts. A node is buried by whoever takes the count to zero, and from zero it never rises again.
//! 2. A pointer in a list is followed only while the lock that guards the list is held: the parent's for its
//!    [`Family`], that of the timers for theirs.
//! 3. Who buries a node takes its pointers out of every list, under those locks, before the memory is freed. It may
//!    leave that out for a parent whose sweep has said that it will not touch the node again (`UNLINKED`).
//! 4. A sweep takes the whole list, and says `UNLINKED` of a child as the last thing that it does with it, unless it
//!    has a counted handle.

#![expect(unsafe_code, reason = "counted handles, and lists of plain pointers guarded by locks")]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use super::completion::Settlement;
use super::node::Node;
use crate::slab::Slab;
use crate::sync::atomic::{AtomicU32, Ordering, fence};
use crate::sync::freeing;

/// A counted handle to a node.
pub(crate) struct NodeRef(NonNull<Node>);

// SAFETY: a handle gives shared access to a node, as an `Arc` would, and may drop it on any thread; a node is `Send`
// and `Sync`, as `assert_shareable` shows.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}

// No lock is held while user code runs, so that a panic leaves every node as it has to be.
impl UnwindSafe for NodeRef {}
impl RefUnwindSafe for NodeRef {}

const fn assert_shareable<T: Send + Sync>() {}
const _: () = assert_shareable::<Node>();

/// How many handles there are to a node, and `LISTED`.
pub(super) struct Count(AtomicU32);

/// Once a list has given out a handle.
const LISTED: u32 = 1 << 31;

impl NodeRef {
    pub(super) fn new(node: Node) -> Self {
        Self(NonNull::from(Box::leak(Box::new(node))))
    }

    /// Drops this handle if it is the only one of a node that nobody watches and that no list has given another handle
    /// to; gives it back otherwise. Decided in one step, so that no list gives one out in between.
    #[inline]
    pub(super) fn drop_unseen(self) -> Option<Self> {
        let count = &self.count.0;
        // The first load acquires what those did who had handles before. Then as for the last handle in `release`.
        if count.load(Ordering::Acquire) != 1
            || !self.is_unwatched()
            || count.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return Some(self);
        }
        bury(ManuallyDrop::new(self).0);
        None
    }

    pub(super) fn pointer(&self) -> NodePtr {
        NodePtr(self.0)
    }

    pub(crate) fn address(&self) -> usize {
        self.0.addr().get()
    }
}

impl Count {
    pub(super) fn one() -> Self {
        Self(AtomicU32::new(1))
    }
}

impl Deref for NodeRef {
    type Target = Node;

    fn deref(&self) -> &Node {
        // SAFETY: a node is not freed while a counted handle exists (invariant 1).
        unsafe { self.0.as_ref() }
    }
}

impl Clone for NodeRef {
    fn clone(&self) -> Self {
        // Relaxed: the handle that is cloned keeps the node alive. As for `Arc`.
        let before = self.count.0.fetch_add(1, Ordering::Relaxed);
        if before & !LISTED > LISTED / 2 {
            // Only handles that were forgotten can be that many.
            std::process::abort();
        }
        Self(self.0)
    }
}

impl PartialEq for NodeRef {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for NodeRef {}

impl fmt::Debug for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for NodeRef {
    fn drop(&mut self) {
        if release(self.0) {
            bury(self.0);
        }
    }
}

/// Gives a handle back, and answers whether it was the last.
fn release(node: NonNull<Node>) -> bool {
    // SAFETY: the caller gives back a handle that it has, so the node lives until the count is down.
    let count = unsafe { &node.as_ref().count.0 };
    // Release, and acquire for the last: what others did to the node happens before its burial. As for `Arc`.
    if count.fetch_sub(1, Ordering::Release) & !LISTED != 1 {
        return false;
    }
    fence(Ordering::Acquire);
    true
}

/// Frees a node, and those above it that only it held.
fn bury(node: NonNull<Node>) {
    Burial { next: Some(node), more: Vec::new() }.go_on();
}

/// The nodes that are to be freed.
struct Burial {
    next: Option<NonNull<Node>>,
    more: Vec<NonNull<Node>>,
}

impl Drop for Burial {
    fn drop(&mut self) {
        // There are any only where the drop of something that the user gave has panicked.
        self.go_on();
    }
}

impl Burial {
    /// A loop, as a chain may be a million long.
    fn go_on(&mut self) {
        while let Some(node) = self.next.take().or_else(|| self.more.pop()) {
            self.bury_one(node);
        }
    }

    fn bury_one(&mut self, node: NonNull<Node>) {
        // SAFETY: the count is zero, so nobody has a handle or can get one. Those who come by a list touch only what
        // they may share, and after `leave_lists` nobody does (invariant 3).
        unsafe { node.as_ref() }.leave_lists();
        // SAFETY: it was made by `NodeRef::new`, and nobody else has access to it any more.
        let mut node = unsafe { Box::from_raw(node.as_ptr()) };
        freeing(&mut node.state);
        freeing(&mut node.count.0);
        node.take_parents(|parent| {
            let parent = ManuallyDrop::new(parent);
            if release(parent.0) {
                if self.next.is_none() {
                    self.next = Some(parent.0);
                } else {
                    self.more.push(parent.0);
                }
            }
        });
    }
}

/// A node in a list. It may be followed while the lock of that list is held.
#[derive(Clone, Copy)]
pub(super) struct NodePtr(NonNull<Node>);

// SAFETY: it is only a place; following it is what has rules.
unsafe impl Send for NodePtr {}
// SAFETY: as above.
unsafe impl Sync for NodePtr {}

impl NodePtr {
    /// The node.
    ///
    /// # Safety
    ///
    /// The pointer was found in a list whose lock was taken before and is held for as long as the answer is used; and
    /// for a child of a sweep, `UNLINKED` has not been said.
    pub(super) unsafe fn follow<'a>(self) -> &'a Node {
        // SAFETY: invariant 3: it cannot be freed before the burier gets that lock.
        unsafe { self.0.as_ref() }
    }

    /// A counted handle, unless the node is being buried.
    ///
    /// # Safety
    ///
    /// As for [`follow`](Self::follow).
    pub(super) unsafe fn upgrade(self) -> Option<NodeRef> {
        // SAFETY: passed on to the caller.
        let count = unsafe { &self.follow().count.0 };
        let mut seen = count.load(Ordering::Relaxed);
        while seen & !LISTED != 0 {
            // Acquire: as `Weak::upgrade`, with what the last handle's owner did to the node.
            match count.compare_exchange_weak(seen, (seen + 1) | LISTED, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(NodeRef(self.0)),
                Err(now) => seen = now,
            }
        }
        None
    }
}

/// The children of a node; or, once it is settled by itself, why. One word and a tag in any case.
#[derive(Default)]
pub(super) enum Family {
    #[default]
    Nobody,
    One(NodePtr),
    Many(Box<Slab<NodePtr>>),
    /// The node took its children's places to write down why it was settled; it gets no others.
    Settled(Settlement),
}

impl Node {
    /// The children that are pending.
    pub(super) fn pending_kids(&self) -> Vec<NodeRef> {
        let links = self.links.lock();
        let kids = links.family.kids();
        // SAFETY: the list is the node's own, whose lock is held. A sweep takes the list out before it unlinks anybody.
        let mut kids: Vec<NodeRef> = kids.filter_map(|kid| unsafe { kid.upgrade() }).collect();
        drop(links);
        // Not under the lock, as a handle that is dropped may be the last by now, and its burial takes that lock.
        kids.retain(|kid| !kid.is_done());
        kids
    }
}

/// Where a child stands among its parent's.
pub(super) type Place = u32;

impl Family {
    /// The caller has made certain that the node is not settled.
    pub(super) fn insert(&mut self, kid: NodePtr) -> Place {
        match self {
            Self::Nobody | Self::Settled(_) => {
                *self = Self::One(kid);
                0
            }
            Self::One(first) => {
                let mut many = Box::<Slab<NodePtr>>::default();
                many.insert(*first);
                let place = many.insert(kid);
                *self = Self::Many(many);
                place
            }
            Self::Many(many) => many.insert(kid),
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        match self {
            Self::One(_) => *self = Self::Nobody,
            Self::Many(many) => drop(many.remove(place)),
            Self::Nobody | Self::Settled(_) => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Nobody | Self::Settled(_) => true,
            Self::One(_) => false,
            Self::Many(many) => many.is_empty(),
        }
    }

    pub(super) fn kids(&self) -> impl Iterator<Item = NodePtr> {
        let (one, many) = match self {
            Self::One(one) => (Some(*one), None),
            Self::Many(many) => (None, Some(many)),
            Self::Nobody | Self::Settled(_) => (None, None),
        };
        one.into_iter().chain(many.into_iter().flat_map(|many| many.iter().map(|(_, kid)| *kid)))
    }
}
