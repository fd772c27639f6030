//! How much disk trees of files use, counted concurrently.
//!
//! `cargo run --release --example disk_usage -- /usr`
//!
//! Every directory is a source of a queue manager, which takes its blocking steps off the async threads, depth first
//! under a limit. A ticker shows progress from a task of a holder. Ctrl-C cancels the root context, and that stops
//! everything. [`count`] is where all of this happens; the other modules know nothing of concurrency, or next to
//! nothing.
#![forbid(unsafe_code)]

mod args;
mod count;
mod directory;
mod handles;
mod interrupt;
mod largest;
mod links;
mod node;
mod progress;
mod report;
mod tally;
mod text;
mod walk;

use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use machinery::{Ctx, task_holder};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::progress::Progress;
use crate::report::Report;

/// Something could not be read.
const INCOMPLETE: u8 = 1;
/// The report was not written in full.
const UNWRITTEN: u8 = 1;
/// Stopped by Ctrl-C, as shells see it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    // The counting is done by this thread; the other one shows progress and listens for Ctrl-C, whatever this one does.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("disk_usage: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(run(&args));
    // A thread may be stuck in a file system that does not answer.
    runtime.shutdown_background();
    ExitCode::from(status)
}

async fn run(args: &Args) -> u8 {
    let root = Ctx::beginning("disk_usage");
    let progress = Progress::on_stderr();
    // Detached: the first Ctrl-C cancels the root, and somebody has to be there for the second.
    let listening = root.detached("listening");
    task_holder(&listening, async |tasks| {
        match signal(SignalKind::interrupt()) {
            Ok(pressed) => drop(tasks.add("ctrl-c", interrupt::listen(pressed, root.canceller(), progress.clone()))),
            Err(error) => progress.say(&format!("disk_usage: Ctrl-C will end it without a report: {error}")),
        }
        let report = count::all(&root, args, &progress).await;
        progress.clear();
        let shown = show(args, &report);
        listening.cancel();
        match shown {
            // Nobody is left to read it, as in `disk_usage | head`.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                eprintln!("disk_usage: cannot write: {error}");
                UNWRITTEN
            }
            _ => status(&report),
        }
    })
    .await
}

fn status(report: &Report) -> u8 {
    if report.stopped.is_some() {
        INTERRUPTED
    } else if report.failures > 0 {
        INCOMPLETE
    } else {
        0
    }
}

fn show(args: &Args, report: &Report) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.json {
        report.write_json(&mut out)?;
    } else {
        report.write_text(&mut out, progress::columns(std::io::stdout()))?;
    }
    out.flush()
}
