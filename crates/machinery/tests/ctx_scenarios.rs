//! What the tree survives: sizes, threads, runtimes that go, and drops at bad moments.
#![expect(clippy::disallowed_methods, reason = "a test spawns as a user does")]

mod wakers;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use machinery::{Ctx, CtxGuard, CtxOptions};
use wakers::Probe;

const DEEP: usize = 1_000_000;

/// On a stack of 128 KiB, which a recursion over the depth of a tree would overflow.
fn on_a_small_stack(code: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 * 1024).spawn(code).expect("a thread").join().expect("no panic");
}

/// A root, and below it a chain of which each is handed over to the one above.
fn chain(length: usize) -> (CtxGuard, Ctx) {
    let root = Ctx::beginning("root");
    let mut leaf = root.ctx();
    for _ in 0..length {
        leaf = leaf.child("link").hand_over();
    }
    (root, leaf)
}

/// Scenario 1.
#[test]
fn a_chain_of_a_million_is_completed_from_its_root_and_dropped_leaf_last() {
    on_a_small_stack(|| {
        let (root, leaf) = chain(DEEP);
        assert!(root.cancel_because("enough"));
        assert!(leaf.is_done());
        assert_eq!(leaf.completion().unwrap().reason(), Some("enough"));
        assert_eq!(leaf.full_name().len(), "root".len() + DEEP * "-->link".len());
        drop(root);
        drop(leaf);
    });
}

/// Scenario 1.
#[test]
fn a_chain_of_a_million_guards_is_dropped_uncompleted_root_first_and_leaf_first() {
    on_a_small_stack(|| {
        for root_first in [true, false] {
            let mut guards = vec![Ctx::beginning("root")];
            for n in 0..DEEP / 2 {
                let next = guards[n].child("link");
                guards.push(next);
            }
            if root_first {
                drop(guards);
            } else {
                while let Some(guard) = guards.pop() {
                    drop(guard);
                }
            }
        }
    });
}

/// Scenario 1.
#[test]
fn a_chain_of_a_million_that_only_its_leaf_holds_is_dropped_uncompleted() {
    on_a_small_stack(|| {
        let (root, leaf) = chain(DEEP);
        drop(root.hand_over());
        assert!(!leaf.is_done());
        drop(leaf);
    });
}

/// Scenario 1.
#[test]
fn a_deep_chain_whose_links_all_have_callbacks_and_waiters_is_completed() {
    on_a_small_stack(|| {
        let root = Ctx::beginning("root");
        let ran = Arc::new(AtomicUsize::new(0));
        let probe = Probe::new();
        let mut waits = Vec::new();
        let mut leaf = root.ctx();
        for depth in 0..50_000 {
            let child = leaf.child("link");
            let ran = ran.clone();
            child.add_done_callback(move |_| assert_eq!(ran.fetch_add(1, Ordering::SeqCst), depth));
            leaf = child.hand_over();
            waits.push(leaf.done());
            assert!(probe.poll(waits.last_mut().unwrap()).is_pending());
        }
        root.cancel();
        assert_eq!((ran.load(Ordering::SeqCst), probe.woken()), (50_000, 50_000));
    });
}

/// To walk up from each of its levels would take hours.
#[test]
fn a_chain_of_a_million_is_shown_in_one_walk() {
    let (root, leaf) = chain(DEEP);
    root.cancel();
    assert_eq!(leaf.to_string().matches("(cancelled)").count(), leaf.full_name().split("-->").count());
}

/// Scenario 2.
#[test]
fn a_million_children_complete_at_once_while_other_threads_ask() {
    let root = Ctx::beginning("root");
    let kids: Vec<CtxGuard> = (0..1_000_000).map(|_| root.child("child")).collect();
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (root, kids, started) = (root.ctx(), &kids, &started);
            scope.spawn(move || {
                let mut place = reader * 31;
                let mut asked = 0_u64;
                loop {
                    // In this order: who sees the parent as done sees every child as done.
                    let above = root.is_done();
                    let below = kids[place % kids.len()].is_done();
                    assert!(below || !above);
                    if above && asked > 1_000 {
                        break;
                    }
                    asked += 1;
                    started.fetch_max(usize::from(asked > 10), Ordering::Relaxed);
                    place += 7_919;
                }
            });
        }
        while started.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        root.cancel();
        assert!(kids.iter().all(|kid| kid.is_done()));
    });
}

