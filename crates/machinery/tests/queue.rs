//! The queue, through its public face.
#![expect(clippy::disallowed_methods, reason = "the tests spawn as users do")]

mod wakers;

use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, Stream, StreamExt, stream::FusedStream};
use machinery::queue::{QueueStream, downcast};
use machinery::{Ctx, CtxGuard, CtxOptions, Queue, Report, Tramp, queue};
use wakers::{Probe, on_drop, on_wake};

/// Keeps what is reported.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Tramp for Kept {
    fn log_exception(&self, report: &Report<'_>) {
        self.0.lock().expect("no panic").push(format!("{}: {report}", report.ctx().full_name()));
    }
}

impl Kept {
    fn root() -> (Self, CtxGuard) {
        let kept = Self::default();
        let root = Ctx::beginning_with("app", CtxOptions::new().tramp(kept.clone())).expect("no deadline");
        (kept, root)
    }

    fn reports(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

fn poll_next<T>(stream: &mut QueueStream<T>, waker: &Waker) -> Poll<Option<T>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

fn now<T>(stream: &mut QueueStream<T>) -> Poll<Option<T>> {
    poll_next(stream, Waker::noop())
}

/// What the stream has to give without waiting.
fn drain<T>(stream: &mut QueueStream<T>) -> Vec<T> {
    std::iter::from_fn(|| match now(stream) {
        Poll::Ready(item) => item,
        Poll::Pending => None,
    })
    .collect()
}

fn rest<T>(queue: &Queue<T>) -> Vec<T> {
    queue.remaining().collect()
}

fn both_runtimes(test: impl AsyncFn()) {
    use tokio::runtime::Builder;
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test());
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(test());
}

#[test]
fn items_come_out_in_the_order_in_which_they_were_appended() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    // More than fits into one chunk, and taken in turns with the appending.
    let mut stream = queue.stream();
    let (mut next, mut seen) = (0_u32, 0_u32);
    for burst in [1, 2, 3_000, 1, 5_000, 7] {
        for _ in 0..burst {
            queue.append(next);
            next += 1;
        }
        for _ in 0..burst / 2 {
            assert_eq!(now(&mut stream), Poll::Ready(Some(seen)));
            seen += 1;
        }
        assert_eq!(queue.len(), (next - seen) as usize);
    }
    assert_eq!(drain(&mut stream), (seen..next).collect::<Vec<_>>());
    assert!(queue.is_empty());
}

#[test]
fn items_of_any_size_are_kept() {
    let root = Ctx::beginning("app");
    let nothing = Queue::new(&root);
    let large = Queue::new(&root);
    for n in 0..5_000_u64 {
        nothing.append(());
        large.append([n; 500]);
    }
    assert_eq!(rest(&nothing).len(), 5_000);
    assert!(rest(&large).iter().map(|item| item[499]).eq(0..5_000));
}

#[test]
fn fixed_two_priority_appends_stand_last_in_first_out() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    queue.append(1);
    queue.append(2);
    queue.append(3);
    let mut stream = queue.stream();
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    queue.append_priority(10);
    queue.append_priority(11);
    queue.append(4);
    assert_eq!(drain(&mut stream), [11, 10, 2, 3, 4]);

    for n in 0..5_000 {
        queue.append_priority(n);
    }
    assert!(drain(&mut stream).into_iter().eq((0..5_000).rev()));
}

#[test]
fn an_instruction_runs_when_its_turn_comes_and_yields_nothing() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let ran = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let ran = Arc::clone(&ran);
        move || ran.lock().unwrap().push(what)
    };
    queue.append_instruction(note("first"));
    queue.append(1);
    queue.append_instruction(note("second"));
    queue.append_instruction(note("third"));
    queue.append(2);
    queue.append_instruction_priority(note("urgent"));
    queue.append_instruction_priority(note("most urgent"));
    queue.append_priority(0);
    assert_eq!(queue.len(), 8);

    let mut stream = queue.stream();
    let mut seen = Vec::new();
    while let Poll::Ready(Some(item)) = now(&mut stream) {
        seen.push((item, ran.lock().unwrap().len()));
    }
    assert_eq!(seen, [(0, 0), (1, 3), (2, 5)]);
    assert_eq!(*ran.lock().unwrap(), ["most urgent", "urgent", "first", "second", "third"]);
}

