//! Files with several names, which are counted once.

use std::collections::{BTreeMap, HashSet};

use crate::walk::Identity;

/// The files with more than one name that have been met: the one thing that has to be remembered for the whole run.
/// There are few devices and perhaps many files, so each file costs its inode number and no more.
#[derive(Debug, Default)]
pub(crate) struct Links {
    met: BTreeMap<u64, HashSet<u64>>,
}

impl Links {
    /// Whether this is the first name by which the file is met.
    pub(crate) fn is_first(&mut self, file: Identity) -> bool {
        self.met.entry(file.device).or_default().insert(file.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_first_once_and_numbers_are_per_device() {
        let mut links = Links::default();
        assert!(links.is_first(Identity { device: 1, inode: 7 }));
        assert!(!links.is_first(Identity { device: 1, inode: 7 }));
        assert!(links.is_first(Identity { device: 2, inode: 7 }));
        assert!(links.is_first(Identity { device: 1, inode: 8 }));
    }
}
