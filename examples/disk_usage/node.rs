//! Where a directory is in the tree, and what has been counted below it.
//!
//! A [`Node`] lives exactly as long as something below it may still be counted: its own listing, every entry that is
//! on its way to be counted, and every directory below keep it alive. When the last of them goes, its totals are
//! added to those of the directory above. So what is in memory is the directories under way, not the tree.
//!
//! Both chains of parents are taken apart in loops: a tree may be deeper than the stack.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::walk::{Identity, Walk};

/// The name of something and the directory that it is in; paths are put together only when somebody asks.
#[derive(Debug)]
pub(crate) struct Place {
    parent: Option<Arc<Place>>,
    name: CString,
}

impl Place {
    /// The path, from the root as it was given.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.path_to(None)
    }

    /// The path of an entry here.
    pub(crate) fn path_to(&self, entry: Option<&CStr>) -> Vec<u8> {
        let mut names: Vec<&[u8]> = entry.map(CStr::to_bytes).into_iter().collect();
        let mut place = Some(self);
        while let Some(here) = place {
            names.push(here.name.to_bytes());
            place = here.parent.as_deref();
        }
        let mut path = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.into_iter().rev() {
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(place) = above {
            above = Arc::into_inner(place).and_then(|mut place| place.parent.take());
        }
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) directories: u64,
}

impl std::ops::Sub for Totals {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self {
            bytes: self.bytes - less.bytes,
            files: self.files - less.files,
            directories: self.directories - less.directories,
        }
    }
}

/// Totals that are still growing, in one thread or several.
#[derive(Debug, Default)]
pub(crate) struct Running {
    bytes: AtomicU64,
    files: AtomicU64,
    directories: AtomicU64,
}

impl Running {
    pub(crate) fn add(&self, more: Totals) {
        // Sums: nothing else is read on the strength of them.
        self.bytes.fetch_add(more.bytes, Ordering::Relaxed);
        if more.files > 0 {
            self.files.fetch_add(more.files, Ordering::Relaxed);
        }
        if more.directories > 0 {
            self.directories.fetch_add(more.directories, Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> Totals {
        Totals {
            bytes: self.bytes.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            directories: self.directories.load(Ordering::Relaxed),
        }
    }
}

/// A directory under way.
#[derive(Debug)]
pub(crate) struct Node {
    id: u64,
    place: Arc<Place>,
    parent: Option<Arc<Node>>,
    walk: Arc<Walk>,
    identity: OnceLock<Identity>,
    below: Running,
    folded: bool,
}

impl Node {
    /// A root, by the path that was given for it.
    pub(crate) fn root(walk: &Arc<Walk>, path: CString) -> Arc<Self> {
        Self::make(walk, None, path)
    }

    /// The directory called `name` in this one.
    pub(crate) fn child(self: &Arc<Self>, name: CString) -> Arc<Self> {
        Self::make(&self.walk, Some(self), name)
    }

    fn make(walk: &Arc<Walk>, parent: Option<&Arc<Self>>, name: CString) -> Arc<Self> {
        Arc::new(Self {
            id: walk.next_id(),
            place: Arc::new(Place { parent: parent.map(|node| node.place.clone()), name }),
            parent: parent.cloned(),
            walk: walk.clone(),
            identity: OnceLock::new(),
            below: Running::default(),
            folded: false,
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn walk(&self) -> &Arc<Walk> {
        &self.walk
    }

    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.place.name
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Device and inode, once the directory has been opened.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.get().copied()
    }

    /// Says that the directory has been opened, and is this one.
    pub(crate) fn opened(&self, identity: Identity, handle: Arc<OwnedFd>) {
        // A second opening is compared with the first by whoever opens.
        let _ = self.identity.set(identity);
        self.walk.handles.keep(self.id, handle);
    }

    /// Counts something in this directory, or below it.
    pub(crate) fn add(&self, more: Totals) {
        self.below.add(more);
    }

    /// Hands the totals on and gives the node above, which may now be the next to go.
    fn fold(&mut self) -> Option<Arc<Self>> {
        self.folded = true;
        let totals = self.below.now();
        if self.identity.get().is_some() {
            self.walk.handles.forget(self.id);
            self.walk.largest.offer(totals, &self.place);
        }
        let above = self.parent.take();
        if let Some(above) = &above {
            above.add(totals);
        }
        above
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.folded {
            return;
        }
        let mut above = self.fold();
        while let Some(node) = above {
            above = Arc::into_inner(node).and_then(|mut node| node.fold());
        }
    }
}