#[test]
fn fixed_len_counts_instructions_and_remaining_runs_them() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let ran = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&ran);
    queue.append(1);
    queue.append_instruction(move || {
        note.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(queue.len(), 2);
    assert!(!queue.is_empty());
    assert_eq!(rest(&queue), [1]);
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    assert_eq!(queue.len(), 0);
}

#[test]
fn remaining_leaves_what_it_has_not_yielded() {
    let root = Ctx::beginning("app");
    let mut queue = Queue::new(&root);
    queue.extend(0..4);
    assert_eq!(queue.remaining().take(2).collect::<Vec<_>>(), [0, 1]);
    queue.append_priority(9);
    assert_eq!(rest(&queue), [9, 2, 3]);
}

#[test]
fn remaining_takes_what_a_living_stream_has_not_yielded() {
    let root = Ctx::beginning("app");
    let mut queue = Queue::new(&root);
    queue.extend(0..4);
    let mut stream = queue.stream();
    assert_eq!(now(&mut stream), Poll::Ready(Some(0)));
    assert_eq!(rest(&queue), [1, 2, 3]);
    assert!(now(&mut stream).is_pending());
}

#[test]
fn functions_run_each_time_the_consumer_comes_back_after_an_item() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for name in ["a", "b"] {
        let seen = Arc::clone(&seen);
        queue.process_after_yielded(move |queue| seen.lock().unwrap().push((name, queue.len(), queue.is_empty())));
    }
    queue.append_instruction(|| ());
    queue.append(1);
    queue.append(2);

    let mut stream = queue.stream();
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!(now(&mut stream), Poll::Ready(Some(2)));
    assert_eq!(*seen.lock().unwrap(), [("a", 1, false), ("b", 1, false)]);
    assert!(now(&mut stream).is_pending());
    assert!(now(&mut stream).is_pending());
    assert_eq!(seen.lock().unwrap().len(), 4);

    // Also when the consumer comes back to find that the queue has ended.
    queue.append(3);
    assert_eq!(now(&mut stream), Poll::Ready(Some(3)));
    root.cancel();
    assert_eq!((now(&mut stream), now(&mut stream)), (Poll::Ready(None), Poll::Ready(None)));
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[test]
fn a_function_between_items_can_append_and_break() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    queue.process_after_yielded(|queue| {
        queue.append(100);
        if queue.len() == 2 {
            queue.breaker().set();
        }
    });
    queue.append(1);
    let mut stream = queue.stream();
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert_eq!(now(&mut stream), Poll::Ready(Some(100)));
    queue.append(2);
    assert_eq!(now(&mut stream), Poll::Ready(None));
    assert_eq!(rest(&queue), [2, 100]);
}

#[test]
fn a_stream_ends_when_the_context_completes() {
    both_runtimes(async || {
        let root = Ctx::beginning("app");
        let queue = queue(&root).name("jobs").build();
        assert_eq!(queue.ctx().full_name(), "app-->jobs");
        queue.append(1);
        let mut stream = queue.stream();
        let (seen, first) = tokio::sync::oneshot::channel();
        let consumer = tokio::spawn(async move {
            let item = stream.next().await;
            let _ = seen.send(item);
            (stream.next().await, stream.next().await, stream.is_terminated())
        });
        assert_eq!(first.await.unwrap(), Some(1));
        root.cancel();
        assert_eq!(consumer.await.unwrap(), (None, None, true));
        queue.append(2);
        assert_eq!(now(&mut queue.stream()), Poll::Ready(None));
        assert_eq!(rest(&queue), [2]);
    });
}

