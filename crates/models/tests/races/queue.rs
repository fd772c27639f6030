//! Wake-ups of queues, between tasks and between threads.

use machinery::{Ctx, Event, Queue, queue, sync_queue};
use machinery_models::{Count, block_on, large_model, model, poll_with, thread};

#[test]
fn a_consumer_that_registers_while_an_item_comes_gets_it() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).build::<u8>();
        let mut stream = items.stream();
        let producing = thread::spawn(move || items.append(7));
        assert_eq!(block_on(stream.next()), Some(7));
        producing.join().expect("no panic");
    });
}

#[test]
fn a_consumer_that_registers_while_the_context_completes_ends() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).build::<u8>();
        let mut stream = items.stream();
        let stopping = thread::spawn(move || root.cancel());
        assert_eq!(block_on(stream.next()), None);
        stopping.join().expect("no panic");
    });
}

#[test]
fn a_consumer_that_registers_while_the_breaker_is_set_ends() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).build::<u8>();
        let mut stream = items.stream();
        let breaking = thread::spawn({
            let items = items.clone();
            move || items.breaker().set()
        });
        assert_eq!(block_on(stream.next()), None);
        breaking.join().expect("no panic");
    });
}

#[test]
fn a_producer_that_waits_for_room_gets_it_when_an_item_is_taken() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).capacity(1).build::<u8>();
        let mut stream = items.stream();
        items.append(1);
        let producing = thread::spawn({
            let items = items.clone();
            move || block_on(items.append_wait(2)).is_ok()
        });
        assert_eq!(block_on(stream.next()), Some(1));
        assert_eq!(block_on(stream.next()), Some(2));
        assert!(producing.join().expect("no panic"));
    });
}

#[test]
fn a_producer_that_waits_for_room_while_the_context_completes_is_given_its_item_back() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).capacity(1).build::<u8>();
        items.append(1);
        let producing = thread::spawn({
            let items = items.clone();
            move || block_on(items.append_wait(2)).map_err(machinery::queue::AppendError::into_inner)
        });
        root.cancel();
        assert_eq!(producing.join().expect("no panic"), Err(2));
    });
}

#[test]
fn two_producers_and_two_consumers_lose_and_double_nothing() {
    large_model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).capacity(1).build::<u8>();
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let mut stream = items.stream();
                thread::spawn(move || [block_on(stream.next()), block_on(stream.next())])
            })
            .collect();
        let producers: Vec<_> = (0..2_u8)
            .map(|n| {
                let items = items.clone();
                thread::spawn(move || {
                    block_on(items.append_wait(n * 2)).expect("there is room in the end");
                    block_on(items.append_wait(n * 2 + 1)).expect("there is room in the end");
                })
            })
            .collect();
        for producer in producers {
            producer.join().expect("no panic");
        }
        let mut seen: Vec<_> = consumers.into_iter().flat_map(|it| it.join().expect("no panic")).flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
    });
}

#[test]
fn a_thread_that_begins_to_wait_while_an_item_comes_gets_it() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = sync_queue(&root).build::<u8>();
        let mut iter = items.iter();
        let producing = thread::spawn(move || items.append(7));
        assert_eq!(iter.next(), Some(7));
        producing.join().expect("no panic");
    });
}

#[test]
fn a_thread_that_begins_to_wait_while_the_context_completes_ends() {
    model(|| {
        let root = Ctx::beginning("root");
        let mut iter = sync_queue(&root).build::<u8>().iter();
        let stopping = thread::spawn(move || root.cancel());
        assert_eq!(iter.next(), None);
        stopping.join().expect("no panic");
    });
}

#[test]
fn items_appended_while_the_context_completes_are_yielded_or_remain() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).empty_on_finished().build::<u8>();
        let mut stream = items.stream();
        let producing = thread::spawn({
            let items = items.clone();
            move || items.append(7)
        });
        root.cancel();
        let mut seen = Vec::new();
        while let Some(item) = block_on(stream.next()) {
            seen.push(item);
        }
        producing.join().expect("no panic");
        seen.extend(items.remaining());
        assert_eq!(seen, [7]);
    });
}

/// A producer that stands in line with 2, and says whether that was appended.
fn waiting_for_room(items: Queue<u8>) -> thread::JoinHandle<bool> {
    let in_line = Event::new();
    let producing = thread::spawn({
        let in_line = in_line.clone();
        move || {
            let mut wait = items.append_wait(2);
            assert!(poll_with(&mut wait, &Count::new().waker()).is_pending());
            in_line.set();
            block_on(wait).is_ok()
        }
    });
    block_on(in_line.wait());
    producing
}

#[test]
fn what_is_left_has_the_item_of_a_producer_that_gets_room_meanwhile() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = queue(&root).capacity(1).build::<u8>();
        items.append(1);
        let producing = waiting_for_room(items.clone());
        assert_eq!(items.remaining().collect::<Vec<_>>(), [1, 2]);
        assert!(producing.join().expect("no panic"));
    });
}

#[test]
fn a_thread_that_looks_has_the_item_of_a_producer_that_gets_room_meanwhile() {
    model(|| {
        let root = Ctx::beginning("root");
        let items = sync_queue(&root).capacity(1).build::<u8>();
        items.append(1);
        let producing = waiting_for_room(items.for_tasks());
        let mut iter = items.iter();
        assert_eq!((iter.try_next(), iter.try_next()), (Some(1), Some(2)));
        assert!(producing.join().expect("no panic"));
    });
}
