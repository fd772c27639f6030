//! The steps of the gate, in the order in which they run: the quick ones first.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{Tally, cargo, root, run, succeeds, target_dir};

/// What came of a step that did not fail.
pub(crate) enum Verdict {
    Passed,
    /// It needs something that is not here and could not be installed; the text names it.
    Missing(String),
}

pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Tally) -> Result<Verdict>,
}

const LIBRARY: &str = "tokio-machinery";
const SANITIZED: &str = "x86_64-unknown-linux-gnu";

pub(crate) const STEPS: &[Step] = &[
    Step { name: "fmt", about: "the format of all code", run: fmt },
    Step { name: "clippy", about: "lints, every target and feature, warnings denied", run: clippy },
    Step { name: "test", about: "unit, integration, compile-fail and example tests, all features", run: test },
    Step { name: "plain", about: "the library's tests without its features", run: plain },
    Step { name: "doctest", about: "the examples in the documentation", run: doctest },
    Step { name: "doc", about: "the documentation, warnings denied", run: doc },
    Step { name: "loom", about: "models under loom", run: loom },
    Step { name: "shuttle", about: "models under shuttle", run: shuttle },
    Step { name: "abort", about: "a build with panic = \"abort\", and a run of it", run: abort },
    Step { name: "package", about: "the library builds from its own tarball", run: package },
    Step { name: "sanitizer", about: "the library's tests under the address and leak sanitizers", run: sanitizer },
];

fn fmt(tally: &mut Tally) -> Result<Verdict> {
    if let Some(missing) = component("fmt", "rustfmt") {
        return Ok(missing);
    }
    run(tally, &mut cargo("fmt --all --check"))?;
    Ok(Verdict::Passed)
}

fn clippy(tally: &mut Tally) -> Result<Verdict> {
    if let Some(missing) = component("clippy", "clippy") {
        return Ok(missing);
    }
    run(tally, &mut cargo("clippy --workspace --all-targets --all-features -- -D warnings"))?;
    Ok(Verdict::Passed)
}

fn test(tally: &mut Tally) -> Result<Verdict> {
    run(tally, &mut cargo("test --workspace --all-features --all-targets --no-fail-fast"))?;
    Ok(Verdict::Passed)
}

fn plain(tally: &mut Tally) -> Result<Verdict> {
    run(tally, cargo("test --no-default-features --lib --tests --no-fail-fast -p").arg(LIBRARY))?;
    Ok(Verdict::Passed)
}

fn doctest(tally: &mut Tally) -> Result<Verdict> {
    run(tally, &mut cargo("test --workspace --all-features --doc --no-fail-fast"))?;
    Ok(Verdict::Passed)
}

fn doc(tally: &mut Tally) -> Result<Verdict> {
    run(tally, cargo("doc --workspace --no-deps --all-features").env("RUSTDOCFLAGS", "-Dwarnings"))?;
    Ok(Verdict::Passed)
}

fn loom(tally: &mut Tally) -> Result<Verdict> {
    let bound = std::env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| "3".into());
    models(tally, "machinery_loom", "loom", &bound)
}

fn shuttle(tally: &mut Tally) -> Result<Verdict> {
    models(tally, "machinery_shuttle", "shuttle", "3")
}

/// The flag changes every crate that is built, so each kind of model has a target folder of its own.
fn models(tally: &mut Tally, cfg: &str, folder: &str, preemptions: &str) -> Result<Verdict> {
    run(
        tally,
        cargo("test --release --package machinery-models --no-fail-fast --target-dir")
            .arg(target_dir().join(folder))
            .env("RUSTFLAGS", format!("--cfg {cfg}"))
            // The time of a model is that of its build.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("LOOM_MAX_PREEMPTIONS", preemptions),
    )?;
    Ok(Verdict::Passed)
}

fn abort(tally: &mut Tally) -> Result<Verdict> {
    run(tally, cargo("build --profile abort --all-features -p").arg(LIBRARY))?;
    run(tally, &mut cargo("run --quiet --profile abort --example disk_usage -- crates"))?;
    Ok(Verdict::Passed)
}

fn package(tally: &mut Tally) -> Result<Verdict> {
    run(tally, cargo("package --allow-dirty -p").arg(LIBRARY))?;
    Ok(Verdict::Passed)
}

/// Compile-fail tests call the compiler with flags of their own, and are no business of a sanitizer.
fn sanitizer(tally: &mut Tally) -> Result<Verdict> {
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", SANITIZED]).output()?;
    let libraries = PathBuf::from(String::from_utf8(libraries.stdout)?.trim());
    let has_runtime = libraries.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("asan")))
    });
    if !has_runtime {
        return Ok(Verdict::Missing(format!("the address sanitizer's runtime for {SANITIZED}")));
    }
    let mut command = cargo("test --all-features --lib --no-fail-fast");
    command.args(["-p", LIBRARY, "--target", SANITIZED]).arg("--target-dir").arg(target_dir().join("sanitizer"));
    let folder = root().join("crates/machinery/tests");
    if folder.is_dir() {
        let mut names = Vec::new();
        for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "rs") {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
        names.sort();
        for name in names.iter().filter(|name| !name.contains("compile_fail")) {
            command.args(["--test", name]);
        }
    }
    let on_purpose = root().join("xtask/leaks.txt");
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    command.env("LSAN_OPTIONS", format!("suppressions={}:print_suppressions=0", on_purpose.display()));
    run(tally, &mut command)?;
    Ok(Verdict::Passed)
}

/// Makes certain that cargo has a subcommand, installing the toolchain's component for it if need be.
fn component(subcommand: &str, component: &str) -> Option<Verdict> {
    let is_there = || succeeds(Command::new("cargo").args([subcommand, "--version"]).current_dir(root()));
    if is_there() {
        return None;
    }
    println!("installing the toolchain component {component}");
    succeeds(Command::new("rustup").args(["component", "add", component]).current_dir(root()));
    (!is_there()).then(|| Verdict::Missing(format!("the toolchain component {component}")))
}
