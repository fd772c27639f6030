//! Waiting for room in a queue.
#![expect(clippy::disallowed_methods, reason = "the tests spawn as users do")]

mod wakers;

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, Stream};
use machinery::queue::{AppendWait, QueueStream};
use machinery::{Ctx, Queue, queue};
use proptest::prelude::*;
use wakers::{Probe, on_drop, on_wake, poll_with};

fn now<T>(stream: &mut QueueStream<T>) -> Poll<Option<T>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

fn rest<T>(queue: &Queue<T>) -> Vec<T> {
    queue.remaining().collect()
}

#[test]
fn without_a_capacity_there_is_always_room() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    assert_eq!(queue.capacity(), None);
    for n in 0..100 {
        queue.append_wait(n).now_or_never().unwrap().unwrap();
        queue.try_append(n).unwrap();
    }
    assert_eq!(queue.len(), 200);
}

#[test]
fn try_append_refuses_where_there_is_no_room_and_gives_the_item_back() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(2).build();
    queue.try_append(1).unwrap();
    queue.try_append(2).unwrap();
    let refused = queue.try_append(3).unwrap_err();
    assert!(refused.is_full() && !refused.is_done());
    assert_eq!(refused.to_string(), "the queue is full");
    assert_eq!(refused.into_inner(), 3);
    assert_eq!(queue.remaining().next(), Some(1));
    queue.try_append(4).unwrap();

    root.cancel();
    let refused = queue.try_append(5).unwrap_err();
    assert!(refused.is_done() && !refused.is_full());
    assert_eq!(refused.into_inner(), 5);
    assert_eq!(rest(&queue), [2, 4]);
}

#[test]
fn append_priority_items_and_instructions_are_not_held_by_the_capacity_but_count() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(1);
    queue.append(2);
    queue.append_priority(0);
    queue.append_instruction(|| ());
    assert_eq!(queue.len(), 4);
    let mut waiting = queue.append_wait(3);
    for left in [0, 1, 2] {
        assert!(poll_with(&mut waiting, Waker::noop()).is_pending());
        assert_eq!(queue.remaining().next(), Some(left));
    }
    // The instruction is in its way.
    assert!(poll_with(&mut waiting, Waker::noop()).is_pending());
    assert_eq!(queue.remaining().next(), Some(3));
    assert!(poll_with(&mut waiting, Waker::noop()).is_ready());
}

#[test]
fn producers_are_served_in_the_order_in_which_they_came() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(0);
    let probes: Vec<_> = (0..5).map(|_| Probe::new()).collect();
    let mut waiting: Vec<_> = (1..=5).map(|n| queue.append_wait(n)).collect();
    for (wait, probe) in waiting.iter_mut().zip(&probes) {
        assert!(probe.poll(wait).is_pending());
    }
    for n in 0..5 {
        assert_eq!(queue.remaining().next(), Some(n));
        // The room is for the first in line: nobody else is woken, and nobody gets in between.
        assert_eq!(probes.iter().map(|probe| probe.woken()).sum::<usize>(), n + 1);
        assert_eq!(probes[n].woken(), 1);
        assert!(queue.try_append(100).unwrap_err().is_full());
        assert!(queue.append_wait(100).now_or_never().is_none());
        for late in &mut waiting[n + 1..] {
            assert!(poll_with(late, Waker::noop()).is_pending());
        }
        for (wait, probe) in waiting.iter_mut().zip(&probes).skip(n + 1) {
            assert!(probe.poll(wait).is_pending());
        }
        assert!(matches!(probes[n].poll(&mut waiting[n]), Poll::Ready(Ok(()))));
    }
    assert_eq!(rest(&queue), [5]);
    assert!(probes.iter().all(|probe| probe.kept() == 0));
}

