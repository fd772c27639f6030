//! Context values that panic when they are cloned or dropped: the source ends with that, and nothing hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use machinery::manager::SourcePanicked;
use machinery::{AsyncGenerator, Ctx, CtxOptions, Feed, QueueFeeder, QueueManagerResult as Fed, queue_manager};
use tokio::time::sleep;

use super::common::{Alive, Heard, One, note};

/// How many clones go well, how many after that panic, and how many did.
#[derive(Default)]
struct Luck {
    left: AtomicIsize,
    bad: AtomicIsize,
    panicked: AtomicUsize,
    alive: Alive,
}

impl Luck {
    fn new() -> Arc<Self> {
        Arc::new(Self { left: AtomicIsize::new(isize::MAX), ..Self::default() })
    }

    /// From now on so many clones go well, and so many after that panic.
    fn lasts(&self, good: isize, bad: isize) {
        self.bad.store(bad, Ordering::SeqCst);
        self.left.store(good, Ordering::SeqCst);
    }
}

struct Fragile(Arc<Luck>, #[expect(dead_code, reason = "it is counted")] One);

impl Fragile {
    fn new(luck: &Arc<Luck>) -> Self {
        Self(Arc::clone(luck), luck.alive.one())
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let left = self.0.left.fetch_sub(1, Ordering::SeqCst);
        if left <= 0 && left > -self.0.bad.load(Ordering::SeqCst) {
            note(&self.0.panicked);
            std::panic::resume_unwind(Box::new("no clone"));
        }
        Self::new(&self.0)
    }
}

fn three() -> impl Iterator<Item = u32> + Send {
    0..3
}

type Adding = (&'static str, fn(&QueueFeeder<u32, Option<Fragile>>));

/// Each adds one source that is iterated, and nothing else that has an iteration stop.
const PLACES: [Adding; 6] = [
    ("in turn", |feeder| drop(feeder.add_iter("bad", three()))),
    ("blocking", |feeder| drop(feeder.add_blocking_iter("bad", three()))),
    ("own task", |feeder| drop(feeder.add("bad", Feed::stream(stream::iter(three())).in_own_task()))),
    ("generator", |feeder| {
        let generator = AsyncGenerator::new(|mut y| async move {
            for at in three() {
                y.yield_(at).await?;
            }
            Ok(())
        });
        feeder.add_generator("bad", generator);
    }),
    ("errors", |feeder| {
        feeder.add("bad", Feed::iter(three().map(|_| Err::<u32, _>("an error"))).end_at_first_error());
    }),
    ("blocking errors", |feeder| {
        let errors = Feed::iter(three().map(|_| Err::<u32, _>("an error")));
        feeder.add("bad", errors.blocking().end_at_first_error());
    }),
];

#[tokio::test(start_paused = true)]
async fn a_source_whose_context_value_panics_when_it_is_cloned_ends_with_that_and_the_others_go_on() {
    for (place, add) in PLACES {
        for good in 0..6 {
            for bad in [1, isize::MAX] {
                let case = format!("{place} {good} {bad}");
                let luck = Luck::new();
                let heard = Heard::default();
                let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
                let builder = queue_manager::<u32>(&root).make_empty_context(|| None).blocking_threads(1);
                let (feeder, mut results) = builder.build();
                add(&feeder.with_context(Some(Fragile::new(&luck))));
                feeder.add_blocking_iter("good", 10..20);
                feeder.add_iter("good", 20..30);
                drop(feeder);
                luck.lasts(good, bad);
                let (mut values, mut failures, mut stops) = (0, 0, Vec::new());
                let mut well = 0;
                while let Some(result) =
                    tokio::time::timeout(Duration::from_secs(60), results.next()).await.expect("it ends")
                {
                    match result {
                        Fed::Success { context: None, .. } => well += 1,
                        Fed::Success { .. } => values += 1,
                        Fed::Failure { exception, .. } => {
                            failures += usize::from(exception.downcast_ref::<SourcePanicked>().is_some());
                        }
                        Fed::IterationStop { context: Some(_), exception, .. } => stops.push(exception),
                        Fed::IterationStop { .. } => {}
                        Fed::Stopped { exception } => assert!(exception.is_none(), "{case}"),
                    }
                }
                assert_eq!(well, 20, "{case}");
                assert_eq!(stops.len(), 1, "{case}");
                let stopped_by = stops.pop().flatten().map(|error| error.to_string());
                if luck.panicked.load(Ordering::SeqCst) == 0 {
                    assert!(good >= 1, "{case}");
                    assert_eq!(failures, 0, "{case}");
                } else if place.contains("errors") {
                    assert!(heard.reports().len() <= 2 && !heard.reports().is_empty(), "{case}: {:?}", heard.reports());
                    assert!(stopped_by.is_some(), "{case}");
                } else {
                    assert_eq!(stopped_by.as_deref(), Some("the source panicked: no clone"), "{case}");
                    assert_eq!(failures, usize::from(bad == 1), "{case}");
                    assert!(values <= good, "{case}");
                }
                drop(results);
                root.close().await;
                assert_eq!(luck.alive.count(), 0, "{case}");
            }
        }
    }
}

/// What gives one result needs no clone of its context value.
#[tokio::test(start_paused = true)]
async fn the_last_result_of_a_source_has_its_own_context_value() {
    let luck = Luck::new();
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| None).build();
    let bad = feeder.with_context(Some(Fragile::new(&luck)));
    bad.add_fn("function", || 1);
    bad.add_blocking_fn("blocking", || 1);
    bad.add_blocking_fn("blocking source", || Feed::blocking_function(|| 1));
    bad.add_blocking_fn("source", || Feed::function(|| 1));
    bad.add_future("future", async { 1 });
    bad.add_value("value", 1);
    bad.add_iter("empty", std::iter::empty::<u32>());
    bad.add_blocking_iter("empty", std::iter::empty::<u32>());
    drop((bad, feeder));
    luck.lasts(0, isize::MAX);
    let (mut values, mut stops) = (0, 0);
    while let Some(result) = results.next().await {
        match result {
            Fed::Success { value, .. } => values += value,
            Fed::IterationStop { exception: None, .. } => stops += 1,
            Fed::Stopped { exception: None } => {}
            other => panic!("{:?}", other.exception()),
        }
    }
    assert_eq!((values, stops, luck.panicked.load(Ordering::SeqCst)), (6, 2, 0));
    assert_eq!(luck.alive.count(), 0);
}

/// Sources that are yielded have clones, too.
#[tokio::test(start_paused = true)]
async fn a_source_that_yields_others_ends_where_there_is_no_context_value_for_them() {
    let kinds: [fn() -> Feed<u32>; 4] = [
        || Feed::iter(0..2),
        || Feed::blocking_iter(0..2),
        || Feed::future(async { 1 }),
        || Feed::stream(stream::iter(0..2)).in_own_task(),
    ];
    for (kind, inner) in kinds.into_iter().enumerate() {
        for good in 0..10 {
            for (blocking, depth_first) in [(false, false), (false, true), (true, false), (true, true)] {
                for function in [false, true] {
                    let case = format!("{kind} {good} {blocking} {depth_first} {function}");
                    let luck = Luck::new();
                    let root = Ctx::beginning("root");
                    let builder = queue_manager::<u32>(&root).make_empty_context(|| None).max_open(2);
                    let builder = if depth_first { builder.depth_first() } else { builder };
                    let (feeder, mut results) = builder.build();
                    let outer = if function { Feed::function(inner) } else { Feed::iter((0..3).map(move |_| inner())) };
                    let outer = if blocking { outer.blocking() } else { outer };
                    feeder.with_context(Some(Fragile::new(&luck))).add("outer", outer);
                    drop(feeder);
                    luck.lasts(good, isize::MAX);
                    let mut last = None;
                    let mut outer_stops = 0;
                    while let Some(result) =
                        tokio::time::timeout(Duration::from_secs(60), results.next()).await.expect(&case)
                    {
                        if let Fed::IterationStop { sources, .. } = &result {
                            outer_stops += usize::from(sources.nearest().name().is_some());
                        }
                        last = Some(result);
                    }
                    assert_eq!(outer_stops, usize::from(!function), "{case}");
                    assert!(matches!(last, Some(Fed::Stopped { exception: None })), "{case}");
                    drop((last, results));
                    root.close().await;
                    assert_eq!(luck.alive.count(), 0, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_gets_by_without_clones() {
    for (place, add) in PLACES {
        for good in 0..6 {
            for dropped in [false, true] {
                let case = format!("{place} {good} {dropped}");
                let luck = Luck::new();
                let root = Ctx::beginning("root");
                let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| None).build();
                add(&feeder.with_context(Some(Fragile::new(&luck))));
                drop(results.next().await);
                sleep(Duration::from_millis(1)).await;
                luck.lasts(good, isize::MAX);
                if dropped {
                    drop(results);
                } else {
                    root.cancel();
                    let rest = async { while results.next().await.is_some() {} };
                    tokio::time::timeout(Duration::from_secs(60), rest).await.expect(&case);
                    drop(results);
                }
                root.close().await;
                assert_eq!(luck.alive.count(), 0, "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_fails_without_a_context_value_is_reported() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let luck = Luck::new();
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| None).build();
    let generator = AsyncGenerator::fallible(|mut y| async move {
        while y.yield_(0).await.is_ok() {}
        Err("the goodbye failed".into())
    });
    feeder.with_context(Some(Fragile::new(&luck))).add_generator("generator", generator);
    drop(results.next().await);
    luck.lasts(0, isize::MAX);
    root.cancel();
    while results.next().await.is_some() {}
    assert_eq!(
        heard.reports(),
        ["root-->queue_manager: generator: source failed after its stream had ended: the goodbye failed"]
    );
    assert_eq!(luck.alive.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_its_own_task_that_was_ended_with_its_context_value_is_not_waited_for() {
    let luck = Luck::new();
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| None).build();
    let endless = stream::iter([1]).chain(stream::pending());
    feeder.with_context(Some(Fragile::new(&luck))).add("own", Feed::stream(endless).in_own_task());
    drop(feeder);
    // One for its task; there is none for its item.
    luck.lasts(1, 1);
    let mut kinds = Vec::new();
    let rest = async {
        while let Some(result) = results.next().await {
            kinds.push(match result {
                Fed::Success { .. } => "value",
                Fed::Failure { .. } => "failure",
                Fed::IterationStop { .. } => "end",
                Fed::Stopped { .. } => "stopped",
            });
        }
    };
    tokio::time::timeout(Duration::from_secs(60), rest).await.expect("it ends");
    assert_eq!(kinds, ["failure", "end", "stopped"]);
    assert_eq!(luck.alive.count(), 0);
}

#[derive(Clone)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("boom"));
    }
}

#[tokio::test(start_paused = true)]
async fn context_values_that_panic_when_they_are_dropped_reach_the_consumer_with_results_only() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| Bomb).depth_first().build();
    feeder.add_fn("function", || Feed::iter(0..3));
    feeder.add_blocking_fn("blocking", || Feed::blocking_iter(0..3));
    feeder.add_blocking_iter("blocking", (0..3).map(Feed::value));
    feeder.add("own", Feed::stream(stream::iter(0..3)).in_own_task());
    feeder.add_future("future", async { Feed::iter(0..3) });
    drop(feeder);
    let mut values = 0;
    let rest = async {
        while let Some(result) = results.next().await {
            values += usize::from(matches!(result, Fed::Success { .. }));
            let _panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(result)));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), rest).await.expect("it ends");
    assert_eq!(values, 15);
    drop(results);
    root.close().await;
}

#[tokio::test(start_paused = true)]
async fn adding_with_a_context_value_that_panics_adds_nothing() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root)
        .make_empty_context(|| -> () { std::panic::resume_unwind(Box::new("none")) })
        .build();
    let adding: [fn(&QueueFeeder<u32>); 5] = [
        |feeder| assert!(feeder.add_value("v", 1).is_taken()),
        |feeder| assert!(feeder.add_iter("i", [1]).is_taken()),
        |feeder| assert!(feeder.add_blocking_fn("b", || 1).is_taken()),
        |feeder| assert!(feeder.add_future("f", async { 1 }).is_taken()),
        |feeder| assert!(feeder.add("o", Feed::stream(stream::iter([1])).in_own_task()).is_taken()),
    ];
    for add in adding {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| add(&feeder)));
        assert!(panic.is_err());
    }
    feeder.with_context(()).add_value("good", 2);
    drop(feeder);
    assert_eq!(super::common::all(&mut results).await, ["value `good`: 2", "stopped"]);
}
