use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::handles::Handles;
use crate::largest::Largest;
use crate::node::Totals;
use crate::walk::{Options, Walk};

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("disk_usage-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a directory of the test's own");
        Self(path)
    }

    fn file(&self, name: &str, length: usize) {
        std::fs::write(self.0.join(name), vec![b'x'; length]).expect("a file");
    }

    fn directory(&self, name: &str) {
        std::fs::create_dir_all(self.0.join(name)).expect("a directory");
    }

    fn walk(&self, handles: usize) -> (Arc<Walk>, Directory) {
        let path = name_of(&self.0);
        let options = Options { apparent_size: true, ..Options::default() };
        let walk = Walk::new(options, Handles::new(handles), Largest::new(100), std::slice::from_ref(&path));
        let walk = Arc::new(walk);
        let root = Directory::new(Node::root(&walk, path));
        (walk, root)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name_of(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("a path without zero bytes")
}

/// Walks depth first in this thread; gives what was counted and what could not be read.
fn count(root: Directory) -> (Totals, Vec<Unreadable>) {
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    let mut under_way = vec![root];
    while let Some(directory) = under_way.last_mut() {
        match directory.next() {
            Some(Ok(Found::Directory(below))) => under_way.push(below),
            Some(Ok(Found::Entry(entry))) => {
                let directories = u64::from(entry.kind == Kind::Directory);
                entry.at.add(Totals { bytes: entry.bytes, files: 1 - directories, directories });
                totals.bytes += entry.bytes;
                totals.files += 1 - directories;
                totals.directories += directories;
            }
            Some(Err(failure)) => failures.push(failure),
            None => drop(under_way.pop()),
        }
    }
    (totals, failures)
}

/// The lengths of the directories themselves differ between file systems: what is in `path` without them.
fn files_only(mut totals: Totals, path: &Path) -> Totals {
    let mut waiting = vec![path.to_owned()];
    while let Some(next) = waiting.pop() {
        totals.bytes -= std::fs::symlink_metadata(&next).expect("it is there").len();
        for entry in std::fs::read_dir(&next).expect("it can be read") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("its type").is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    totals
}

#[test]
fn totals_are_folded_up_as_directories_end() {
    let scratch = Scratch::new();
    scratch.directory("a/b");
    scratch.file("top", 1);
    scratch.file("a/middle", 20);
    scratch.file("a/b/low", 300);
    let (walk, root) = scratch.walk(8);
    let (totals, failures) = count(root);
    assert!(failures.is_empty(), "{failures:?}");
    let by_name: BTreeMap<_, _> = walk
        .largest
        .take()
        .into_iter()
        .map(|(path, totals)| (String::from_utf8_lossy(&path).into_owned(), totals))
        .collect();
    let root = scratch.0.to_string_lossy().into_owned();
    let inside = |name: &str| by_name[format!("{root}/{name}").trim_end_matches('/')];
    assert_eq!((inside("a/b").files, inside("a/b").directories), (1, 1));
    assert_eq!((inside("a").files, inside("a").directories), (2, 2));
    assert_eq!(inside(""), totals);
    assert_eq!(files_only(totals, &scratch.0), Totals { bytes: 321, files: 3, directories: 3 });
}

#[test]
fn what_is_in_memory_is_what_is_under_way() {
    let scratch = Scratch::new();
    for name in ["a", "b", "c"] {
        scratch.directory(name);
    }
    let (walk, mut root) = scratch.walk(8);
    let shared = Arc::strong_count(&walk);
    let mut below = Vec::new();
    for step in root.by_ref() {
        if let Found::Directory(directory) = step.expect("it can be read") {
            below.push(directory);
        }
    }
    assert_eq!(below.len(), 3);
    // The root has been listed to its end, and stays for those below it.
    drop(root);
    assert_eq!(Arc::strong_count(&walk), shared + 3);
    below.truncate(1);
    assert_eq!(Arc::strong_count(&walk), shared + 1);
    drop(below);
    assert_eq!(Arc::strong_count(&walk), shared - 1);
    assert_eq!(walk.largest.take().len(), 1, "the root has ended; those below were never opened");
}

#[test]
fn a_listing_longer_than_one_buffer_is_complete_though_its_handle_was_closed_meanwhile() {
    let scratch = Scratch::new();
    // Names so long that neither one buffer nor one listing takes them all.
    let long = "n".repeat(180);
    for number in 0..900 {
        scratch.file(&format!("{long}{number}"), 3);
    }
    for number in 0..60 {
        scratch.directory(&format!("{number}-{long}/below"));
        scratch.file(&format!("{number}-{long}/below/file"), 5);
    }
    for handles in [1, 2, 64] {
        let (_walk, root) = scratch.walk(handles);
        let (totals, failures) = count(root);
        assert!(failures.is_empty(), "{failures:?}");
        let expected = Totals { bytes: 900 * 3 + 60 * 5, files: 960, directories: 121 };
        assert_eq!(files_only(totals, &scratch.0), expected, "with {handles} handles");
    }
}

#[test]
fn a_file_that_vanishes_between_listing_and_look_is_named_with_the_reason() {
    let scratch = Scratch::new();
    scratch.file("one", 1);
    scratch.file("two", 1);
    let (_walk, mut root) = scratch.walk(8);
    let own = root.next();
    assert!(matches!(own, Some(Ok(Found::Entry(Entry { kind: Kind::Directory, .. })))), "{own:?}");
    let first = root.next();
    assert!(matches!(first, Some(Ok(Found::Entry(Entry { kind: Kind::File, .. })))), "{first:?}");
    std::fs::remove_file(scratch.0.join("one")).expect("it was there");
    std::fs::remove_file(scratch.0.join("two")).expect("it was there");
    let Some(Err(gone)) = root.next() else { panic!("the second file was listed, and is gone") };
    assert_eq!(gone.code(), Errno::NOENT.raw_os_error());
    assert_eq!(gone.reason(), "No such file or directory");
    assert!(gone.to_string().starts_with("cannot access '"), "{gone}");
    assert!(root.next().is_none());
}

#[test]
fn a_directory_that_vanishes_before_it_is_opened_is_named_with_the_reason() {
    let scratch = Scratch::new();
    scratch.directory("below");
    let (_walk, mut root) = scratch.walk(8);
    let mut found = root.by_ref().filter_map(|step| match step {
        Ok(Found::Directory(directory)) => Some(directory),
        _ => None,
    });
    let mut below = found.next().expect("it was listed");
    std::fs::remove_dir(scratch.0.join("below")).expect("it was there");
    let Some(Err(gone)) = below.next() else { panic!("it was listed, and is gone") };
    assert_eq!(gone.path, scratch.0.join("below").as_os_str().as_bytes());
    assert!(below.next().is_none());
}

#[test]
fn a_directory_that_was_replaced_while_it_was_closed_is_not_mistaken_for_the_one_it_was() {
    let scratch = Scratch::new();
    scratch.directory("mine/below");
    scratch.directory("other/below");
    // One handle: "mine" is closed as soon as anything else is opened.
    let (walk, mut root) = scratch.walk(1);
    let mut mine = loop {
        match root.next().expect("there is more").expect("it can be read") {
            Found::Directory(directory) if directory.node.name() == c"mine" => break directory,
            _ => {}
        }
    };
    let mut below = loop {
        match mine.next().expect("there is more").expect("it can be read") {
            Found::Directory(directory) => break directory,
            Found::Entry(_) => {}
        }
    };
    let elsewhere = Directory::new(Node::root(&walk, name_of(&std::env::temp_dir()))).next();
    assert!(matches!(elsewhere, Some(Ok(_))));
    std::fs::rename(scratch.0.join("mine"), scratch.0.join("aside")).expect("renamed");
    std::fs::rename(scratch.0.join("other"), scratch.0.join("mine")).expect("renamed");
    assert!(matches!(below.next(), Some(Err(_))));
}

#[test]
fn a_root_within_a_root_is_counted_once_in_the_one_that_comes_first() {
    let scratch = Scratch::new();
    scratch.directory("a/b");
    scratch.file("a/b/file", 7);
    scratch.file("a/other", 70);
    let (outer, inner) = (name_of(&scratch.0.join("a")), name_of(&scratch.0.join("a/b")));
    let count_both = |roots: [&std::ffi::CString; 2]| {
        let roots = roots.map(Clone::clone);
        let options = Options { apparent_size: true, ..Options::default() };
        let walk = Arc::new(Walk::new(options, Handles::new(8), Largest::new(0), &roots));
        roots.map(|root| {
            let (totals, failures) = count(Directory::new(Node::root(&walk, root)));
            assert!(failures.is_empty(), "{failures:?}");
            totals.files
        })
    };
    assert_eq!(count_both([&outer, &inner]), [2, 0]);
    assert_eq!(count_both([&inner, &outer]), [1, 1]);
    assert_eq!(count_both([&outer, &outer]), [2, 0]);
}