#[test]
fn without_empty_on_finished_what_is_queued_stays_for_remaining() {
    let root = Ctx::beginning("app");
    let mut queue = Queue::new(&root);
    queue.extend(0..3);
    let mut stream = queue.stream();
    assert_eq!(now(&mut stream), Poll::Ready(Some(0)));
    root.cancel();
    assert_eq!(now(&mut stream), Poll::Ready(None));
    queue.append(3);
    queue.append_priority(4);
    assert_eq!(queue.len(), 4);
    assert_eq!(rest(&queue), [1, 2, 4, 3]);
}

#[test]
fn fixed_empty_on_finished_yields_what_is_left_and_leaves_what_comes_afterwards() {
    let root = Ctx::beginning("app");
    let mut queue = queue(&root).empty_on_finished().build();
    queue.extend(0..3);
    let mut stream = queue.stream();
    assert_eq!(now(&mut stream), Poll::Ready(Some(0)));
    root.cancel();
    queue.append(3);
    queue.append_priority(4);
    assert_eq!(drain(&mut stream), [1, 2]);
    assert!(stream.is_terminated());
    assert_eq!(now(&mut queue.stream()), Poll::Ready(None));
    assert_eq!(rest(&queue), [4, 3]);
}

#[test]
fn what_is_appended_by_a_callback_of_the_completion_after_it_completed_the_context_is_late() {
    let root = Ctx::beginning("app");
    let other = Ctx::beginning("other");
    let queue = queue(&other).empty_on_finished().build();
    queue.append(1);
    let canceller = other.canceller();
    let producer = queue.clone();
    root.add_done_callback(move |_| {
        // The callbacks of the other context run after this one; its completion is visible before.
        canceller.cancel();
        producer.append(2);
    });
    root.cancel();
    assert_eq!(drain(&mut queue.stream()), [1]);
    assert_eq!(rest(&queue), [2]);
}

#[test]
fn a_queue_on_a_context_that_is_done_is_done_from_the_start() {
    let root = Ctx::beginning("app");
    root.cancel();
    let queue = queue(&root).empty_on_finished().build();
    queue.append(1);
    assert_eq!(now(&mut queue.stream()), Poll::Ready(None));
    assert_eq!(rest(&queue), [1]);
}

#[test]
fn the_breaker_ends_a_stream_and_a_new_one_goes_on() {
    both_runtimes(async || {
        let root = Ctx::beginning("app");
        let queue = Queue::new(&root);
        let mut stream = queue.stream();
        let waiting = tokio::spawn(async move { stream.next().await });
        tokio::task::yield_now().await;
        assert!(queue.breaker().set());
        assert_eq!(waiting.await.unwrap(), None);

        queue.append(1);
        let mut stream = queue.stream();
        assert!(!queue.breaker().is_set());
        assert_eq!(stream.next().await, Some(1));
        queue.append(2);
        queue.breaker().set();
        assert_eq!(stream.next().await, None);
        assert_eq!(queue.stream().next().await, Some(2));
    });
}

#[test]
fn the_breaker_is_cleared_when_the_stream_is_made_not_when_it_is_polled() {
    let root = Ctx::beginning("app");
    let queue = Queue::<u8>::new(&root);
    queue.breaker().set();
    let mut stream = queue.stream();
    assert!(!queue.breaker().is_set());
    queue.breaker().set();
    assert_eq!(now(&mut stream), Poll::Ready(None));
}

#[test]
fn a_breaker_ends_every_stream_made_before_it_even_if_another_clears_it() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let probe = Probe::new();
    let (mut a, mut b) = (queue.stream(), queue.stream());
    assert!(poll_next(&mut a, &probe.waker()).is_pending());
    assert!(poll_next(&mut b, &probe.waker()).is_pending());
    queue.breaker().set();
    assert_eq!(probe.woken(), 2);
    queue.append(1);
    let mut c = queue.stream();
    assert_eq!(now(&mut a), Poll::Ready(None));
    assert_eq!(now(&mut b), Poll::Ready(None));
    assert_eq!(now(&mut c), Poll::Ready(Some(1)));
}

