//! Wake-ups of the queues: who appends, completes or breaks against who waits.
#![cfg(any(machinery_loom, machinery_shuttle))]

use machinery::{Ctx, Queue, SyncQueue, queue, sync_queue};
use machinery_models::{Count, block_on, large_model, model, poll_with, thread};

#[test]
fn an_item_wakes_a_consumer_that_is_about_to_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let mut items = queue.stream();
        let producer = thread::spawn(move || queue.append(1));
        assert_eq!(block_on(items.next()), Some(1));
        producer.join().expect("no panic");
    });
}

#[test]
fn a_priority_item_wakes_a_consumer_that_is_about_to_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let mut items = queue.stream();
        let producer = thread::spawn(move || queue.append_priority(1));
        assert_eq!(block_on(items.next()), Some(1));
        producer.join().expect("no panic");
    });
}

#[test]
fn a_consumer_in_step_with_its_producer_misses_nothing() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let mut items = queue.stream();
        // It has waited, so that it stays registered when it takes the first item.
        assert!(poll_with(&mut Box::pin(items.next()), &Count::new().waker()).is_pending());
        let producer = thread::spawn(move || {
            queue.append(1);
            queue.append(2);
        });
        assert_eq!(block_on(items.next()), Some(1));
        assert_eq!(block_on(items.next()), Some(2));
        producer.join().expect("no panic");
    });
}

#[test]
fn items_of_one_producer_keep_their_order_past_a_priority_item() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let mut items = queue.stream();
        queue.append(1);
        queue.append(2);
        let urgent = queue.clone();
        let priority = thread::spawn(move || urgent.append_priority(0));
        let mut seen: Vec<_> = (0..3).map(|_| block_on(items.next()).expect("not ended")).collect();
        priority.join().expect("no panic");
        seen.retain(|item| *item != 0);
        assert_eq!(seen, [1, 2]);
        assert!(queue.is_empty());
    });
}

#[test]
fn completion_wakes_a_consumer_that_is_about_to_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::<u8>::new(&root);
        let mut items = queue.stream();
        let completing = thread::spawn(move || {
            root.cancel();
        });
        assert_eq!(block_on(items.next()), None);
        completing.join().expect("no panic");
    });
}

#[test]
fn the_breaker_wakes_a_consumer_that_is_about_to_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::<u8>::new(&root);
        let mut items = queue.stream();
        let breaker = queue.breaker().clone();
        let breaking = thread::spawn(move || {
            breaker.set();
        });
        assert_eq!(block_on(items.next()), None);
        breaking.join().expect("no panic");
    });
}

#[test]
fn an_item_that_races_the_completion_is_yielded_or_left() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = queue(&root).empty_on_finished().build();
        let mut items = queue.stream();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || queue.append(1)
        });
        root.cancel();
        let yielded = block_on(items.next());
        producer.join().expect("no panic");
        let left: Vec<_> = queue.remaining().collect();
        assert_eq!(yielded.into_iter().chain(left).collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn an_item_that_races_the_stop_of_a_stream_stays_for_the_next() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let mut items = queue.stream();
        let woken = Count::new();
        assert!(poll_with(&mut Box::pin(items.next()), &woken.waker()).is_pending());
        let producer = thread::spawn({
            let queue = queue.clone();
            move || queue.append(1)
        });
        drop(items);
        assert_eq!(block_on(queue.stream().next()), Some(1));
        producer.join().expect("no panic");
        assert_eq!(std::sync::Arc::strong_count(&woken), 1);
    });
}

#[test]
fn two_consumers_share_two_items() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let (mut here, mut there) = (queue.stream(), queue.stream());
        let other = thread::spawn(move || block_on(there.next()));
        queue.append(1);
        queue.append(2);
        let mut seen = [block_on(here.next()), other.join().expect("no panic")];
        seen.sort_unstable();
        assert_eq!(seen, [Some(1), Some(2)]);
    });
}

