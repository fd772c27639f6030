//! Running out of sources, completion, the breaker, what remains, and refusals.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use machinery::{AsyncGenerator, Completion, Ctx, CtxOptions, Feed, QueueManagerResult as Fed, queue_manager};
use tokio::time::{Instant, sleep};

use super::common::{Alive, Heard, all, note, now, told};

#[tokio::test(start_paused = true)]
async fn a_manager_that_never_yielded_anything_stops_when_it_is_finished() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.set_as_finished_if_out_of_sources();
    assert_eq!(all(&mut results).await, ["stopped"]);
    assert!(results.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn finishing_a_manager_that_sleeps_wakes_it() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let consumer = tokio::spawn(async move { all(&mut results).await });
    sleep(Duration::from_secs(1)).await;
    feeder.set_as_finished_if_out_of_sources();
    assert_eq!(consumer.await.unwrap(), ["stopped"]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_feeder_finishes_the_manager() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let second = feeder.clone();
    let third = second.with_context(());
    drop((feeder, second));
    assert!(results.next().now_or_never().is_none(), "a feeder is left");
    drop(third);
    assert_eq!(all(&mut results).await, ["stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_feeder_inside_a_source_keeps_the_manager_until_that_source_ends() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let inside = feeder.clone();
    feeder.add_future("late", async move {
        sleep(Duration::from_secs(5)).await;
        inside.add_value("v", 1);
        2
    });
    drop(feeder);
    assert_eq!(all(&mut results).await, ["value `v`: 1", "future `late`: 2", "stopped"]);
}

#[tokio::test(start_paused = true)]
async fn sources_may_be_added_after_the_manager_was_set_as_finished() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.set_as_finished_if_out_of_sources();
    assert!(feeder.add_value("v", 1).is_taken());
    assert!(feeder.add_iter("i", [2]).is_taken());
    assert_eq!(all(&mut results).await, ["value `v`: 1", "iterator `i`: 2", "iterator `i`: end", "stopped"]);
    assert_eq!(feeder.add_value("v", 3).into_refused(), Some(3), "the stream has ended");
}

#[tokio::test(start_paused = true)]
async fn when_the_context_completes_the_stopped_result_comes_next_and_then_what_is_queued() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("endless", 0..);
    feeder.add_value("v", 100);
    feeder.add_value("v", 101);
    feeder.add_future("c", async { 102 });
    tokio::task::yield_now().await;
    assert_eq!(told(&results.next().await.unwrap()), "iterator `endless`: 0");
    assert_eq!(told(&results.next().await.unwrap()), "value `v`: 100");
    root.cancel_because("enough");
    feeder.add_value("late", 103);
    let Some(Fed::Stopped { exception: Some(exception) }) = results.next().await else { panic!("it has stopped") };
    let completion = exception.downcast_ref::<Completion>().expect("why it has stopped");
    assert_eq!(completion.reason(), Some("enough"));
    feeder.add_value("later", 104);
    let mut left = all(&mut results).await;
    left.sort();
    assert_eq!(left, ["future `c`: 102", "value `late`: 103", "value `later`: 104", "value `v`: 101"]);
    assert!(results.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_manager_on_a_context_that_is_done_has_stopped_and_takes_values_until_its_stream_ends() {
    let root = Ctx::beginning("root");
    root.cancel_because("too late");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    assert!(feeder.add_value("v", 1).is_taken());
    assert_eq!(feeder.add_iter("i", vec![2]).into_refused(), Some(vec![2]));
    let Some(Fed::Stopped { exception: Some(exception) }) = results.next().await else { panic!("it has stopped") };
    assert_eq!(exception.downcast_ref::<Completion>().unwrap().reason(), Some("too late"));
    assert!(feeder.add_value("v", 3).is_taken());
    assert_eq!(all(&mut results).await, ["value `v`: 1", "value `v`: 3"]);
    assert_eq!(feeder.add_value("v", 4).into_refused(), Some(4));
    root.drained().await;
}

#[tokio::test(start_paused = true)]
async fn the_stopped_result_comes_ahead_of_what_the_breaker_has_left_as_well() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for value in 1..=3 {
        feeder.add_value("v", value);
    }
    results.breaker().set();
    assert_eq!(told(&results.next().await.unwrap()), "value `v`: 1");
    root.cancel();
    assert_eq!(all(&mut results).await, ["stopped by the context", "value `v`: 2", "value `v`: 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_step_gives_that_was_under_way_when_the_manager_stopped_is_yielded() {
    for fails in [false, true] {
        let root = Ctx::beginning("root");
        let (feeder, results) = queue_manager::<u32>(&root).build();
        let results = Arc::new(Mutex::new(results));
        let (inside, stop) = (Arc::clone(&results), root.canceller());
        let items = stream::poll_fn(move |_| {
            stop.cancel();
            let stopped = now(&mut inside.lock().unwrap()).flatten().unwrap();
            assert_eq!(told(&stopped), "stopped by the context");
            Poll::Ready(Some(if fails { Err("no route") } else { Ok(7) }))
        });
        feeder.add("stream", Feed::stream(items).in_own_task());
        assert!(now(&mut results.lock().unwrap()).is_none());
        sleep(Duration::from_secs(1)).await;
        let mut results = results.lock().unwrap();
        let said = all(&mut results).now_or_never().expect("nothing runs any more");
        assert_eq!(said, [if fails { "stream `stream`: failed: no route" } else { "stream `stream`: 7" }]);
    }
}

#[tokio::test(start_paused = true)]
async fn other_sources_added_after_completion_are_refused_given_back_and_reported() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let (feeder, results) = queue_manager::<u32>(&root).name("q").build();
    root.cancel();
    assert_eq!(feeder.add_iter("i", vec![1]).into_refused(), Some(vec![1]));
    assert_eq!(feeder.add_blocking_iter("b", vec![1]).into_refused(), Some(vec![1]));
    assert!(feeder.add_fn("f", || 1).into_refused().is_some_and(|function| function() == 1));
    let stream = feeder.add_stream("s", stream::iter([1])).into_refused().unwrap();
    assert_eq!(futures_util::StreamExt::collect::<Vec<_>>(stream).await, [1]);
    assert_eq!(feeder.add_future("c", async { 7 }).into_refused().unwrap().await, 7);
    assert!(feeder.add("feed", Feed::iter([1])).into_refused().is_some());
    assert!(feeder.add_blocking_fn("bf", || 1).into_refused().is_some_and(|function| function() == 1));
    let task = feeder.add_task("t", tokio::spawn(async { 7_u32 })).into_refused().unwrap();
    assert_eq!(task.await.unwrap(), 7, "it is not cancelled");
    let generator = AsyncGenerator::new(|mut y| async move { y.yield_(1).await.map(drop) });
    assert_eq!(feeder.add_generator("g", generator).into_refused().unwrap().next().await, Some(1));
    assert!(feeder.add_value("v", 1).is_taken() && feeder.add("fv", Feed::value(1)).is_taken());
    let names: Vec<_> = heard.reports().iter().map(|report| report.split(": ").nth(1).unwrap().to_owned()).collect();
    assert_eq!(names, ["i", "b", "f", "s", "c", "feed", "bf", "t", "g"]);
    assert!(heard.reports()[0].starts_with("root-->q: i: source refused"));
    drop(results);
}

#[tokio::test(start_paused = true)]
async fn sources_are_dropped_on_completion_before_the_stream_ends() {
    let root = Ctx::beginning("root");
    let alive = Alive::default();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for feed in [
        |one| Feed::stream(stream::pending::<u32>().chain_with(one)),
        |one| Feed::stream(stream::pending::<u32>().chain_with(one)).in_own_task(),
        |one: super::common::One| {
            Feed::future(async move { std::future::pending::<u32>().await + size_of_val(&one) as u32 })
        },
        |one: super::common::One| Feed::iter((0..).map(move |at| at + one.nothing())),
        |one: super::common::One| Feed::iter((0..).map(move |at| at + one.nothing())).blocking(),
    ] {
        feeder.add("source", feed(alive.one()));
    }
    for _ in 0..10 {
        drop(results.next().await);
    }
    assert_eq!(alive.count(), 5);
    root.cancel();
    assert_eq!(told(&results.next().await.unwrap()), "stopped by the context");
    while results.next().await.is_some() {}
    assert_eq!(alive.count(), 0);
}

trait ChainWith: futures_util::Stream<Item = u32> + Sized {
    /// The stream, with something that it owns.
    fn chain_with(self, one: super::common::One) -> impl futures_util::Stream<Item = u32> + Send
    where
        Self: Send,
    {
        futures_util::StreamExt::map(self, move |value| value + one.nothing())
    }
}

impl<S: futures_util::Stream<Item = u32>> ChainWith for S {}

#[tokio::test(start_paused = true)]
async fn completion_wakes_a_manager_that_sleeps() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_stream("s", stream::pending::<u32>());
    let consumer = tokio::spawn(async move { all(&mut results).await });
    sleep(Duration::from_secs(1)).await;
    root.cancel();
    assert_eq!(consumer.await.unwrap(), ["stopped by the context"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_leaves_the_partial_results() {
    let root = Ctx::beginning("root");
    let until = root.child_with("until", CtxOptions::new().timeout(Duration::from_millis(3_500))).unwrap();
    let (feeder, mut results) = queue_manager::<u64>(&until).build();
    for at in 1..=10 {
        feeder.add_future(format!("after {at} s"), async move {
            sleep(Duration::from_secs(at)).await;
            at
        });
    }
    drop(feeder);
    let began = Instant::now();
    sleep(Duration::from_secs(60)).await;
    let said = all(&mut results).await;
    assert_eq!(
        said,
        ["stopped by the context", "future `after 1 s`: 1", "future `after 2 s`: 2", "future `after 3 s`: 3"]
    );
    assert_eq!(began.elapsed(), Duration::from_secs(60), "nothing was waited for after the deadline");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_lets_no_source_take_a_further_step() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    feeder.add_iter("i", (0..).inspect(move |_| note(&counted)));
    assert_eq!(told(&results.next().await.unwrap()), "iterator `i`: 0");
    results.breaker().set();
    feeder.add_value("v", 7);
    feeder.add_iter("late", [8]);
    assert_eq!(told(&results.next().await.unwrap()), "value `v`: 7");
    assert!(results.next().await.is_none());
    assert!(results.next().await.is_none());
    assert_eq!(steps.load(Ordering::SeqCst), 1);

    assert!(feeder.breaker().clear());
    let mut next = Vec::new();
    for _ in 0..3 {
        next.push(told(&results.next().await.unwrap()));
    }
    assert_eq!(next, ["iterator `i`: 1", "iterator `late`: 8", "iterator `i`: 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_ends_a_stream_that_sleeps_each_time_it_is_set() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_stream("s", stream::pending::<u32>());
    for _ in 0..3 {
        let breaker = results.breaker().clone();
        let consumer = tokio::spawn(async move {
            assert!(results.next().await.is_none());
            results
        });
        sleep(Duration::from_secs(1)).await;
        // One that is cleared at once ends nothing, and the next one does.
        breaker.set();
        breaker.clear();
        sleep(Duration::from_secs(1)).await;
        assert!(!consumer.is_finished());
        breaker.set();
        results = consumer.await.unwrap();
        breaker.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn the_breaker_stops_blocking_sources_and_streams_in_tasks_of_their_own() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).blocking_buffer(8).build();
    let steps = Arc::new(AtomicUsize::new(0));
    let (lane, task) = (Arc::clone(&steps), Arc::clone(&steps));
    feeder.add_blocking_iter("b", (0..).inspect(move |_| note(&lane)));
    feeder.add("s", Feed::stream(stream::iter((0..).inspect(move |_| note(&task)))).in_own_task());
    let mut yielded = 0;
    for _ in 0..100 {
        drop(results.next().await);
        yielded += 1;
    }
    results.breaker().set();
    // A step that was under way when the breaker was set may end after that.
    sleep(Duration::from_secs(1)).await;
    while results.next().await.is_some() {
        yielded += 1;
    }
    assert_eq!(steps.load(Ordering::SeqCst), yielded, "what was taken has been yielded");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(steps.load(Ordering::SeqCst), yielded, "and nothing is taken any more");

    results.breaker().clear();
    let mut kinds = std::collections::HashSet::new();
    for _ in 0..2_000 {
        kinds.insert(results.next().await.unwrap().sources().unwrap().to_string());
    }
    assert_eq!(kinds.len(), 2, "both go on");
}

#[tokio::test(start_paused = true)]
async fn remaining_gives_what_is_left_at_any_time_without_a_step_of_any_source() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_value("v", 1);
    feeder.add_iter("i", [Feed::error("bad"), Feed::value(9)]);
    feeder.add("strict", Feed::iter([Err("worse"), Ok(9)]).end_at_first_error());
    feeder.add_future("c", async { 2 });
    feeder.add_value("v", 3);
    sleep(Duration::from_secs(1)).await;
    let left: Vec<_> = results.remaining().iter().map(told).collect();
    assert_eq!(left, ["value `v`: 1", "value `v`: 3", "future `c`: 2"]);
    assert!(results.remaining().is_empty());

    assert_eq!(told(&results.next().await.unwrap()), "iterator `i`: failed: bad");
    assert_eq!(told(&results.next().await.unwrap()), "iterator `strict`: failed: worse");
    let left: Vec<_> = results.remaining().iter().map(told).collect();
    assert_eq!(left, ["iterator `strict`: end: worse"]);
    drop(feeder);
    assert_eq!(all(&mut results).await, ["iterator `i`: 9", "iterator `i`: end", "stopped"]);
}

#[tokio::test(start_paused = true)]
async fn remaining_leaves_sources_that_were_not_opened_where_they_are() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("i", [1]);
    feeder.add_future("c", async { Feed::iter([2]) });
    sleep(Duration::from_secs(1)).await;
    assert!(results.remaining().is_empty());
    drop(feeder);
    let mut values = super::common::values(&mut results).await;
    values.sort_unstable();
    assert_eq!(values, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_cancels_what_runs_and_reports_errors_that_nobody_read() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let alive = Alive::default();
    let (feeder, results) = queue_manager::<u32>(&root).name("q").build();
    let one = alive.one();
    feeder.add_future("runs", async move { std::future::pending::<u32>().await + size_of_val(&one) as u32 });
    feeder.add_future("failed", async { Err::<u32, _>("unread") });
    sleep(Duration::from_secs(1)).await;
    drop(results);
    assert_eq!(heard.reports(), ["root-->q: failed: source failed and nobody read its failure: unread"]);
    root.drained_below().await;
    assert_eq!(alive.count(), 0);
    assert!(!feeder.add_value("v", 1).is_taken());
}

trait DrainedBelow {
    async fn drained_below(&self);
}

impl DrainedBelow for Ctx {
    /// Lets what was cancelled below the context end.
    async fn drained_below(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_root_that_closes_waits_for_futures_of_a_manager_whose_stream_is_dropped() {
    let root = Ctx::beginning("root");
    let alive = Alive::default();
    let (feeder, results) = queue_manager::<u32>(&root).build();
    for _ in 0..10 {
        let one = alive.one();
        feeder.add_future("runs", async move { std::future::pending::<u32>().await + size_of_val(&one) as u32 });
    }
    drop(results);
    root.close().await;
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_runtime_that_goes_away_fails_what_ran_on_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let root = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    let (feeder, mut results) = queue_manager::<u32>(&root).max_running(2).build();
    for at in 0..5 {
        feeder.add_future(format!("c{at}"), std::future::pending::<u32>());
    }
    assert!(now(&mut results).is_none());
    runtime.shutdown_background();
    feeder.add_blocking_iter("b", [1]);
    drop(feeder);
    let said = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(all(&mut results));
    assert_eq!(said.len(), 5 + 2 + 1, "{said:?}");
    assert_eq!(said.iter().filter(|said| said.contains("failed: the runtime was shut down")).count(), 6);
}

#[tokio::test(start_paused = true)]
async fn async_generators_are_closed_on_completion_and_waited_for_before_the_stream_ends() {
    for own_task in [false, true] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        let generator = |fails: bool| {
            AsyncGenerator::fallible(move |mut y| async move {
                for at in 0.. {
                    if y.yield_(at).await.is_err() {
                        break;
                    }
                }
                sleep(Duration::from_secs(5)).await;
                if fails { Err("the goodbye failed".into()) } else { Ok(()) }
            })
        };
        for (name, fails) in [("quiet", false), ("loud", true)] {
            let feed = Feed::generator(generator(fails));
            feeder.add(name, if own_task { feed.in_own_task() } else { feed });
        }
        for _ in 0..4 {
            assert!(results.next().await.unwrap().into_value().is_some());
        }
        let began = Instant::now();
        root.cancel();
        let mut said = all(&mut results).await;
        said.retain(|said| said.contains("fail") || said.contains("stopped"));
        assert_eq!(said, ["stopped by the context", "stream `loud`: failed: the goodbye failed"]);
        assert!(began.elapsed() >= Duration::from_secs(5), "the stream ends once the clean-up is over");
    }
}

#[tokio::test(start_paused = true)]
async fn an_async_generator_that_is_left_half_way_cleans_up_below_the_context() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let said_goodbye = Arc::new(AtomicUsize::new(0));
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for strict in [false, true] {
        let said_goodbye = Arc::clone(&said_goodbye);
        let feed = Feed::generator(AsyncGenerator::new(move |mut y| async move {
            while y.yield_(if strict { Err("bad") } else { Ok(1) }).await.is_ok() {}
            sleep(Duration::from_secs(5)).await;
            note(&said_goodbye);
            Ok(())
        }));
        feeder.add("generator", if strict { feed.end_at_first_error() } else { feed });
    }
    for _ in 0..4 {
        drop(results.next().await);
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(said_goodbye.load(Ordering::SeqCst), 1, "the one that was ended at its error");
    drop(results);
    root.close().await;
    assert_eq!(said_goodbye.load(Ordering::SeqCst), 2);
    assert_eq!(heard.reports(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_was_set_and_cleared_while_nobody_polled_leaves_nothing_halted() {
    for slept in [false, true] {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        let slow = stream::iter(0..5).then(|at| async move {
            sleep(Duration::from_secs(1)).await;
            at
        });
        feeder.add("ahead", Feed::stream(slow).in_own_task());
        drop(feeder);
        assert!(now(&mut results).is_none());
        if !slept {
            sleep(Duration::from_millis(1500)).await;
            assert!(now(&mut results).is_some());
        }
        results.breaker().set();
        sleep(Duration::from_secs(10)).await;
        results.breaker().clear();
        let said = tokio::time::timeout(Duration::from_secs(60), all(&mut results)).await.expect("it goes on");
        assert_eq!(said.last().map(String::as_str), Some("stopped"));
        assert_eq!(said.len(), if slept { 7 } else { 6 });
    }
}

#[tokio::test]
async fn a_source_that_completes_the_context_is_the_last_one_to_take_a_step() {
    let root = Arc::new(Ctx::beginning("root"));
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let stepped = Arc::new(AtomicUsize::new(0));
    let guard = Arc::clone(&root);
    feeder.add_stream(
        "completes",
        stream::poll_fn(move |_| {
            guard.cancel();
            std::task::Poll::<Option<u32>>::Pending
        }),
    );
    for _ in 0..3 {
        let stepped = Arc::clone(&stepped);
        feeder.add_fn("function", move || {
            note(&stepped);
            1
        });
    }
    assert_eq!(all(&mut results).await, ["stopped by the context"]);
    assert_eq!(stepped.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_source_that_sets_the_breaker_is_the_last_one_to_take_a_step() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let breaker = results.breaker().clone();
    feeder.add_stream(
        "breaks",
        stream::poll_fn(move |_| {
            breaker.set();
            std::task::Poll::<Option<u32>>::Pending
        }),
    );
    feeder.add_fn("function", || 1);
    assert!(results.next().await.is_none());
    results.breaker().clear();
    assert_eq!(told(&results.next().await.unwrap()), "function `function`: 1");
}

#[tokio::test]
async fn a_consumers_waker_that_panics_stays_out_of_what_feeds_it() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker of the user");
        }
    }
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let waker = std::task::Waker::from(Arc::new(Panics));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(results.poll_next_unpin(&mut cx).is_pending());
    assert!(feeder.add_value("value", 1).is_taken());
    assert_eq!(results.next().await.unwrap().into_value(), Some(1));
}

#[test]
fn a_source_that_waits_for_what_a_runtime_took_with_it_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let root = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    let (feeder, mut results) = queue_manager::<u32>(&root).max_running(1).build();
    feeder.add_iter("futures", (0..3).map(|_| Feed::future(std::future::pending::<u32>())));
    drop(feeder);
    runtime.block_on(async {
        assert!(now(&mut results).is_none());
        tokio::task::yield_now().await;
    });
    drop(runtime);
    let rest = async { tokio::time::timeout(Duration::from_secs(20), all(&mut results)).await };
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = other.block_on(rest).expect("it ends");
    assert_eq!(said.iter().filter(|said| said.contains("failed: the runtime was shut down")).count(), 3, "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("stopped"));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_came_out_of_a_source_is_cancelled_and_waited_for_though_its_turn_never_came() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let alive = Arc::<Alive>::default();
    let one = alive.one();
    let task = tokio::spawn(async move {
        let _one = one;
        std::future::pending::<u32>().await
    });
    feeder.add_future("gives a task", async move { Feed::task(task) });
    sleep(Duration::from_secs(1)).await;
    root.cancel();
    assert_eq!(all(&mut results).await, ["stopped by the context"]);
    assert_eq!(alive.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_async_generator_that_had_begun_before_its_first_turn_is_closed_like_the_others() {
    for place in 0..6 {
        for waits in [true, false] {
            let said_goodbye = Arc::new(AtomicUsize::new(0));
            let said = Arc::clone(&said_goodbye);
            let mut generator = AsyncGenerator::new(move |mut y| async move {
                while y.yield_(0).await.is_ok() {}
                sleep(Duration::from_secs(5)).await;
                note(&said);
                Ok(())
            });
            assert_eq!(generator.next().await, Some(0));
            let root = Ctx::beginning("root");
            let builder = queue_manager::<u32>(&root);
            let (feeder, mut results) = match place {
                2 => builder.max_open(1).build(),
                3 | 4 => builder.max_open(1).depth_first().build(),
                _ => builder.build(),
            };
            let feed = Feed::generator(generator);
            let feed = if place % 2 == 0 { feed } else { feed.in_own_task() };
            match place {
                0 | 1 => drop(feeder.add("generator", feed)),
                2 => {
                    feeder.add_stream("open", futures_util::stream::pending::<u32>());
                    feeder.add("waiting", feed);
                }
                3 | 4 => {
                    let items = futures_util::stream::iter([feed]);
                    feeder.add_stream("outer", items.chain(futures_util::stream::pending()));
                }
                _ => drop(feeder.add_future("gives", async { feed })),
            }
            if place > 1 {
                let turns = tokio::time::timeout(Duration::from_secs(1), async {
                    if place == 5 { std::future::pending().await } else { results.next().await }
                });
                assert!(turns.await.is_err());
            }
            root.cancel();
            if waits {
                while results.next().await.is_some() {}
                assert_eq!(said_goodbye.load(Ordering::SeqCst), 1, "at place {place}");
            }
            drop((results, feeder));
            root.close().await;
            assert_eq!(said_goodbye.load(Ordering::SeqCst), 1, "at place {place}");
        }
    }
}

#[tokio::test]
async fn an_error_of_a_stream_in_its_own_task_is_reported_where_the_results_are_dropped_meanwhile() {
    for panics in [false, true] {
        let heard = Heard::default();
        let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
        let (feeder, results) = queue_manager::<u32>(&root).build();
        let results = Arc::new(Mutex::new(Some(results)));
        let held = Arc::clone(&results);
        let items = stream::poll_fn(move |_| {
            drop(held.lock().unwrap().take());
            assert!(!panics, "no route");
            Poll::Ready(Some(Err::<u32, _>("no route")))
        });
        feeder.add("stream", Feed::stream(items).in_own_task());
        let mut polled = results.lock().unwrap().take().unwrap();
        assert!(polled.next().now_or_never().is_none());
        *results.lock().unwrap() = Some(polled);
        root.drained_below().await;
        let said = heard.reports();
        let why = if panics { "the source panicked: no route" } else { "no route" };
        assert_eq!(said, [format!("root-->queue_manager: stream: source failed and nobody read its failure: {why}")]);
    }
}