#[test]
fn empty_on_finished_yields_what_is_left_when_the_breaker_is_noticed() {
    let root = Ctx::beginning("app");
    let mut queue = queue(&root).empty_on_finished().build();
    queue.extend(0..2);
    let mut stream = queue.stream();
    queue.breaker().set();
    assert_eq!(now(&mut stream), Poll::Ready(Some(0)));
    queue.append(2);
    assert_eq!(now(&mut stream), Poll::Ready(Some(1)));
    assert_eq!(now(&mut stream), Poll::Ready(None));
    assert_eq!(rest(&queue), [2]);
}

#[test]
fn scenario_16_a_consumer_dropped_at_any_suspension_loses_and_doubles_nothing() {
    for drop_after in 0..40 {
        let root = Ctx::beginning("app");
        let queue = Queue::new(&root);
        let probe = Probe::new();
        let mut seen = Vec::new();
        let mut polls = 0;
        let mut stream = queue.stream();
        for round in 0..20 {
            if round % 3 == 0 {
                queue.append(2 * round);
                queue.append(2 * round + 1);
            }
            for _ in 0..2 {
                // Also the future of `next`, dropped while it waits.
                let waker = probe.waker();
                let mut next = Box::pin(stream.next());
                if let Poll::Ready(Some(item)) = next.as_mut().poll(&mut Context::from_waker(&waker)) {
                    seen.push(item);
                }
                drop(next);
                polls += 1;
                if polls % (drop_after + 1) == 0 {
                    stream = queue.stream();
                    assert_eq!(probe.kept(), 1, "a dropped stream left its waker behind");
                }
            }
        }
        drop(stream);
        seen.extend(queue.remaining());
        let all: Vec<_> = (0..20).filter(|round| round % 3 == 0).flat_map(|r| [2 * r, 2 * r + 1]).collect();
        assert_eq!(seen, all);
    }
}

#[test]
fn scenario_17_a_stream_that_was_polled_and_forgotten_holds_up_nobody() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let mut forgotten = queue.stream();
    assert!(now(&mut forgotten).is_pending());
    std::mem::forget(forgotten);
    let probe = Probe::new();
    let mut other = queue.stream();
    assert!(poll_next(&mut other, &probe.waker()).is_pending());
    queue.append(1);
    assert_eq!(probe.woken(), 1);
    assert_eq!(now(&mut other), Poll::Ready(Some(1)));
}

#[test]
fn scenario_18_only_the_latest_waker_of_a_stream_counts() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let (old, new) = (Probe::new(), Probe::new());
    let mut stream = queue.stream();
    assert!(poll_next(&mut stream, &old.waker()).is_pending());
    assert!(poll_next(&mut stream, &new.waker()).is_pending());
    assert_eq!(old.kept(), 0);
    queue.append(1);
    assert_eq!((old.woken(), new.woken()), (0, 1));
}

#[test]
fn a_consumer_in_step_with_its_producer_is_woken_for_every_item() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let (probe, mut stream) = (Probe::new(), queue.stream());
    let waker = probe.waker();
    assert!(poll_next(&mut stream, &waker).is_pending());
    for n in 0..40 {
        let before = probe.woken();
        queue.append(n);
        assert_eq!(probe.woken(), before + 1, "item {n}");
        assert_eq!(poll_next(&mut stream, &waker), Poll::Ready(Some(n)));
        assert!(poll_next(&mut stream, &waker).is_pending());
        if n % 3 == 0 {
            assert!(poll_next(&mut stream, &waker).is_pending());
        }
    }
}

#[test]
fn a_consumer_whose_item_was_taken_by_another_is_woken_for_the_next() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let (probe, mut stream) = (Probe::new(), queue.stream());
    let waker = probe.waker();
    for n in 0..40 {
        assert!(poll_next(&mut stream, &waker).is_pending());
        queue.append(n);
        assert_eq!(poll_next(&mut stream, &waker), Poll::Ready(Some(n)));
        // Between two polls of the consumer an item comes and goes, and with it whatever was registered.
        queue.append(100);
        assert_eq!(queue.remaining().next(), Some(100));
        assert!(poll_next(&mut stream, &waker).is_pending());
        let before = probe.woken();
        queue.append(n);
        assert_eq!(probe.woken(), before + 1);
        assert_eq!(queue.remaining().next(), Some(n));
    }
}

