//! The totals are those of `du`.

use std::ffi::{OsStr, OsString};
use std::fs::{hard_link, set_permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use serde_json::Value;

use crate::support::*;

/// Something of everything: 7 directories and 11 other files, two of which have more names.
fn mixed(tree: &Tree) {
    tree.directory("a/b/c");
    tree.directory("empty");
    tree.directory("a/other");
    tree.file("small", 1);
    tree.file("a/page", 4_096);
    tree.file("a/b/large", 300_000);
    tree.file("a/b/c/nothing", 0);
    // Names of one file, in one directory and in several.
    hard_link(tree.file("linked", 70_000), tree.join("a/linked too")).expect("a hard link");
    hard_link(tree.join("linked"), tree.join("a/b/linked as well")).expect("a hard link");
    hard_link(tree.file("a/other/twin", 5_000), tree.join("a/other/twin again")).expect("a hard link");
    // Far longer than the blocks it has.
    std::fs::File::create(tree.join("sparse")).and_then(|file| file.set_len(50 << 20)).expect("a sparse file");
    // Links in circles, to what is above, and to nothing.
    symlink(".", tree.join("a/here")).expect("a link");
    symlink("../..", tree.join("a/b/above")).expect("a link");
    symlink("no such thing", tree.join("nowhere")).expect("a link");
    // Names that are not UTF-8, or that a terminal should not be given.
    let odd = tree.directory(OsStr::from_bytes(b"odd \xff\xfe"));
    std::fs::write(odd.join(OsStr::from_bytes(b"\xc3\x28\n\x1b[2J")), [b'x'; 9_000]).expect("a file");
}

#[test]
fn allocated_size_apparent_size_and_number_are_those_of_du() {
    let tree = Tree::new("mixed");
    mixed(&tree);
    let (allocated, status) = report([tree.path()]);
    assert_eq!(status, Some(0));
    assert_eq!(allocated["bytes"], du([OsStr::new("-s"), OsStr::new("--block-size=1"), tree.path().as_os_str()]));
    assert_eq!(allocated["files"], 11);
    assert_eq!(allocated["directories"], 7);
    assert_eq!(du([OsStr::new("-s"), OsStr::new("--inodes"), tree.path().as_os_str()]), 18);
    assert_eq!(allocated["size"], "allocated");

    let (apparent, status) = report([OsStr::new("--apparent-size"), tree.path().as_os_str()]);
    assert_eq!(status, Some(0));
    let mut expected = du([OsStr::new("-sb"), tree.path().as_os_str()]);
    if !du_counts_the_lengths_of_directories() {
        for name in ["", "a", "a/b", "a/b/c", "a/other", "empty"] {
            expected += tree.join(name).symlink_metadata().expect("a directory").len();
        }
        expected += tree.join(OsStr::from_bytes(b"odd \xff\xfe")).symlink_metadata().expect("a directory").len();
    }
    assert_eq!(apparent["bytes"], expected);
    assert!(expected > 50 << 20, "the sparse file counts with its length");
    assert!(allocated["bytes"].as_u64() < Some(2 << 20), "the sparse file counts with its blocks");
}

#[test]
fn the_outcome_does_not_depend_on_how_many_read_at_a_time() {
    let tree = Tree::new("jobs");
    mixed(&tree);
    let (alone, _) = report([OsStr::new("-j"), OsStr::new("1"), tree.path().as_os_str()]);
    for jobs in ["2", "3", "16"] {
        let (together, status) = report([OsStr::new("-j"), OsStr::new(jobs), tree.path().as_os_str()]);
        assert_eq!(status, Some(0));
        for field in ["bytes", "files", "directories", "error_count", "partial"] {
            assert_eq!(together[field], alone[field], "{field} with {jobs} at a time");
        }
    }
}

#[test]
fn a_tree_2000_levels_deep_is_counted_with_few_open_files() {
    let tree = Tree::large("deep");
    let mut level = openat(CWD, tree.path(), OFlags::DIRECTORY, Mode::empty()).expect("the top");
    for _ in 0..2_000 {
        for name in [c"down", c"aside"] {
            mkdirat(&level, name, Mode::RWXU).expect("a directory");
        }
        let file = openat(&level, c"file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).expect("a file");
        rustix::io::write(&file, b"something").expect("written");
        level = openat(&level, c"down", OFlags::DIRECTORY, Mode::empty()).expect("the level below");
    }
    drop(level);
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 48 && exec \"$0\" --json --top 3 \"$1\""])
        .args([program(), tree.path()])
        .output()
        .expect("the program runs");
    let (report, status) = parsed(&output);
    assert_eq!(report["errors"], Value::Array(vec![]));
    assert_eq!(status, Some(0));
    assert_eq!((&report["files"], &report["directories"]), (&2_000.into(), &4_001.into()));
    assert_eq!(report["bytes"], du([OsStr::new("-s"), OsStr::new("--block-size=1"), tree.path().as_os_str()]));
    let deepest = report["largest"][2]["path"].as_str().expect("a path");
    assert_eq!(deepest, tree.join("down/down").to_str().expect("UTF-8"));
}

