//! A tree of the test's own, the program, and `du` beside it.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustix::fs::Access;
use serde_json::Value;

/// Somebody who owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

/// The example, built as this test was.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
        let program = profile.join("examples/disk_usage");
        // `cargo test` builds the examples, but not where single tests are asked for.
        let built = program.metadata().and_then(|program| program.modified()).ok();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        if built < newest(&here.join("disk_usage")) || built < newest(&here.join("../crates/machinery/src")) {
            let mut build = Command::new(env!("CARGO"));
            // With what the whole workspace is tested with, so that nothing but the example has to be built.
            build.args(["build", "--quiet", "--workspace", "--all-features", "--test", "disk_usage"]);
            build.args(["--example", "disk_usage"]);
            build.current_dir(here).arg("--target-dir").arg(profile.parent().expect("target/<profile>"));
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().expect("cargo runs").success(), "the example builds");
        }
        program
    })
}

/// When the newest file below `path` was written.
fn newest(path: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(path).ok()?;
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => newest(&entry.path()),
            _ => entry.metadata().and_then(|entry| entry.modified()).ok(),
        })
        .max()
}

/// A directory that is removed with all that is in it.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn new(name: &str) -> Self {
        Self::within(&std::env::temp_dir(), name)
    }

    /// One that is large: in memory where that can be had, as removing it takes a disk long.
    pub(crate) fn large(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if rustix::fs::access(memory, Access::WRITE_OK).is_ok() { Self::within(memory, name) } else { Self::new(name) }
    }

    pub(crate) fn within(parent: &Path, name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(&parent.join(format!("disk_usage-{name}-{}-{number}", std::process::id())))
    }

    fn at(path: &Path) -> Self {
        std::fs::create_dir(path).expect("a directory of the test's own");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn directory(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    pub(crate) fn file(&self, name: impl AsRef<Path>, length: usize) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, vec![b'x'; length]).expect("a file");
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Deeper than a recursion would like, and with modes that keep their owner out.
        let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(&self.0).stderr(Stdio::null()).status();
        let _ = Command::new("rm").arg("-rf").arg(&self.0).status();
    }
}

/// `disk_usage` with these arguments.
pub(crate) fn disk_usage<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    Command::new(program()).args(args).output().expect("the program runs")
}

/// What it says with `--json`, and its exit status.
pub(crate) fn report<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> (Value, Option<i32>) {
    parsed(&disk_usage(std::iter::once("--json".into()).chain(args.into_iter().map(|arg| arg.as_ref().to_owned()))))
}

pub(crate) fn parsed(output: &Output) -> (Value, Option<i32>) {
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in the output of {output:?}"));
    (report, output.status.code())
}

/// The last number that `du` prints with these arguments.
pub(crate) fn du<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> u64 {
    last_number(&Command::new("du").args(args).output().expect("du runs"))
}

pub(crate) fn last_number(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.lines().last().and_then(|line| line.split('\t').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number in {output:?}"))
}

/// Newer releases of `du` leave the lengths of directories out of the apparent size.
pub(crate) fn du_counts_the_lengths_of_directories() -> bool {
    let empty = Tree::new("empty");
    du(["-sb".as_ref(), empty.path()]) > 0
}

/// The command as somebody who owns nothing, where the test may become that; else as who the test is.
pub(crate) fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
