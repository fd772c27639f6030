//! Open directories: a few of them, however deep and wide the tree is.
//!
//! A directory is opened by its name in the directory above, so that no path is ever too long and no renamed
//! ancestor leads astray. That needs the one above to be open. The most recently used are kept; one that had to be
//! closed is found again from the nearest ancestor that is still open, and must then be the directory that it was.
//!
//! 1. At most `limit` directories are kept open here; each thread that reads has up to two more in its hands.
//! 2. Nothing is opened or closed under the lock.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::node::Node;
use crate::walk::Identity;

/// How many names are walked in one call on the way down to a directory that was closed.
const STRIDE: usize = 32;
/// The kernel takes paths of up to 4,096 bytes.
const LONGEST: usize = 4_000;

/// The open directories, the most recently used last.
#[derive(Debug)]
pub(crate) struct Handles {
    kept: Mutex<VecDeque<(u64, Arc<OwnedFd>)>>,
    limit: usize,
}

impl Handles {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit: limit.max(1) }
    }

    /// As many as a quarter of what this process may have open, and no more than help.
    pub(crate) fn within_limits() -> Self {
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1_024);
        Self::new(usize::try_from(most / 4).unwrap_or(usize::MAX).clamp(4, 128))
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<OwnedFd>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: u64) -> Option<Arc<OwnedFd>> {
        let mut kept = self.kept();
        let at = kept.iter().rposition(|(kept, _)| *kept == id)?;
        let found = kept.remove(at)?;
        let handle = found.1.clone();
        kept.push_back(found);
        Some(handle)
    }

    /// Keeps `handle` for the directory `id`, until others have been used more recently.
    pub(crate) fn keep(&self, id: u64, handle: Arc<OwnedFd>) {
        let mut kept = self.kept();
        kept.push_back((id, handle));
        let closed = if kept.len() > self.limit { kept.pop_front() } else { None };
        drop(kept);
        drop(closed);
    }

    /// Closes the directory `id` if it is kept.
    pub(crate) fn forget(&self, id: u64) {
        let mut kept = self.kept();
        let closed = kept.iter().rposition(|(kept, _)| *kept == id).and_then(|at| kept.remove(at));
        drop(kept);
        drop(closed);
    }

    /// Opens the directory that `node` stands for, for the first time.
    pub(crate) fn open(&self, node: &Node) -> Result<OwnedFd, Errno> {
        match node.parent() {
            Some(above) => open_at(&self.of(above)?, node.name()),
            None => open_at(CWD, node.name()),
        }
    }

    /// The open directory of a node that has been opened before.
    pub(crate) fn of(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(handle) = self.find(node.id()) {
            return Ok(handle);
        }
        let mut down = vec![node];
        let mut base = None;
        while let Some(above) = down.last().and_then(|node| node.parent()) {
            base = self.find(above.id());
            if base.is_some() {
                break;
            }
            down.push(above);
        }
        while let Some(next) = down.pop() {
            let mut path = next.name().to_bytes().to_vec();
            let mut last = next;
            for _ in 1..STRIDE {
                match down.last() {
                    Some(below) if path.len() + below.name().count_bytes() < LONGEST => {
                        path.push(b'/');
                        path.extend_from_slice(below.name().to_bytes());
                        last = below;
                        down.pop();
                    }
                    _ => break,
                }
            }
            let path = CString::new(path).map_err(|_| Errno::INVAL)?;
            let handle = match &base {
                Some(above) => open_at(above, &path),
                None => open_at(CWD, &path),
            }?;
            // Somebody may have put another directory in its place meanwhile, or a link.
            if last.identity() != Some(Identity::of(&rustix::fs::fstat(&handle)?)) {
                return Err(Errno::NOENT);
            }
            let handle = Arc::new(handle);
            self.keep(last.id(), handle.clone());
            base = Some(handle);
        }
        base.ok_or(Errno::NOENT)
    }
}

fn open_at(above: impl std::os::fd::AsFd, path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::openat(above, path, flags, Mode::empty())
}
