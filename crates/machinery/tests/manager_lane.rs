//! Sources that block: their items are passed on promptly, in calls that are few.

use std::sync::mpsc;

use machinery::{Ctx, Feed, QueueManagerResult as Fed, queue_manager};

/// Fast for a while, so that calls are batched, and then it waits for the consumer to have seen everything.
#[tokio::test]
async fn what_a_fast_source_has_yielded_arrives_though_it_blocks_in_its_next_step() {
    let root = Ctx::beginning("lane");
    for fast in [0, 1, 10, 255, 256, 1_000, 1_001, 1_002] {
        let (seen_all, wait_until_seen) = mpsc::channel();
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        feeder.add_blocking_iter(
            "fast, then stuck",
            // A step takes longer than the consumer takes for its item, which therefore keeps falling asleep.
            (0..=fast).inspect(|_| (0..20).for_each(|_| drop(std::fs::metadata(".")))).chain(std::iter::once_with(
                move || {
                    wait_until_seen.recv().expect("the consumer has seen what came before");
                    u32::MAX
                },
            )),
        );
        drop(feeder);
        let mut values = Vec::new();
        while let Some(result) = results.next().await {
            if let Fed::Success { value, .. } = result {
                values.push(value);
                if value == fast {
                    seen_all.send(()).expect("the source waits");
                }
            }
        }
        assert!(values.iter().copied().eq((0..=fast).chain([u32::MAX])), "{} of {fast}", values.len());
    }
}

/// What nobody has been called for is there all the same.
#[tokio::test]
async fn what_a_fast_source_has_yielded_is_among_what_remains() {
    let root = Ctx::beginning("lane");
    let (feeder, mut results) = queue_manager::<u32>(&root).blocking_threads(1).build();
    let (go_on, wait) = mpsc::channel::<()>();
    let (here, arrived) = mpsc::channel();
    feeder.add_blocking_iter(
        "fast, then stuck",
        (0..100).chain(std::iter::once_with(move || {
            here.send(()).expect("the test waits");
            let _ = wait.recv();
            100
        })),
    );
    // The first turn opens the source; from then on nobody asks for a result.
    let mut values: Vec<u32> = results.next().await.and_then(Fed::into_value).into_iter().collect();
    tokio::task::spawn_blocking(move || arrived.recv()).await.expect("no panic").expect("the source is there");
    values.extend(results.remaining().into_iter().filter_map(Fed::into_value));
    assert!(values.iter().copied().eq(0..100), "{values:?}");
    drop(go_on);
}

/// Each of them yields as many again, without an end.
fn branching() -> Feed<u32> {
    Feed::blocking_iter((0..6).map(|at| if at % 2 == 0 { Feed::value(at) } else { branching() }))
}

#[tokio::test]
async fn the_stream_ends_after_completion_whatever_the_workers_had_in_their_hands() {
    for round in 0..300 {
        let root = Ctx::beginning("lane");
        let (feeder, mut results) =
            queue_manager::<u32>(&root).depth_first().max_open(1 + round % 5).blocking_threads(3).build();
        feeder.add("root", branching());
        let mut values = 0;
        while let Some(result) = results.next().await {
            values += usize::from(matches!(result, Fed::Success { .. }));
            if values == 1 + round {
                root.cancel();
            }
        }
        assert!(values > round, "{values} of {round}");
    }
}
