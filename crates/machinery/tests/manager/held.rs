//! Blocking sources are not asked for more until what they have yielded has begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use machinery::{Ctx, Feed, queue_manager};

use super::common::{note, values};

fn never() -> Feed<u32> {
    Feed::future(std::future::pending::<u32>())
}

fn for_ever() -> Feed<u32> {
    Feed::iter(0..)
}

fn for_ever_in_a_task() -> Feed<u32> {
    Feed::stream(stream::iter(0..)).in_own_task()
}

#[tokio::test]
async fn a_blocking_iterator_is_held_while_what_it_has_yielded_waits_for_its_turn_to_begin() {
    for yielded in [never, for_ever, for_ever_in_a_task] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).max_running(2).max_open(3).build();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        feeder.add_iter("beside it", 0..);
        let sources = (0..1_000_000).map(move |_| {
            note(&count);
            yielded()
        });
        feeder.add_blocking_iter("sources", sources);
        for _ in 0..20_000 {
            drop(results.next().await);
        }
        // So many are on their way at most when the first one is found to wait.
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked < 2 * 1024, "{asked}");
    }
}

#[tokio::test]
async fn a_blocking_iterator_of_blocking_functions_is_not_far_ahead_of_them() {
    for threads in [1, 2] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).blocking_threads(threads).build();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let sources = (0..10_000_000).map(move |_| {
            note(&count);
            Feed::blocking_function(|| 1)
        });
        feeder.add_blocking_iter("sources", sources);
        for _ in 0..50_000 {
            drop(results.next().await);
        }
        let asked = asked.load(Ordering::SeqCst);
        // Twice as many, and ever more, where it is not held.
        assert!(asked < 90_000, "{asked} with {threads} threads");
    }
}

fn any(number: u32) -> Feed<u32> {
    match number % 6 {
        0 => Feed::future(async move {
            tokio::task::yield_now().await;
            number
        }),
        1 => Feed::iter([number]),
        2 => Feed::stream(stream::iter([number])).in_own_task(),
        3 => Feed::blocking_iter([number]),
        4 => Feed::blocking_function(move || Feed::iter([number])),
        _ => Feed::value(number),
    }
}

#[tokio::test]
async fn sources_that_are_held_go_on_whatever_the_limits() {
    for limits in 0..54 {
        let (places, running, threads) = (1 + limits % 3, 1 + limits / 3 % 3, 1 + limits / 9 % 3);
        let root = Ctx::beginning("root");
        let builder = queue_manager::<u32>(&root).max_open(places).max_running(running).blocking_threads(threads);
        let builder = builder.blocking_buffer(1 << (limits % 5));
        let (feeder, mut results) = if limits < 27 { builder } else { builder.depth_first() }.build();
        for source in 0..4 {
            feeder.add_blocking_iter("any", (source * 50..source * 50 + 50).map(any));
        }
        feeder.add_iter("inline", (200..250).map(any));
        drop(feeder);
        let all = tokio::time::timeout(Duration::from_secs(20), values(&mut results));
        let mut all = all.await.unwrap_or_else(|_| panic!("hangs with {places}, {running}, {threads}, {limits}"));
        all.sort_unstable();
        assert_eq!(all, (0..250).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_blocking_iterator_goes_on_where_another_source_takes_the_place_of_what_it_has_yielded() {
    // Who gets a place that is given back is a matter of who comes first.
    for round in 0..30 {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).max_open(2).blocking_threads(1).build();
        feeder.add_blocking_iter("sources", (0..5_000).map(|number| Feed::blocking_function(move || number)));
        let all = async {
            let mut values = 0;
            while values < 5_000 {
                values += usize::from(results.next().await.expect("a feeder is left").into_value().is_some());
                if values == 140 + round {
                    // It takes one of the two places for good.
                    feeder.add_stream("live", stream::pending::<u32>());
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("all of them begin");
    }
}