#[test]
fn scenario_16_a_producer_dropped_at_any_suspension_loses_no_room_and_doubles_nothing() {
    // Dropped before the first poll, in line, and when it has been called but not come.
    for called in [None, Some(false), Some(true)] {
        let root = Ctx::beginning("app");
        let queue = queue(&root).capacity(1).build();
        queue.append(0);
        let (first, second) = (Probe::new(), Probe::new());
        let mut dropped = queue.append_wait(1);
        let mut other = queue.append_wait(2);
        if called.is_some() {
            assert!(first.poll(&mut dropped).is_pending());
        }
        assert!(second.poll(&mut other).is_pending());
        if called == Some(true) {
            assert_eq!(queue.remaining().next(), Some(0));
            assert_eq!((first.woken(), second.woken()), (1, 0));
            drop(dropped);
        } else {
            drop(dropped);
            assert_eq!(queue.remaining().next(), Some(0));
        }
        assert_eq!(first.kept(), 0);
        assert_eq!(second.woken(), 1);
        assert!(second.poll(&mut other).is_ready());
        assert_eq!(rest(&queue), [2]);
    }
}

#[test]
fn scenario_17_a_producer_that_was_called_and_forgotten_holds_up_nobody() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(0);
    let mut stream = queue.stream();
    let mut forgotten: Vec<_> = (1..=3).map(|n| queue.append_wait(n)).collect();
    for wait in &mut forgotten {
        assert!(poll_with(wait, Waker::noop()).is_pending());
    }
    std::mem::forget(forgotten);
    let probe = Probe::new();
    let mut other = queue.append_wait(4);
    assert!(probe.poll(&mut other).is_pending());
    // Its item is taken where it waits.
    for n in 0..=4 {
        assert_eq!(now(&mut stream), Poll::Ready(Some(n)));
    }
    assert!(now(&mut stream).is_pending());
    assert!(probe.woken() >= 1);
    assert!(probe.poll(&mut other).is_ready());
    queue.try_append(5).unwrap();
}

#[tokio::test]
async fn scenario_19_a_producer_kept_but_not_polled_holds_up_neither_the_others_nor_the_consumer() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(0);
    let mut kept = queue.append_wait(1);
    tokio::select! {
        biased;
        _ = &mut kept => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    let other = tokio::spawn({
        let queue = queue.clone();
        async move { queue.append_wait(2).await.is_ok() }
    });
    tokio::task::yield_now().await;
    let mut stream = queue.stream();
    for n in 0..3 {
        assert_eq!(stream.next().await, Some(n));
    }
    assert!(other.await.unwrap());
    // It was served meanwhile.
    assert!(kept.await.is_ok());
    assert!(queue.is_empty());
}

#[tokio::test]
async fn scenario_20_a_queue_that_ends_with_producers_waiting_is_drained_and_then_ends() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(2).empty_on_finished().build();
    queue.append_wait(0).await.unwrap();
    queue.append_wait(1).await.unwrap();
    let producers: Vec<_> = (2..5)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.append_wait(n).await })
        })
        .collect();
    tokio::task::yield_now().await;
    root.cancel();
    let mut stream = queue.stream();
    let mut seen = Vec::new();
    while let Some(item) = stream.next().await {
        seen.push(item);
    }
    assert_eq!(seen, [0, 1]);
    let mut given_back = Vec::new();
    for producer in producers {
        given_back.push(producer.await.unwrap().unwrap_err().into_inner());
    }
    assert_eq!(given_back, [2, 3, 4]);
    assert!(queue.is_empty());
    assert_eq!(queue.append_wait(5).await.unwrap_err().into_inner(), 5);
}

#[test]
fn with_no_room_at_all_items_go_from_hand_to_hand() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(0).build();
    assert!(queue.try_append(0).unwrap_err().is_full());
    let mut stream = queue.stream();
    let (consumer, producer) = (Probe::new(), Probe::new());
    let waker = consumer.waker();
    assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    let mut waiting = queue.append_wait(1);
    assert!(producer.poll(&mut waiting).is_pending());
    assert_eq!(consumer.woken(), 1);
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert_eq!(producer.woken(), 1);
    assert!(producer.poll(&mut waiting).is_ready());
}

