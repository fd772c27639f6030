//! Callbacks: once, in order, with no lock held, and removable.
#![expect(clippy::disallowed_methods, reason = "a test spawns as a user does")]

mod tramps;
mod wakers;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use machinery::ctx::{CallbackId, Removal};
use machinery::{Ctx, CtxGuard, CtxOptions};
use tramps::Kept;
use wakers::Probe;

/// Where callbacks write down that they ran.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, text: impl Into<String>) {
        self.0.lock().expect("never poisoned").push(text.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().expect("never poisoned").clone()
    }

    fn on(&self, ctx: &Ctx, text: &'static str) -> CallbackId {
        let log = self.clone();
        ctx.add_done_callback(move |_| log.push(text))
    }
}

#[test]
fn a_callback_receives_the_completion_and_on_done_the_context_as_well() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let log = Log::default();
    let (one, two) = (log.clone(), log.clone());
    child.add_done_callback(move |why| one.push(why.reason().expect("a reason")));
    child.add_on_done(move |ctx, why| two.push(format!("{} {}", ctx.full_name(), why.path())));
    root.cancel_because("enough");
    assert_eq!(log.read(), ["enough", "root-->child root"]);
}

#[test]
fn on_a_complete_context_it_runs_before_the_call_returns() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    root.cancel();
    let log = Log::default();
    let id = log.on(&child, "child");
    log.on(&root, "root");
    assert_eq!(log.read(), ["child", "root"]);
    assert!(!child.has_direct_done_callback(id));
    assert_eq!(child.remove_done_callback(id), Removal::AlreadyRun);
}

#[test]
fn each_runs_exactly_once_however_often_completion_is_asked_for() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let log = Log::default();
    log.on(&child, "child");
    child.cancel();
    child.cancel();
    root.cancel();
    drop(child);
    drop(root);
    assert_eq!(log.read(), ["child"]);
}

#[test]
fn a_parents_run_before_its_childrens_and_each_contexts_in_their_order() {
    let root = Ctx::beginning("root");
    let mid = root.child("mid");
    let leaf = mid.child("leaf");
    let log = Log::default();
    for text in ["leaf 1", "leaf 2"] {
        log.on(&leaf, text);
    }
    log.on(&root, "root 1");
    for text in ["mid 1", "mid 2", "mid 3"] {
        log.on(&mid, text);
    }
    log.on(&root, "root 2");
    root.cancel();
    assert_eq!(log.read(), ["root 1", "root 2", "mid 1", "mid 2", "mid 3", "leaf 1", "leaf 2"]);
}

#[test]
fn the_order_holds_in_a_wide_and_uneven_tree() {
    let root = Ctx::beginning("root");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut made: Vec<(CtxGuard, Option<usize>)> = Vec::new();
    for n in 0..200_usize {
        let above = (n * 7919 + 13) % (n + 1);
        let (ctx, parent) = if above == n { (root.ctx(), None) } else { (made[above].0.ctx(), Some(above)) };
        let guard = ctx.child("node");
        if n % 3 != 1 {
            let order = order.clone();
            guard.add_done_callback(move |_| order.lock().expect("never poisoned").push(n));
        }
        made.push((guard, parent));
    }
    root.cancel();
    let order = order.lock().unwrap();
    let place = |n: usize| order.iter().position(|seen| *seen == n);
    assert_eq!(order.len(), (0..200).filter(|n| n % 3 != 1).count());
    for (n, (_, above)) in made.iter().enumerate() {
        let mut above = *above;
        while let Some(parent) = above {
            if let (Some(child), Some(parent)) = (place(n), place(parent)) {
                assert!(parent < child);
            }
            above = made[parent].1;
        }
    }
}

#[test]
fn a_removed_callback_never_runs_and_the_others_do() {
    let root = Ctx::beginning("root");
    let log = Log::default();
    let ids: Vec<_> = ["one", "two", "three", "four"].map(|text| log.on(&root, text)).into();
    assert!(ids.iter().all(|id| root.has_direct_done_callback(*id)));
    assert_eq!(root.remove_done_callback(ids[1]), Removal::Removed);
    assert_eq!(root.remove_done_callback(ids[3]), Removal::Removed);
    assert_eq!(root.remove_done_callback(ids[1]), Removal::AlreadyRun);
    assert!(!root.has_direct_done_callback(ids[1]) && root.has_direct_done_callback(ids[2]));
    root.cancel();
    assert_eq!(log.read(), ["one", "three"]);
    assert_eq!(root.remove_done_callback(ids[0]), Removal::AlreadyRun);
}