/// Scenario 31.
#[test]
fn a_runtime_may_go_before_its_contexts() {
    for threads in [1, 2] {
        let runtime = if threads == 1 {
            tokio::runtime::Builder::new_current_thread().enable_time().build()
        } else {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_time().build()
        };
        let runtime = runtime.expect("a runtime");
        let (root, child, probe) = runtime.block_on(async {
            let root = Ctx::beginning("root");
            let child = root.child_with("child", CtxOptions::new().timeout(Duration::from_secs(3600))).unwrap();
            let inner = child.ctx();
            tokio::spawn(async move { inner.done().await });
            tokio::task::yield_now().await;
            (root, child, Probe::new())
        });
        let mut done = child.done();
        assert!(probe.poll(&mut done).is_pending());
        let (send, ran) = mpsc::channel();
        child.add_done_callback(move |_| send.send(()).unwrap());
        drop(runtime);
        let late = root.child_with("late", CtxOptions::new().timeout(Duration::from_secs(1)));
        if let Ok(late) = &late {
            assert!(!late.is_done());
        }
        assert!(!child.is_done());
        root.cancel();
        assert!(child.is_done() && probe.woken() == 1 && ran.try_iter().count() == 1);
        drop((late, child, root));
    }
}

/// Scenario 31.
#[test]
fn what_lives_in_the_tasks_of_a_runtime_may_go_with_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let seen = runtime.block_on(async {
        let root = Ctx::beginning("root");
        let seen = root.child("child").hand_over();
        let other = seen.clone();
        root.add_done_callback(move |_| drop(other.child("made in the shutdown")));
        tokio::spawn(async move {
            let guard = root.child_with("timed", CtxOptions::new().timeout(Duration::from_secs(60))).unwrap();
            let _ = (guard.done().await, root.done().await);
        });
        tokio::task::yield_now().await;
        seen
    });
    drop(runtime);
    assert!(seen.is_done());
}

thread_local! {
    static LATE: RefCell<Vec<CtxGuard>> = const { RefCell::new(Vec::new()) };
}

/// Scenario 32.
#[test]
fn contexts_are_used_outside_a_runtime_and_in_the_destructors_of_a_threads_locals() {
    let (send, ran) = mpsc::channel();
    let seen = std::thread::spawn(move || {
        // Touched first, so that it is destroyed after the library's own locals, and before them as well.
        LATE.with_borrow(Vec::len);
        let warm = Ctx::beginning("warm");
        warm.add_done_callback(|_| {});
        warm.cancel();
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let other = Ctx::beginning("other");
        let canceller = other.canceller();
        let inner = send.clone();
        other.add_done_callback(move |_| inner.send("other").unwrap());
        let inner = send.clone();
        child.add_done_callback(move |_| {
            canceller.cancel();
            inner.send("child").unwrap();
        });
        root.add_done_callback(move |_| panic!("a mistake in a destructor, which nobody hears"));
        let seen = (root.ctx(), child.ctx(), other.ctx());
        LATE.with_borrow_mut(|late| late.extend([root, other, child]));
        seen
    })
    .join()
    .unwrap();
    assert!(seen.0.is_done() && seen.1.is_done() && seen.2.is_done());
    let mut ran: Vec<_> = ran.try_iter().collect();
    ran.sort_unstable();
    assert_eq!(ran, ["child", "other"]);
}

/// Scenario 32.
#[test]
fn a_handle_of_a_runtime_that_was_shut_down_can_be_used_without_a_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let root = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    runtime.shutdown_background();
    assert!(root.runtime().is_ok());
    let child = root.child_with("child", CtxOptions::new().timeout(Duration::from_secs(1)));
    if let Ok(child) = child {
        assert!(child.cancel());
    }
    root.cancel();
}