/// The most memory that the program had in use, as far as it was looked at while it ran.
fn most_memory_in_kilobytes(path: &Path) -> u64 {
    let mut child = Command::new(program()).arg(path).stdout(Stdio::null()).spawn().expect("the program runs");
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
    }
    most
}

#[test]
fn memory_does_not_grow_with_the_number_of_files_and_directories() {
    let tree = Tree::large("many");
    let small = tree.directory("small");
    tree.file("small/file", 1);
    for outer in 0..100 {
        for inner in 0..20 {
            let name = format!("{outer}/{inner}");
            tree.directory(&name);
            for file in 0..30 {
                tree.file(format!("{name}/a name of some length {file}"), 0);
            }
        }
    }
    let before = (0..20).map(|_| most_memory_in_kilobytes(&small)).max().expect("a number");
    let after = most_memory_in_kilobytes(tree.path());
    // Fifty bytes for each of them would be more than that.
    assert!(after < before + 3_000, "{before} kB for one file, {after} kB for 60,000 in 2,101 directories");
}

#[test]
fn what_cannot_be_read_is_named_with_the_reason_and_the_rest_is_counted() {
    let tree = Tree::new("closed");
    tree.file("a", 5_000);
    let closed = tree.directory("closed");
    tree.file("closed/hidden", 9_000);
    let listed = tree.directory("listed only");
    tree.file("listed only/hidden too", 9_000);
    tree.file("z", 5_000);
    set_permissions(&closed, PermissionsExt::from_mode(0o000)).expect("a mode");
    set_permissions(&listed, PermissionsExt::from_mode(0o444)).expect("a mode");
    // Somebody else may not be able to reach the place that it was built in. It is copied by another process, as what
    // this one holds open for writing may be open in a process that another test has just begun, and then does not run.
    let copy = tree.join("program");
    let copied = Command::new("cp").arg(program()).arg(&copy).status().expect("cp runs");
    assert!(copied.success());
    set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("a mode");

    let output = as_nobody(&copy).arg("--json").arg(tree.path()).output().expect("it runs");
    let (report, status) = parsed(&output);
    assert_eq!(status, Some(1));
    assert_eq!(report["error_count"], 2);
    let mut errors: Vec<_> = report["errors"].as_array().expect("a list").iter().map(named).collect();
    errors.sort();
    let reason = "Permission denied";
    let expected = [closed, listed.join("hidden too")].map(|path| (path.display().to_string(), reason.to_owned()));
    assert_eq!(errors, expected);
    let said = String::from_utf8_lossy(&output.stderr);
    for (path, _) in &expected {
        assert!(said.lines().any(|line| line.contains(path) && line.ends_with(reason)), "{path} in {said}");
    }
    let du = as_nobody("du".as_ref()).args(["-s", "--block-size=1"]).arg(tree.path()).output().expect("du runs");
    assert_eq!(report["bytes"], last_number(&du));
    assert_eq!(du.status.code(), Some(1));
}

