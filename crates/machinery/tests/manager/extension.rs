//! Sources that yield sources.

use futures_util::stream;
use machinery::{Ctx, Feed, QueueManagerResult as Fed, queue_manager};

use super::common::{Alive, all, values};

/// A tree of iterators, with `width` values in each of its leaves.
fn tree(depth: u32, width: u32, blocking: bool) -> Feed<u32> {
    let feed = Feed::iter(
        (0..width).map(move |at| if depth == 0 { Feed::value(at) } else { tree(depth - 1, width, blocking) }),
    );
    if blocking { feed.blocking() } else { feed }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_source_may_yield_every_kind() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let inner = || {
        [
            Feed::value(1),
            Feed::function(|| 2),
            Feed::iter([3]),
            Feed::stream(stream::iter([4])),
            Feed::future(async { 5 }),
            Feed::blocking_function(|| 6),
            Feed::blocking_iter([7]),
            Feed::stream(stream::iter([8])).in_own_task(),
        ]
    };
    feeder.add_iter("iterator", inner());
    feeder.add_stream("stream", stream::iter(inner()));
    feeder.add_blocking_iter("blocking iterator", inner());
    feeder.add("ahead", Feed::stream(stream::iter(inner())).in_own_task());
    for at in 0..8 {
        feeder.add_fn("function", move || inner().into_iter().nth(at).unwrap());
        feeder.add_blocking_fn("blocking function", move || inner().into_iter().nth(at).unwrap());
        feeder.add_future("future", async move { inner().into_iter().nth(at).unwrap() });
    }
    drop(feeder);
    let mut values = values(&mut results).await;
    values.sort_unstable();
    let expected: Vec<u32> = (1..=8).flat_map(|value| [value; 7]).collect();
    assert_eq!(values, expected);
}

#[tokio::test(start_paused = true)]
async fn sources_yield_sources_to_any_depth_in_either_order_and_under_any_limit() {
    for depth_first in [false, true] {
        for limit in [1, 2, 3, usize::MAX] {
            for blocking in [false, true] {
                let root = Ctx::beginning("root");
                let mut builder = queue_manager::<u32>(&root).max_open(limit);
                if depth_first {
                    builder = builder.depth_first();
                }
                let (feeder, mut results) = builder.build();
                feeder.add("tree", tree(4, 4, blocking));
                drop(feeder);
                let (mut values, mut stops) = (0, 0);
                while let Some(result) = results.next().await {
                    match result {
                        Fed::Success { .. } => values += 1,
                        Fed::IterationStop { .. } => stops += 1,
                        _ => {}
                    }
                }
                assert_eq!((values, stops), (4_u32.pow(5), 1 + 4 + 16 + 64 + 256));
            }
        }
    }
}

fn nested(depth: u32, kind: u32) -> Feed<u32> {
    let inner = move || if depth == 0 { Feed::value(7) } else { nested(depth - 1, kind) };
    match if kind == 7 { depth % 7 } else { kind } {
        0 => Feed::function(inner),
        1 => Feed::iter(std::iter::once_with(inner)),
        2 => Feed::stream(stream::once(async move { inner() })),
        3 => Feed::future(async move { inner() }),
        4 => Feed::blocking_function(inner),
        5 => Feed::blocking_iter(std::iter::once_with(inner)),
        _ => Feed::stream(stream::once(async move { inner() })).in_own_task(),
    }
}

/// Runs `test` on a stack that a recursion ten thousand deep would not fit on.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(192 * 1024).spawn(test).unwrap().join().unwrap();
}

#[test]
fn scenario_25_sources_that_yield_sources_ten_thousand_deep_do_not_recurse() {
    for kind in 0..8 {
        for depth_first in [false, true] {
            on_a_small_stack(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().thread_stack_size(192 * 1024).build().unwrap();
                runtime.block_on(async {
                    let root = Ctx::beginning("root");
                    let builder = queue_manager::<u32>(&root);
                    let builder = if depth_first { builder.depth_first() } else { builder };
                    let (feeder, mut results) = builder.build();
                    feeder.add("outermost", nested(10_000, kind));
                    drop(feeder);
                    let mut depth = 0;
                    while let Some(result) = results.next().await {
                        if let Fed::Success { sources, value: 7, .. } = result {
                            depth = sources.iter().count();
                        }
                    }
                    assert_eq!(depth, 10_001);
                });
            });
        }
    }
}

