//! Wake-ups of a queue manager that sleeps, and the handles of its sources.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, Stream};
use machinery::{Ctx, QueueFeeder, QueueManagerResult, queue_manager};
use machinery_models::{block_on, model, thread};

/// Scenario 21.
#[test]
fn a_source_added_while_the_manager_sleeps_wakes_it() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let adding = thread::spawn(move || {
            let _ = feeder.add_value("seven", 7);
            feeder
        });
        let first = block_on(results.next());
        assert!(matches!(first, Some(QueueManagerResult::Success { value: 7, .. })));
        let _feeder = adding.join().expect("no panic");
    });
}

#[test]
fn a_manager_that_never_yielded_ends_when_it_is_told_that_its_sources_are_all() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let finishing = thread::spawn(move || {
            feeder.set_as_finished_if_out_of_sources();
            feeder
        });
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::Stopped { .. })));
        assert!(block_on(results.next()).is_none());
        let _feeder = finishing.join().expect("no panic");
    });
}

#[test]
fn the_drop_of_the_last_feeder_ends_a_manager_that_sleeps() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let dropping = thread::spawn(move || drop(feeder));
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::Stopped { .. })));
        assert!(block_on(results.next()).is_none());
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_completion_ends_a_manager_that_sleeps() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let stopping = thread::spawn(move || root.cancel());
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::Stopped { .. })));
        assert!(block_on(results.next()).is_none());
        stopping.join().expect("no panic");
        drop(feeder);
    });
}

/// What a manager whose sources are all, or whose context completes, makes of what is added meanwhile: whether it was
/// taken, how many values came out, and how many iteration stops.
fn ends_while(completes: bool, add: impl FnOnce(QueueFeeder<u8>) -> bool + Send + 'static) -> (bool, usize, usize) {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u8>(&root).build();
    feeder.set_as_finished_if_out_of_sources();
    let adding = thread::spawn(move || add(feeder));
    if completes {
        root.cancel();
    }
    let (mut values, mut stops) = (0, 0);
    while let Some(result) = block_on(results.next()) {
        match result {
            QueueManagerResult::Success { .. } => values += 1,
            QueueManagerResult::IterationStop { .. } => stops += 1,
            _ => {}
        }
    }
    (adding.join().expect("no panic"), values, stops)
}

#[test]
fn a_value_that_is_added_while_the_manager_ends_is_yielded_or_given_back() {
    for completes in [false, true] {
        model(move || {
            let (taken, values, _) = ends_while(completes, |feeder| feeder.add_value("seven", 7).is_taken());
            assert_eq!(values, usize::from(taken));
        });
    }
}

#[test]
fn a_source_that_is_added_while_the_manager_runs_out_is_drained_or_given_back() {
    model(|| {
        let (taken, values, stops) = ends_while(false, |feeder| feeder.add_iter("seven", [7]).is_taken());
        assert_eq!((values, stops), (usize::from(taken), usize::from(taken)));
    });
}

/// Leaves its waker behind, and has so many items once it has been woken.
struct Woken {
    waker: Arc<Mutex<Option<Waker>>>,
    was_polled: bool,
    items: u8,
}

impl Stream for Woken {
    type Item = u8;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u8>> {
        if !self.was_polled {
            self.was_polled = true;
            *self.waker.lock().expect("no panic") = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let left = self.items.checked_sub(1);
        self.items = left.unwrap_or(0);
        Poll::Ready(left)
    }
}

fn woken(items: u8) -> (Arc<Mutex<Option<Waker>>>, Woken) {
    let waker = Arc::new(Mutex::new(None));
    (Arc::clone(&waker), Woken { waker, was_polled: false, items })
}

#[test]
fn a_wake_that_meets_the_drop_of_the_results_keeps_nothing() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let (waker, stream) = woken(0);
        assert!(feeder.add_stream("woken", stream).is_taken());
        assert!(results.next().now_or_never().is_none());
        let waker = waker.lock().expect("no panic").take().expect("it was polled");
        let other = waker.clone();
        let waking = thread::spawn(move || waker.wake());
        drop((feeder, results));
        other.wake_by_ref();
        waking.join().expect("no panic");
    });
}

#[test]
fn a_source_that_was_woken_while_the_manager_sleeps_takes_its_turn() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let (waker, stream) = woken(1);
        assert!(feeder.add_stream("woken", stream).is_taken());
        drop(feeder);
        assert!(results.next().now_or_never().is_none());
        let waker = waker.lock().expect("no panic").take().expect("it was polled");
        let waking = thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        let first = block_on(results.next());
        assert!(matches!(first, Some(QueueManagerResult::Success { value: 0, .. })));
        // What is dropped there races with the end of the source here.
        let dropping = thread::spawn(move || drop(first));
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::IterationStop { .. })));
        dropping.join().expect("no panic");
        waking.join().expect("no panic");
    });
}
