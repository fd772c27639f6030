//! One directory, as an iterator over what is in it.
//!
//! It does nothing but system calls, one or two for each step, and knows nothing of threads or tasks. The files of a
//! listing come before its directories, so that the directory need not be open while those below it are read. A
//! listing that does not fit is continued when the directories of its first part are done with.

use std::ffi::CStr;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use crate::node::Node;
use crate::text;
use crate::walk::Identity;

/// What the kernel is asked for at once.
const BUFFER: usize = 32 * 1024;
/// How many bytes of names are listed before the first of them is looked at.
const LISTING: usize = 64 * 1024;

/// What is found in a directory.
#[derive(Debug)]
pub(crate) enum Found {
    /// Something that takes space.
    Entry(Entry),
    /// A directory below, to be read in its turn.
    Directory(Directory),
}

/// Something that takes space.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The directory that it counts for: the one it is in, or itself.
    pub(crate) at: Arc<Node>,
    pub(crate) bytes: u64,
    pub(crate) kind: Kind,
}

/// What kind of thing takes the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory itself, without what is in it.
    Directory,
    /// Anything else with one name.
    File,
    /// Anything else with several names.
    Linked(Identity),
}

impl Entry {
    fn new(at: &Arc<Node>, stat: &Stat) -> Self {
        let kind = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            Kind::Directory
        } else if stat.st_nlink > 1 {
            Kind::Linked(Identity::of(stat))
        } else {
            Kind::File
        };
        Self { at: at.clone(), bytes: at.walk().size(stat), kind }
    }
}

/// What could not be read, and why.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: Vec<u8>,
    attempt: &'static str,
    reason: Errno,
}

impl Unreadable {
    fn new(attempt: &'static str, node: &Node, entry: Option<&CStr>, reason: Errno) -> Self {
        Self { path: node.place().path_to(entry), attempt, reason }
    }

    /// The system's own words.
    pub(crate) fn reason(&self) -> String {
        let words = std::io::Error::from(self.reason).to_string();
        match words.rfind(" (os error") {
            Some(end) => words[..end].to_owned(),
            None => words,
        }
    }

    /// The system's number for it.
    pub(crate) fn code(&self) -> i32 {
        self.reason.raw_os_error()
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} '{}': {}", self.attempt, text::printable(&self.path), self.reason())
    }
}

impl std::error::Error for Unreadable {}

/// A directory that is being read.
#[derive(Debug)]
pub(crate) struct Directory {
    node: Arc<Node>,
    stage: Stage,
    /// Held from one step to the next, except while a directory below is given out.
    handle: Option<Arc<OwnedFd>>,
    /// Listed and not looked at yet.
    files: Names,
    directories: Names,
    /// Where the listing goes on.
    position: u64,
    /// The handle may have been opened anew, and stand at the beginning.
    moved: bool,
}

#[derive(Debug)]
enum Stage {
    /// Not opened yet.
    New,
    /// Open, and there may be more to list.
    Listing,
    /// Counted as itself, and this is why there is nothing below.
    Closed(Unreadable),
    /// Nothing more to list.
    Listed,
}

