//! Counting work, so that a context can be waited for until everything below it has cleaned up, and told what it is.
//!
//! # Invariants
//!
//! 1. A node's count is the number of its own pieces of work plus the number of its children that have a count above zero.
//!    Those children stand in its list. A child whose last work ends as other work begins may be counted and listed twice for
//!    a moment.
//! 2. A parent's count goes up before its child's leaves zero, and goes down after it is zero again. So nobody sees
//!    an idle parent above a busy child.
//!
//! Work on a context that is busy already costs one lock; a context without work pays nothing.

use std::sync::Weak;
use std::task::Waker;

use super::Ctx;
use super::family::NodeRef;
use super::node::Links;
use super::notify::wake_all;
use super::unfinished::Witness;
use crate::slab::SmallSlab;

/// One piece of work below a context; `drained()` of that context and of all above waits until it is dropped.
pub(crate) struct Busy {
    ctx: Ctx,
    /// Where its witness stands.
    witness: Option<u32>,
}

/// Who is at work, beside the count.
#[derive(Default)]
pub(super) struct AtWork {
    pub(super) below: SmallSlab<NodeRef>,
    pub(super) witnesses: SmallSlab<Weak<dyn Witness>>,
    /// Where this node stands in the lists of its parents.
    places: Places,
}

/// A place for each parent, in their order.
#[derive(Default)]
struct Places {
    count: usize,
    first: u32,
    more: Vec<u32>,
}

impl Places {
    fn push(&mut self, place: u32) {
        if self.count == 0 {
            self.first = place;
        } else {
            self.more.push(place);
        }
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (self.count > 0).then_some(self.first).into_iter().chain(self.more.iter().copied())
    }
}

impl Ctx {
    /// Counts one more piece of work on this context until the answer is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.0.acquire();
        Busy { ctx: self.clone(), witness: None }
    }

    /// The same for work that can be asked what it is.
    pub(crate) fn busy_as(&self, witness: Weak<dyn Witness>) -> Busy {
        let mut busy = self.busy();
        busy.witness = Some(self.add_witness(witness));
        busy
    }

    /// Adds one who can be asked as long as the context lives.
    pub(crate) fn add_witness(&self, witness: Weak<dyn Witness>) -> u32 {
        self.0.links.lock().at_work().witnesses.insert(witness)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(key) = self.witness {
            let witness = self.ctx.0.links.lock().at_work().witnesses.remove(key);
            drop(witness);
        }
        self.ctx.0.release(None);
    }
}

/// A node that is to be busy, and that stands in the lists of some of its parents already.
struct Rising {
    node: NodeRef,
    places: Places,
}

impl Rising {
    fn new(node: NodeRef) -> Self {
        Self { node, places: Places::default() }
    }
}

impl Links {
    pub(super) fn at_work(&mut self) -> &mut AtWork {
        self.watch().at_work.get_or_insert_default()
    }

    /// Counts one more: a child, if it is for one, whose place it gives.
    fn count(&mut self, child: Option<&NodeRef>) -> u32 {
        self.watch().busy += 1;
        child.map_or(0, |child| self.at_work().below.insert(child.clone()))
    }
}

impl NodeRef {
    fn acquire(&self) {
        if self.join_if_busy(None).is_some() {
            return;
        }
        let mut top = Rising::new(self.clone());
        // Those that wait for the one above to be busy.
        let mut below: Vec<Rising> = Vec::new();
        loop {
            let next = top.node.parents().nth(top.places.count).cloned();
            if let Some(parent) = next {
                match parent.join_if_busy(Some(&top.node)) {
                    Some(place) => top.places.push(place),
                    None => below.push(std::mem::replace(&mut top, Rising::new(parent))),
                }
            } else {
                let Rising { node, places } = top;
                let place = node.commit(places, below.last().map(|below| &below.node));
                match below.pop() {
                    Some(next) => top = next,
                    None => return,
                }
                top.places.push(place);
            }
        }
    }

    /// The place of the child, where this is busy.
    fn join_if_busy(&self, child: Option<&NodeRef>) -> Option<u32> {
        let mut links = self.links.lock();
        match &links.watch {
            Some(watch) if watch.busy > 0 => Some(links.count(child)),
            _ => None,
        }
    }

    /// Counts one more, where it was not busy a moment ago, and has its places in the lists of its parents.
    fn commit(&self, places: Places, child: Option<&NodeRef>) -> u32 {
        let (place, unused) = {
            let mut links = self.links.lock();
            let place = links.count(child);
            if links.watch().busy > 1 {
                // Somebody else came first and holds the parents already.
                (place, Some(places))
            } else {
                links.at_work().places = places;
                (place, None)
            }
        };
        for (parent, place) in unused.iter().flat_map(|places| self.parents().zip(places.iter())) {
            parent.release(Some(place));
        }
        place
    }

    /// Counts one less: the child at a place, if one is given.
    fn release(&self, place: Option<u32>) {
        let mut wakers = Vec::new();
        let mut idle = Vec::new();
        let mut next = Some((self.clone(), place));
        while let Some((node, place)) = next {
            if let Some(places) = node.count_off(place, &mut wakers) {
                idle.extend(node.parents().cloned().zip(places.iter().map(Some)));
            }
            next = idle.pop();
        }
        if !wakers.is_empty() {
            wake_all(self, wakers);
        }
    }

    /// Gives its places in the lists of its parents where it is busy no more.
    fn count_off(&self, place: Option<u32>, wakers: &mut Vec<Waker>) -> Option<Places> {
        let mut links = self.links.lock();
        let child = place.and_then(|place| links.at_work().below.remove(place));
        let watch = links.watch();
        watch.busy -= 1;
        let places = if watch.busy == 0 {
            if self.is_done()
                && let Some(waiters) = &mut watch.drain_waiters
            {
                waiters.take_all(wakers);
            }
            watch.at_work.as_mut().map(|at_work| std::mem::take(&mut at_work.places))
        } else {
            None
        };
        drop(links);
        drop(child);
        places
    }
}
