//! The rows of the table, a file for each group.

use tokio::runtime::{Builder, Runtime};

use crate::clock;
use crate::harness::Row;

mod channel;
mod context;
pub(crate) mod curves;
mod fan;
mod fanin;
mod generator;
mod pair;
mod queue;
mod source;
mod task;
mod threads;
mod tick;

/// Every row there is, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = context::rows();
    rows.extend(task::rows());
    rows.extend(queue::rows());
    rows.extend(threads::rows());
    rows.extend(fanin::rows());
    rows.extend(tick::rows());
    rows.extend(generator::rows());
    rows
}

/// A number as people write it in a name: `1k`, `100k`, `1m`.
pub(crate) fn short(count: u64) -> String {
    match count {
        count if count >= 1_000_000 && count % 1_000_000 == 0 => format!("{}m", count / 1_000_000),
        count if count >= 1_000 && count % 1_000 == 0 => format!("{}k", count / 1_000),
        count => count.to_string(),
    }
}

/// A runtime on this thread; its I/O driver, which nothing here uses, is left out.
pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be made")
}

/// A runtime with two workers.
pub(crate) fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime can be made")
}

/// Runs the work as a task of the runtime, on one of its workers.
pub(crate) fn on_worker<F: Future<Output: Send> + Send + 'static>(runtime: &Runtime, work: F) -> F::Output {
    runtime.block_on(runtime.spawn(work)).expect("the work does not panic")
}

/// Runs the work on a thread with a stack for peers that recurse.
pub(crate) fn deep(work: impl FnOnce() -> f64 + Send + 'static) -> f64 {
    let thread = std::thread::Builder::new().stack_size(1 << 30).spawn(work);
    thread.ok().and_then(|thread| thread.join().ok()).unwrap_or(f64::NAN)
}

/// Runs both as tasks and answers what that costs this thread; the second is started first, so that it waits.
#[expect(clippy::disallowed_methods, reason = "the same bare tasks for both sides")]
pub(crate) async fn two_tasks<F, S>(first: F, second: S) -> f64
where
    F: Future<Output: Send> + Send + 'static,
    S: Future<Output: Send> + Send + 'static,
{
    let second = tokio::spawn(second);
    tokio::task::yield_now().await;
    let start = clock::cpu_now();
    let first = tokio::spawn(first);
    let kept = (first.await, second.await);
    let time = clock::cpu_now() - start;
    drop(kept);
    time
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn every_row_does_its_work_on_both_sides() {
        for row in super::all() {
            let id = row.id.clone();
            let (ours, theirs) = row.try_out();
            assert!(ours.is_finite() && theirs.is_finite(), "{id} has no figure: {ours} against {theirs}");
        }
    }

    #[test]
    fn every_row_has_an_id_of_its_own() {
        let mut seen = HashSet::new();
        for row in super::all() {
            assert!(seen.insert(row.id.clone()), "{} stands twice", row.id);
        }
    }
}