impl Directory {
    /// The directory that `node` stands for; a root may turn out to be a file.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            stage: Stage::New,
            handle: None,
            files: Names::default(),
            directories: Names::default(),
            position: 0,
            moved: false,
        }
    }

    /// Opens it, and gives what it takes itself; nothing if it is to be left out.
    fn open(&mut self) -> Option<Result<Entry, Unreadable>> {
        self.stage = Stage::Listed;
        let opened = self.node.walk().handles.open(&self.node).and_then(|handle| {
            let stat = rustix::fs::fstat(&handle)?;
            Ok((handle, stat))
        });
        match opened {
            Ok((handle, stat)) => {
                let identity = Identity::of(&stat);
                if left_out(identity, &self.node, self.node.parent()) {
                    return None;
                }
                let handle = Arc::new(handle);
                self.node.opened(identity, handle.clone());
                self.handle = Some(handle);
                self.stage = Stage::Listing;
                Some(Ok(Entry::new(&self.node, &stat)))
            }
            Err(reason) => self.look_from_above(reason),
        }
    }

    /// It cannot be opened, for `reason`. It takes space all the same, and may not be a directory at all.
    fn look_from_above(&mut self, reason: Errno) -> Option<Result<Entry, Unreadable>> {
        let name = self.node.name();
        let stat = match self.node.parent() {
            Some(above) => self
                .node
                .walk()
                .handles
                .of(above)
                .and_then(|above| rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW)),
            None => rustix::fs::statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW),
        };
        match stat {
            Ok(stat) => {
                if left_out(Identity::of(&stat), &self.node, self.node.parent()) {
                    return None;
                }
                let entry = Entry::new(&self.node, &stat);
                if entry.kind == Kind::Directory {
                    self.stage = Stage::Closed(Unreadable::new("read directory", &self.node, None, reason));
                }
                Some(Ok(entry))
            }
            Err(reason) => Some(Err(Unreadable::new("access", &self.node, None, reason))),
        }
    }

    /// Makes sure that it is open.
    fn handle(&mut self) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(handle) = &self.handle {
            return Ok(handle.clone());
        }
        let handle = self.node.walk().handles.of(&self.node)?;
        self.handle = Some(handle.clone());
        Ok(handle)
    }

    /// Lists as much as is looked at in one go.
    fn list(&mut self) -> Result<(), Errno> {
        let handle = self.handle()?;
        if std::mem::take(&mut self.moved) {
            rustix::fs::seek(&handle, SeekFrom::Start(self.position))?;
        }
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; BUFFER];
        let mut listing = RawDir::new(&handle, &mut buffer);
        loop {
            match listing.next() {
                Some(Ok(entry)) => {
                    self.position = entry.next_entry_cookie();
                    let name = entry.file_name();
                    if name == c"." || name == c".." {
                        continue;
                    }
                    match entry.file_type() {
                        FileType::Directory => self.directories.push(name),
                        _ => self.files.push(name),
                    }
                }
                // A directory that has been removed meanwhile has come to its end.
                None | Some(Err(Errno::NOENT)) => {
                    self.stage = Stage::Listed;
                    return Ok(());
                }
                Some(Err(reason)) => return Err(reason),
            }
            if listing.is_buffer_empty() && self.files.len() + self.directories.len() > LISTING {
                return Ok(());
            }
        }
    }

    /// Looks at the next file of the listing; nothing if it is to be left out.
    fn look(&mut self) -> Option<Result<Entry, Unreadable>> {
        let handle = match self.handle() {
            Ok(handle) => handle,
            Err(reason) => {
                // Where the directory itself has gone, so have its entries: one report for all of them.
                self.files = Names::default();
                return Some(Err(Unreadable::new("read directory", &self.node, None, reason)));
            }
        };
        let name = self.files.next()?;
        match rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Some file systems do not say in the listing what is a directory.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.directories.push(name);
                None
            }
            Ok(stat) if left_out(Identity::of(&stat), &self.node, Some(&self.node)) => None,
            Ok(stat) => Some(Ok(Entry::new(&self.node, &stat))),
            Err(reason) => Some(Err(Unreadable::new("access", &self.node, Some(name), reason))),
        }
    }
}

/// Whether something with this identity, listed in `above`, is to be left out.
fn left_out(identity: Identity, node: &Node, above: Option<&Arc<Node>>) -> bool {
    let walk = node.walk();
    let elsewhere = walk.options.one_file_system
        && above.and_then(|above| above.identity()).is_some_and(|above| above.device != identity.device);
    elsewhere || walk.already_counted(identity)
}

impl Iterator for Directory {
    type Item = Result<Found, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let step = if !self.files.is_empty() {
                self.look()
            } else if let Some(name) = self.directories.next() {
                let below = self.node.child(name.to_owned());
                self.files = Names::default();
                self.handle = None;
                self.moved = true;
                return Some(Ok(Found::Directory(Self::new(below))));
            } else {
                match std::mem::replace(&mut self.stage, Stage::Listed) {
                    Stage::New => self.open(),
                    Stage::Listing => {
                        self.stage = Stage::Listing;
                        self.list().err().map(|reason| {
                            self.stage = Stage::Listed;
                            Err(Unreadable::new("read directory", &self.node, None, reason))
                        })
                    }
                    Stage::Closed(reason) => Some(Err(reason)),
                    Stage::Listed => return None,
                }
            };
            if let Some(step) = step {
                return Some(step.map(Found::Entry));
            }
        }
    }
}

/// Names in one allocation, first in, first out.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    next: usize,
}

impl Names {
    fn push(&mut self, name: &CStr) {
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    fn is_empty(&self) -> bool {
        self.next == self.bytes.len()
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.next
    }

    fn next(&mut self) -> Option<&CStr> {
        if self.is_empty() {
            return None;
        }
        let name = CStr::from_bytes_until_nul(&self.bytes[self.next..]).ok()?;
        self.next += name.count_bytes() + 1;
        Some(name)
    }
}

#[cfg(test)]
mod tests;
