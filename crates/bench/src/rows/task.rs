//! A holder's named, reported, cancellable tasks against `JoinSet` and `TaskTracker`: spawn, finish, reap.

use std::future::pending;
use std::hint::black_box;

use machinery::{Ctx, TaskHolder};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{current_thread, on_worker, short, two_workers};
use crate::harness::Row;
use crate::side::Work;
use crate::{alloc, clock};

const JOIN_SET: &str = "JoinSet";
const TRACKER: &str = "TaskTracker";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for count in [1_000, 100_000, 1_000_000] {
        rows.push(on_current_thread(count, JOIN_SET, 0.9));
        rows.push(on_current_thread(count, TRACKER, 1.4));
    }
    for count in [1_000, 100_000, 1_000_000] {
        rows.push(on_two_workers(count, JOIN_SET, 1.2));
        rows.push(on_two_workers(count, TRACKER, 2.0));
    }
    rows.extend([churn(), memory(), memory_with_context(), memory_with_token()]);
    rows
}

pub(crate) async fn held(count: u64) {
    let root = Ctx::beginning("root");
    let holder = TaskHolder::new(&root);
    for _ in 0..count {
        holder.add("task", async {});
    }
    holder.finish().await;
}

pub(crate) async fn joined(count: u64) {
    let mut set = JoinSet::new();
    for _ in 0..count {
        set.spawn(async {});
    }
    while let Some(result) = set.join_next().await {
        let _ = black_box(result);
    }
}

pub(crate) async fn tracked(count: u64) {
    let tracker = TaskTracker::new();
    for _ in 0..count {
        tracker.spawn(async {});
    }
    tracker.close();
    tracker.wait().await;
}

/// A side that holds so many tasks at a time on this thread.
pub(crate) fn holding<F: Future<Output = ()> + 'static>(count: u64, hold: impl Fn(u64) -> F + 'static) -> Work {
    let runtime = current_thread();
    Box::new(move |n| alone(&runtime, count, n, &hold))
}

async fn of_peer(peer: &'static str, count: u64) {
    if peer == JOIN_SET { joined(count).await } else { tracked(count).await }
}

/// Small numbers of tasks are held again and again, until there were `n` of them.
async fn again<F: Future<Output = ()>>(count: u64, n: u64, mut hold: impl FnMut(u64) -> F) {
    let count = count.min(n);
    for _ in 0..n / count {
        hold(count).await;
    }
}

/// The time of this thread for `n` tasks.
fn alone<F: Future<Output = ()>>(runtime: &Runtime, count: u64, n: u64, hold: impl FnMut(u64) -> F) -> f64 {
    clock::cpu(|| runtime.block_on(again(count, n, hold)))
}

fn on_current_thread(count: u64, peer: &'static str, goal: f64) -> Row {
    Row::new(
        format!("task/{}-{}", short(count), peer.to_lowercase()),
        format!("spawn, finish, reap {} tasks, current thread, a task", short(count)),
    )
    .goal(goal)
    .units(count.max(200_000), count.max(50_000))
    .ours(move || holding(count, held))
    .peer(peer, move || holding(count, move |count| of_peer(peer, count)))
}

fn on_two_workers(count: u64, peer: &'static str, goal: f64) -> Row {
    Row::new(
        format!("task/two-workers-{}-{}", short(count), peer.to_lowercase()),
        format!("spawn, finish, reap {} tasks, two workers, a task", short(count)),
    )
    .goal(goal)
    .two_threads()
    .units(count.max(200_000), count.max(50_000))
    .ours(move || {
        let runtime = two_workers();
        move |n| clock::wall(|| on_worker(&runtime, again(count, n, held)))
    })
    .peer(peer, move || {
        let runtime = two_workers();
        move |n| clock::wall(|| on_worker(&runtime, again(count, n, move |count| of_peer(peer, count))))
    })
}

/// A holder's thousand, after which comes the next thousand.
const WINDOW: u64 = 1_000;

fn churn() -> Row {
    Row::new("task/churn", "1k living of 1m that come and go through one holder, a task")
        .goal(1.1)
        .units(1_000_000, 50_000)
        .ours(|| {
            let runtime = current_thread();
            move |n| {
                clock::cpu(|| {
                    runtime.block_on(async {
                        let root = Ctx::beginning("root");
                        let holder = TaskHolder::new(&root);
                        for _ in 0..n / WINDOW {
                            for _ in 1..WINDOW {
                                holder.add("task", async {});
                            }
                            // this runtime runs tasks in turn: after the last one all have run
                            let _ = black_box(holder.add("task", async {}).await);
                        }
                        holder.finish().await;
                    });
                })
            }
        })
        .peer("a holder for each 1k", || holding(WINDOW, held))
}

fn memory() -> Row {
    Row::new("task/memory", "bytes for a living task")
        .goal(1.0)
        .bytes()
        .units(100_000, 20_000)
        .ours(|| {
            |n| {
                let runtime = current_thread();
                runtime.block_on(async {
                    let root = Ctx::beginning("root");
                    let holder = TaskHolder::new(&root);
                    alloc::bytes(|| (0..n).for_each(|_| drop(holder.add("task", pending::<()>()))))
                })
            }
        })
        .peer("the limit of 300", || |n| 300.0 * n as f64)
}

/// What all of these tasks do: live, and hold the context that they were given.
async fn live_with<C>(ctx: C) {
    pending::<()>().await;
    drop(ctx);
}

fn with_context(n: u64) -> f64 {
    current_thread().block_on(async {
        let root = Ctx::beginning("root");
        let holder = TaskHolder::new(&root);
        alloc::bytes(|| (0..n).for_each(|_| drop(holder.add_with("task", live_with))))
    })
}

fn memory_with_context() -> Row {
    Row::new("task/memory-with-context", "bytes for a living task with a context of its own")
        .goal(1.0)
        .bytes()
        .units(100_000, 20_000)
        .ours(|| with_context)
        .peer("the limit of 409", || |n| 409.0 * n as f64)
}

fn memory_with_token() -> Row {
    Row::new("task/memory-with-token", "the same against a tracked task with a token of its own")
        .bytes()
        .units(100_000, 20_000)
        .ours(|| with_context)
        .peer("TaskTracker, a token each", || {
            |n| {
                current_thread().block_on(async {
                    let root = CancellationToken::new();
                    let tracker = TaskTracker::new();
                    alloc::bytes(|| (0..n).for_each(|_| drop(tracker.spawn(live_with(root.child_token())))))
                })
            }
        })
}