#[test]
fn a_consumer_in_step_that_moves_to_another_task_is_woken_there() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let mut stream = queue.stream();
    let mut old = Probe::new();
    assert!(poll_next(&mut stream, &old.waker()).is_pending());
    for n in 0..20 {
        queue.append(n);
        assert_eq!(poll_next(&mut stream, &old.waker()), Poll::Ready(Some(n)));
        let new = Probe::new();
        assert!(poll_next(&mut stream, &new.waker()).is_pending());
        assert_eq!(old.kept(), 0, "the old task is kept");
        old = new;
    }
    queue.breaker().set();
    assert_eq!(old.woken(), 1);
    assert_eq!(now(&mut stream), Poll::Ready(None));
    assert_eq!(old.kept(), 0);
}

#[test]
fn a_consumer_in_step_is_woken_by_the_end_and_the_breaker() {
    for by_breaker in [false, true] {
        let root = Ctx::beginning("app");
        let queue = Queue::new(&root);
        let (probe, mut stream) = (Probe::new(), queue.stream());
        let waker = probe.waker();
        assert!(poll_next(&mut stream, &waker).is_pending());
        queue.append(1);
        assert_eq!(poll_next(&mut stream, &waker), Poll::Ready(Some(1)));
        assert!(poll_next(&mut stream, &waker).is_pending());
        if by_breaker {
            queue.breaker().set()
        } else {
            root.cancel()
        };
        assert_eq!(probe.woken(), 2);
        assert_eq!(poll_next(&mut stream, &waker), Poll::Ready(None));
        drop(waker);
        assert_eq!(probe.kept(), 0, "an ended stream keeps a waker");
    }
}

#[test]
fn scenario_23_a_task_that_polls_in_vain_and_goes_on_lets_others_run_as_well() {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let root = Ctx::beginning("app");
        let queue = Queue::new(&root);
        let neighbour = tokio::spawn(async {});
        let mut stream = queue.stream();
        let mut rounds = 0_u32;
        while !neighbour.is_finished() {
            assert!(stream.next().now_or_never().is_none());
            queue.append(rounds);
            assert_eq!(stream.next().await, Some(rounds));
            rounds += 1;
            assert!(rounds < 100_000, "the neighbour never had a turn");
        }
    });
}

#[tokio::test]
async fn scenario_19_a_stream_kept_in_a_select_but_not_polled_holds_up_nobody() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let mut kept = queue.stream();
    tokio::select! {
        biased;
        _ = kept.next() => panic!("there is nothing"),
        () = std::future::ready(()) => {}
    }
    let mut other = queue.stream();
    let waiting = tokio::spawn(async move { (other.next().await, other.next().await) });
    tokio::task::yield_now().await;
    queue.append(1);
    queue.append(2);
    assert_eq!(waiting.await.unwrap(), (Some(1), Some(2)));
    drop(kept);
}

#[test]
fn scenario_9_a_waker_that_re_enters_the_queue() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let mut stream = queue.stream();
    let inside = queue.clone();
    let waker = on_wake(move || {
        if inside.len() < 3 {
            inside.append(7);
            inside.append_priority(8);
        }
        inside.remaining().next();
        drop(inside.stream());
    });
    assert!(poll_next(&mut stream, &waker).is_pending());
    drop(waker);
    queue.append(1);
    assert_eq!(rest(&queue), [1, 7]);
}

