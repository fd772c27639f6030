//! Limits on what runs and on what is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use machinery::{Ctx, Feed, QueueManagerResult as Fed, TaskError, queue_manager, task_holder};
use tokio::time::{Instant, sleep};

use super::common::{Alive, all, note, values};

/// A future that says how many of its kind run.
fn running(alive: &Arc<Alive>) -> impl Future<Output = usize> + Send + use<> {
    let alive = Arc::clone(alive);
    async move {
        let _one = alive.one();
        let count = alive.count();
        sleep(Duration::from_secs(1)).await;
        count
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_futures_run_than_the_limit_allows_over_everything_below_a_source() {
    for depth_first in [false, true] {
        let root = Ctx::beginning("root");
        let builder = queue_manager::<usize>(&root).max_running(3);
        let (feeder, mut results) = if depth_first { builder.depth_first() } else { builder }.build();
        let alive = Arc::default();
        for _ in 0..5 {
            feeder.add_future("direct", running(&alive));
            let inner = Arc::clone(&alive);
            feeder.add_iter("yielded", (0..5).map(move |_| Feed::future(running(&inner))));
            let inner = Arc::clone(&alive);
            feeder.add_future("twice", async move {
                let _one = inner.one();
                Feed::future(running(&inner))
            });
        }
        drop(feeder);
        let began = Instant::now();
        let counts = values(&mut results).await;
        assert_eq!(counts.len(), 5 * (1 + 5 + 1));
        assert_eq!(counts.iter().max(), Some(&3));
        assert!(began.elapsed() < Duration::from_secs(14), "as many run as may: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn futures_that_wait_start_without_the_consumer() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).max_running(1).build();
    let ended = Arc::new(AtomicUsize::new(0));
    for at in 0..10 {
        let ended = Arc::clone(&ended);
        feeder.add_future("c", async move {
            sleep(Duration::from_secs(1)).await;
            ended.fetch_add(1, Ordering::SeqCst);
            at
        });
    }
    sleep(Duration::from_secs(30)).await;
    assert_eq!(ended.load(Ordering::SeqCst), 10);
    drop(feeder);
    assert_eq!(values(&mut results).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_task_is_taken_over_and_its_result_yielded() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    task_holder(&root, async |tasks| {
        feeder.add_task("ours", tasks.add("t", async { 1_u32 }));
        feeder.add_task("failed", tasks.add("t", async { Err::<u32, _>("bad") }));
        let cancelled = tasks.add("t", std::future::pending::<u32>());
        cancelled.cancel();
        feeder.add_task("cancelled", cancelled);
    })
    .await;
    feeder.add_task("tokio's", tokio::task::spawn_blocking(|| 2_u32));
    feeder.add_iter("yielded", [Feed::task(tokio::task::spawn_blocking(|| 3_u32))]);
    drop(feeder);
    let mut said = all(&mut results).await;
    assert_eq!(said.pop().unwrap(), "stopped");
    said.sort();
    assert_eq!(said[0], "iterator `yielded`: end");
    assert!(said[1].starts_with("task #") && said[1].ends_with(" from iterator `yielded`: 3"), "{}", said[1]);
    assert_eq!(
        said[2..],
        [
            "task `cancelled`: failed: task `t` of `root-->task_holder` was cancelled",
            "task `failed`: failed: bad",
            "task `ours`: 1",
            "task `tokio's`: 2",
        ]
    );
}

#[tokio::test]
async fn the_failure_of_a_cancelled_task_is_told_from_that_of_one_that_failed() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<()>(&root).build();
    let ours = machinery::async_as_background(&root, "ours", std::future::pending::<()>());
    let foreign = tokio::spawn(std::future::pending::<()>());
    ours.cancel();
    foreign.abort();
    feeder.add_task("ours", ours);
    feeder.add_task("foreign", foreign);
    let (mut told, mut foreign) = (0, 0);
    for _ in 0..2 {
        let Some(Fed::Failure { exception, .. }) = results.next().await else { panic!("a failure") };
        told += usize::from(exception.downcast_ref().is_some_and(TaskError::is_cancelled));
        foreign += usize::from(exception.downcast_ref().is_some_and(tokio::task::JoinError::is_cancelled));
    }
    assert_eq!((told, foreign), (1, 1));

    // A holder that takes a task over says the same, with what it heard as its source.
    task_holder(&root, async |tasks| {
        let foreign = tokio::spawn(std::future::pending::<()>());
        foreign.abort();
        let error = tasks.add_task("foreign", foreign).await.unwrap_err();
        assert!(error.is_cancelled());
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<tokio::task::JoinError>()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tasks_count_against_the_limit_and_futures_wait_for_them() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u64>(&root).max_running(1).build();
    let began = Instant::now();
    task_holder(&root, async |tasks| {
        for at in 1..=2 {
            feeder.add_task(
                "t",
                tasks.add("t", async move {
                    sleep(Duration::from_secs(at)).await;
                    at
                }),
            );
        }
        feeder.add_future("c", async { 3 });
        drop(feeder);
        assert_eq!(values(&mut results).await, [1, 2, 3]);
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tasks_are_cancelled_on_completion_and_waited_for_before_the_stream_ends() {
    let root = Ctx::beginning("root");
    let managed = root.child("managed");
    let (feeder, mut results) = queue_manager::<u32>(&managed).build();
    let began = Instant::now();
    task_holder(&root, async |tasks| {
        let cleans_up = tasks.add_with("t", |ctx| async move {
            ctx.done().await;
            sleep(Duration::from_secs(5)).await;
            7_u32
        });
        feeder.add_task("cleans up", cleans_up);
        feeder.add_task("is dropped", tasks.add("t", std::future::pending::<u32>()));
        assert!(super::common::now(&mut results).is_none());
        managed.cancel();
        let said = all(&mut results).await;
        assert_eq!(began.elapsed(), Duration::from_secs(5), "{said:?}");
        assert_eq!(said[0], "stopped by the context");
        assert!(said.len() <= 2, "what the manager has cancelled is no failure: {said:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_open_sources_holds_a_stream_of_streams_back() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).max_open(4).build();
    let accepted = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&accepted);
    let listener = stream::iter(0..).map(move |at: u32| {
        inside.fetch_add(1, Ordering::SeqCst);
        Feed::stream(stream::once(async move {
            sleep(Duration::from_secs(1)).await;
            at
        }))
    });
    feeder.add_stream("listener", listener);
    for round in 1..=5_usize {
        sleep(Duration::from_secs(1)).await;
        for _ in 0..3 * 2 {
            drop(results.next().await);
        }
        assert!(accepted.load(Ordering::SeqCst) <= 3 * round + 4, "one waits, and no more are accepted");
    }
}

#[tokio::test(start_paused = true)]
async fn sources_that_wait_for_a_place_are_opened_in_the_order_in_which_they_came() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).max_open(1).build();
    feeder.add_iter("a", [1, 2]);
    feeder.add_stream("b", stream::iter([11, 12]));
    feeder.add_iter("c", [Feed::iter([21, 22]), Feed::value(23)]);
    feeder.add_iter("d", [31]);
    drop(feeder);
    assert_eq!(values(&mut results).await, [1, 2, 11, 12, 23, 31, 21, 22]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_a_task_of_its_own_goes_on_while_nobody_asks() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u64>(&root).build();
    let ticks = || {
        stream::unfold(0, |at| async move {
            sleep(Duration::from_secs(1)).await;
            Some((at, at + 1))
        })
    };
    feeder.add("ahead", Feed::stream(ticks().boxed()).in_own_task());
    feeder.add_stream("in turn", ticks().boxed());
    assert!(super::common::now(&mut results).is_none());
    sleep(Duration::from_secs(10)).await;
    let (mut ahead, mut in_turn) = (0, 0);
    while let Some(Some(result)) = super::common::now(&mut results) {
        let Fed::Success { sources, .. } = result else { panic!("only values") };
        if sources.nearest().name().unwrap() == "ahead" {
            ahead += 1
        } else {
            in_turn += 1
        }
        tokio::task::yield_now().await;
    }
    assert!((9..=11).contains(&ahead), "{ahead} of ten");
    assert!(in_turn <= 1, "{in_turn}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_a_task_of_its_own_is_a_few_items_ahead_and_no_more() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u64>(&root).build();
    let taken = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&taken);
    feeder.add("ahead", Feed::stream(stream::iter(0..u64::MAX).inspect(move |_| note(&inside))).in_own_task());
    for yielded in 0..100 {
        sleep(Duration::from_millis(1)).await;
        assert!(taken.load(Ordering::SeqCst) <= yielded + 17);
        drop(results.next().await);
    }
}

#[tokio::test]
async fn a_source_that_yields_many_blocking_ones_is_not_set_aside_with_the_last_place() {
    for depth_first in [false, true] {
        for places in 1..4 {
            let root = Ctx::beginning("root");
            let builder = queue_manager::<u32>(&root).max_open(places).blocking_threads(1);
            let (feeder, mut results) = if depth_first { builder.depth_first() } else { builder }.build();
            for source in 0..4 {
                feeder.add_iter("many", (0..20).map(move |at| Feed::blocking_function(move || source * 20 + at)));
                feeder.add_iter("some", (0..5).map(move |at| Feed::iter([1000 + source * 5 + at])));
            }
            drop(feeder);
            let all = tokio::time::timeout(Duration::from_secs(20), values(&mut results));
            let mut all = all.await.unwrap_or_else(|_| panic!("hangs with {places}, depth first: {depth_first}"));
            all.sort_unstable();
            assert_eq!(all, (0..80).chain(1000..1020).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn depth_first_a_function_that_yields_a_source_makes_room_for_it() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<usize>(&root).depth_first().build();
    let alive = Arc::<Alive>::default();
    let inside = Arc::clone(&alive);
    feeder.add_iter(
        "wide",
        (0..100).map(move |_| {
            let alive = Arc::clone(&inside);
            Feed::function(move || {
                Feed::iter(std::iter::once(()).chain([()]).scan(alive.one(), move |_, ()| Some(alive.count())))
            })
        }),
    );
    drop(feeder);
    let open = values(&mut results).await;
    assert_eq!(open.len(), 200);
    assert_eq!(open.into_iter().max(), Some(1), "one at a time is gone into");
}