#[test]
fn with_no_room_at_all_try_append_gives_one_item_to_a_consumer_that_waits() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(0).build();
    let mut stream = queue.stream();
    assert!(queue.try_append(0).unwrap_err().is_full());
    let consumer = Probe::new();
    let waker = consumer.waker();
    assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    queue.try_append(1).unwrap();
    assert_eq!(consumer.woken(), 1);
    assert!(queue.try_append(2).unwrap_err().is_full());
    let mut behind = queue.append_wait(3);
    assert!(poll_with(&mut behind, Waker::noop()).is_pending());
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert!(queue.try_append(4).unwrap_err().is_full());
    assert_eq!(now(&mut stream), Poll::Ready(Some(3)));
    assert!(now(&mut stream).is_pending());
    drop(stream);
    assert!(queue.try_append(5).unwrap_err().is_full());
    let mut stream = queue.stream();
    assert!(now(&mut stream).is_pending());
    queue.try_append(6).unwrap();
    drop(stream);
    assert_eq!(rest(&queue), [6]);
}

#[test]
fn wakers_of_producers_may_do_what_they_like() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(0);
    let inside = queue.clone();
    let re_entering = on_wake(move || {
        assert!(inside.try_append(100).is_err());
        inside.append(7);
    });
    let inside = queue.clone();
    let dropped = on_drop(move || inside.append_priority(8));
    let mut first = queue.append_wait(1);
    let mut second = queue.append_wait(2);
    let mut third = queue.append_wait(3);
    assert!(poll_with(&mut first, &re_entering).is_pending());
    assert!(poll_with(&mut second, &on_wake(|| panic!("a waker"))).is_pending());
    assert!(poll_with(&mut third, &dropped).is_pending());
    drop(dropped);
    assert_eq!(queue.remaining().next(), Some(0));
    assert_eq!(queue.remaining().next(), Some(7));
    drop(third);
    root.cancel();
    assert!(matches!(poll_with(&mut first, Waker::noop()), Poll::Ready(Err(_))));
    assert!(matches!(poll_with(&mut second, Waker::noop()), Poll::Ready(Err(_))));
    assert_eq!(rest(&queue), [8]);
}