#[test]
fn scenario_10_a_waker_whose_drop_re_enters_the_queue() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let dropping = || {
        let inside = queue.clone();
        on_drop(move || inside.append(1))
    };
    // Replaced by another, and dropped with the stream.
    let mut stream = queue.stream();
    assert!(poll_next(&mut stream, &dropping()).is_pending());
    assert!(poll_next(&mut stream, Waker::noop()).is_ready() || queue.len() == 1);
    queue.remaining().for_each(drop);
    let mut other = queue.stream();
    assert!(poll_next(&mut other, &dropping()).is_pending());
    drop(other);
    assert_eq!(rest(&queue), [1]);
    // Woken.
    assert!(poll_next(&mut stream, &dropping()).is_pending());
    queue.append(2);
    assert_eq!(rest(&queue), [2, 1]);
}

#[test]
fn scenario_11_a_waker_that_panics_keeps_no_other_from_being_woken() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let probe = Probe::new();
    let mut streams: Vec<_> = (0..3).map(|_| queue.stream()).collect();
    assert!(poll_next(&mut streams[0], &on_wake(|| panic!("a waker"))).is_pending());
    assert!(poll_next(&mut streams[1], &on_wake(|| panic!("another waker"))).is_pending());
    assert!(poll_next(&mut streams[2], &probe.waker()).is_pending());
    queue.append(1);
    assert_eq!(probe.woken(), 1);
    assert_eq!(now(&mut streams[0]), Poll::Ready(Some(1)));
}

#[test]
fn scenario_12_an_instruction_that_blocks_stalls_no_producer() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let (entered, wait_entered) = mpsc::channel();
    let (release, wait_release) = mpsc::channel::<()>();
    queue.append_instruction(move || {
        entered.send(()).unwrap();
        wait_release.recv().unwrap();
    });
    let mut stream = queue.stream();
    let consumer = std::thread::spawn(move || drain(&mut stream));
    wait_entered.recv().unwrap();
    queue.append(1);
    queue.append_priority(0);
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.remaining().next(), Some(0));
    release.send(()).unwrap();
    assert_eq!(consumer.join().unwrap(), [1]);
}

#[test]
fn scenario_13_an_instruction_or_function_that_panics_is_reported_and_the_consumer_goes_on() {
    let (kept, root) = Kept::root();
    let queue = queue(&root).name("jobs").build();
    queue.append_instruction(|| panic!("a mistake"));
    queue.append(1);
    let after = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&after);
    queue.process_after_yielded(|_| panic!("another mistake"));
    queue.process_after_yielded(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    queue.append(2);
    assert_eq!(drain(&mut queue.stream()), [1, 2]);
    assert_eq!(after.load(Ordering::Relaxed), 2);
    let between = "app-->jobs: a function between the items of a queue panicked: another mistake";
    assert_eq!(kept.reports(), ["app-->jobs: an instruction of a queue panicked: a mistake", between, between]);
}

#[test]
fn scenario_14_an_instruction_that_re_enters_the_queue_and_ends_it() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).empty_on_finished().build();
    let inside = queue.clone();
    queue.append_instruction(move || {
        inside.append(2);
        inside.append_priority(0);
        inside.append_instruction_priority(|| ());
        assert_eq!(inside.len(), 4);
        assert_eq!(inside.remaining().next(), Some(0));
        root.cancel();
        inside.append(3);
    });
    queue.append(1);
    let mut stream = queue.stream();
    assert_eq!(drain(&mut stream), [1, 2]);
    assert_eq!(rest(&queue), [3]);

    // The last handle goes away inside an instruction that the stream runs.
    let root = Ctx::beginning("app");
    let queue = Queue::<u8>::new(&root);
    let mut stream = queue.stream();
    let handle = queue.clone();
    queue.append_instruction(move || drop(handle));
    drop(queue);
    assert!(now(&mut stream).is_pending());
}

#[test]
fn an_item_whose_drop_re_enters_the_queue() {
    struct Late(Option<Queue<Late>>);
    impl Drop for Late {
        fn drop(&mut self) {
            if let Some(queue) = self.0.take() {
                queue.append(Late(None));
            }
        }
    }
    let root = Ctx::beginning("app");
    let queue = queue(&root).capacity(1).build();
    queue.append(Late(Some(queue.clone())));
    drop(queue.remaining().next());
    assert_eq!(queue.len(), 1);
    let mut waiting = queue.append_wait(Late(Some(queue.clone())));
    assert!(Probe::new().poll(&mut waiting).is_pending());
    drop(waiting);
    assert_eq!(queue.len(), 2);
    queue.remaining().for_each(drop);
}

