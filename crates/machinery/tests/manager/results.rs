//! Kinds of sources, what their results say, errors and panics.

use std::time::Duration;

use futures_util::{FutureExt, stream};
use machinery::manager::SourcePanicked;
use machinery::{AsyncGenerator, Ctx, Feed, QueueInput, QueueManagerResult as Fed, queue_manager};
use tokio::time::sleep;

use super::common::{all, told};

#[tokio::test(start_paused = true)]
async fn every_kind_of_source_yields_its_values_with_where_they_came_from() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_value("v", 1);
    feeder.add_value("w", 10);
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
            "value `w`: 10",
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
async fn a_source_carries_its_context_value_and_the_empty_one_where_none_is_given() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| "empty").build();
    let given = feeder.with_context("given");
    feeder.add_value("v", 0);
    given.add_value("v", 1);
    given.add_fn("f", || Feed::iter([Feed::value(1), Feed::function(|| Feed::future(async { 1 }))]));
    given.add_stream("s", stream::iter([Err("no"), Ok(1)]));
    given.add_blocking_iter("b", [1]);
    feeder.add_iter("i", [0]);
    drop((feeder, given));
    let mut seen = 0;
    while let Some(result) = results.next().await {
        seen += 1;
        let from_empty = result.sources().is_some_and(|sources| {
            let first = sources.iter().last().expect("the source that was added");
            first.name().is_some_and(|name| name == "i")
        });
        match result {
            Fed::Success { value, context, .. } => assert_eq!(context, if value == 1 { "given" } else { "empty" }),
            Fed::Failure { context, .. } => assert_eq!(context, "given"),
            Fed::IterationStop { context, .. } => assert_eq!(context, if from_empty { "empty" } else { "given" }),
            Fed::Stopped { .. } => {}
        }
    }
    assert_eq!(seen, 7 + 1 + 4 + 1, "values, the failure, iteration stops, and the end");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_a_failure_and_the_source_goes_on() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("i", [Ok(1), Err("bad"), Ok(2)]);
    drop(feeder);
    assert_eq!(
        all(&mut results).await,
        ["iterator `i`: 1", "iterator `i`: failed: bad", "iterator `i`: 2", "iterator `i`: end", "stopped"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_ends_at_its_first_error_if_it_is_told_to() {
    let items = || [Ok(1), Err("bad"), Ok(2)];
    let generator = || {
        AsyncGenerator::new(move |mut y| async move {
            for item in items() {
                y.yield_(item).await?;
            }
            Ok(())
        })
    };
    for (kind, feed) in [
        ("iterator", Feed::iter(items())),
        ("iterator", Feed::blocking_iter(items())),
        ("stream", Feed::stream(stream::iter(items()))),
        ("stream", Feed::stream(stream::iter(items())).in_own_task()),
        ("stream", Feed::generator(generator())),
        ("stream", Feed::generator(generator()).in_own_task()),
    ] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        feeder.add("s", feed.end_at_first_error());
        drop(feeder);
        let said = ["1", "failed: bad", "end: bad"].map(|said| format!("{kind} `s`: {said}"));
        assert_eq!(all(&mut results).await, [&said[..], &["stopped".to_owned()]].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_function_or_a_future_is_one_failure() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_fn("f", || Err::<u32, _>("bad"));
    feeder.add_future("c", async { Err::<Feed<u32>, _>(std::io::Error::other("worse")) });
    feeder.add("e", Feed::error("worst"));
    drop(feeder);
    assert_eq!(
        all(&mut results).await,
        ["function `f`: failed: bad", "function `e`: failed: worst", "future `c`: failed: worse", "stopped"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_its_type_and_its_sources() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_fn("f", || "x".parse::<u32>());
    let Some(Fed::Failure { exception, .. }) = results.next().await else { panic!("the function fails") };
    assert!(exception.is::<std::num::ParseIntError>());

    let shared: machinery::SharedError = std::sync::Arc::new(std::io::Error::other("shared"));
    let again = shared.clone();
    feeder.add_fn("f", move || Err::<u32, _>(again));
    let Some(Fed::Failure { exception, .. }) = results.next().await else { panic!("the function fails") };
    assert!(std::sync::Arc::ptr_eq(&exception, &shared), "an error that is shared already is not wrapped");
}

#[tokio::test(start_paused = true)]
async fn scenario_24_a_source_that_panics_gives_one_failure_and_one_iteration_stop() {
    for blocking in [false, true] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        let feed = Feed::iter((0..3).map(|at| if at == 1 { panic!("at {at}") } else { at }));
        feeder.add("i", if blocking { feed.blocking() } else { feed });
        drop(feeder);
        assert_eq!(
            all(&mut results).await,
            [
                "iterator `i`: 0",
                "iterator `i`: failed: the source panicked: at 1",
                "iterator `i`: end: the source panicked: at 1",
                "stopped"
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_24_a_stream_that_panics_ends_and_its_siblings_go_on() {
    for own_task in [false, true] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        let feed = Feed::stream(stream::poll_fn(|_| -> std::task::Poll<Option<u32>> { panic!("no luck") }));
        feeder.add("s", if own_task { feed.in_own_task() } else { feed });
        feeder.add_iter("i", [1, 2]);
        drop(feeder);
        let mut said = all(&mut results).await;
        assert_eq!(said.pop().unwrap(), "stopped");
        let of_stream: Vec<_> = said.iter().filter(|said| said.starts_with("stream")).collect();
        assert_eq!(
            of_stream,
            ["stream `s`: failed: the source panicked: no luck", "stream `s`: end: the source panicked: no luck"]
        );
        assert_eq!(said.len(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_function_or_a_future_is_one_failure_with_its_message() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_fn("f", || -> u32 { panic!("plain") });
    feeder.add_blocking_fn("b", || -> u32 { panic!("made {}", 7) });
    feeder.add_future("c", async { if true { panic!("in an await") } else { 1 } });
    drop(feeder);
    let mut messages = Vec::new();
    while let Some(result) = results.next().await {
        match result {
            Fed::Failure { exception, .. } => {
                let panicked = exception.downcast_ref::<SourcePanicked>().expect("a panic");
                messages.push(panicked.message().to_owned());
            }
            Fed::Stopped { .. } => {}
            other => panic!("{}", told(&other)),
        }
    }
    messages.sort();
    assert_eq!(messages, ["in an await", "made 7", "plain"]);
}

#[tokio::test(start_paused = true)]
async fn values_that_are_merely_iterable_are_values() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<Vec<u32>>(&root).build();
    feeder.add_value("v", vec![1, 2]);
    feeder.add_iter("i", [vec![3], vec![]]);
    drop(feeder);
    assert_eq!(
        all(&mut results).await,
        ["value `v`: [1, 2]", "iterator `i`: [3]", "iterator `i`: []", "iterator `i`: end", "stopped"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_yielded_may_be_of_each_of_the_four_shapes() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("plain", [1]);
    feeder.add_iter("results", [Ok::<u32, std::fmt::Error>(2)]);
    feeder.add_iter("feeds", [Feed::value(3)]);
    feeder.add_iter("results of feeds", [Ok::<_, std::fmt::Error>(Feed::value(4))]);
    drop(feeder);
    assert_eq!(super::common::values(&mut results).await, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_inner_source_goes_by_its_name_or_by_a_number_of_its_own() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("outer", [Feed::iter([1]).named("inner"), Feed::iter([2]), Feed::iter([3])]);
    drop(feeder);
    let mut ids = Vec::new();
    let mut said = Vec::new();
    while let Some(result) = results.next().await {
        if let Fed::Success { sources, .. } = result {
            let nearest = sources.nearest();
            assert_eq!(nearest.kind(), QueueInput::Iterator);
            said.push((nearest.name().map(ToString::to_string), sources.iter().count()));
            ids.push(nearest.id().unwrap());
            assert_eq!(sources.iter().nth(1).unwrap().name().unwrap(), "outer");
        }
    }
    assert_eq!(said, [(Some("inner".to_owned()), 2), (None, 2), (None, 2)]);
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_manager_lives_on_a_child_context_of_its_own() {
    let root = Ctx::beginning("root");
    let (feeder, results) = queue_manager::<u32>(&root).name("crawl").build();
    assert_eq!(results.ctx().full_name(), "root-->crawl");
    assert_eq!(feeder.ctx(), results.ctx());
    drop(results);
    assert!(feeder.ctx().is_done());
    assert!(!root.is_done());
}

#[test]
fn what_needs_no_runtime_works_without_one_and_what_needs_one_says_so() {
    let heard = super::common::Heard::default();
    let root = Ctx::beginning_with("root", machinery::CtxOptions::new().tramp(heard.clone())).unwrap();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    assert!(!feeder.add_future("refused", async { 1 }).is_taken());
    assert_eq!(heard.reports().len(), 1);
    assert!(heard.reports()[0].contains("needs a Tokio runtime"), "{:?}", heard.reports());

    feeder.add_value("v", 1);
    feeder.add_iter("i", [Feed::future(async { 2 }), Feed::iter([3]).blocking(), Feed::value(4)]);
    feeder.add_stream("s", stream::iter([5]));
    drop(feeder);
    let said = futures_util::FutureExt::now_or_never(all(&mut results)).expect("nothing to wait for");
    let failed = said.iter().filter(|said| said.contains("needs a Tokio runtime") && said.contains("failed")).count();
    assert_eq!(failed, 2, "{said:?}");
    assert_eq!(
        said.iter().filter(|said| said.contains(": end")).count(),
        3,
        "one for each iterator and stream: {said:?}"
    );
    assert_eq!(said.last().unwrap(), "stopped");
}

#[tokio::test]
async fn what_a_stream_waits_for_can_be_seen() {
    let root = Ctx::beginning("app");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_future("stuck", std::future::pending::<u32>());
    feeder.add_stream("silent", stream::pending::<u32>());
    assert!(results.next().now_or_never().is_none());
    let waits =
        "ctx: <Ctx app(pending)-->queue_manager(pending)>, feeders: 1, finishes_when_out_of_sources: false, futures: 1";
    assert_eq!(format!("{feeder:?}"), format!("QueueFeeder {{ {waits}, blocking: 0, .. }}"));
    assert_eq!(format!("{results:?}"), format!("Streamer {{ {waits}, blocking: 0, open: 1, .. }}"));
    root.cancel();
    while results.next().await.is_some() {}
}
