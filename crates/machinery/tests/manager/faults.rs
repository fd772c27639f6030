//! Sources and values that panic when they are dropped, and runtimes that go away: nothing hangs, and nothing is passed over in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use machinery::{Ctx, CtxGuard, CtxOptions, Feed, QueueFeeder, queue_manager};
use tokio::time::sleep;

use super::common::{Heard, all, note, now};

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("boom"));
    }
}

fn root(heard: &Heard) -> CtxGuard {
    Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap()
}

fn panicked(heard: &Heard, name: &str) -> usize {
    let said = format!("root-->queue_manager: {name}: source panicked when it was dropped: the source panicked: boom");
    heard.reports().iter().filter(|report| **report == said).count()
}

#[tokio::test(start_paused = true)]
async fn futures_that_wait_and_panic_when_they_are_dropped_do_not_hold_up_the_end() {
    let heard = Heard::default();
    let root = root(&heard);
    let (feeder, mut results) = queue_manager::<u32>(&root).max_running(1).build();
    feeder.add_future("first", std::future::pending::<u32>());
    for _ in 0..3 {
        let bomb = Bomb;
        feeder.add_future("waits", async move {
            let _bomb = &bomb;
            std::future::pending::<u32>().await
        });
    }
    root.cancel();
    let said = tokio::time::timeout(Duration::from_secs(60), all(&mut results)).await.expect("it ends");
    assert_eq!(said, ["stopped by the context"]);
    assert_eq!(panicked(&heard, "waits"), 3);
}

