//! Ticks against Tokio's `interval`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machinery::{Ctx, tick};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::current_thread;
use crate::clock;
use crate::harness::Row;

pub(crate) fn rows() -> Vec<Row> {
    vec![against_select(), against_interval(), drift()]
}

const PERIOD: Duration = Duration::from_secs(1);

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime can be made")
}

fn ours() -> impl FnMut(u64) -> f64 {
    let runtime = paused();
    move |n| {
        runtime.block_on(async {
            let root = Ctx::beginning("root");
            let mut ticker = tick(PERIOD, &root).start();
            let start = clock::cpu_now();
            for _ in 0..n {
                assert!(ticker.next().await.is_some());
            }
            clock::cpu_now() - start
        })
    }
}

fn against_select() -> Row {
    Row::new("tick/tick", "a tick that completion ends, paused clock").goal(1.1).units(50_000, 5_000).ours(ours).peer(
        "interval in select! with a token",
        || {
            let runtime = paused();
            move |n| {
                runtime.block_on(async {
                    let token = CancellationToken::new();
                    let mut interval = tokio::time::interval(PERIOD);
                    let start = clock::cpu_now();
                    for _ in 0..n {
                        tokio::select! {
                            () = token.cancelled() => break,
                            _ = interval.tick() => {}
                        }
                    }
                    clock::cpu_now() - start
                })
            }
        },
    )
}

fn against_interval() -> Row {
    Row::new("tick/bare-interval", "the same against an interval that nothing ends")
        .units(50_000, 5_000)
        .ours(ours)
        .peer("interval", || {
            let runtime = paused();
            move |n| {
                runtime.block_on(async {
                    let mut interval = tokio::time::interval(PERIOD);
                    let start = clock::cpu_now();
                    for _ in 0..n {
                        interval.tick().await;
                    }
                    clock::cpu_now() - start
                })
            }
        })
}

const TICKS: u64 = 2_000;

/// Both sides look at one run: how late its last ticks were, and how late its first ones.
fn drift() -> Row {
    let first = Arc::new(Mutex::new(0.0));
    let of_same_run = Arc::clone(&first);
    Row::new("tick/drift", "how late are the last of 2k ticks of 1 ms, in real time")
        .goal(1.2)
        .undisturbed()
        .units(TICKS, TICKS / 10)
        .ours(move || {
            let runtime = current_thread();
            move |ticks| {
                let late = runtime.block_on(lateness(ticks as usize));
                let edge = late.len() / 10;
                // the harness wants the cost of all
                *first.lock().unwrap_or_else(PoisonError::into_inner) = mean(&late[..edge]) * ticks as f64;
                mean(&late[late.len() - edge..]) * ticks as f64
            }
        })
        .peer("the first ones", move || move |_| *of_same_run.lock().unwrap_or_else(PoisonError::into_inner))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

async fn lateness(ticks: usize) -> Vec<f64> {
    let root = Ctx::beginning("root");
    let mut ticker = tick(Duration::from_millis(1), &root).min_wait(None).start();
    let mut late = Vec::with_capacity(ticks);
    let start = clock::now();
    while late.len() < ticks && ticker.next().await.is_some() {
        late.push(clock::now() - start - late.len() as f64 * 1e6);
    }
    late
}
