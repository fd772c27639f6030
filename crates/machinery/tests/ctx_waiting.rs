//! The futures of a context: done, drained, run and close, and the wakers that they are given.
#![expect(clippy::disallowed_methods, reason = "a test spawns as a user does")]

mod tramps;
mod wakers;

use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use machinery::{Ctx, CtxOptions, wait_for_all, wait_for_first};
use tramps::Kept;
use wakers::{Probe, on_drop, on_wake, poll_with};

#[tokio::test]
async fn awaiting_a_context_gives_its_record() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let (owned, borrowed) = (child.ctx(), child.ctx());
    let waiting = tokio::spawn(async move {
        let by_reference = (&borrowed).await;
        let by_value = borrowed.await;
        (by_reference.path(), by_value.path())
    });
    tokio::task::yield_now().await;
    root.cancel();
    assert_eq!(waiting.await.unwrap(), ("root".into(), "root".into()));
    assert_eq!(owned.await.path(), "root");
}

#[test]
fn the_future_may_be_polled_again_after_its_end() {
    let root = Ctx::beginning("root");
    let mut done = root.done();
    let probe = Probe::new();
    assert!(probe.poll(&mut done).is_pending());
    root.cancel_because("enough");
    for _ in 0..3 {
        let Poll::Ready(why) = probe.poll(&mut done) else { panic!("it is done") };
        assert_eq!(why.reason(), Some("enough"));
    }
    assert_eq!((probe.woken(), probe.kept()), (1, 0));
}

#[tokio::test]
async fn it_fits_into_a_select() {
    let root = Ctx::beginning("root");
    let mut done = root.done();
    tokio::select! {
        _ = &mut done => panic!("it is pending"),
        () = ready(()) => {}
    }
    root.cancel();
    tokio::select! {
        biased;
        why = &mut done => assert!(why.is_cancelled()),
        () = pending() => {}
    }
}

/// Scenario 16.
#[test]
fn a_dropped_waiter_leaves_nothing_behind() {
    let root = Ctx::beginning("root");
    let id = root.add_done_callback(|_| {});
    let probe = Probe::new();
    let (mut done, mut drained) = (root.done(), root.drained());
    let (mut run, mut finished) = (Box::pin(root.run(pending::<()>())), root.callback_finished(id));
    let mut first = wait_for_first([&*root]);
    let mut all = wait_for_all([&*root]);
    for _ in 0..3 {
        assert!(probe.poll(&mut done).is_pending() && probe.poll(&mut drained).is_pending());
        assert!(probe.poll(&mut run).is_pending() && probe.poll(&mut finished).is_pending());
        assert!(probe.poll(&mut first).is_pending() && probe.poll(&mut all).is_pending());
    }
    drop((done, drained, run, finished, first, all));
    assert_eq!(probe.kept(), 0);
    root.cancel();
    assert_eq!(probe.woken(), 0);
}

#[test]
fn many_waiters_of_one_context_are_each_woken_once() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let probes: Vec<_> = (0..100).map(|_| Probe::new()).collect();
    let mut waits: Vec<_> = probes.iter().map(|_| child.done()).collect();
    for (probe, wait) in probes.iter().zip(&mut waits) {
        assert!(probe.poll(wait).is_pending());
    }
    for place in [99, 50, 0] {
        drop(waits.swap_remove(place));
    }
    root.cancel();
    let woken: usize = probes.iter().map(|probe| probe.woken()).sum();
    assert_eq!(woken, 97);
    assert!(probes.iter().all(|probe| probe.woken() <= 1 && probe.kept() == 0));
}

/// Scenario 17.
#[test]
fn a_waiter_that_was_polled_and_forgotten_hinders_nobody() {
    let root = Ctx::beginning("root");
    let (lost, other) = (Probe::new(), Probe::new());
    let mut forgotten = Box::new(root.done());
    assert!(lost.poll(&mut forgotten).is_pending());
    let mut waiting = root.done();
    assert!(other.poll(&mut waiting).is_pending());
    std::mem::forget(forgotten);
    let mut late = root.done();
    assert!(other.poll(&mut late).is_pending());
    root.cancel();
    assert_eq!((lost.woken(), other.woken()), (1, 2));
    assert!(other.poll(&mut waiting).is_ready() && other.poll(&mut late).is_ready());
}

