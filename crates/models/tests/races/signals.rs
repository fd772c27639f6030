//! Promises and events against those who wait for them.

use std::future::Future;
use std::sync::Arc;

use machinery::ctx::Removal;
use machinery::{Ctx, Event, Promise, wait_for_all, wait_for_first};
use machinery_models::{Count, block_on, model, poll_with, thread};

#[test]
fn of_two_settlements_of_a_promise_one_wins_and_the_waiter_gets_it() {
    model(|| {
        let promise = Promise::new("answer");
        let other = promise.clone();
        let racing = thread::spawn(move || other.set_result(1));
        let ours = promise.set_result(2);
        block_on(promise.settled());
        let theirs = racing.join().expect("no panic");
        assert!(ours != theirs);
        assert_eq!(promise.value(), Some(if ours { &2 } else { &1 }));
    });
}

#[test]
fn a_callback_added_while_a_promise_is_settled_runs_once() {
    model(|| {
        let promise = Promise::new("answer");
        let ran = Count::new();
        let other = promise.clone();
        let adding = thread::spawn({
            let ran = ran.clone();
            move || {
                other.add_done_callback(move |_: &Promise<u8>| ran.add());
            }
        });
        promise.set_result(7);
        adding.join().expect("no panic");
        assert_eq!(ran.get(), 1);
    });
}

/// Scenario 15.
#[test]
fn the_answer_of_a_removal_agrees_with_whether_the_callback_of_a_promise_ran() {
    model(|| {
        let promise = Promise::<u8>::new("answer");
        let ran = Count::new();
        let id = promise.add_done_callback({
            let ran = ran.clone();
            move |_: &Promise<u8>| ran.add()
        });
        let other = promise.clone();
        let removing = thread::spawn(move || other.remove_done_callback(id));
        promise.set_result(7);
        let answer = removing.join().expect("no panic");
        assert_eq!(ran.get(), usize::from(answer != Removal::Removed));
    });
}

#[test]
fn an_event_that_is_set_and_cleared_wakes_who_was_waiting() {
    model(|| {
        let event = Event::new();
        let mut wait = event.wait();
        let woken = Count::new();
        assert!(poll_with(&mut wait, &woken.waker()).is_pending());
        let other = event.clone();
        let racing = thread::spawn(move || {
            other.set();
            other.clear();
        });
        block_on(wait);
        racing.join().expect("no panic");
    });
}

#[test]
fn the_first_of_an_event_and_a_context_ends_the_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let event = Event::new();
        let other = event.clone();
        let ctx = root.ctx();
        let waiting = thread::spawn(move || block_on(wait_for_first((&event, &ctx))));
        other.set();
        root.cancel();
        waiting.join().expect("no panic");
    });
}

#[test]
fn all_of_an_event_and_a_promise_and_a_context_end_the_wait() {
    model(|| {
        let root = Ctx::beginning("root");
        let (event, promise) = (Event::new(), Promise::new("answer"));
        let waiting = thread::spawn({
            let (event, promise, ctx) = (event.clone(), promise.clone(), root.ctx());
            move || {
                block_on(wait_for_all((&event, &promise, &ctx)));
                assert!(promise.is_done() && ctx.is_done());
            }
        });
        event.set();
        promise.set_result(7);
        root.cancel();
        waiting.join().expect("no panic");
    });
}

/// Polls once as one task, and then to the end as another. Gives what the first was woken with.
fn moved<F: Future + Unpin>(mut future: F) -> Arc<Count> {
    let before = Count::new();
    if poll_with(&mut future, &before.waker()).is_pending() {
        block_on(&mut future);
    }
    before
}

/// To be asked when all threads have ended: whoever completes a thing holds the wakers that it has taken for a while.
fn nobody_keeps(woken: Arc<Count>) -> bool {
    Arc::into_inner(woken).is_some()
}

/// Scenario 18.
#[test]
fn a_wait_for_an_event_that_moves_to_another_task_is_woken_there() {
    model(|| {
        let event = Event::new();
        let wait = event.wait();
        let waiting = thread::spawn(move || moved(wait));
        event.set();
        assert!(nobody_keeps(waiting.join().expect("no panic")));
    });
}

/// Scenario 18.
#[test]
fn a_wait_for_a_promise_that_moves_to_another_task_is_woken_there() {
    model(|| {
        let promise = Promise::new("answer");
        let settled = promise.settled();
        // In a thread of its own, as what settles a promise is nothing that loom could put off.
        let settling = thread::spawn(move || promise.set_result(7));
        let waiting = thread::spawn(move || moved(settled));
        settling.join().expect("no panic");
        assert!(nobody_keeps(waiting.join().expect("no panic")));
    });
}

/// Scenario 18.
#[test]
fn a_wait_for_all_that_moves_to_another_task_is_woken_there() {
    model(|| {
        let (event, promise) = (Event::new(), Promise::new("answer"));
        let all = wait_for_all((event.clone(), promise.clone()));
        let completing = thread::spawn(move || {
            event.set();
            promise.set_result(7);
        });
        let waiting = thread::spawn(move || moved(all));
        completing.join().expect("no panic");
        assert!(nobody_keeps(waiting.join().expect("no panic")));
    });
}

/// Scenario 16.
#[test]
fn a_wait_for_all_that_is_dropped_while_a_member_completes_leaves_nothing_behind() {
    model(|| {
        let (event, promise) = (Event::new(), Promise::<u8>::new("answer"));
        let other = event.clone();
        let racing = thread::spawn(move || other.set());
        let woken = Count::new();
        let mut wait = wait_for_all((&event, &promise));
        assert!(poll_with(&mut wait, &woken.waker()).is_pending());
        drop(wait);
        racing.join().expect("no panic");
        assert_eq!(woken.get(), 0);
        assert!(nobody_keeps(woken));
    });
}
