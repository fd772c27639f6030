//! The queue manager, with provenance, context value and fairness, against bare fan-in.

use std::hint::black_box;

use futures_buffered::MergeUnbounded;
use futures_util::stream::SelectAll;
use tokio::runtime::Runtime;

use super::channel::{self, Channel};
use super::fan::{FanIn, Managed};
use super::source::{Doorbell, PendingOnce, Ready, Ringer};
use super::{current_thread, short};
use crate::clock;
use crate::harness::Row;
use crate::side::Work;

const SIZES: [u64; 3] = [10, 1_000, 100_000];
const SELECT_ALL: &str = "SelectAll";
const BUFFERED: &str = "futures-buffered";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(
        SIZES.map(|size| drained::<Ready, SelectAll<Ready>>("ready", "always ready", size, SELECT_ALL, Some(1.0))),
    );
    rows.extend(
        SIZES.map(|size| drained::<Ready, MergeUnbounded<Ready>>("ready", "always ready", size, BUFFERED, None)),
    );
    rows.extend(SIZES.map(|size| {
        drained::<PendingOnce, SelectAll<PendingOnce>>("pending", "pending once per item", size, SELECT_ALL, Some(1.0))
    }));
    rows.extend(SIZES.map(|size| {
        drained::<PendingOnce, MergeUnbounded<PendingOnce>>("pending", "pending once per item", size, BUFFERED, None)
    }));
    rows.extend(SIZES.map(|size| one_ready::<SelectAll<Doorbell>>(size, SELECT_ALL, (size == 100_000).then_some(0.3))));
    rows.extend(SIZES.map(|size| one_ready::<MergeUnbounded<Doorbell>>(size, BUFFERED, None)));
    rows.extend([growth(), add_and_end(), values()]);
    rows
}

/// How many items each stream has.
pub(crate) const ITEMS: u64 = 10;

/// Makes enough fan-ins for `n` items, and then takes everything out of them.
fn drain<S: From<u64>, F: FanIn<S>>(runtime: &Runtime, size: u64, n: u64) -> f64 {
    let size = size.min(n / ITEMS).max(1);
    let times = (n / (size * ITEMS)).max(1);
    let time = runtime.block_on(async {
        let mut all: Vec<F> = (0..times).map(|_| F::over((0..size).map(|_| S::from(ITEMS)))).collect();
        let start = clock::cpu_now();
        for one in &mut all {
            let mut count = 0;
            while one.next().await {
                count += 1;
            }
            assert_eq!(count, size * ITEMS);
        }
        clock::cpu_now() - start
    });
    time * n as f64 / (times * size * ITEMS) as f64
}

/// The side of a row that drains streams.
pub(crate) fn draining<S: From<u64> + 'static, F: FanIn<S> + 'static>(size: u64) -> Work {
    let runtime = current_thread();
    Box::new(move |n| drain::<S, F>(&runtime, size, n))
}

fn drained<S, P>(id: &str, kind: &str, size: u64, peer: &str, goal: Option<f64>) -> Row
where
    S: From<u64> + 'static,
    P: FanIn<S> + 'static,
    Managed: FanIn<S>,
{
    Row::new(
        format!("fanin/{id}-{}-{}", short(size), peer.to_lowercase()),
        format!("{} streams of 10 items, {kind}, an item", short(size)),
    )
    .goal_if(goal)
    .units((size * ITEMS).max(200_000), (size * ITEMS).max(50_000))
    .ours(move || draining::<S, Managed>(size))
    .peer(peer, move || draining::<S, P>(size))
}

/// Any one of the streams gets an item, which is then taken: what a server's connections do.
struct Server<F> {
    runtime: Runtime,
    fan: F,
    ringers: Vec<Ringer>,
    random: fastrand::Rng,
}

impl<F: FanIn<Doorbell>> Server<F> {
    fn new(size: u64) -> Self {
        let runtime = current_thread();
        let (fan, ringers) = runtime.block_on(async {
            let (ringers, bells): (Vec<_>, Vec<_>) = (0..size).map(|_| Doorbell::new()).unzip();
            // a first round lets every stream say that it is pending
            let mut fan = F::over(bells.into_iter());
            for ringer in &ringers {
                ringer.ring();
                assert!(fan.next().await);
            }
            (fan, ringers)
        });
        Self { runtime, fan, ringers, random: fastrand::Rng::with_seed(7) }
    }

    fn serve(&mut self, n: u64) -> f64 {
        let Self { runtime, fan, ringers, random } = self;
        runtime.block_on(async {
            let start = clock::cpu_now();
            for _ in 0..n {
                ringers[random.usize(..ringers.len())].ring();
                black_box(fan.next().await);
            }
            clock::cpu_now() - start
        })
    }
}

/// The side of a row in which one stream at a time is ready.
pub(crate) fn serving<F: FanIn<Doorbell> + 'static>(size: u64) -> Work {
    let mut server = Server::<F>::new(size);
    Box::new(move |n| server.serve(n))
}

fn one_ready<P: FanIn<Doorbell> + 'static>(size: u64, peer: &str, goal: Option<f64>) -> Row {
    Row::new(
        format!("fanin/one-ready-{}-{}", short(size), peer.to_lowercase()),
        format!("one of {} streams ready, an item", short(size)),
    )
    .goal_if(goal)
    .units(100_000, 20_000)
    .ours(move || serving::<Managed>(size))
    .peer(peer, move || serving::<P>(size))
}

/// Our own growth: what is left of it are cache misses.
fn growth() -> Row {
    Row::new("fanin/one-ready-growth", "one of 100k streams ready, an item")
        .units(100_000, 20_000)
        .ours(|| serving::<Managed>(100_000))
        .peer("one of 10", || serving::<Managed>(10))
}

/// Adds so many streams that have nothing, and lets them end.
fn added(runtime: &Runtime, size: u64, n: u64) -> f64 {
    let size = size.min(n);
    runtime.block_on(async {
        let mut time = 0.0;
        for _ in 0..n / size {
            let start = clock::cpu_now();
            let mut fan = <Managed as FanIn<Ready>>::over((0..size).map(|_| Ready::from(0)));
            assert!(!FanIn::<Ready>::next(&mut fan).await);
            time += clock::cpu_now() - start;
        }
        time
    })
}

fn add_and_end() -> Row {
    Row::new("fanin/add-and-end", "add and end 100k streams, a stream")
        .goal(1.5)
        .units(100_000, 100_000)
        .ours(|| {
            let runtime = current_thread();
            move |n| added(&runtime, 100_000, n)
        })
        .peer("1k streams", || {
            let runtime = current_thread();
            move |n| added(&runtime, 1_000, n)
        })
}

fn values() -> Row {
    Row::new("fanin/values", "1m plain values through a manager, a value")
        .goal(2.0)
        .units(1_000_000, 1_000_000)
        .ours(|| {
            let runtime = current_thread();
            move |n| {
                runtime.block_on(async {
                    let start = clock::cpu_now();
                    let mut values = Managed::values(n);
                    let mut count = 0;
                    while values.next_value().await {
                        count += 1;
                    }
                    assert_eq!(count, n);
                    clock::cpu_now() - start
                })
            }
        })
        .peer("the bare Queue", || {
            let runtime = current_thread();
            move |n| {
                runtime.block_on(async {
                    let start = clock::cpu_now();
                    let (sender, mut receiver) = channel::Ours::make();
                    (0..n).for_each(|item| channel::Ours::send(&sender, item));
                    for _ in 0..n {
                        black_box(channel::Ours::receive(&mut receiver).await);
                    }
                    clock::cpu_now() - start
                })
            }
        })
}