#[test]
fn a_callback_is_direct_only_on_the_very_context_that_has_it() {
    let root = Ctx::beginning("root");
    let (child, sibling) = (root.child("child"), root.child("sibling"));
    let log = Log::default();
    let id = log.on(&child, "child");
    let other = log.on(&sibling, "sibling");
    assert!(child.has_direct_done_callback(id) && !child.has_direct_done_callback(other));
    assert!(!root.has_direct_done_callback(id));
    assert_eq!(root.remove_done_callback(id), Removal::AlreadyRun);
    assert_eq!(sibling.remove_done_callback(id), Removal::AlreadyRun);
    root.cancel();
    assert_eq!(log.read().len(), 2);
    assert!(!child.has_direct_done_callback(id));
}

#[test]
fn thousands_added_and_removed_leave_the_rest_in_order() {
    let root = Ctx::beginning("root");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut ids = Vec::new();
    for n in 0..3_000 {
        let order = order.clone();
        ids.push(root.add_done_callback(move |_| order.lock().expect("never poisoned").push(n)));
    }
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| n % 7 != 0) {
        assert_eq!(root.remove_done_callback(*id), Removal::Removed, "{n}");
    }
    root.cancel();
    assert_eq!(*order.lock().unwrap(), (0..3_000).step_by(7).collect::<Vec<_>>());
}

/// Scenario 13.
#[test]
fn a_panic_is_reported_with_its_message_and_stops_no_other() {
    let kept = Kept::new();
    let root = kept.root();
    let child = root.child("child");
    let log = Log::default();
    log.on(&child, "before");
    child.add_done_callback(|_| panic!("a mistake of {}", 7));
    log.on(&child, "after");
    log.on(&root, "root");
    assert!(root.cancel());
    assert_eq!(log.read(), ["root", "before", "after"]);
    assert_eq!(kept.reports(), ["root-->child/-: a callback panicked: a mistake of 7"]);
    child.add_done_callback(|_| panic!("late"));
    assert_eq!(kept.reports().len(), 2);
}

/// Scenario 14.
#[test]
fn a_callback_may_add_and_remove_callbacks_of_its_own_and_of_other_contexts() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let log = Log::default();
    let doomed = log.on(&child, "removed");
    let inner = log.clone();
    let (root_seen, child_seen) = (root.ctx(), child.ctx());
    root.add_done_callback(move |_| {
        assert_eq!(child_seen.remove_done_callback(doomed), Removal::Removed);
        inner.on(&root_seen, "added to the one that completes");
        inner.on(&child_seen, "added to one below");
        inner.push("end");
    });
    root.cancel();
    assert_eq!(log.read(), ["added to the one that completes", "added to one below", "end"]);
}

/// Scenario 14.
#[test]
fn a_callback_may_complete_its_own_context_and_its_parent() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let sibling = root.child("sibling");
    let log = Log::default();
    let (own, above, seen) = (child.canceller(), root.canceller(), sibling.ctx());
    let inner = log.clone();
    child.add_done_callback(move |_| {
        assert!(!own.cancel());
        assert!(above.cancel_because("from below"));
        assert!(seen.is_done(), "the subtree is done when the call returns");
        inner.push("first");
    });
    log.on(&child, "second");
    log.on(&root, "of the parent");
    child.cancel_because("own");
    assert_eq!(log.read(), ["first", "second", "of the parent"]);
    assert_eq!(child.completion().unwrap().reason(), Some("own"));
    assert_eq!(sibling.completion().unwrap().reason(), Some("from below"));
}

/// Scenario 14.
#[test]
fn a_callback_may_drop_the_last_handle_and_make_children() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let holder = Arc::new(Mutex::new(None));
    let log = Log::default();
    child.add_on_done({
        let (holder, log) = (holder.clone(), log.clone());
        move |ctx, _| {
            let late = ctx.child("late");
            log.push(format!("{}", late.is_done()));
            drop(holder.lock().expect("never poisoned").take());
        }
    });
    log.on(&child, "after");
    *holder.lock().unwrap() = Some(child);
    root.cancel();
    assert_eq!(log.read(), ["true", "after"]);
    assert!(holder.lock().unwrap().is_none());
}

