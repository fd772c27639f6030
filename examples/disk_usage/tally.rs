//! What has been counted so far, for whoever wants to look while it grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::directory::{Entry, Kind};
use crate::links::Links;
use crate::node::{Place, Running, Totals};

/// The sums over everything, and where the counting is.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sums: Running,
    failures: AtomicU64,
    place: Mutex<Option<Arc<Place>>>,
}

impl Tally {
    /// Counts `entry`, unless it has been counted under another name.
    pub(crate) fn count(&self, entry: &Entry, links: &mut Links) {
        let mut more = Totals { bytes: entry.bytes, ..Totals::default() };
        match entry.kind {
            Kind::Directory => {
                more.directories = 1;
                let place = entry.at.place().clone();
                let before = self.place.lock().unwrap_or_else(PoisonError::into_inner).replace(place);
                drop(before);
            }
            Kind::Linked(file) if !links.is_first(file) => return,
            Kind::Linked(_) | Kind::File => more.files = 1,
        }
        entry.at.add(more);
        self.sums.add(more);
    }

    /// Counts something that could not be read.
    pub(crate) fn count_failure(&self) -> u64 {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn sums(&self) -> Totals {
        self.sums.now()
    }

    /// The directory that was come upon last.
    pub(crate) fn place(&self) -> Option<Arc<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
