//! The conventions of the project that no lint of the compiler holds.
//!
//! In a package that was taken from a registry only the library is there, and only the library is looked at.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};

/// The headings of an item's documentation, in their order.
const HEADINGS: [&str; 6] = ["Cancel safety", "Errors", "Panics", "Fairness", "Drop", "Examples"];
/// How long a file may be, in lines: a source, which wants a second look from 600 on, and a file of tests.
const LONGEST: [usize; 2] = [700, 1000];

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn lines(&self) -> Vec<&str> {
        self.text.lines().map(str::trim).collect()
    }

    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path.display(), line + 1)
    }
}

fn library() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The top of the workspace, or the library where there is none.
fn project() -> PathBuf {
    let top = library().join("../..");
    if top.join("xtask").is_dir() { top } else { library() }
}

fn collect(folder: &Path, ends: &[&str], found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with(".git") {
                collect(&path, ends, found);
            }
        } else if ends.iter().any(|end| name.ends_with(end)) {
            let text = fs::read_to_string(&path).unwrap();
            found.push(File { path, text });
        }
    }
}

fn files(folder: &Path, ends: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    collect(folder, ends, &mut found);
    assert!(!found.is_empty());
    found
}

fn sources() -> Vec<File> {
    files(&library().join("src"), &[".rs"])
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//")
}

/// The documentation of the item that is declared in the given line.
fn docs<'a>(lines: &[&'a str], declared: usize) -> Vec<&'a str> {
    let mut docs = Vec::new();
    let mut in_attribute = false;
    for line in lines[..declared].iter().rev() {
        // An attribute may be spread over lines, of which the last one ends it.
        in_attribute |= *line == ")]";
        if line.starts_with("///") {
            docs.push(line.trim_start_matches('/'));
        } else if !line.starts_with("#[") && !in_attribute {
            break;
        }
        in_attribute &= !line.starts_with("#[");
    }
    docs.reverse();
    docs
}

fn is_hidden(lines: &[&str], declared: usize) -> bool {
    lines[..declared]
        .iter()
        .rev()
        .take_while(|line| line.starts_with('#') || line.starts_with("///"))
        .any(|line| line.contains("doc(hidden)"))
}

/// The word after one of the given beginnings of a line.
fn declares<'a>(line: &'a str, kinds: &[&str]) -> Option<&'a str> {
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_type_and_every_function_of_a_module_has_an_example() {
    let mut bare = Vec::new();
    for file in sources() {
        let lines = file.lines();
        let raw: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let kinds: &[&str] = match raw[at].len() - raw[at].trim_start().len() {
                0 => &["pub struct ", "pub enum ", "pub trait ", "pub type ", "pub fn ", "pub async fn "],
                // Inside a macro that makes a pinned type; deeper things are methods, or sealed.
                _ => &["pub struct "],
            };
            if let Some(name) = declares(line, kinds)
                && !is_hidden(&lines, at)
                && !docs(&lines, at).iter().any(|line| line.trim_start().starts_with("```"))
                && !["", "Readme"].contains(&name)
            {
                bare.push(file.at(at, name));
            }
        }
    }
    none(bare);
}

#[test]
fn headings_are_spelled_and_ordered_alike_everywhere() {
    let mut wrong = Vec::new();
    for file in sources() {
        let mut last = None;
        let mut in_code = false;
        for (at, line) in file.lines().into_iter().enumerate() {
            let Some(doc) = line.strip_prefix("///") else {
                (last, in_code) = (None, false);
                continue;
            };
            let doc = doc.trim();
            in_code ^= doc.starts_with("```");
            let Some(heading) = doc.strip_prefix("# ").filter(|_| !in_code) else { continue };
            let place = HEADINGS.iter().position(|known| *known == heading);
            // What a trait's `unsafe` function asks for stands where it stands everywhere in Rust.
            if heading != "Safety" && (place.is_none() || place <= last) {
                wrong.push(file.at(at, heading));
            }
            last = place;
        }
    }
    none(wrong);
}

#[test]
fn whatever_is_awaited_says_what_a_drop_half_way_does() {
    let sources = sources();
    let mut silent = Vec::new();
    let mut futures = Vec::new();
    for file in &sources {
        for line in file.lines() {
            if let Some((_, name)) = line.split_once(" Future for ").filter(|_| line.starts_with("impl")) {
                futures.push(name.split(['<', ' ']).next().unwrap().to_owned());
            }
        }
    }
    for file in &sources {
        let lines = file.lines();
        for (at, line) in lines.iter().enumerate() {
            let is_async = declares(line, &["pub async fn "]).is_some();
            let is_future = declares(line, &["pub struct "]).is_some_and(|name| futures.iter().any(|own| own == name));
            if (is_async || is_future) && !docs(&lines, at).iter().any(|line| line.trim() == "# Cancel safety") {
                silent.push(file.at(at, line));
            }
        }
    }
    none(silent);
}

