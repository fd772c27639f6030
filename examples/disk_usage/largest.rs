//! The largest directories, and no others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::node::{Place, Totals};

#[derive(Debug)]
struct Ranked {
    totals: Totals,
    place: Arc<Place>,
}

impl Ranked {
    fn rank(&self) -> (u64, u64) {
        (self.totals.bytes, self.totals.files)
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ranked {}

/// The `N` largest of all that it has been offered.
#[derive(Debug)]
pub(crate) struct Largest {
    wanted: usize,
    /// The smallest of them is on top, where it is cheap to replace.
    heap: Mutex<BinaryHeap<Reverse<Ranked>>>,
    /// What is smaller than this has no chance, so most offers take no lock.
    threshold: AtomicU64,
}

impl Largest {
    pub(crate) fn new(wanted: usize) -> Self {
        let threshold = AtomicU64::new(if wanted == 0 { u64::MAX } else { 0 });
        Self { wanted, heap: Mutex::default(), threshold }
    }

    /// Takes note of a directory if it is among the largest so far.
    pub(crate) fn offer(&self, totals: Totals, place: &Arc<Place>) {
        if self.wanted == 0 || totals.bytes < self.threshold.load(Ordering::Relaxed) {
            return;
        }
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        heap.push(Reverse(Ranked { totals, place: place.clone() }));
        let smallest = if heap.len() > self.wanted { heap.pop() } else { None };
        if heap.len() == self.wanted
            && let Some(Reverse(least)) = heap.peek()
        {
            self.threshold.store(least.totals.bytes, Ordering::Relaxed);
        }
        drop(heap);
        drop(smallest);
    }

    /// Path and totals of each, the largest first.
    pub(crate) fn take(&self) -> Vec<(Vec<u8>, Totals)> {
        let heap = std::mem::take(&mut *self.heap.lock().unwrap_or_else(PoisonError::into_inner));
        let mut largest: Vec<_> =
            heap.into_iter().map(|Reverse(ranked)| (ranked.place.path(), ranked.totals)).collect();
        largest.sort_by(|(a_path, a), (b_path, b)| b.bytes.cmp(&a.bytes).then_with(|| a_path.cmp(b_path)));
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Node;
    use crate::walk::{Options, Walk};

    #[test]
    fn the_largest_are_kept_whatever_the_order_and_nothing_else_is() {
        let walk = Walk::new(Options::default(), crate::handles::Handles::new(1), Largest::new(0), &[]);
        let node = Node::root(&Arc::new(walk), c"somewhere".to_owned());
        let sizes = [5, 1, 9, 9, 3, 0, 7, 2];
        for start in 0..sizes.len() {
            let largest = Largest::new(3);
            for at in 0..sizes.len() {
                let bytes = sizes[(start + at) % sizes.len()];
                largest.offer(Totals { bytes, ..Totals::default() }, node.place());
            }
            assert_eq!(Arc::strong_count(node.place()), 1 + 3);
            let kept: Vec<_> = largest.take().into_iter().map(|(_, totals)| totals.bytes).collect();
            assert_eq!(kept, [9, 9, 7]);
        }
        let none = Largest::new(0);
        none.offer(Totals { bytes: 1, ..Totals::default() }, node.place());
        assert!(none.take().is_empty());
    }
}
