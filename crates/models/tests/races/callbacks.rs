//! Callbacks and waiters against completion.

use machinery::Ctx;
use machinery::ctx::Removal;
use machinery_models::{Count, block_on, model, poll_with, thread};

#[test]
fn a_callback_added_while_the_context_completes_runs_once_and_before_both_calls_are_over() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let ran = Count::new();
        let adding = thread::spawn({
            let ran = ran.clone();
            move || {
                ctx.add_done_callback(move |why| {
                    assert_eq!(why.reason(), Some("enough"));
                    ran.add();
                });
            }
        });
        root.cancel_because("enough");
        adding.join().expect("no panic");
        assert_eq!(ran.get(), 1);
    });
}

#[test]
fn a_callback_added_to_a_child_while_the_parent_completes_runs_once() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let ran = Count::new();
        let adding = thread::spawn({
            let ran = ran.clone();
            move || {
                child.add_done_callback(move |_| ran.add());
                child
            }
        });
        root.cancel();
        let _child = adding.join().expect("no panic");
        assert_eq!(ran.get(), 1);
    });
}

/// Scenario 15.
#[test]
fn the_answer_of_a_removal_agrees_with_whether_the_callback_ran() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let ran = Count::new();
        let id = ctx.add_done_callback({
            let ran = ran.clone();
            move |_| ran.add()
        });
        let racing = thread::spawn(move || {
            let answer = ctx.remove_done_callback(id);
            assert!(!ctx.has_direct_done_callback(id));
            answer
        });
        root.cancel();
        let answer = racing.join().expect("no panic");
        assert_eq!(ran.get(), usize::from(answer != Removal::Removed));
    });
}

#[test]
fn of_two_removals_one_prevents_the_run() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let id = ctx.add_done_callback(|_| {});
        let racing = thread::spawn(move || ctx.remove_done_callback(id));
        let ours = root.remove_done_callback(id);
        let theirs = racing.join().expect("no panic");
        assert_eq!([ours, theirs].iter().filter(|answer| **answer == Removal::Removed).count(), 1);
    });
}

#[test]
fn who_waits_for_a_running_callback_goes_on_when_it_is_over() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let over = Count::new();
        let id = ctx.add_done_callback({
            let over = over.clone();
            move |_| {
                thread::yield_now();
                over.add();
            }
        });
        let waiting = thread::spawn(move || {
            block_on(ctx.callback_finished(id));
            assert_eq!(over.get(), 1);
        });
        root.cancel();
        waiting.join().expect("no panic");
    });
}

#[test]
fn who_waits_for_a_callback_goes_on_when_it_is_removed() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let id = ctx.add_done_callback(|_| {});
        let waiting = thread::spawn(move || block_on(ctx.callback_finished(id)));
        root.remove_done_callback(id);
        waiting.join().expect("no panic");
    });
}

/// Scenario 18.
#[test]
fn of_a_waiter_polled_by_one_task_and_then_by_another_only_the_latest_counts() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let mut done = child.done();
        let old = Count::new();
        assert!(poll_with(&mut done, &old.waker()).is_pending());
        let moved = thread::spawn(move || {
            let new = Count::new();
            let pending = poll_with(&mut done, &new.waker()).is_pending();
            (new, pending, done)
        });
        root.cancel();
        let (new, pending, mut done) = moved.join().expect("no panic");
        if pending {
            assert_eq!(new.get(), 1);
            assert_eq!(old.get(), 0);
        }
        assert!(poll_with(&mut done, &new.waker()).is_ready());
    });
}

#[test]
fn a_waiter_dropped_while_its_context_completes_leaves_nothing_behind() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let woken = Count::new();
        let mut done = ctx.done();
        assert!(poll_with(&mut done, &woken.waker()).is_pending());
        let dropping = thread::spawn(move || drop(done));
        root.cancel();
        dropping.join().expect("no panic");
        assert_eq!(std::sync::Arc::strong_count(&woken), 1);
    });
}

#[test]
fn a_wait_for_all_of_two_that_a_common_parent_completes_ends() {
    model(|| {
        let root = Ctx::beginning("root");
        let (one, two) = (root.child("one"), root.child("two"));
        let waiting = thread::spawn(move || block_on(machinery::wait_for_all([&one, &two])));
        root.cancel();
        waiting.join().expect("no panic");
    });
}
