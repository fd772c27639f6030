//! What all directories of one run share.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Stat};

use crate::handles::Handles;
use crate::largest::Largest;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// What is to be counted, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Lengths rather than allocated blocks.
    pub(crate) apparent_size: bool,
    /// Stay on the file system of each root.
    pub(crate) one_file_system: bool,
}

/// One run over all its roots.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) options: Options,
    pub(crate) handles: Handles,
    pub(crate) largest: Largest,
    /// The roots, where there are several, and whether each has been counted: one may lie within another.
    roots: HashMap<Identity, AtomicBool>,
    ids: AtomicU64,
}

impl Walk {
    pub(crate) fn new(options: Options, handles: Handles, largest: Largest, roots: &[CString]) -> Self {
        let mut identities = HashMap::new();
        if roots.len() > 1 {
            for root in roots {
                // A root that cannot be looked at is reported when its turn comes.
                if let Ok(stat) = rustix::fs::statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW) {
                    identities.insert(Identity::of(&stat), AtomicBool::new(false));
                }
            }
        }
        Self { options, handles, largest, roots: identities, ids: AtomicU64::new(0) }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// What `stat` tells that a file takes.
    pub(crate) fn size(&self, stat: &Stat) -> u64 {
        if self.options.apparent_size {
            u64::try_from(stat.st_size).unwrap_or(0)
        } else {
            u64::try_from(stat.st_blocks).unwrap_or(0) * 512
        }
    }

    /// Whether this is a root that has been counted already, be it as itself or within another; if not, it is now.
    pub(crate) fn already_counted(&self, identity: Identity) -> bool {
        !self.roots.is_empty() && self.roots.get(&identity).is_some_and(|counted| counted.swap(true, Ordering::Relaxed))
    }
}
