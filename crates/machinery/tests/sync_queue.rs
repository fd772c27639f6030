//! The queue between threads, through its public face.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use machinery::queue::downcast;
use machinery::sync_queue::SyncIter;
use machinery::{Ctx, CtxOptions, Report, SyncQueue, Tramp, sync_queue};

/// Counts what is reported.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Tramp for Count {
    fn log_exception(&self, report: &Report<'_>) {
        assert!(report.to_string().contains("a mistake"));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn rest<T>(queue: &SyncQueue<T>) -> Vec<T> {
    queue.remaining().collect()
}

#[test]
fn items_come_out_in_order_with_priority_and_instructions() {
    let root = Ctx::beginning("app");
    let queue = sync_queue(&root).name("jobs").build();
    assert_eq!(queue.ctx().full_name(), "app-->jobs");
    let ran = Arc::new(Mutex::new(Vec::new()));
    let note = |what| {
        let ran = Arc::clone(&ran);
        move || ran.lock().unwrap().push(what)
    };
    queue.append(1);
    queue.append_instruction(note("turn"));
    queue.append(2);
    queue.append_priority(10);
    queue.append_priority(11);
    queue.append_instruction_priority(note("urgent"));
    assert_eq!(queue.len(), 6);
    let mut items = queue.iter();
    assert_eq!(items.try_next(), Some(11));
    assert_eq!(*ran.lock().unwrap(), ["urgent"]);
    assert_eq!(items.by_ref().take(3).collect::<Vec<_>>(), [10, 1, 2]);
    assert_eq!(*ran.lock().unwrap(), ["urgent", "turn"]);
    assert_eq!(items.try_next(), None);
    assert!(!items.is_over());
}

#[test]
fn an_iterator_waits_for_items_and_ends_when_the_context_completes() {
    let root = Ctx::beginning("app");
    let queue = SyncQueue::new(&root);
    let (sender, seen) = mpsc::channel();
    let mut items = queue.iter();
    let consumer = thread::spawn(move || {
        for item in items.by_ref() {
            sender.send(item).unwrap();
        }
        assert!(items.is_over());
        items.next()
    });
    for n in 0..100 {
        queue.append(n);
        // Only once this item is through is there another, so that the thread goes to sleep now and then.
        assert_eq!(seen.recv(), Ok(n));
        if n % 10 == 0 {
            thread::yield_now();
        }
    }
    root.cancel();
    assert_eq!(consumer.join().unwrap(), None);
    queue.append(100);
    assert_eq!(queue.iter().next(), None);
    assert_eq!(rest(&queue), [100]);
}

#[test]
fn every_waiting_thread_is_woken_by_completion_and_by_the_breaker() {
    for by_breaker in [false, true] {
        let root = Ctx::beginning("app");
        let queue = SyncQueue::<u8>::new(&root);
        let consumers: Vec<_> = (0..8)
            .map(|_| {
                let items = queue.iter();
                thread::spawn(move || items.count())
            })
            .collect();
        if by_breaker {
            queue.breaker().set();
        } else {
            root.cancel();
        }
        for consumer in consumers {
            assert_eq!(consumer.join().unwrap(), 0);
        }
    }
}

#[test]
fn the_breaker_ends_an_iterator_and_a_new_one_goes_on() {
    let root = Ctx::beginning("app");
    let mut queue = SyncQueue::new(&root);
    queue.extend(0..3);
    let mut items = queue.iter();
    assert_eq!(items.next(), Some(0));
    queue.breaker().set();
    assert_eq!(items.next(), None);
    assert_eq!((&queue).into_iter().take(2).collect::<Vec<_>>(), [1, 2]);
    assert!(!queue.breaker().is_set());
}

#[test]
fn empty_on_finished_yields_what_is_left_and_leaves_what_comes_afterwards() {
    let root = Ctx::beginning("app");
    let mut queue = sync_queue(&root).empty_on_finished().build();
    queue.extend(0..3);
    root.cancel();
    queue.append(3);
    assert_eq!(queue.iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(rest(&queue), [3]);
}

#[test]
fn functions_run_between_the_items() {
    let root = Ctx::beginning("app");
    let queue = SyncQueue::new(&root);
    queue.process_after_yielded(|queue| {
        if queue.is_empty() {
            queue.breaker().set();
        }
    });
    queue.append(1);
    queue.append(2);
    assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn any_number_of_producers_and_consumers_lose_and_double_nothing() {
    const EACH: u32 = 20_000;
    let root = Ctx::beginning("app");
    let queue = sync_queue(&root).empty_on_finished().build();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let items = queue.iter();
            thread::spawn(move || items.collect::<Vec<u32>>())
        })
        .collect();
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let queue = queue.clone();
            thread::spawn(move || {
                for n in 0..EACH {
                    if n % 100 == 0 {
                        queue.append_priority(producer * EACH + n);
                    } else {
                        queue.append(producer * EACH + n);
                    }
                }
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    root.cancel();
    let mut all = Vec::new();
    for consumer in consumers {
        let seen = consumer.join().unwrap();
        for producer in 0..4 {
            let own = seen.iter().filter(|&&n| n / EACH == producer && n % 100 != 0);
            assert!(own.is_sorted(), "one consumer saw a producer's items out of order");
        }
        all.extend(seen);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..4 * EACH));
}

#[test]
fn a_waiting_thread_misses_no_item() {
    let root = Ctx::beginning("app");
    let (there, back) = (SyncQueue::new(&root), SyncQueue::new(&root));
    let echo = thread::spawn({
        let (items, back) = (there.iter(), back.clone());
        move || items.for_each(|item| back.append(item))
    });
    let mut items = back.iter();
    for n in 0..5_000 {
        if n % 2 == 0 {
            there.append(n)
        } else {
            there.append_priority(n)
        }
        assert_eq!(items.next(), Some(n));
    }
    root.cancel();
    echo.join().unwrap();
}

#[test]
fn a_producer_waits_for_room_and_gets_its_item_back_at_the_end() {
    let root = Ctx::beginning("app");
    let queue = sync_queue(&root).capacity(2).build();
    assert_eq!(queue.capacity(), Some(2));
    let (sender, said) = mpsc::channel();
    let producer = thread::spawn({
        let queue = queue.clone();
        move || {
            for n in 0.. {
                if let Err(refused) = queue.append_wait(n) {
                    return refused.into_inner();
                }
                sender.send(n).unwrap();
            }
            unreachable!()
        }
    });
    let mut items = queue.iter();
    for n in 0..100 {
        assert_eq!(items.next(), Some(n));
    }
    assert_eq!(said.iter().take(102).last(), Some(101));
    assert!(queue.try_append(0).unwrap_err().is_full());
    root.cancel();
    assert_eq!(producer.join().unwrap(), 102);
    assert!(queue.try_append(0).unwrap_err().is_done());
    assert_eq!(rest(&queue), [100, 101]);
}

#[test]
fn an_instruction_that_panics_is_reported_and_the_thread_goes_on() {
    let count = Count::default();
    let root = Ctx::beginning_with("app", CtxOptions::new().tramp(count.clone())).unwrap();
    let queue = SyncQueue::new(&root);
    queue.append_instruction(|| panic!("a mistake"));
    queue.append(1);
    assert_eq!(queue.iter().next(), Some(1));
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[test]
fn scenario_12_an_instruction_that_blocks_stalls_no_other_thread() {
    let root = Ctx::beginning("app");
    let queue = SyncQueue::new(&root);
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    queue.append_instruction(move || {
        entered.send(()).unwrap();
        wait_release.recv().unwrap();
    });
    let blocked = thread::spawn({
        let mut items = queue.iter();
        move || items.next()
    });
    wait_entered.recv().unwrap();
    queue.append(1);
    assert_eq!(queue.iter().next(), Some(1));
    root.cancel();
    release.send(()).unwrap();
    assert_eq!(blocked.join().unwrap(), None);
}

#[test]
fn an_iterator_inside_an_instruction_of_another_queue_waits_as_well() {
    let root = Ctx::beginning("app");
    let (outer, inner) = (SyncQueue::new(&root), SyncQueue::new(&root));
    let (sender, seen) = mpsc::channel();
    let from_inner = inner.clone();
    outer.append_instruction(move || sender.send(from_inner.iter().next()).unwrap());
    let consumer = thread::spawn({
        let mut items = outer.iter();
        move || items.next()
    });
    inner.append(1);
    assert_eq!(seen.recv().unwrap(), Some(1));
    outer.append(2);
    assert_eq!(consumer.join().unwrap(), Some(2));
}

#[test]
fn scenario_32_it_works_in_the_destructors_of_a_thread() {
    struct AtExit(SyncQueue<u8>, mpsc::Sender<Option<u8>>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            let waiting = self.0.clone();
            let helper = thread::spawn(move || waiting.append(7));
            self.1.send(self.0.iter().next()).unwrap();
            helper.join().unwrap();
        }
    }
    thread_local!(static AT_EXIT: std::cell::RefCell<Option<AtExit>> = const { std::cell::RefCell::new(None) });
    let root = Ctx::beginning("app");
    let queue = SyncQueue::new(&root);
    let (sender, seen) = mpsc::channel();
    thread::spawn(move || AT_EXIT.with(|slot| *slot.borrow_mut() = Some(AtExit(queue, sender)))).join().unwrap();
    assert_eq!(seen.recv().unwrap(), Some(7));
}

#[test]
fn an_ensurer_converts_at_the_door_and_gives_back_what_it_refuses() {
    let root = Ctx::beginning("app");
    let numbers = sync_queue(&root).item_ensurer(downcast::<u32>).build();
    numbers.append(Box::new(1_u32)).unwrap();
    numbers.append_priority(Box::new(0_u32)).unwrap();
    assert_eq!(*numbers.append(Box::new('c')).unwrap_err().into_inner().downcast::<char>().unwrap(), 'c');
    assert_eq!(numbers.iter().take(2).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn handles_can_be_shared_and_sent() {
    fn shared<T: Send + Sync + Unpin + 'static>() {}
    type Item = std::cell::Cell<u8>;
    shared::<SyncQueue<Item>>();
    shared::<SyncIter<Item>>();
    shared::<machinery::sync_queue::EnsuredSyncQueue<u8, Item>>();
}

#[test]
fn the_last_handle_cancels_the_queues_context_and_drops_its_items() {
    let root = Ctx::beginning("app");
    let item = Arc::new(());
    let queue = SyncQueue::new(&root);
    let ctx = queue.ctx().clone();
    queue.append(Arc::clone(&item));
    let items = queue.iter();
    drop(queue);
    assert!(!ctx.is_done());
    drop(items);
    assert!(ctx.is_cancelled());
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn what_is_left_is_dropped_whole_where_some_of_it_panics_in_its_drop() {
    #[derive(Clone, Default)]
    struct Dropped(Arc<AtomicUsize>);
    struct Panics(Dropped);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.0.fetch_add(1, Ordering::Relaxed);
            panic!("a mistake");
        }
    }
    let told = Count::default();
    let root = Ctx::beginning_with("app", CtxOptions::new().tramp(told.clone())).unwrap();
    let (items, instructions) = (Dropped::default(), Dropped::default());
    let queue = SyncQueue::new(&root);
    for _ in 0..3 {
        queue.append(Panics(items.clone()));
        let held = Panics(instructions.clone());
        queue.append_instruction(move || drop(held));
    }
    drop(queue);
    assert_eq!(items.0.load(Ordering::Relaxed), 3);
    assert_eq!(instructions.0.load(Ordering::Relaxed), 3);
    assert_eq!(told.0.load(Ordering::Relaxed), 6);

    // Where the items have no drop, an instruction may have one.
    let queue = SyncQueue::<u32>::new(&root);
    let held = [Panics(instructions.clone()), Panics(items.clone())].map(Some);
    for held in held {
        queue.append_instruction(move || drop(held));
    }
    drop(queue);
    assert_eq!(told.0.load(Ordering::Relaxed), 8);
}