#[test]
fn a_module_with_a_lock_or_an_atomic_opens_with_its_invariants() {
    let mut silent = Vec::new();
    for file in sources() {
        let is_shim = file.path.ends_with("sync.rs") || file.path.ends_with("sync/brief.rs");
        let lines = file.lines();
        let field = lines.iter().position(|line| {
            let kind = line.split_once(": ").map_or("", |(_, kind)| kind);
            let locks = ["Mutex<", "BriefMutex<", "Arc<Mutex<"].iter().any(|lock| kind.starts_with(lock));
            !is_comment(line) && !line.contains('=') && line.ends_with(',') && locks
        });
        let says = lines.iter().take_while(|line| line.starts_with("//!")).any(|line| line.contains("nvariant"));
        if let Some(at) = field.filter(|_| !is_shim && !says) {
            silent.push(file.at(at, "a lock without invariants at the top of the file"));
        }
    }
    none(silent);
}

#[test]
fn the_clock_is_read_and_tasks_are_spawned_by_one_module_each() {
    let mut found = Vec::new();
    for file in sources() {
        for (at, line) in file.lines().into_iter().enumerate() {
            if is_comment(line) || line.starts_with("{ path") {
                continue;
            }
            for (what, owner) in
                [("Instant::now", "time.rs"), ("tokio::spawn", "spawn.rs"), ("task::spawn", "spawn.rs")]
            {
                if line.contains(what) && !file.path.ends_with(Path::new("src").join(owner)) && !file.is_test() {
                    found.push(file.at(at, what));
                }
            }
        }
    }
    none(found);
}

#[test]
fn nothing_is_left_to_be_done_and_no_lint_is_silenced_without_a_reason() {
    let mut found = Vec::new();
    for file in files(&project(), &[".rs"]) {
        if file.path.ends_with("tests/conventions.rs") {
            continue;
        }
        for (at, line) in file.lines().into_iter().enumerate() {
            if ["todo!", "unimplemented!", "TODO", "FIXME"].iter().any(|mark| line.contains(mark)) {
                found.push(file.at(at, line));
            }
            // What several test files share is used in part by each, so that nothing can be expected there.
            let is_shared = file.path.ends_with("mod.rs") && line.contains("reason = ");
            if (line.starts_with("#[allow") || line.starts_with("#![allow")) && !is_shared {
                found.push(file.at(at, "`expect` with a reason takes the place of `allow`"));
            }
        }
    }
    none(found);
}

#[test]
fn no_test_sleeps_for_real_or_reads_the_clock_on_the_wall() {
    let mut found = Vec::new();
    for file in files(&library(), &[".rs"]) {
        if file.path.ends_with("tests/conventions.rs") || !file.is_test() {
            continue;
        }
        let mut is_paused = true;
        for (at, line) in file.lines().into_iter().enumerate() {
            if line.starts_with("#[tokio::test") || line == "#[test]" {
                is_paused = line == "#[test]" || line.contains("start_paused = true");
            }
            let sleeps = line.contains("time::sleep(") || line.starts_with("sleep(") || line.contains(" sleep(");
            // Where real threads are at work as well, a thread of the blocking pool gives them a moment.
            let naps = line.contains("thread::sleep") && !line.contains("from_micros");
            let real = naps || line.contains("SystemTime") || line.contains("std::time::Instant");
            if !is_comment(line) && (real || (sleeps && !is_paused)) {
                found.push(file.at(at, line));
            }
        }
    }
    none(found);
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for file in files(&project(), &[".rs"]) {
        let lines = file.text.lines().count();
        if lines > LONGEST[usize::from(file.is_test())] {
            long.push(format!("{}: {lines} lines", file.path.display()));
        }
    }
    none(long);
}

#[test]
fn no_text_names_a_place_on_the_machine_of_whoever_wrote_it() {
    let places = ["root", "home", "work", "tmp", "Users"].map(|top| format!("/{top}/"));
    let mut found = Vec::new();
    for file in files(&project(), &[".rs", ".md", ".toml", "run"]) {
        if file.path.ends_with("tests/conventions.rs") {
            continue;
        }
        for (at, line) in file.lines().into_iter().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(file.at(at, line));
            }
        }
    }
    none(found);
}

#[test]
fn the_links_between_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let path = project().join(name);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let is_here = project() != library() && !link.contains("://") && !file.is_empty();
            if is_here && !project().join(file).exists() {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    none(broken);
}