#[test]
fn a_chain_of_sources_a_million_deep_is_dropped_without_recursion() {
    on_a_small_stack(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        feeder.add("outermost", nested(1_000_000, 0));
        drop(feeder);
        let chain = futures_util::FutureExt::now_or_never(async {
            loop {
                match results.next().await {
                    Some(Fed::Success { sources, .. }) => break sources,
                    Some(_) => {}
                    None => panic!("there is a value"),
                }
            }
        });
        // The stream yields to the scheduler every now and then, which `now_or_never` does not come back from.
        let chain = chain.unwrap_or_else(|| {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                loop {
                    if let Fed::Success { sources, .. } = results.next().await.expect("there is a value") {
                        break sources;
                    }
                }
            })
        });
        assert_eq!(chain.iter().count(), 1_000_001);
        drop(results);
        drop(chain);
    });
}

#[tokio::test(start_paused = true)]
async fn a_source_may_feed_the_manager_itself() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let inside = feeder.clone();
    feeder.add_fn("f", move || {
        inside.add_value("from inside", 2);
        inside.add_iter("from inside too", [3]);
        1
    });
    drop(feeder);
    assert_eq!(
        all(&mut results).await,
        [
            "function `f`: 1",
            "value `from inside`: 2",
            "iterator `from inside too`: 3",
            "iterator `from inside too`: end",
            "stopped"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_depth_first_all_that_is_open_takes_turns() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("outer", [Feed::iter([1, 2, 3]), Feed::iter([11, 12, 13])]);
    drop(feeder);
    assert_eq!(values(&mut results).await, [1, 2, 11, 3, 12, 13]);
}

#[tokio::test(start_paused = true)]
async fn depth_first_goes_into_a_source_before_the_one_that_yielded_it_goes_on() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).depth_first().build();
    feeder.add_iter("outer", [Feed::iter([1, 2, 3]), Feed::value(4), Feed::iter([11, 12, 13])]);
    drop(feeder);
    assert_eq!(values(&mut results).await, [1, 2, 3, 4, 11, 12, 13]);
}

/// A tree whose open iterators are counted.
fn counted(depth: u32, width: u32, alive: &std::sync::Arc<Alive>, blocking: bool) -> Feed<usize> {
    let alive = std::sync::Arc::clone(alive);
    let mut left = width;
    let mut open = None;
    let feed = Feed::iter(std::iter::from_fn(move || {
        open.get_or_insert_with(|| alive.one());
        left = left.checked_sub(1)?;
        Some(if depth == 0 { Feed::value(alive.count()) } else { counted(depth - 1, width, &alive, blocking) })
    }));
    if blocking { feed.blocking() } else { feed }
}

#[tokio::test(start_paused = true)]
async fn depth_first_holds_as_many_sources_open_as_the_tree_is_deep_whatever_its_width() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<usize>(&root).depth_first().build();
    let alive = std::sync::Arc::default();
    feeder.add("tree", counted(2, 40, &alive, false));
    drop(feeder);
    let open = values(&mut results).await;
    assert_eq!(open.len(), 40_usize.pow(3));
    assert_eq!(open.iter().max(), Some(&3));
}

#[tokio::test(start_paused = true)]
async fn the_limit_on_open_sources_holds_over_everything_below_a_source() {
    for depth_first in [false, true] {
        for blocking in [false, true] {
            for limit in [1, 2, 5] {
                let root = Ctx::beginning("root");
                let builder = queue_manager::<usize>(&root).max_open(limit);
                let builder = if depth_first { builder.depth_first() } else { builder };
                let (feeder, mut results) = builder.build();
                let alive = std::sync::Arc::default();
                feeder.add("one", counted(2, 8, &alive, blocking));
                feeder.add("two", counted(2, 8, &alive, false));
                feeder.add("three", counted(2, 8, &alive, blocking));
                drop(feeder);
                let open = values(&mut results).await;
                assert_eq!(open.len(), 3 * 8 * 8 * 8);
                let most = *open.iter().max().unwrap();
                assert!(most <= limit, "{most} open, limit {limit}, depth first: {depth_first}, blocking: {blocking}");
            }
        }
    }
}