/// Scenario 18.
#[test]
fn of_a_waiter_that_moves_between_tasks_only_the_latest_is_woken() {
    let root = Ctx::beginning("root");
    let (mut done, mut drained) = (root.done(), root.drained());
    let probes: Vec<_> = (0..3).map(|_| Probe::new()).collect();
    for probe in &probes {
        assert!(probe.poll(&mut done).is_pending());
        assert!(probe.poll(&mut drained).is_pending());
    }
    assert_eq!([probes[0].kept(), probes[1].kept()], [0, 0]);
    root.cancel();
    assert_eq!(probes.iter().map(|probe| probe.woken()).collect::<Vec<_>>(), [0, 0, 2]);
}

/// Scenario 19.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_alive_and_unpolled_blocks_nobody() {
    let root = Ctx::beginning("root");
    let mut unpolled = root.done();
    tokio::select! {
        biased;
        _ = &mut unpolled => panic!("it is pending"),
        () = tokio::time::sleep(Duration::from_millis(1)) => {}
    }
    let other = tokio::spawn({
        let ctx = root.ctx();
        async move { ctx.done().await.is_cancelled() }
    });
    tokio::task::yield_now().await;
    root.cancel();
    assert!(other.await.unwrap());
    assert!(unpolled.await.is_cancelled());
}