#[test]
fn scenario_23_a_million_ready_items_on_one_thread_let_other_tasks_run() {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let root = Ctx::beginning("app");
        let queue = Queue::new(&root);
        for n in 0..1_000_000_u32 {
            queue.append(n);
        }
        let turns = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let neighbour = tokio::spawn({
            let (turns, stop) = (Arc::clone(&turns), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut stream = queue.stream();
        let consumer = tokio::spawn(async move {
            for n in 0..1_000_000 {
                assert_eq!(stream.next().await, Some(n));
            }
        });
        consumer.await.unwrap();
        stop.store(true, Ordering::Relaxed);
        neighbour.await.unwrap();
        assert!(turns.load(Ordering::Relaxed) >= 1_000_000 / 1_024, "the neighbour had {turns:?} turns");
    });
}

#[test]
fn scenario_23_a_million_instructions_let_other_tasks_run_as_well() {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let root = Ctx::beginning("app");
        let queue = Queue::<()>::new(&root);
        for _ in 0..100_000 {
            queue.append_instruction(|| ());
        }
        let neighbour = tokio::spawn({
            let queue = queue.clone();
            async move {
                let seen = queue.len();
                queue.breaker().set();
                seen
            }
        });
        assert_eq!(queue.stream().next().await, None);
        let seen = neighbour.await.unwrap();
        assert!(seen >= 100_000 - 1_024, "only {seen} were left when the neighbour had its first turn");
    });
}

#[test]
fn scenario_32_a_queue_needs_no_runtime_and_outlives_one() {
    let root = Ctx::beginning("app");
    let queue = Queue::new(&root);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let mut stream = queue.stream();
    let task = runtime.spawn(async move { stream.next().await });
    drop(runtime);
    queue.append(1);
    assert!(matches!(task.now_or_never(), None | Some(Err(_))));
    assert_eq!(drain(&mut queue.stream()), [1]);
}

#[test]
fn the_last_handle_cancels_the_queues_context_and_drops_its_items() {
    let root = Ctx::beginning("app");
    let item = Arc::new(());
    let queue = Queue::new(&root);
    let ctx = queue.ctx().clone();
    queue.append(Arc::clone(&item));
    queue.append_instruction({
        let item = Arc::clone(&item);
        move || drop(item)
    });
    let stream = queue.stream();
    drop(queue);
    assert!(!ctx.is_done());
    drop(stream);
    assert!(ctx.is_cancelled());
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn several_streams_share_the_items_and_each_goes_to_one_of_them() {
    both_runtimes(async || {
        let root = Ctx::beginning("app");
        let queue = queue(&root).empty_on_finished().build();
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let stream = queue.stream();
                tokio::spawn(stream.collect::<Vec<u32>>())
            })
            .collect();
        let producers: Vec<_> = (0..2)
            .map(|producer| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    for n in 0..5_000 {
                        queue.append(producer * 5_000 + n);
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
            let seen = consumer.await.unwrap();
            for producer in 0..2 {
                let own = seen.iter().filter(|&&n| n / 5_000 == producer);
                assert!(own.is_sorted(), "one consumer saw a producer's items out of order");
            }
            all.extend(seen);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..10_000));
    });
}