#[test]
fn completions_from_callbacks_to_any_depth_take_no_stack() {
    let chain = || {
        let count = Arc::new(AtomicUsize::new(0));
        let first = Ctx::beginning("first");
        let mut last = first.ctx();
        for _ in 0..50_000 {
            let next = Ctx::beginning("next");
            let count = count.clone();
            let seen = next.ctx();
            last.add_done_callback(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                assert!(next.cancel());
                assert!(next.is_done());
            });
            last = seen;
        }
        assert!(first.cancel());
        assert!(last.is_done());
        assert_eq!(count.load(Ordering::SeqCst), 50_000);
    };
    std::thread::Builder::new().stack_size(128 * 1024).spawn(chain).unwrap().join().unwrap();
}

#[test]
fn what_a_callback_completes_is_told_after_the_callbacks_under_way() {
    let root = Ctx::beginning("root");
    let other = Ctx::beginning("other");
    let log = Log::default();
    let inner = log.clone();
    log.on(&other, "other");
    let other_ctx = other.ctx();
    root.add_done_callback(move |_| {
        other.cancel();
        inner.push("first");
    });
    log.on(&root, "second");
    root.cancel();
    assert!(other_ctx.is_done());
    assert_eq!(log.read(), ["first", "second", "other"]);
}

#[test]
fn removal_of_a_running_callback_says_so() {
    let root = Ctx::beginning("root");
    let id = Arc::new(Mutex::new(None::<CallbackId>));
    let log = Log::default();
    let registered = root.add_on_done({
        let (id, log) = (id.clone(), log.clone());
        move |ctx, _| {
            let id = id.lock().expect("never poisoned").expect("it is set");
            log.push(format!("{:?} {}", ctx.remove_done_callback(id), ctx.has_direct_done_callback(id)));
        }
    });
    *id.lock().unwrap() = Some(registered);
    root.cancel();
    assert_eq!(log.read(), ["Running false"]);
    assert_eq!(root.remove_done_callback(registered), Removal::AlreadyRun);
}