/// Scenario 38.
#[test]
fn a_drop_never_blocks_on_callbacks_that_run_elsewhere() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let sibling = root.child("sibling").hand_over();
    let (go, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    child.add_done_callback(move |_| {
        entered.send(()).unwrap();
        gate.recv().unwrap();
    });
    let (canceller, id) = (child.canceller(), child.add_done_callback(|_| {}));
    let mut pending = (child.done(), sibling.done(), root.drained(), child.callback_finished(id));
    let probe = Probe::new();
    assert!(probe.poll(&mut pending.0).is_pending() && probe.poll(&mut pending.1).is_pending());
    assert!(probe.poll(&mut pending.2).is_pending() && probe.poll(&mut pending.3).is_pending());
    let completing = std::thread::spawn(move || canceller.cancel());
    inside.recv().unwrap();
    // None of these returns before the callback ends, if any of them waits for it.
    drop(pending);
    drop(child);
    drop(root.child("another").close());
    drop(root);
    assert!(sibling.is_done());
    go.send(()).unwrap();
    assert!(completing.join().unwrap());
}

/// Scenario 38.
#[tokio::test]
async fn a_drop_in_async_code_returns_though_work_below_goes_on() {
    let root = Ctx::beginning("root");
    let over = Arc::new(AtomicBool::new(false));
    let working = tokio::spawn({
        let (ctx, over) = (root.ctx(), over.clone());
        async move {
            ctx.done().await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            over.store(true, Ordering::SeqCst);
        }
    });
    tokio::task::yield_now().await;
    drop(root);
    assert!(!over.load(Ordering::SeqCst));
    working.await.unwrap();
    assert!(over.load(Ordering::SeqCst));
}

#[test]
fn threads_make_complete_watch_and_drop_one_tree_at_once() {
    let root = Ctx::beginning("root");
    let ran = AtomicUsize::new(0);
    let added = AtomicUsize::new(0);
    let ran_by_callbacks = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (ctx, ran, added, counted) = (root.ctx(), &ran, &added, ran_by_callbacks.clone());
            scope.spawn(move || {
                let mut mids: Vec<CtxGuard> = Vec::new();
                for n in 0..2_000_usize {
                    let mid = ctx.child("mid");
                    let leaf = mid.child("leaf").hand_over();
                    let linked = leaf.linked("linked", mids.last().map(|other| &**other));
                    let counted = counted.clone();
                    linked.add_done_callback(move |_| {
                        counted.fetch_add(1, Ordering::SeqCst);
                    });
                    added.fetch_add(1, Ordering::SeqCst);
                    let probe = Probe::new();
                    let mut wait = leaf.done();
                    let _ = probe.poll(&mut wait);
                    match (n + thread) % 4 {
                        0 => {
                            mid.cancel();
                        }
                        1 => drop(linked),
                        2 => drop(leaf),
                        _ => {}
                    }
                    mids.push(mid);
                    if mids.len() > 8 {
                        drop(mids.swap_remove(n % 8));
                    }
                    ran.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while ran.load(Ordering::SeqCst) < 4_000 {
            std::thread::yield_now();
        }
        root.cancel();
    });
    assert_eq!(ran_by_callbacks.load(Ordering::SeqCst), added.load(Ordering::SeqCst));
    assert!(root.child("late").is_done());
}

/// Scenario 37, for a line of contexts.
#[test]
fn what_is_shown_while_the_tree_churns_has_each_level_once_and_nothing_pending_below_what_is_done() {
    let root = Ctx::beginning("root");
    let shown = std::sync::Mutex::new(root.child("middle").hand_over().child("leaf").hand_over());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut looks = 0;
            while looks < 1_000 || !over.load(Ordering::SeqCst) {
                let leaf = shown.lock().unwrap().clone();
                let line = leaf.to_string();
                let levels: Vec<&str> = line.split("-->").collect();
                let names = levels.iter().map(|level| level.split('(').next().unwrap());
                assert_eq!(names.collect::<Vec<_>>(), ["root", "middle", "leaf"]);
                assert!(levels.is_sorted_by_key(|level| !level.contains("pending")), "{line}");
                looks += 1;
            }
        });
        for round in 0..5_000 {
            let middle = root.child("middle");
            let leaf = middle.child("leaf");
            *shown.lock().unwrap() = leaf.ctx();
            match round % 3 {
                0 => drop(middle.cancel()),
                1 => drop(leaf),
                _ => drop(middle),
            }
        }
        over.store(true, Ordering::SeqCst);
    });
}