type Adding = fn(&QueueFeeder<u32>, stream::BoxStream<'static, u32>);

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_when_it_is_dropped_is_reported_wherever_it_was() {
    let places: [Adding; 5] = [
        |feeder, stream| drop(feeder.add_stream("bomb", stream)),
        |feeder, stream| drop(feeder.add("bomb", Feed::stream(stream).in_own_task())),
        |feeder, stream| {
            feeder.add_stream("first", stream::pending::<u32>());
            feeder.add_stream("bomb", stream);
        },
        |feeder, stream| {
            feeder.add_stream("first", stream::pending::<u32>());
            feeder.add("bomb", Feed::stream(stream).in_own_task());
        },
        |feeder, stream| {
            feeder.add_future("bomb", async move { Feed::stream(stream).named("bomb") });
        },
    ];
    for (place, add) in places.into_iter().enumerate() {
        for (polled, dropped) in [(false, false), (false, true), (true, false), (true, true)] {
            let heard = Heard::default();
            let root = root(&heard);
            let (feeder, mut results) = queue_manager::<u32>(&root).max_open(1).build();
            let bomb = Bomb;
            let stream = stream::pending().chain(stream::once(async move {
                let _bomb = &bomb;
                1
            }));
            add(&feeder, stream.boxed());
            sleep(Duration::from_millis(1)).await;
            if polled {
                assert!(now(&mut results).is_none());
                sleep(Duration::from_millis(1)).await;
            }
            if dropped {
                drop(results);
            } else {
                root.cancel();
                assert_eq!(all(&mut results).await, ["stopped by the context"]);
            }
            root.close().await;
            assert_eq!(panicked(&heard, "bomb"), 1, "{place} {polled} {dropped}: {:?}", heard.reports());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_panic_when_they_are_dropped_with_the_stream_are_reported_each() {
    let heard = Heard::default();
    let root = root(&heard);
    let (feeder, results) = queue_manager::<Bomb>(&root).make_empty_context(|| Arc::new(Bomb)).build();
    for _ in 0..3 {
        assert!(feeder.add_value("value", Bomb).is_taken());
        feeder.add_future("future", async { Bomb });
        feeder.add_iter("iterator", [1].map(|_| Feed::value(Bomb)));
    }
    sleep(Duration::from_millis(1)).await;
    drop(results);
    // Each with its context value.
    for name in ["value", "future", "iterator"] {
        assert_eq!(panicked(&heard, name), 6, "{name}: {:?}", heard.reports());
    }
}

#[test]
fn a_runtime_that_goes_away_gives_back_the_places_of_its_blocking_sources() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let root = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    let (feeder, mut results) = queue_manager::<u32>(&root).max_open(1).blocking_buffer(2).build();
    feeder.add_blocking_iter("blocking", 0..100);
    assert!(runtime.block_on(results.next()).is_some());
    feeder.add_iter("waits for a place", [1]);
    drop(feeder);
    // It waits until the worker has left, which finds no room for more items.
    drop(runtime);
    let rest = async { tokio::time::timeout(Duration::from_secs(20), all(&mut results)).await };
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = other.block_on(rest).expect("it ends");
    assert!(said.contains(&"iterator `waits for a place`: 1".to_owned()), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("stopped"));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_also_stops_a_stream_in_a_task_of_its_own_that_was_asked_before() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let (send, mut receive) = tokio::sync::mpsc::channel::<u32>(2);
    feeder.add("own", Feed::stream(stream::poll_fn(move |cx| receive.poll_recv(cx))).in_own_task());
    drop(feeder);
    assert!(now(&mut results).is_none());
    sleep(Duration::from_millis(1)).await;
    for item in 0..3 {
        results.breaker().set();
        send.send(item).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(send.capacity(), 1, "nobody has taken it");
        assert!(results.next().await.is_none());
        results.breaker().clear();
        assert_eq!(results.next().await.unwrap().into_value(), Some(item));
        assert!(now(&mut results).is_none());
        sleep(Duration::from_millis(1)).await;
    }
    results.breaker().set();
    sleep(Duration::from_millis(1)).await;
    drop(send);
    root.cancel();
    assert_eq!(all(&mut results).await, ["stopped by the context"]);
}

/// A stream without an item, which ends once the sender is dropped.
fn held() -> (tokio::sync::mpsc::Sender<u32>, impl Stream<Item = u32>) {
    let (send, mut receive) = tokio::sync::mpsc::channel(1);
    (send, stream::poll_fn(move |cx| receive.poll_recv(cx)))
}

/// Two sources are set aside, and the end of one of them is taken out.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_end_is_taken_while_it_is_set_aside_leaves_the_others_their_limits() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).max_open(3).build();
    for _ in 0..3 {
        let (end, holds_a_place) = held();
        let (end_below, below) = held();
        feeder.add_stream("holds a place", holds_a_place);
        feeder.add("a", Feed::stream(stream::iter([Feed::iter([7_u32])])).in_own_task());
        feeder.add_iter("b", [Feed::stream(below), Feed::value(1)]);
        for _ in 0..4 {
            assert!(now(&mut results).is_none());
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(results.remaining().len(), 1, "the end of a");
        drop((end, end_below));
        let mut values = Vec::new();
        while let Some(Some(result)) = now(&mut results) {
            values.extend(result.into_value());
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(values.len(), 2, "{values:?}");
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    feeder.add_iter("endless", 0..);
    let sources = (0..1000).map(move |_| {
        note(&count);
        Feed::iter(0_u32..)
    });
    feeder.add_iter("sources", sources);
    for _ in 0..1000 {
        drop(results.next().await);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "one has its place, and one waits");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_comes_after_the_stream_was_dropped_and_panics_in_its_drop_is_reported() {
    let heard = Heard::default();
    let root = root(&heard);
    let (feeder, results) = queue_manager::<Bomb>(&root).build();
    let slow = machinery::async_as_background_with(&root, "slow", |ctx| async move {
        ctx.done().await;
        sleep(Duration::from_secs(1)).await;
        machinery::task::Plain(Bomb)
    });
    assert!(feeder.add_task("late", slow).is_taken());
    sleep(Duration::from_millis(1)).await;
    drop(results);
    root.close().await;
    assert_eq!(panicked(&heard, "late"), 1, "{:?}", heard.reports());
}
