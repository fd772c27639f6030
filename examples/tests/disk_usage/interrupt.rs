//! Ctrl-C.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{parsed, program};

/// A tree that takes a while.
const LARGE: &str = "/usr";

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the process is there");
}

/// Waits until the process would be told of Ctrl-C rather than killed by it.
fn until_it_listens(child: &Child) {
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    loop {
        let text = std::fs::read_to_string(&status).expect("the process is there");
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a number");
        if caught & (1 << (Signal::INT.as_raw() - 1)) != 0 {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn ctrl_c_gives_what_was_counted_so_far_marked_as_partial_with_what_stopped_it() {
    // It may be done before the signal arrives; it cannot be each time.
    for _ in 0..50 {
        let child = Command::new(program())
            .args(["--json", "-j", "1", LARGE])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        until_it_listens(&child);
        signal(&child, Signal::INT);
        let output = child.wait_with_output().expect("it ends");
        let (report, status) = parsed(&output);
        if report["partial"] == Value::Bool(false) {
            assert_eq!(status, Some(0));
            continue;
        }
        assert_eq!(status, Some(130));
        assert_eq!(report["partial"], true);
        assert_eq!(report["stopped_by"]["reason"], "Ctrl-C");
        assert_eq!(report["stopped_by"]["context"], "disk_usage");
        let at = report["stopped_by"]["at"].as_str().expect("text");
        assert!(at.contains("disk_usage/") && at.contains(".rs:"), "{at}");
        return;
    }
    panic!("50 runs ended before a signal that was sent at their start");
}

#[test]
fn a_second_ctrl_c_leaves_at_once_though_the_report_cannot_be_written() {
    // Nobody reads what it writes, and the pipe is full.
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&writer).expect("flags");
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).expect("flags");
    while rustix::io::write(&writer, &[b'x'; 512]) != Err(Errno::AGAIN) {}
    rustix::fs::fcntl_setfl(&writer, flags).expect("flags");

    let mut child = Command::new(program())
        .args(["--json", "-j", "1", LARGE])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    until_it_listens(&child);
    signal(&child, Signal::INT);
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let answer = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("once more")));
    assert!(answer.is_some(), "it says that it stops");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}