#[test]
fn instructions_and_priority_keep_their_order_under_load() {
    both_runtimes(async || {
        const EACH: usize = 3_000;
        let root = Ctx::beginning("app");
        let queue = Queue::new(&root);
        // How many of each producer's items have been yielded, as its instructions see it.
        let yielded: Arc<[AtomicUsize; 4]> = Arc::default();
        let wrong = Arc::new(AtomicUsize::new(0));
        let ran = Arc::new(AtomicUsize::new(0));
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                let (queue, yielded) = (queue.clone(), Arc::clone(&yielded));
                let (wrong, ran) = (Arc::clone(&wrong), Arc::clone(&ran));
                std::thread::spawn(move || {
                    for n in 0..EACH {
                        let (yielded, wrong, ran) = (Arc::clone(&yielded), Arc::clone(&wrong), Arc::clone(&ran));
                        queue.append_instruction(move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                            if yielded[producer].load(Ordering::Relaxed) != n {
                                wrong.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                        queue.append((producer, Some(n)));
                        if n % 10 == 0 {
                            queue.append_priority((producer, None));
                        }
                    }
                })
            })
            .collect();
        let mut urgent = 0;
        let mut stream = queue.stream();
        let mut left = 4 * (EACH + EACH / 10);
        while left > 0 {
            left -= 1;
            match stream.next().await.unwrap() {
                (producer, Some(n)) => assert_eq!(yielded[producer].fetch_add(1, Ordering::Relaxed), n),
                (_, None) => urgent += 1,
            }
        }
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(urgent, 4 * EACH / 10);
        assert_eq!(ran.load(Ordering::Relaxed), 4 * EACH);
        assert_eq!(wrong.load(Ordering::Relaxed), 0, "instructions ran before or after their turn");
    });
}

#[test]
fn a_consumer_that_waits_misses_no_item() {
    both_runtimes(async || {
        let root = Ctx::beginning("app");
        let (there, back) = (Queue::new(&root), Queue::new(&root));
        let echo = tokio::spawn({
            let (mut items, back) = (there.stream(), back.clone());
            async move {
                while let Some(item) = items.next().await {
                    if item % 3 == 0 { back.append_priority(item) } else { back.append(item) }
                }
            }
        });
        let mut items = back.stream();
        for n in 0..20_000 {
            if n % 2 == 0 {
                there.append(n)
            } else {
                there.append_priority(n)
            }
            assert_eq!(items.next().await, Some(n));
        }
        root.cancel();
        echo.await.unwrap();
    });
}

#[test]
fn an_ensurer_converts_at_the_door_and_gives_back_what_it_refuses() {
    let root = Ctx::beginning("app");
    let numbers = queue(&root).name("numbers").item_ensurer(downcast::<u32>).build();
    numbers.append(Box::new(1_u32)).unwrap();
    numbers.append_priority(Box::new(0_u32)).unwrap();
    let refused = numbers.append(Box::new("two")).unwrap_err();
    assert!(refused.to_string().contains("does not take this value"));
    let value: Box<dyn Any + Send> = refused.into_inner();
    assert_eq!(*value.downcast::<&str>().unwrap(), "two");
    assert!(numbers.append_priority(Box::new(2_u64)).is_err());
    // What has the type already is not converted.
    Queue::append(&numbers, 3);
    assert_eq!(drain(&mut numbers.clone().stream()), [0, 1, 3]);
    assert_eq!(numbers.ctx().name(), "numbers");
}

#[test]
fn handles_can_be_shared_and_sent() {
    fn shared<T: Send + Sync + Unpin + 'static>() {}
    fn sent<T: Send + Unpin>() {}
    // An item needs to be `Send`, and no more.
    type Item = std::cell::Cell<u8>;
    shared::<Queue<Item>>();
    shared::<QueueStream<Item>>();
    shared::<machinery::queue::EnsuredQueue<u8, Item>>();
    sent::<machinery::queue::AppendWait<'static, Item>>();
    sent::<machinery::queue::Remaining<'static, Item>>();
    shared::<machinery::queue::QueueBuilder>();
}

#[test]
fn debug_says_which_queue_it_is_and_how_long() {
    let root = Ctx::beginning("app");
    let queue = queue(&root).name("jobs").capacity(3).build();
    queue.append(1);
    let shown = format!("{queue:?}");
    assert!(shown.contains("app-->jobs") && shown.contains("len: 1") && shown.contains("Some(3)"), "{shown}");
    assert!(format!("{:?}", queue.stream()).contains("jobs"));
}
