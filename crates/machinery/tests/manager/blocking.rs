//! Functions and iterators that run off the async threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use machinery::{Ctx, Feed, QueueInput, QueueManagerResult as Fed, queue_manager};

use super::common::{Alive, all, note, values};

#[tokio::test]
async fn blocking_sources_run_off_the_thread_that_consumes() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<bool>(&root).build();
    let here = std::thread::current().id();
    feeder.add_blocking_fn("f", move || std::thread::current().id() != here);
    feeder.add_blocking_iter("i", (0..3).map(move |_| std::thread::current().id() != here));
    feeder.add_iter("in turn", (0..3).map(move |_| std::thread::current().id() == here));
    drop(feeder);
    assert_eq!(values(&mut results).await, [true; 7]);
}

#[tokio::test]
async fn each_blocking_source_keeps_its_own_order_on_any_number_of_threads() {
    for threads in [1, 2, 8] {
        for depth_first in [false, true] {
            let root = Ctx::beginning("root");
            let builder = queue_manager::<u32>(&root).blocking_threads(threads).blocking_buffer(100);
            let (feeder, mut results) = if depth_first { builder.depth_first() } else { builder }.build();
            for _ in 0..20 {
                feeder.add_blocking_iter("b", 0..2_000);
            }
            drop(feeder);
            let mut next = std::collections::HashMap::new();
            let mut stops = 0;
            while let Some(result) = results.next().await {
                match result {
                    Fed::Success { sources, value, .. } => {
                        let next = next.entry(sources.nearest().id()).or_insert(0);
                        assert_eq!(value, *next);
                        *next += 1;
                    }
                    Fed::IterationStop { sources, .. } => {
                        assert_eq!(next[&sources.nearest().id()], 2_000, "the stop comes last");
                        stops += 1;
                    }
                    _ => {}
                }
            }
            assert_eq!((next.len(), stops), (20, 20));
        }
    }
}

#[tokio::test]
async fn blocking_sources_share_one_thread_in_turns() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<usize>(&root).blocking_threads(1).build();
    for source in 0..3 {
        feeder.add_blocking_iter("endless", std::iter::repeat(source));
    }
    let mut seen = [0; 3];
    for _ in 0..9_000 {
        seen[results.next().await.unwrap().into_value().unwrap()] += 1;
    }
    assert!(seen.iter().all(|count| *count > 2_000), "{seen:?}");
}

#[tokio::test]
async fn a_slow_consumer_holds_blocking_sources_at_the_buffer() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u64>(&root).blocking_buffer(32).blocking_threads(2).build();
    let taken = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let taken = Arc::clone(&taken);
        feeder.add_blocking_iter("million", (0..1_000_000).inspect(move |_| note(&taken)));
    }
    for yielded in 1..=2_000 {
        drop(results.next().await);
        let ahead = taken.load(Ordering::SeqCst) - yielded;
        assert!(ahead <= 32 + 2, "{ahead} items ahead of the consumer");
    }
}

#[tokio::test]
async fn an_item_of_a_blocking_iterator_is_yielded_while_the_next_one_blocks() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let (sender, receiver) = std::sync::mpsc::channel();
    feeder.add_blocking_iter("lines", receiver);
    for at in 0..2_000 {
        sender.send(at).unwrap();
        assert_eq!(results.next().await.unwrap().into_value(), Some(at));
    }
    // Also many at once, followed by a long wait.
    for at in 0..100 {
        sender.send(at).unwrap();
    }
    for at in 0..100 {
        assert_eq!(results.next().await.unwrap().into_value(), Some(at));
    }
    drop((sender, feeder));
    assert_eq!(all(&mut results).await, ["iterator `lines`: end", "stopped"]);
}

#[tokio::test]
async fn no_more_threads_step_blocking_sources_than_are_allowed() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<usize>(&root).blocking_threads(3).build();
    let alive = Arc::new(Alive::default());
    for _ in 0..100 {
        let alive = Arc::clone(&alive);
        feeder.add_blocking_fn("f", move || {
            let _one = alive.one();
            std::thread::yield_now();
            alive.count()
        });
    }
    drop(feeder);
    let counts = values(&mut results).await;
    assert_eq!(counts.len(), 100);
    assert!(counts.iter().all(|count| *count <= 3));
}

#[tokio::test]
async fn completion_stops_blocking_sources_and_the_stream_ends_once_they_have_left() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).blocking_threads(2).build();
    let alive = Arc::new(Alive::default());
    for _ in 0..10 {
        let one = alive.one();
        feeder.add_blocking_iter("endless", (0..).map(move |at| at + one.nothing()));
    }
    for _ in 0..1_000 {
        drop(results.next().await);
    }
    root.cancel();
    assert!(matches!(results.next().await, Some(Fed::Stopped { exception: Some(_) })));
    while results.next().await.is_some() {}
    assert_eq!(alive.count(), 0);
}

#[tokio::test]
async fn dropping_the_stream_stops_blocking_sources_and_the_context_waits_for_them() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).blocking_threads(2).build();
    let alive = Arc::new(Alive::default());
    for _ in 0..10 {
        let one = alive.one();
        feeder.add_blocking_iter("endless", (0..).map(move |at| at + one.nothing()));
    }
    for _ in 0..100 {
        drop(results.next().await);
    }
    drop(results);
    root.close().await;
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_consumer_that_never_comes_back_does_not_keep_the_runtime_from_shutting_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let root = runtime.block_on(async { Ctx::beginning("root") });
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    runtime.block_on(async {
        for _ in 0..10 {
            feeder.add_blocking_iter("endless", 0..);
        }
        drop(results.next().await);
    });
    // Waits for the threads, which leave once the buffer is full.
    drop(runtime);
    assert!(
        results.remaining().iter().all(|result| result.sources().unwrap().nearest().kind() == QueueInput::Iterator)
    );
}

#[tokio::test]
async fn a_wide_and_deep_tree_is_walked_with_few_sources_open() {
    fn walk(depth: u32, alive: Arc<Alive>) -> Feed<usize> {
        let mut at = 0;
        let mut open = None;
        Feed::blocking_iter(std::iter::from_fn(move || {
            open.get_or_insert_with(|| alive.one());
            at += 1;
            match at {
                1..=20 => Some(Feed::value(alive.count())),
                21..=23 if depth > 0 => Some(walk(depth - 1, Arc::clone(&alive))),
                _ => None,
            }
        }))
    }
    for threads in [1, 2] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<usize>(&root).depth_first().blocking_threads(threads).build();
        let alive = Arc::new(Alive::default());
        feeder.add("tree", walk(7, Arc::clone(&alive)));
        drop(feeder);
        let open = values(&mut results).await;
        assert_eq!(open.len(), (3_usize.pow(8) - 1) / 2 * 20);
        assert!(open.iter().all(|open| *open <= 2 * threads), "at most {:?} were open", open.iter().max());
    }
}

#[tokio::test(start_paused = true)]
async fn blocking_sources_work_under_a_paused_clock() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_blocking_iter("b", 0..10_000);
    feeder.add_future("c", async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        7
    });
    drop(feeder);
    assert_eq!(values(&mut results).await.len(), 10_001);
}
