//! The counting: sources, results, progress, and what stops them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machinery::{
    Ctx, CtxGuard, CtxOptions, Feed, QueueManagerResult as Fed, SharedError, queue_manager, task_holder, tick,
};
use tokio::time::Instant;

use crate::args::Args;
use crate::directory::{Directory, Entry, Found, Unreadable};
use crate::handles::Handles;
use crate::largest::Largest;
use crate::links::Links;
use crate::node::Node;
use crate::progress::Progress;
use crate::report::Report;
use crate::tally::Tally;
use crate::walk::{Options, Walk};

/// How many directories are open at a time, over the whole tree.
const OPEN_DIRECTORIES: usize = 64;
/// How many failures the report keeps; all are named when they are met.
const REPORTED_FAILURES: u64 = 10_000;
/// For how long a system call that does not return is waited for once everything is to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Counts all roots, one after the other, so that what they share counts for the first.
pub(crate) async fn all(root: &Ctx, args: &Args, progress: &Progress) -> Report {
    let started = now();
    let paths: Vec<CString> = args.roots.iter().filter_map(|path| c_path(path)).collect();
    let options = Options { apparent_size: args.apparent_size, one_file_system: args.one_file_system };
    let walk = Walk::new(options, Handles::within_limits(), Largest::new(args.top), &paths);
    let mut run = Run::new(walk, args.jobs(), progress);
    let mut roots = Vec::new();

    task_holder(root, async |tasks| {
        let counting = root.child("counting");
        tasks.add("progress", show_progress(counting.ctx(), progress.clone(), run.tally.clone()));
        for path in paths {
            if root.is_done() {
                break;
            }
            let before = run.tally.sums();
            run.count(&counting, &path).await;
            roots.push((path.into_bytes(), run.tally.sums() - before));
        }
    })
    .await;

    Report {
        apparent_size: args.apparent_size,
        roots,
        largest: run.walk.largest.take(),
        failures: run.tally.failures(),
        unreadable: run.unreadable,
        took: started.elapsed(),
        stopped: root.completion(),
    }
}

/// One run over all roots.
struct Run {
    walk: Arc<Walk>,
    jobs: usize,
    tally: Arc<Tally>,
    links: Links,
    unreadable: Vec<Unreadable>,
    progress: Progress,
}

impl Run {
    fn new(walk: Walk, jobs: usize, progress: &Progress) -> Self {
        Self {
            walk: Arc::new(walk),
            jobs,
            tally: Arc::default(),
            links: Links::default(),
            unreadable: Vec::new(),
            progress: progress.clone(),
        }
    }

    async fn count(&mut self, ctx: &Ctx, path: &CString) {
        let directory = Directory::new(Node::root(&self.walk, path.clone()));
        self.count_from(ctx, source(directory)).await;
    }

    /// Counts what comes of `root`, until that is over; or, once `ctx` is done, until patience ends.
    async fn count_from(&mut self, ctx: &Ctx, root: Feed<Entry>) {
        let (feeder, mut results) = queue_manager::<Entry>(ctx)
            .name("walk")
            .depth_first()
            .max_open(OPEN_DIRECTORIES)
            .blocking_threads(self.jobs)
            .build();
        feeder.add("root", root);
        drop(feeder);

        let mut patience: Option<CtxGuard> = None;
        loop {
            let next = match &patience {
                None => results.next().await,
                Some(patience) => patience.run(results.next()).await.unwrap_or(None),
            };
            match next {
                Some(Fed::Success { value, .. }) => self.tally.count(&value, &mut self.links),
                Some(Fed::Failure { exception, .. }) => self.failed(&exception),
                // What has been found by now still comes, and still counts.
                Some(Fed::Stopped { exception: Some(_) }) => {
                    patience = ctx.detached_with("patience", CtxOptions::new().timeout(PATIENCE)).ok();
                }
                Some(Fed::IterationStop { .. } | Fed::Stopped { exception: None }) => {}
                None => break,
            }
        }
    }

    fn failed(&mut self, error: &SharedError) {
        self.progress.say(&format!("disk_usage: {error}"));
        let failures = self.tally.count_failure();
        if failures <= REPORTED_FAILURES
            && let Some(unreadable) = error.downcast_ref::<Unreadable>()
        {
            self.unreadable.push(unreadable.clone());
        }
    }
}

/// A directory as a source: a value for each thing that takes space, and a source for each directory below.
fn source(directory: Directory) -> Feed<Entry> {
    Feed::blocking_iter(directory.map(|step| {
        step.map(|found| match found {
            Found::Entry(entry) => Feed::value(entry),
            Found::Directory(below) => source(below),
        })
    }))
}

async fn show_progress(ctx: Ctx, progress: Progress, tally: Arc<Tally>) {
    let started = now();
    let mut ticker = tick(progress.period(), &ctx).name("ticker").start();
    while ticker.next().await.is_some() {
        progress.show(&tally, started.elapsed());
    }
}

/// The path as the system takes it; no argument of a program has a zero byte in it.
fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

#[expect(clippy::disallowed_methods, reason = "the library's clock is its own; this is the program's")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
