//! The queue manager, with provenance, context value and fairness, against bare fan-in.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Waker};

use futures_buffered::MergeUnbounded;
use futures_util::stream::SelectAll;
use tokio::runtime::Runtime;

use super::channel::{self, Channel};
use super::fan::{FanIn, Managed};
use super::source::{Doorbell, PendingOnce, Ready, Received, Served};
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
    rows.extend([
        floor::<Doorbell>("floor", "streams"),
        one_channel_ready(),
        floor::<Received>("channels-floor", "channels"),
        first("first", "100k channels, new and empty, asked for the first time", false),
        first("life", "100k empty channels added, asked once, and dropped", true),
    ]);
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
struct Server<S: Served, F> {
    runtime: Runtime,
    fan: F,
    ringers: Vec<S::Ringer>,
    random: fastrand::Rng,
}

impl<S: Served, F: FanIn<S>> Server<S, F> {
    fn new(size: u64) -> Self {
        let runtime = current_thread();
        let (fan, ringers) = runtime.block_on(async {
            let (ringers, streams): (Vec<_>, Vec<_>) = (0..size).map(|_| S::make()).unzip();
            // a first round lets every stream say that it is pending
            let mut fan = F::over(streams.into_iter());
            for ringer in &ringers {
                S::ring(ringer);
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
                S::ring(&ringers[random.usize(..ringers.len())]);
                black_box(fan.next().await);
            }
            clock::cpu_now() - start
        })
    }
}

/// The side of a row in which one stream at a time is ready.
pub(crate) fn serving<S: Served, F: FanIn<S> + 'static>(size: u64) -> Work {
    let mut server = Server::<S, F>::new(size);
    Box::new(move |n| server.serve(n))
}

fn one_ready<P: FanIn<Doorbell> + 'static>(size: u64, peer: &str, goal: Option<f64>) -> Row {
    Row::new(
        format!("fanin/one-ready-{}-{}", short(size), peer.to_lowercase()),
        format!("one of {} streams ready, an item", short(size)),
    )
    .goal_if(goal)
    .units(100_000, 20_000)
    .ours(move || serving::<Doorbell, Managed>(size))
    .peer(peer, move || serving::<Doorbell, P>(size))
}

/// The same with channels for streams, as programs have them.
fn one_channel_ready() -> Row {
    Row::new("fanin/one-ready-100k-channels", "one of 100k channels ready, an item")
        .units(100_000, 20_000)
        .ours(|| serving::<Received, Managed>(100_000))
        .peer(SELECT_ALL, || serving::<Received, SelectAll<Received>>(100_000))
}

/// What the streams cost by themselves: each is asked for its item by somebody who knows which one has it.
fn unmanaged<S: Served>(size: u64) -> Work {
    let (ringers, mut streams): (Vec<_>, Vec<_>) = (0..size).map(|_| S::make()).unzip();
    let mut random = fastrand::Rng::with_seed(7);
    let mut cx = Context::from_waker(Waker::noop());
    for stream in &mut streams {
        assert!(Pin::new(stream).poll_next(&mut cx).is_pending());
    }
    Box::new(move |n| {
        let mut cx = Context::from_waker(Waker::noop());
        let start = clock::cpu_now();
        for _ in 0..n {
            let at = random.usize(..ringers.len());
            S::ring(&ringers[at]);
            assert!(Pin::new(&mut streams[at]).poll_next(&mut cx).is_ready());
            assert!(Pin::new(&mut streams[at]).poll_next(&mut cx).is_pending());
        }
        clock::cpu_now() - start
    })
}

fn floor<S: Served>(id: &str, kind: &'static str) -> Row
where
    SelectAll<S>: FanIn<S>,
{
    Row::new(
        format!("fanin/one-ready-100k-{id}"),
        format!("no fan-in: one of 100k {kind} ready, and asked by itself, an item"),
    )
    .units(100_000, 20_000)
    .ours(|| unmanaged::<S>(100_000))
    .peer(SELECT_ALL, || serving::<S, SelectAll<S>>(100_000))
}

/// Streams that are new, and that have nothing yet.
fn beginning<S: Served, F: FanIn<S>>(runtime: &Runtime, size: u64, n: u64, whole: bool) -> f64 {
    let size = size.min(n);
    runtime.block_on(async {
        let mut time = 0.0;
        for _ in 0..n / size {
            let (ringers, streams): (Vec<_>, Vec<_>) = (0..size).map(|_| S::make()).unzip();
            let begin = clock::cpu_now();
            let mut fan = F::over(streams.into_iter());
            // the last one has an item, so that all others are asked for theirs
            ringers.last().into_iter().for_each(S::ring);
            let start = if whole { begin } else { clock::cpu_now() };
            assert!(fan.next().await);
            if !whole {
                time += clock::cpu_now() - start;
            }
            drop(fan);
            if whole {
                time += clock::cpu_now() - start;
            }
        }
        time
    })
}

fn first(id: &str, work: &str, whole: bool) -> Row {
    Row::new(format!("fanin/{id}-100k-selectall"), format!("{work}, a stream"))
        .units(100_000, 100_000)
        .ours(move || {
            let runtime = current_thread();
            move |n| beginning::<Received, Managed>(&runtime, 100_000, n, whole)
        })
        .peer(SELECT_ALL, move || {
            let runtime = current_thread();
            move |n| beginning::<Received, SelectAll<Received>>(&runtime, 100_000, n, whole)
        })
}

/// Our own growth: what is left of it are cache misses.
fn growth() -> Row {
    Row::new("fanin/one-ready-growth", "one of 100k streams ready, an item")
        .units(100_000, 20_000)
        .ours(|| serving::<Doorbell, Managed>(100_000))
        .peer("one of 10", || serving::<Doorbell, Managed>(10))
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