#[test]
fn back_pressure_keeps_fast_producers_at_the_capacity() {
    for workers in [1, 2] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build().unwrap();
        runtime.block_on(async {
            let root = Ctx::beginning("app");
            let queue = queue(&root).capacity(8).build();
            let most = Arc::new(AtomicUsize::new(0));
            let producers: Vec<_> = (0..4)
                .map(|producer| {
                    let (queue, most) = (queue.clone(), Arc::clone(&most));
                    tokio::spawn(async move {
                        for n in 0..2_000 {
                            queue.append_wait((producer, n)).await.unwrap();
                            most.fetch_max(queue.len(), Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let mut next = [0; 4];
            let mut stream = queue.stream();
            for _ in 0..8_000 {
                let (producer, n) = stream.next().await.unwrap();
                assert_eq!(n, next[producer]);
                next[producer] += 1;
            }
            for producer in producers {
                producer.await.unwrap();
            }
            assert!(queue.is_empty());
            // A length that is read while others work may count an item twice that moves meanwhile.
            assert!(most.load(Ordering::Relaxed) <= 2 * 8);
        });
    }
}

/// What a random test does with a queue and its producers.
#[derive(Clone, Debug)]
enum Step {
    Offer,
    PollProducer(prop::sample::Index),
    DropProducer(prop::sample::Index),
    ForgetProducer(prop::sample::Index),
    TryAppend,
    Append,
    AppendPriority,
    PollConsumer,
    TakeOne,
    Complete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Offer),
        5 => any::<prop::sample::Index>().prop_map(Step::PollProducer),
        2 => any::<prop::sample::Index>().prop_map(Step::DropProducer),
        1 => any::<prop::sample::Index>().prop_map(Step::ForgetProducer),
        2 => Just(Step::TryAppend),
        1 => Just(Step::Append),
        1 => Just(Step::AppendPriority),
        5 => Just(Step::PollConsumer),
        1 => Just(Step::TakeOne),
        1 => Just(Step::Complete),
    ]
}

/// A producer that stands in line.
struct Producer<'a> {
    id: u32,
    wait: AppendWait<'a, u32>,
    probe: Arc<Probe>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// No item comes out twice, every one that was said to be appended does, none that was given back does, and in
    /// the end everybody who still cares gets through.
    #[test]
    fn random_producers_and_consumers_lose_double_and_block_nothing(
        capacity in 0_usize..4,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let root = Ctx::beginning("app");
        let queue = queue(&root).capacity(capacity).build();
        let mut stream = queue.stream();
        let mut producers: VecDeque<Producer<'_>> = VecDeque::new();
        let mut appended: Vec<u32> = Vec::new();
        let mut refused: Vec<u32> = Vec::new();
        let mut seen: Vec<u32> = Vec::new();
        let mut ids = 0_u32..;
        let mut done = false;
        let mut waits = false;
        for step in steps {
            match step {
                Step::Offer => {
                    let id = ids.next().unwrap();
                    let mut producer = Producer { id, wait: queue.append_wait(id), probe: Probe::new() };
                    match producer.probe.poll(&mut producer.wait) {
                        Poll::Ready(Ok(())) => appended.push(id),
                        Poll::Ready(Err(back)) => {
                            prop_assert!(done);
                            refused.push(back.into_inner());
                        }
                        Poll::Pending => {
                            prop_assert!(!done);
                            producers.push_back(producer);
                        }
                    }
                }
                Step::PollProducer(index) if !producers.is_empty() => {
                    let at = index.index(producers.len());
                    let producer = &mut producers[at];
                    match producer.probe.poll(&mut producer.wait) {
                        Poll::Ready(Ok(())) => appended.push(producer.id),
                        Poll::Ready(Err(back)) => {
                            prop_assert!(done);
                            refused.push(back.into_inner());
                        }
                        Poll::Pending => {
                            prop_assert!(!done);
                            continue;
                        }
                    }
                    producers.remove(at);
                }
                Step::DropProducer(index) if !producers.is_empty() => {
                    let gone = producers.remove(index.index(producers.len())).unwrap();
                    let probe = Arc::clone(&gone.probe);
                    drop(gone);
                    prop_assert_eq!(Arc::strong_count(&probe), 1, "a waker was left behind");
                }
                Step::ForgetProducer(index) if !producers.is_empty() => {
                    std::mem::forget(producers.remove(index.index(producers.len())).unwrap().wait);
                }
                Step::TryAppend => {
                    let id = ids.next().unwrap();
                    match queue.try_append(id) {
                        Ok(()) => {
                            let handed = capacity == 0 && waits && queue.len() == 1;
                            prop_assert!(queue.len() <= capacity || handed);
                            waits = false;
                            appended.push(id);
                        }
                        Err(back) => refused.push(back.into_inner()),
                    }
                }
                Step::Append => {
                    let id = ids.next().unwrap();
                    queue.append(id);
                    appended.push(id);
                }
                Step::AppendPriority => {
                    let id = ids.next().unwrap();
                    queue.append_priority(id);
                    appended.push(id);
                }
                Step::PollConsumer => match now(&mut stream) {
                    Poll::Ready(Some(item)) => seen.push(item),
                    Poll::Ready(None) => prop_assert!(done),
                    Poll::Pending => {
                        prop_assert!(queue.is_empty() && !done);
                        waits = true;
                    }
                },
                Step::TakeOne => seen.extend(queue.remaining().next()),
                Step::Complete => {
                    root.cancel();
                    done = true;
                }
                Step::PollProducer(_) | Step::DropProducer(_) | Step::ForgetProducer(_) => {}
            }
        }

        // Everybody comes to an end: a consumer that goes on is enough.
        for _ in 0..4 {
            while let Poll::Ready(Some(item)) = now(&mut stream) {
                seen.push(item);
            }
            let woken = producers.iter().filter(|producer| producer.probe.woken() > 0).count();
            prop_assert_eq!(woken, producers.len(), "a producer in line was not woken");
            producers.retain_mut(|producer| match producer.probe.poll(&mut producer.wait) {
                Poll::Ready(Ok(())) => {
                    appended.push(producer.id);
                    false
                }
                Poll::Ready(Err(back)) => {
                    refused.push(back.into_inner());
                    false
                }
                Poll::Pending => true,
            });
            prop_assert!(producers.is_empty(), "a producer was woken in vain at the end");
        }
        seen.extend(queue.remaining());
        let mut once = seen.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), seen.len(), "an item came out twice");
        prop_assert!(appended.iter().all(|id| once.binary_search(id).is_ok()), "an item was lost");
        prop_assert!(refused.iter().all(|id| once.binary_search(id).is_err()), "a refused item came out");
    }
}