#[tokio::test]
async fn one_can_wait_for_a_running_callback() {
    let root = Ctx::beginning("root");
    let ctx = root.ctx();
    let (go, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let over = Arc::new(AtomicUsize::new(0));
    let id = root.add_done_callback({
        let over = over.clone();
        move |_| {
            entered.send(()).unwrap();
            gate.recv().unwrap();
            over.store(1, Ordering::SeqCst);
        }
    });
    let completing = std::thread::spawn(move || root.cancel());
    inside.recv().unwrap();
    assert_eq!(ctx.remove_done_callback(id), Removal::Running);
    let waiting = tokio::spawn({
        let ctx = ctx.clone();
        async move {
            ctx.callback_finished(id).await;
            over.load(Ordering::SeqCst)
        }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    go.send(()).unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    assert!(completing.join().unwrap());
    ctx.callback_finished(id).await;
}

#[test]
fn the_wait_for_a_callback_ends_with_its_run_or_its_removal_or_its_panic_and_can_be_dropped() {
    let kept = Kept::new();
    let root = kept.root();
    let (runs, removed) = (root.add_done_callback(|_| {}), root.add_done_callback(|_| {}));
    let panics = root.add_done_callback(|_| panic!("a mistake"));
    let probe = Probe::new();
    let mut waits = [runs, removed, panics].map(|id| root.callback_finished(id));
    assert!(waits.iter_mut().all(|wait| probe.poll(wait).is_pending()));
    let mut dropped = root.callback_finished(runs);
    let unused = Probe::new();
    assert!(unused.poll(&mut dropped).is_pending());
    drop(dropped);
    assert_eq!(unused.kept(), 0);
    root.remove_done_callback(removed);
    assert!(probe.poll(&mut waits[1]).is_ready());
    assert!(probe.poll(&mut waits[0]).is_pending());
    root.cancel();
    assert!(waits.iter_mut().all(|wait| probe.poll(wait).is_ready()));
    assert_eq!((probe.kept(), unused.woken()), (0, 0));
}

/// Scenario 12.
#[test]
fn a_callback_that_blocks_stalls_nobody_on_a_lock() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let sibling = root.child("sibling");
    let (go, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    let blocked = child.add_done_callback(move |_| {
        entered.send(()).unwrap();
        gate.recv().unwrap();
    });
    let log = Log::default();
    log.on(&child, "child");
    let canceller = child.canceller();
    let completing = std::thread::spawn(move || canceller.cancel_because("own"));
    inside.recv().unwrap();

    // Everything that the same context, its parent and its siblings can do goes on.
    assert!(child.is_done() && child.completion().is_some());
    assert!(child.child("late").is_done());
    log.on(&child, "straight away");
    assert_eq!(child.remove_done_callback(blocked), Removal::Running);
    assert!(Probe::new().poll(&mut child.done()).is_ready());
    assert!(child.to_string().ends_with("child(cancelled)"));
    drop(root.child("another"));
    log.on(&sibling, "sibling");
    assert!(!child.cancel());
    assert!(root.cancel_because("all"));
    assert!(sibling.is_done());
    assert_eq!(log.read(), ["straight away", "sibling"]);
    drop((sibling, child, root));

    go.send(()).unwrap();
    assert!(completing.join().unwrap());
    assert_eq!(log.read(), ["straight away", "sibling", "child"]);
}

#[test]
fn what_a_callback_captured_is_dropped_with_its_run_or_its_removal() {
    let root = Ctx::beginning("root");
    let alive = Arc::new(());
    let keep = |alive: &Arc<()>| {
        let alive = alive.clone();
        move |_: &machinery::Completion| drop(alive)
    };
    let removed = root.add_done_callback(keep(&alive));
    root.add_done_callback(keep(&alive));
    assert_eq!(Arc::strong_count(&alive), 3);
    root.remove_done_callback(removed);
    assert_eq!(Arc::strong_count(&alive), 2);
    root.cancel();
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_captured_value_may_use_the_context_when_it_is_dropped() {
    struct Uses(Ctx);
    impl Drop for Uses {
        fn drop(&mut self) {
            drop(self.0.child("made while dropping"));
            self.0.add_done_callback(|_| {});
        }
    }
    let root = Ctx::beginning("root");
    let uses = Uses(root.ctx());
    let id = root.add_done_callback(move |_| drop(uses));
    assert_eq!(root.remove_done_callback(id), Removal::Removed);
    let uses = Uses(root.ctx());
    root.add_done_callback(move |_| drop(uses));
    root.cancel();
}

#[test]
fn a_tramp_that_panics_over_a_panicking_callback_stops_nothing() {
    struct Bad;
    impl machinery::Tramp for Bad {
        fn log_exception(&self, _: &machinery::Report<'_>) {
            panic!("the tramp as well");
        }
    }
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(Bad)).unwrap();
    let log = Log::default();
    root.add_done_callback(|_| panic!("a mistake"));
    log.on(&root, "after");
    assert!(root.cancel());
    assert_eq!(log.read(), ["after"]);
}

/// A value whose drop panics.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

fn armed(parent: &Ctx, name: &'static str) -> CtxGuard {
    parent.child_with(name, CtxOptions::new().value(Bomb(name))).expect("no deadline")
}

#[test]
fn a_callback_that_drops_the_last_handle_to_a_value_whose_drop_panics_stops_nothing() {
    let kept = Kept::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(kept.clone())).unwrap();
    let log = Log::default();
    // The context goes with its own callback, before that of the next one.
    let child = armed(&root, "child");
    let ctx = child.ctx();
    ctx.add_done_callback(move |_| drop(child));
    drop(ctx);
    let next = root.child("next");
    log.on(&next, "next");
    // This one is completed in a callback, told after it, and gone then.
    let other = Ctx::beginning_with("other", CtxOptions::new().tramp(kept.clone())).unwrap();
    let late = armed(&other, "late");
    log.on(&late, "late");
    next.add_done_callback(move |_| drop(late));
    assert!(root.cancel());
    assert_eq!(log.read(), ["next", "late"]);
    let mut reports = kept.reports();
    reports.sort();
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].ends_with("held panicked: late") && reports[1].ends_with("held panicked: child"), "{reports:?}");

    // This thread tells whom it completes at once, as ever.
    log.on(&other, "afterwards");
    other.cancel();
    assert_eq!(log.read(), ["next", "late", "afterwards"]);
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_panics_in_a_deadline_leaves_the_other_deadlines_be() {
    let root = Ctx::beginning("root");
    let after = |millis| CtxOptions::new().timeout(std::time::Duration::from_millis(millis));
    let (first, second) = (root.child_with("first", after(1)).unwrap(), root.child_with("second", after(2)).unwrap());
    let child = armed(&first, "child");
    let ctx = child.ctx();
    ctx.add_done_callback(move |_| drop(child));
    drop(ctx);
    let waiting = tokio::time::timeout(std::time::Duration::from_secs(1), second.done());
    waiting.await.expect("the second deadline falls");
    assert!(first.is_done());
}
