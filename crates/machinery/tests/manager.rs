//! The queue manager: every kind of source, extension, results and stopping.

use std::time::Duration;

use futures_util::stream;
use machinery::{Ctx, Feed, QueueInput, QueueManagerResult as Fed, Streamer, queue_manager};
use tokio::time::sleep;

/// What a result says, without its context value.
fn told<T: std::fmt::Debug, C>(result: &Fed<T, C>) -> String {
    match result {
        Fed::Success { sources, value, .. } => format!("{sources}: {value:?}"),
        Fed::Failure { sources, exception, .. } => format!("{sources}: failed: {exception}"),
        Fed::IterationStop { sources, exception: None, .. } => format!("{sources}: end"),
        Fed::IterationStop { sources, exception: Some(exception), .. } => format!("{sources}: end: {exception}"),
        Fed::Stopped { exception: None } => "stopped".to_owned(),
        Fed::Stopped { exception: Some(exception) } => format!("stopped: {exception}"),
    }
}

async fn all<T: std::fmt::Debug + Send + 'static, C: Clone + Send + 'static>(
    results: &mut Streamer<T, C>,
) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(result) = results.next().await {
        said.push(told(&result));
    }
    said
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_source_yields_its_values_with_where_they_came_from() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_value("v", 1);
    feeder.add_fn("f", || 2);
    feeder.add_iter("i", [3, 4]);
    feeder.add_stream("s", stream::iter([5]));
    feeder.add_future("c", async {
        sleep(Duration::from_secs(1)).await;
        6
    });
    feeder.set_as_finished_if_out_of_sources();
    assert_eq!(
        all(&mut results).await,
        [
            "value `v`: 1",
            "function `f`: 2",
            "iterator `i`: 3",
            "stream `s`: 5",
            "iterator `i`: 4",
            "stream `s`: end",
            "iterator `i`: end",
            "future `c`: 6",
            "stopped",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn blocking_sources_yield_in_their_order() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_blocking_iter("b", 0..5_000);
    feeder.add_blocking_fn("f", || 7);
    drop(feeder);
    let mut values = Vec::new();
    let mut function = 0;
    let mut stops = 0;
    while let Some(result) = results.next().await {
        match result {
            Fed::Success { sources, value, .. } => match sources.nearest().kind() {
                QueueInput::Iterator => values.push(value),
                _ => function = value,
            },
            Fed::IterationStop { .. } => stops += 1,
            Fed::Failure { .. } => panic!("no source fails"),
            Fed::Stopped { .. } => {}
        }
    }
    assert_eq!(values, (0..5_000).collect::<Vec<_>>());
    assert_eq!((function, stops), (7, 1));
}

fn tree(depth: u32, width: u32) -> Feed<u32> {
    Feed::iter((0..width).map(move |at| if depth == 0 { Feed::value(at) } else { tree(depth - 1, width) }))
}

#[tokio::test(start_paused = true)]
async fn sources_yield_sources_to_any_depth() {
    for depth_first in [false, true] {
        for limit in [1, 2, 3, usize::MAX] {
            for blocking in [false, true] {
                let root = Ctx::beginning("root");
                let mut builder = queue_manager::<u32>(&root).max_open(limit);
                if depth_first {
                    builder = builder.depth_first();
                }
                let (feeder, mut results) = builder.build();
                let feed = tree(4, 5);
                feeder.add("tree", if blocking { feed.blocking() } else { feed });
                drop(feeder);
                let (mut values, mut stops) = (0, 0);
                while let Some(result) = results.next().await {
                    match result {
                        Fed::Success { .. } => values += 1,
                        Fed::IterationStop { .. } => stops += 1,
                        _ => {}
                    }
                }
                assert_eq!((values, stops), (5_u32.pow(5), 1 + 5 + 25 + 125 + 625));
            }
        }
    }
}
