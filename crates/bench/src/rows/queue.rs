//! Queues with context, priority, instructions and breaker against bare channels.

use std::hint::black_box;

use tokio::runtime::Runtime;

use super::channel::{Channel, Flume, Kanal, Ours, Tokio};
use super::{current_thread, on_worker, two_tasks, two_workers};
use crate::clock;
use crate::harness::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend([drain::<Tokio>(Some(0.7)), drain::<Flume>(Some(1.0)), drain::<Kanal>(None)]);
    for producers in [1, 4] {
        rows.extend([
            workers::<Tokio>(producers, Some(0.7)),
            workers::<Flume>(producers, Some(1.0)),
            workers::<Kanal>(producers, None),
        ]);
    }
    rows.extend([ping_pong::<Tokio>(Some(0.7)), ping_pong::<Flume>(Some(1.0)), ping_pong::<Kanal>(None)]);
    rows
}

fn id<P: Channel>(work: &str) -> String {
    format!("queue/{work}-{}", P::NAME.replace("tokio ", ""))
}

async fn take<C: Channel>(receiver: &mut C::Receiver, n: u64) {
    for _ in 0..n {
        black_box(C::receive(receiver).await);
    }
}

fn put<C: Channel>(sender: &C::Sender, n: u64) {
    for item in 0..n {
        C::send(sender, item);
    }
}

/// `n` items go in, and then they come out, in one task.
fn fill_and_drain<C: Channel>(runtime: &Runtime, n: u64) -> f64 {
    runtime.block_on(async {
        let (sender, mut receiver) = C::make();
        clock::cpu(|| put::<C>(&sender, n)) + {
            let start = clock::cpu_now();
            take::<C>(&mut receiver, n).await;
            clock::cpu_now() - start
        }
    })
}

fn drain<P: Channel>(goal: Option<f64>) -> Row {
    Row::new(id::<P>("drain"), "push 1m, then drain, one task, an item")
        .goal_if(goal)
        .units(1_000_000, 1_000_000)
        .ours(|| {
            let runtime = current_thread();
            move |n| fill_and_drain::<Ours>(&runtime, n)
        })
        .peer(P::NAME, || {
            let runtime = current_thread();
            move |n| fill_and_drain::<P>(&runtime, n)
        })
}

/// `n` items from so many producer tasks to one consumer task.
#[expect(clippy::disallowed_methods, reason = "the same bare tasks for both sides")]
fn through_tasks<C: Channel>(runtime: &Runtime, producers: u64, n: u64) -> f64 {
    on_worker(runtime, async move {
        let (sender, mut receiver) = C::make();
        let start = clock::now();
        for _ in 0..producers {
            let sender = sender.clone();
            tokio::spawn(async move { put::<C>(&sender, n / producers) });
        }
        take::<C>(&mut receiver, n / producers * producers).await;
        clock::now() - start
    })
}

fn workers<P: Channel>(producers: u64, goal: Option<f64>) -> Row {
    let plural = if producers == 1 { "" } else { "s" };
    Row::new(
        id::<P>(&format!("{producers}-to-1")),
        format!("{producers} producer task{plural} to one consumer task, two workers, an item"),
    )
    .goal_if(goal)
    .two_threads()
    .units(1_000_000, 200_000)
    .ours(move || {
        let runtime = two_workers();
        move |n| through_tasks::<Ours>(&runtime, producers, n)
    })
    .peer(P::NAME, move || {
        let runtime = two_workers();
        move |n| through_tasks::<P>(&runtime, producers, n)
    })
}

/// One item goes to and fro between two tasks.
fn to_and_fro<C: Channel>(runtime: &Runtime, n: u64) -> f64 {
    runtime.block_on(async {
        let ((there, mut from_there), (back, mut from_back)) = (C::make(), C::make());
        let first = async move {
            for item in 0..n {
                C::send(&there, item);
                black_box(C::receive(&mut from_back).await);
            }
            (there, from_back)
        };
        let second = async move {
            for item in 0..n {
                black_box(C::receive(&mut from_there).await);
                C::send(&back, item);
            }
            (back, from_there)
        };
        two_tasks(first, second).await
    })
}

fn ping_pong<P: Channel>(goal: Option<f64>) -> Row {
    Row::new(id::<P>("ping-pong"), "there and back between two tasks, current thread")
        .goal_if(goal)
        .units(100_000, 20_000)
        .ours(|| {
            let runtime = current_thread();
            move |n| to_and_fro::<Ours>(&runtime, n)
        })
        .peer(P::NAME, || {
            let runtime = current_thread();
            move |n| to_and_fro::<P>(&runtime, n)
        })
}