#[test]
fn room_that_a_consumer_makes_by_taking_from_the_line_goes_to_the_next_producer() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(1);
    let mut second = queue.append_wait(2);
    let mut third = queue.append_wait(3);
    let woken = Arc::new(AtomicUsize::new(0));
    let waker = {
        let woken = Arc::clone(&woken);
        on_wake(move || {
            woken.fetch_add(1, Ordering::SeqCst);
        })
    };
    assert!(poll_with(&mut second, Waker::noop()).is_pending());
    assert!(poll_with(&mut third, &waker).is_pending());

    let mut items = queue.stream();
    assert_eq!(now(&mut items), Poll::Ready(Some(1)));
    // The second producer has been called and has not come yet.
    assert_eq!(now(&mut items), Poll::Ready(Some(2)));
    drop(items);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert!(poll_with(&mut third, &waker).is_ready());
    assert!(poll_with(&mut second, Waker::noop()).is_ready());
    assert_eq!(rest(&queue), [3]);
}

#[test]
fn a_refused_item_says_which_queue_and_why() {
    let root = Ctx::beginning("app");
    let jobs = queue(&root).name("jobs").capacity(1).build();
    jobs.try_append(1).unwrap();
    let full = jobs.try_append(2).unwrap_err();
    assert!(full.completion().is_none() && full.source().is_none());
    root.cancel_because("SIGTERM");

    let late = jobs.try_append(3).unwrap_err();
    assert_eq!(late.completion().unwrap().reason(), Some("SIGTERM"));
    let waited = jobs.for_threads().append_wait(4).unwrap_err();
    assert_eq!(waited.completion().path(), "app");
    for error in [&late as &dyn Error, &waited] {
        let said = error.to_string();
        assert!(said.starts_with("the queue `app-->jobs` takes nothing more: `app` was cancelled at "), "{said}");
        assert!(error.source().unwrap().is::<machinery::Completion>());
    }
    assert_eq!((late.into_inner(), waited.into_inner()), (3, 4));
}

#[test]
fn one_who_does_not_wait_takes_the_items_of_producers_that_wait_for_room() {
    for capacity in [0, 1] {
        let root = Ctx::beginning("app");
        let queue = queue(&root).capacity(capacity).build();
        let mut items = queue.for_threads().iter();
        let mut waits: Vec<_> = (0..4).map(|n| queue.append_wait(n)).collect();
        // With room for one, the first of them has appended its item.
        for (n, wait) in waits.iter_mut().enumerate() {
            assert_eq!(wait.now_or_never().is_some(), n < capacity);
        }
        assert_eq!(items.try_next(), Some(0));
        assert_eq!(items.try_next(), Some(1), "no producer has been polled meanwhile");
        assert_eq!(rest(&queue), [2, 3]);
        assert!(waits.split_off(capacity).iter_mut().all(|wait| wait.now_or_never().unwrap().is_ok()));
        assert_eq!(items.try_next(), None);

        queue.append(4);
        let mut late = queue.append_wait(5);
        assert!((&mut late).now_or_never().is_none());
        root.cancel();
        assert_eq!(rest(&queue), [4]);
        assert_eq!((&mut late).now_or_never().unwrap().unwrap_err().into_inner(), 5);
    }
}

#[test]
fn a_wait_that_is_given_up_gives_its_item_back() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    assert_eq!(queue.append_wait(0).withdraw(), Some(0));

    let mut there = queue.append_wait(1);
    assert!((&mut there).now_or_never().is_some());
    assert_eq!(there.withdraw(), None);

    let (mut first, mut second) = (queue.append_wait(2), queue.append_wait(3));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    assert_eq!(queue.remaining().next(), Some(1));
    // The room that it was called for goes to the next in line.
    assert_eq!(first.withdraw(), Some(2));
    assert!((&mut second).now_or_never().unwrap().is_ok());
    assert_eq!(rest(&queue), [3]);

    queue.append(4);
    let mut late = queue.append_wait(5);
    assert!((&mut late).now_or_never().is_none());
    root.cancel();
    assert_eq!((&mut late).now_or_never().unwrap().unwrap_err().into_inner(), 5);
    assert_eq!(late.withdraw(), None);
}
