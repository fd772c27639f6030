//! Turns, fairness and back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use machinery::{Ctx, Feed, QueueManagerResult as Fed, queue_manager};
use tokio::time::sleep;

use super::common::{note, now, told, values};

#[tokio::test(start_paused = true)]
async fn sources_take_turns_one_step_at_a_time() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("i", [1, 2, 3]);
    feeder.add_stream("s", stream::iter([11, 12, 13]));
    feeder.add_iter("j", [21, 22, 23]);
    drop(feeder);
    assert_eq!(values(&mut results).await, [1, 11, 21, 2, 12, 22, 3, 13, 23]);
}

#[tokio::test(start_paused = true)]
async fn a_function_runs_at_its_turn_and_not_inside_add() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let ran = Arc::new(AtomicUsize::new(0));
    feeder.add_value("first", 1);
    let inside = Arc::clone(&ran);
    feeder.add_fn("second", move || {
        inside.fetch_add(1, Ordering::SeqCst);
        2
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(results.next().await.unwrap().into_value(), Some(1));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(results.next().await.unwrap().into_value(), Some(2));
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn something_is_made_an_iterator_at_its_first_turn_only() {
    struct Loud(Arc<AtomicUsize>);
    impl IntoIterator for Loud {
        type Item = u32;
        type IntoIter = std::ops::Range<u32>;

        fn into_iter(self) -> Self::IntoIter {
            self.0.fetch_add(1, Ordering::SeqCst);
            0..2
        }
    }
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let made = Arc::new(AtomicUsize::new(0));
    feeder.add_iter("i", Loud(Arc::clone(&made)));
    assert_eq!(made.load(Ordering::SeqCst), 0);
    assert_eq!(results.next().await.unwrap().into_value(), Some(0));
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn futures_run_as_soon_as_they_are_added_also_if_nobody_asks_for_results() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let ran = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&ran);
    feeder.add_future("c", async move {
        inside.fetch_add(1, Ordering::SeqCst);
        1
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    assert_eq!(results.next().await.unwrap().into_value(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_slows_every_iterator_and_stream_down() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u64>(&root).build();
    let taken = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let (iter, streamed) = (Arc::clone(&taken), Arc::clone(&taken));
        feeder.add_iter("million", (0..1_000_000_u64).inspect(move |_| note(&iter)));
        feeder.add_stream("endless", stream::iter(0..u64::MAX).inspect(move |_| note(&streamed)));
    }
    for yielded in 1..=1_000 {
        drop(results.next().await);
        assert_eq!(taken.load(Ordering::SeqCst), yielded, "what is taken is yielded at once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_iterator_of_futures_is_only_asked_for_more_between_their_results() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u64>(&root).max_running(4).build();
    let taken = Arc::new(AtomicUsize::new(0));
    let inside = Arc::clone(&taken);
    feeder.add_iter(
        "futures",
        (0..1_000_000_u64).map(move |at| {
            inside.fetch_add(1, Ordering::SeqCst);
            Feed::future(async move {
                sleep(Duration::from_millis(1)).await;
                at
            })
        }),
    );
    for yielded in 1..=100 {
        drop(results.next().await);
        let ahead = taken.load(Ordering::SeqCst) - yielded;
        assert!(ahead <= 16, "{ahead} futures ahead of the consumer");
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_22_one_source_that_is_always_ready_leaves_every_other_its_turns() {
    // A channel that is out of the budget of its task says that it is not ready.
    tokio::task::unconstrained(one_always_ready()).await;
}

async fn one_always_ready() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<usize>(&root).build();
    feeder.add_iter("always ready", std::iter::repeat(usize::MAX));
    let mut senders = Vec::new();
    for _ in 0..1_000 {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        senders.push(sender);
        feeder.add_stream("slow", tokio_stream::wrappers::UnboundedReceiverStream::new(receiver));
    }
    for _ in 0..10 {
        assert_eq!(results.next().await.unwrap().into_value(), Some(usize::MAX));
    }
    for (at, sender) in senders.iter().enumerate() {
        sender.send(at).unwrap();
        let mut waited = 0;
        while results.next().await.unwrap().into_value() != Some(at) {
            waited += 1;
        }
        assert!(waited <= 2, "a source that became ready waited for {waited} turns of another");
    }
    // All at once: the one that is always ready has two turns in a round of theirs at most.
    for (at, sender) in senders.iter().enumerate() {
        sender.send(at).unwrap();
    }
    let (mut others, mut always) = (0, 0);
    while others < 1_000 {
        match results.next().await.unwrap().into_value() {
            Some(usize::MAX) => always += 1,
            _ => others += 1,
        }
    }
    assert!(always <= 3, "{always} turns while a thousand others waited");
    root.cancel();
    assert_eq!(told(&results.next().await.unwrap()), "stopped by the context", "completion is noticed at once");
}

#[tokio::test]
async fn scenario_23_a_million_items_that_are_always_ready_let_other_tasks_run() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_iter("items", 0..1_000_000);
    drop(feeder);
    let (said, mut heard) = tokio::sync::oneshot::channel();
    let consumer = tokio::spawn(async move {
        let mut count = 0_u32;
        while let Some(result) = results.next().await {
            count += u32::from(result.into_value().is_some());
            if count == 500_000 {
                assert!(heard.try_recv().is_ok(), "the other task has run meanwhile");
            }
        }
        count
    });
    tokio::spawn(async move { said.send(()).unwrap() });
    assert_eq!(consumer.await.unwrap(), 1_000_000);
}

#[tokio::test]
async fn scenario_23_a_source_of_sources_that_yields_no_value_lets_other_tasks_run() {
    /// A function that yields another one, until something else has run.
    fn function(ran: Arc<AtomicUsize>) -> Feed<u32> {
        Feed::function(move || if ran.load(Ordering::SeqCst) == 0 { function(ran) } else { Feed::value(1) })
    }
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let ran = Arc::new(AtomicUsize::new(0));
    let other = Arc::clone(&ran);
    feeder.add("function", function(ran));
    tokio::spawn(async move { other.fetch_add(1, Ordering::SeqCst) });
    assert_eq!(results.next().await.unwrap().into_value(), Some(1));
}

#[tokio::test]
async fn streams_that_ran_out_of_budget_do_not_spin() {
    // Tokio's channels are pending once the budget of the task is used up, and wake it at once.
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for _ in 0..500 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1_000);
        for at in 0..1_000 {
            sender.try_send(at).unwrap();
        }
        feeder.add_stream("s", tokio_stream::wrappers::ReceiverStream::new(receiver));
    }
    drop(feeder);
    let consumer = tokio::spawn(async move { values(&mut results).await.len() });
    assert_eq!(consumer.await.unwrap(), 500_000);
}

#[tokio::test(start_paused = true)]
async fn scenario_21_a_source_added_while_the_manager_sleeps_wakes_it() {
    for kind in 0..6 {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        feeder.add_stream("never", stream::pending::<u32>());
        let consumer = tokio::spawn(async move { results.next().await.unwrap().into_value() });
        sleep(Duration::from_secs(1)).await;
        assert!(!consumer.is_finished());
        match kind {
            0 => assert!(feeder.add_value("v", 7).is_taken()),
            1 => assert!(feeder.add_fn("f", || 7).is_taken()),
            2 => assert!(feeder.add_iter("i", [7]).is_taken()),
            3 => assert!(feeder.add_stream("s", stream::iter([7])).is_taken()),
            4 => assert!(feeder.add_future("c", async { 7 }).is_taken()),
            _ => assert!(feeder.add_blocking_fn("b", || 7).is_taken()),
        }
        assert_eq!(consumer.await.unwrap(), Some(7));
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_16_a_dropped_next_loses_nothing() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    feeder.add_stream("s", tokio_stream::wrappers::UnboundedReceiverStream::new(receiver));
    feeder.add("ahead", Feed::stream(stream::iter(1_000..1_050)).in_own_task());
    drop(feeder);
    for at in 0..50 {
        sender.send(at).unwrap();
    }
    drop(sender);
    let mut seen = Vec::new();
    loop {
        // Polled once and dropped, ready or not.
        if let Some(result) = now(&mut results) {
            match result {
                Some(result) => seen.extend(result.into_value()),
                None => break,
            }
        }
        tokio::task::yield_now().await;
    }
    seen.sort_unstable();
    let expected: Vec<u32> = (0..50).chain(1_000..1_050).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn scenario_18_a_stream_that_moves_between_tasks_wakes_the_latest() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for at in 0..3 {
        assert!(now(&mut results).is_none(), "polled here");
        let consumer = tokio::spawn(async move { (results.next().await.unwrap().into_value(), results) });
        sleep(Duration::from_secs(1)).await;
        feeder.add_value("v", at);
        let (value, back) = consumer.await.unwrap();
        assert_eq!(value, Some(at));
        results = back;
    }
}

#[tokio::test(start_paused = true)]
async fn many_feeders_on_many_threads_lose_nothing() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let feeder = feeder.clone();
            std::thread::spawn(move || {
                for at in 0..5_000 {
                    let value = thread * 10_000 + at;
                    match at % 3 {
                        0 => assert!(feeder.add_value("v", value).is_taken()),
                        1 => assert!(feeder.add_fn("f", move || value).is_taken()),
                        _ => assert!(feeder.add_iter("i", Some(value)).is_taken()),
                    }
                }
            })
        })
        .collect();
    drop(feeder);
    let mut seen = Vec::new();
    while let Some(result) = results.next().await {
        match result {
            Fed::Success { value, .. } => seen.push(value),
            Fed::Failure { .. } => panic!("nothing fails"),
            _ => {}
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    seen.sort_unstable();
    let expected: Vec<u32> = (0..4).flat_map(|thread| (0..5_000).map(move |at| thread * 10_000 + at)).collect();
    assert_eq!(seen, expected);
}
