//! What is shown, and how.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;

use crate::support::*;

/// Three sizes, so that every directory differs.
fn ranked() -> Tree {
    let tree = Tree::new("ranked");
    for (name, kilobytes) in [("big", 400), ("big/inner", 200), ("middle", 300), ("small", 100)] {
        tree.directory(name);
        tree.file(format!("{name}/file"), kilobytes << 10);
    }
    tree
}

#[test]
fn the_largest_directories_and_their_sizes_are_those_of_du() {
    let tree = ranked();
    let du = Command::new("du").arg("--block-size=1").arg(tree.path()).output().expect("du runs");
    let mut expected: Vec<(u64, String)> = String::from_utf8_lossy(&du.stdout)
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(bytes, path)| (bytes.parse().expect("a number"), path.to_owned()))
        .collect();
    expected.sort_by(|a, b| b.cmp(a));
    assert_eq!(expected.len(), 5);
    for top in [0, 1, 3, 5, 10] {
        let (report, _) = report([OsStr::new("--top"), top.to_string().as_ref(), tree.path().as_os_str()]);
        let largest: Vec<_> = report["largest"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (one["bytes"].as_u64().expect("a number"), one["path"].as_str().expect("text").to_owned()))
            .collect();
        assert_eq!(largest, expected[..top.min(5)], "--top {top}");
    }
}

#[test]
fn the_text_has_a_bar_for_each_of_the_largest_and_the_total() {
    let tree = ranked();
    let output = disk_usage([OsStr::new("--top"), OsStr::new("2"), tree.path().as_os_str()]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("100%") && lines[0].ends_with(tree.path().to_str().expect("UTF-8")), "{text}");
    assert!(lines[1].ends_with("/big") && lines[1].contains('█'), "{text}");
    let full = lines[0].matches('█').count();
    assert!(lines[1].matches('█').count() < full, "{text}");
    let total = lines.last().expect("a total");
    assert!(total.contains("4 files, 5 directories"), "{text}");
}

#[test]
fn names_that_are_not_utf8_are_escaped_in_text_and_whole_in_json() {
    let tree = Tree::new("names");
    let odd = tree.directory(OsString::from_vec(b"\xff\n\x1b[2J".to_vec()));
    let (report, _) = report([&odd]);
    let bytes: Vec<u8> = report["roots"][0]["path_bytes"]
        .as_array()
        .expect("bytes")
        .iter()
        .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
        .collect();
    assert_eq!(bytes, odd.as_os_str().as_bytes());
    let text = disk_usage([&odd]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.contains("/\\xff\\n\\u{1b}[2J"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_wrong_command_line_is_told_apart_by_its_status() {
    for args in [vec!["--no-such-option"], vec!["-j", "0"], vec!["--top", "-1"]] {
        let output = disk_usage(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure_and_one_that_nobody_reads_is_not() {
    let tree = ranked();
    let run =
        |out: std::fs::File| Command::new(program()).arg(tree.path()).stdout(out).output().expect("the program runs");
    let output = run(std::fs::File::options().write(true).open("/dev/full").expect("a device"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write: "));

    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = run(std::os::fd::OwnedFd::from(writer).into());
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
}