#[test]
fn room_wakes_a_producer_that_is_about_to_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = queue(&root).capacity(1).build();
        queue.append(1);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || block_on(queue.append_wait(2)).is_ok()
        });
        let mut items = queue.stream();
        assert_eq!(block_on(items.next()), Some(1));
        assert_eq!(block_on(items.next()), Some(2));
        assert!(producer.join().expect("no panic"));
    });
}

#[test]
fn with_no_room_at_all_a_producer_and_a_consumer_meet() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = queue(&root).capacity(0).build();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || block_on(queue.append_wait(1)).is_ok()
        });
        assert_eq!(block_on(queue.stream().next()), Some(1));
        assert!(producer.join().expect("no panic"));
    });
}

#[test]
fn with_no_room_at_all_try_append_meets_a_consumer_that_waits_or_refuses() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = queue(&root).capacity(0).build();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || match queue.try_append(1) {
                Ok(()) => true,
                Err(refused) => refused.is_full() && block_on(queue.append_wait(refused.into_inner())).is_ok(),
            }
        });
        assert_eq!(block_on(queue.stream().next()), Some(1));
        assert!(producer.join().expect("no panic"));
        assert!(queue.is_empty());
    });
}

#[test]
fn a_producer_that_goes_away_passes_its_room_on() {
    large_model(|| {
        let root = Ctx::beginning("root");
        let queue = queue(&root).capacity(1).build();
        queue.append(1);
        let mut gone = Box::pin({
            let queue = queue.clone();
            async move { queue.append_wait(2).await.is_ok() }
        });
        assert!(poll_with(&mut gone, &Count::new().waker()).is_pending());
        let producer = thread::spawn({
            let queue = queue.clone();
            move || block_on(queue.append_wait(3)).is_ok()
        });
        let consumer = thread::spawn({
            let queue = queue.clone();
            move || queue.remaining().next()
        });
        drop(gone);
        assert_eq!(consumer.join().expect("no panic"), Some(1));
        assert!(producer.join().expect("no panic"));
        assert_eq!(queue.remaining().collect::<Vec<_>>(), [3]);
    });
}

/// Scenario 20.
#[test]
fn completion_gives_a_producer_that_waits_its_item_back() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = queue(&root).capacity(1).build();
        queue.append(1);
        let producer = thread::spawn({
            let queue = queue.clone();
            move || block_on(queue.append_wait(2)).map_err(machinery::queue::AppendError::into_inner)
        });
        root.cancel();
        assert_eq!(producer.join().expect("no panic"), Err(2));
        assert_eq!(queue.remaining().collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn a_thread_that_waits_is_woken_by_an_item_and_by_completion() {
    model(|| {
        let root = Ctx::beginning("root");
        let queue = SyncQueue::new(&root);
        let mut items = queue.iter();
        let consumer = thread::spawn(move || items.next());
        queue.append(1);
        assert_eq!(consumer.join().expect("no panic"), Some(1));

        let mut items = queue.iter();
        let consumer = thread::spawn(move || items.next());
        root.cancel();
        assert_eq!(consumer.join().expect("no panic"), None);
    });
}

#[test]
fn threads_that_produce_and_consume_lose_and_double_nothing() {
    large_model(|| {
        let root = Ctx::beginning("root");
        let queue = sync_queue(&root).capacity(2).empty_on_finished().build();
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let items = queue.iter();
                thread::spawn(move || items.collect::<Vec<u32>>())
            })
            .collect();
        let producers: Vec<_> = (0..2)
            .map(|producer| {
                let queue = queue.clone();
                thread::spawn(move || {
                    for n in 0..3 {
                        if n == 1 {
                            queue.append_priority(3 * producer + n);
                        } else {
                            queue.append_wait(3 * producer + n).expect("the context is pending");
                        }
                    }
                })
            })
            .collect();
        for producer in producers {
            producer.join().expect("no panic");
        }
        root.cancel();
        let mut all: Vec<_> = consumers.into_iter().flat_map(|consumer| consumer.join().expect("no panic")).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    });
}