fn named(error: &Value) -> (String, String) {
    let text = |field: &str| error[field].as_str().expect("text").to_owned();
    (text("path"), text("error"))
}

#[test]
fn several_roots_count_what_they_share_once() {
    let tree = Tree::new("roots");
    mixed(&tree);
    let [a, b, other] = ["a", "a/b", "a/other"].map(|name| tree.join(name).into_os_string());
    let file = tree.join("linked").into_os_string();
    for roots in [vec![&a, &b], vec![&b, &a], vec![&a, &a], vec![&other, &b, &a, &file], vec![&file, &a], vec![&file]] {
        let (report, status) = report(&roots);
        assert_eq!(status, Some(0), "{roots:?}");
        let mut args = vec![OsString::from("-sc"), OsString::from("--block-size=1")];
        args.extend(roots.iter().map(|&root| root.clone()));
        assert_eq!(report["bytes"], du(args), "{roots:?}");
        assert_eq!(report["roots"].as_array().map(Vec::len), Some(roots.len()));
        let sum: u64 = (0..roots.len()).filter_map(|at| report["roots"][at]["bytes"].as_u64()).sum();
        assert_eq!(report["bytes"], sum);
    }
}

#[test]
fn a_root_that_is_not_there_is_named_and_the_others_are_counted() {
    let tree = Tree::new("missing");
    tree.file("file", 1);
    let (report, status) = report([tree.join("missing").as_path(), tree.path()]);
    assert_eq!(status, Some(1));
    assert_eq!(report["errors"][0]["error"], "No such file or directory");
    assert_eq!(report["errors"][0]["path"], tree.join("missing").to_str().expect("UTF-8"));
    assert_eq!((&report["error_count"], &report["files"]), (&1.into(), &1.into()));
}

#[test]
fn what_vanishes_meanwhile_does_not_stop_the_rest() {
    let tree = Tree::large("churn");
    for number in 0..200 {
        tree.directory(format!("{number}"));
        tree.file(format!("{number}/stays"), 3);
    }
    let busy = tree.directory("busy");
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let paths: Vec<_> = (0..300).map(|number| busy.join(number.to_string())).collect();
                for (number, path) in paths.iter().enumerate() {
                    // Every other one a directory.
                    let made = if number % 2 == 0 { std::fs::write(path, b"x") } else { std::fs::create_dir(path) };
                    made.expect("made");
                }
                for (number, path) in paths.iter().enumerate() {
                    let gone = if number % 2 == 0 { std::fs::remove_file(path) } else { std::fs::remove_dir(path) };
                    gone.expect("removed");
                }
            }
        });
        for _ in 0..20 {
            let (report, status) = report([tree.path()]);
            let errors = report["errors"].as_array().expect("a list");
            for error in errors {
                assert_eq!(error["error"], "No such file or directory");
                assert!(error["path"].as_str().is_some_and(|path| path.contains("/busy/")), "{error}");
            }
            assert_eq!(status, Some(i32::from(!errors.is_empty())));
            let churned = report["files"].as_u64().expect("a number") - 200;
            assert!(churned <= 300, "{churned}");
        }
        drop(stop);
    });
}

#[test]
fn other_file_systems_are_left_out_where_that_is_asked_for() {
    let device = |path: &str| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
    if device("/dev") == device("/dev/shm") || device("/dev/shm").is_none() {
        eprintln!("not checked: /dev/shm is not a file system of its own here");
        return;
    }
    let tree = Tree::within(Path::new("/dev/shm"), "elsewhere");
    tree.file("file", 1 << 20);
    let bytes = |report: &Value| report["bytes"].as_u64().expect("a number");
    let (all, _) = report(["/dev"]);
    let (one, _) = report(["-x", "/dev"]);
    assert_eq!(bytes(&one), du(["-sx", "--block-size=1", "/dev"]));
    assert!(bytes(&all) >= bytes(&one) + (1 << 20));
}