/// Scenario 9.
#[test]
fn a_waker_may_make_children_complete_contexts_and_read_the_tree() {
    let root = Ctx::beginning("root");
    let other = root.child("other");
    let child = root.child("child");
    let woken = Arc::new(AtomicUsize::new(0));
    let waker = on_wake({
        let (woken, ctx, other) = (woken.clone(), root.ctx(), other.canceller());
        move || {
            assert!(ctx.child("late").is_done());
            assert!(!other.cancel());
            ctx.add_done_callback(|_| {});
            let _ = (ctx.to_string(), ctx.full_name(), ctx.completion());
            assert!(poll_with(&mut ctx.done(), std::task::Waker::noop()).is_ready());
            let fresh = Ctx::beginning("fresh");
            fresh.cancel();
            woken.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut waits = [root.done(), child.done(), other.done()];
    for wait in &mut waits {
        assert!(poll_with(wait, &waker).is_pending());
    }
    root.cancel();
    assert_eq!(woken.load(Ordering::SeqCst), 3);
}

/// Scenario 9.
#[test]
fn a_waker_that_completes_another_context_has_its_callbacks_run_too() {
    let root = Ctx::beginning("root");
    let other = Ctx::beginning("other");
    let (send, ran) = mpsc::channel();
    other.add_done_callback(move |_| send.send(()).unwrap());
    let mut done = root.done();
    let canceller = other.canceller();
    let waker = on_wake(move || assert!(canceller.cancel_because("by a waker")));
    assert!(poll_with(&mut done, &waker).is_pending());
    root.cancel();
    assert_eq!(ran.try_iter().count(), 1);
}

/// Scenario 10.
#[test]
fn a_waker_whose_drop_re_enters_may_do_anything() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let dropped = Arc::new(AtomicUsize::new(0));
    let uses = || {
        let (ctx, dropped) = (child.ctx(), dropped.clone());
        on_drop(move || {
            drop(ctx.child("made while dropping"));
            ctx.add_done_callback(|_| {});
            let _ = ctx.to_string();
            dropped.fetch_add(1, Ordering::SeqCst);
        })
    };
    let (mut done, mut drained) = (child.done(), child.drained());
    // Replaced by another waker, dropped with the future, and dropped after waking.
    assert!(poll_with(&mut done, &uses()).is_pending() && poll_with(&mut drained, &uses()).is_pending());
    assert!(poll_with(&mut done, &uses()).is_pending() && poll_with(&mut drained, &uses()).is_pending());
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    drop((done, drained));
    assert_eq!(dropped.load(Ordering::SeqCst), 4);
    let mut done = child.done();
    assert!(poll_with(&mut done, &uses()).is_pending());
    root.cancel();
    assert_eq!(dropped.load(Ordering::SeqCst), 5);
}

/// Scenario 11.
#[test]
fn a_waker_that_panics_stops_no_sibling_and_leaves_the_tree_usable() {
    let kept = Kept::new();
    let root = kept.root();
    let probes: Vec<_> = (0..6).map(|_| Probe::new()).collect();
    let kids: Vec<_> = (0..3).map(|n| root.child(format!("{n}"))).collect();
    let mut waits = Vec::new();
    for (n, probe) in probes.iter().enumerate() {
        let mut wait = kids[n % 3].done();
        assert!(probe.poll(&mut wait).is_pending());
        waits.push(wait);
        let mut bad = kids[n % 3].done();
        assert!(poll_with(&mut bad, &on_wake(move || panic!("waker {n}"))).is_pending());
        waits.push(bad);
    }
    let (send, ran) = mpsc::channel();
    kids[1].add_done_callback(move |_| send.send(()).unwrap());
    assert!(root.cancel());
    assert!(probes.iter().all(|probe| probe.woken() == 1));
    assert_eq!(ran.try_iter().count(), 1);
    let reports = kept.reports();
    assert_eq!(reports.len(), 6);
    assert!(reports.iter().all(|report| report.contains("a waker panicked")), "{reports:?}");
    assert!(kids[0].child("late").is_done());
}

/// Scenario 12.
#[test]
fn a_waker_that_blocks_stalls_nobody_on_a_lock() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let (go, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let gate = Mutex::new(gate);
    let waker = on_wake(move || {
        entered.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
    });
    let mut wait = child.done();
    assert!(poll_with(&mut wait, &waker).is_pending());
    let canceller = child.canceller();
    let completing = std::thread::spawn(move || canceller.cancel());
    inside.recv().unwrap();
    assert!(child.is_done() && child.child("late").is_done());
    assert!(poll_with(&mut child.done(), std::task::Waker::noop()).is_ready());
    drop(root.child("another"));
    assert!(root.cancel());
    drop((wait, child, root));
    go.send(()).unwrap();
    assert!(completing.join().unwrap());
}

#[tokio::test]
async fn run_gives_the_output_of_a_future_that_is_first() {
    let root = Ctx::beginning("root");
    assert_eq!(root.run(async { 7 }).await.unwrap(), 7);
    let slow = async {
        tokio::task::yield_now().await;
        "slow"
    };
    assert_eq!(root.run(slow).await.unwrap(), "slow");
}

#[tokio::test]
async fn run_ends_with_the_context_and_drops_the_future() {
    let root = Ctx::beginning("root");
    let alive = Arc::new(());
    let held = alive.clone();
    let running = tokio::spawn({
        let ctx = root.ctx();
        async move {
            ctx.run(async move {
                let _held = held;
                pending::<()>().await;
            })
            .await
        }
    });
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 2);
    root.cancel_because("enough");
    let stopped = running.await.unwrap().unwrap_err();
    assert_eq!(stopped.reason(), Some("enough"));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn run_polls_nothing_on_a_context_that_is_done() {
    let root = Ctx::beginning("root");
    root.cancel();
    let polled = AtomicBool::new(false);
    let stopped = root.run(async { polled.store(true, Ordering::SeqCst) }).await;
    assert!(stopped.is_err() && !polled.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn run_ends_at_the_deadline_of_its_context() {
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(Duration::from_secs(3))).unwrap();
    let stopped = root.run(tokio::time::sleep(Duration::from_secs(4))).await.unwrap_err();
    assert_eq!(stopped.kind(), machinery::ctx::CompletionKind::DeadlinePassed);
    assert!(root.child("child").run(ready(())).await.is_err());
}

#[test]
fn drained_waits_for_the_completion_and_then_for_nothing_where_there_are_no_tasks() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let probe = Probe::new();
    let (mut above, mut below) = (root.drained(), child.drained());
    assert!(probe.poll(&mut above).is_pending() && probe.poll(&mut below).is_pending());
    child.cancel();
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut below).is_ready() && probe.poll(&mut above).is_pending());
    root.cancel();
    assert_eq!(probe.woken(), 2);
    assert!(probe.poll(&mut above).is_ready());
    assert_eq!(probe.kept(), 0);
}

#[test]
fn close_cancels_at_once_and_its_future_may_be_dropped() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let seen = child.ctx();
    let closing = child.close();
    assert!(seen.is_cancelled());
    drop(closing);
    assert!(!root.is_done());
    assert!(Probe::new().poll(&mut root.close()).is_ready());
}

#[test]
fn waits_for_several_contexts_end_when_a_common_parent_completes_them_all() {
    let root = Ctx::beginning("root");
    let (one, two) = (root.child("one"), root.child("two"));
    let probe = Probe::new();
    let mut all = wait_for_all((&one, &two));
    assert!(probe.poll(&mut all).is_pending());
    root.cancel();
    assert!(probe.poll(&mut all).is_ready());
}
