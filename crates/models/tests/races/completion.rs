//! Completion against everything that may happen to a context at the same time.

use machinery::Ctx;
use machinery_models::{block_on, large_model, model, thread};

/// Scenario 5.
#[test]
fn a_child_made_while_its_parent_completes_is_never_an_orphan() {
    model(|| {
        let root = Ctx::beginning("root");
        let above = root.ctx();
        let making = thread::spawn(move || above.child("child"));
        root.cancel_because("enough");
        let child = making.join().expect("no panic");
        assert!(child.is_done());
        assert_eq!(child.completion().expect("it is done").reason(), Some("enough"));
    });
}

#[test]
fn a_grandchild_made_while_its_grandparent_completes_is_never_an_orphan() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let making = thread::spawn(move || {
            let grandchild = child.child("grandchild");
            (child, grandchild)
        });
        root.cancel_because("enough");
        let (child, grandchild) = making.join().expect("no panic");
        assert!(child.is_done() && grandchild.is_done());
        assert_eq!(grandchild.completion().expect("it is done").reason(), Some("enough"));
    });
}

/// Scenario 6.
#[test]
fn of_two_completions_one_wins_and_all_below_read_the_same() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let other = root.canceller();
        let racing = thread::spawn(move || other.cancel_because("theirs"));
        let ours = root.cancel_because("ours");
        if ours {
            assert!(child.is_done(), "below the winner all is done when it returns");
        }
        let theirs = racing.join().expect("no panic");
        assert!(ours != theirs);
        let reason = if ours { "ours" } else { "theirs" };
        for ctx in [&*root, &*child] {
            assert_eq!(ctx.completion().expect("it is done").reason(), Some(reason));
        }
    });
}

/// Scenario 7.
#[test]
fn a_child_that_fails_while_its_parent_completes_settles_for_good_on_one_of_them() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let leaf = child.child("leaf");
        let failing = child.canceller();
        let racing = thread::spawn(move || {
            let won = failing.set_exception("broken");
            let seen = leaf.completion();
            if won {
                assert!(seen.as_ref().is_some_and(|seen| seen.error().is_some()));
            }
            (won, leaf, seen)
        });
        assert!(root.cancel_because("enough"));
        // The sweep may meet the child while the other thread settles it, and still all below is done.
        assert!(child.is_done());
        let first = child.completion().expect("it is done").to_string();
        let (won, leaf, seen) = racing.join().expect("no panic");
        let last = child.completion().expect("it is done");
        assert_eq!(last.error().is_some(), won);
        assert_eq!(last.to_string().split(',').next(), first.split(',').next());
        let leaf = leaf.completion().expect("it is done");
        assert_eq!(leaf.error().is_some(), won);
        if let Some(seen) = seen {
            assert_eq!(seen.error().is_some(), won);
        }
    });
}

#[test]
fn a_sweep_returns_only_when_what_another_thread_settles_below_is_done() {
    model(|| {
        let root = Ctx::beginning("root");
        let mid = root.child("mid");
        let leaf = mid.child("leaf");
        let (mid_seen, leaf_seen) = (mid.ctx(), leaf.ctx());
        let inner = mid.canceller();
        let racing = thread::spawn(move || {
            if inner.cancel() {
                assert!(leaf.is_done());
            }
        });
        root.cancel();
        assert!(mid_seen.is_done() && leaf_seen.is_done());
        racing.join().expect("no panic");
    });
}

#[test]
fn three_levels_completed_by_three_threads_are_done_from_below() {
    large_model(|| {
        let root = Ctx::beginning("root");
        let mid = root.child("mid");
        let low = mid.child("low");
        let leaves: Vec<_> = (0..3).map(|_| low.child("leaf")).collect();
        let threads: Vec<_> = [mid.canceller(), low.canceller(), leaves[1].canceller()]
            .into_iter()
            .map(|canceller| {
                let ctx = canceller.ctx();
                thread::spawn(move || {
                    let won = canceller.cancel();
                    (!won || ctx.is_done()).then_some(()).expect("a winner returns when it is done");
                })
            })
            .collect();
        root.cancel();
        assert!(mid.is_done() && low.is_done() && leaves.iter().all(|leaf| leaf.is_done()));
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn who_sees_a_context_as_done_sees_everything_below_as_done() {
    model(|| {
        let root = Ctx::beginning("root");
        let mid = root.child("mid");
        let leaf = mid.child("leaf");
        let (root_seen, mid_seen, leaf_seen) = (root.ctx(), mid.ctx(), leaf.ctx());
        let looking = thread::spawn(move || {
            if root_seen.is_done() {
                assert!(mid_seen.is_done());
            }
            if mid_seen.is_done() {
                assert!(leaf_seen.is_done());
                assert!(mid_seen.completion().is_some());
            }
        });
        root.cancel();
        looking.join().expect("no panic");
    });
}

#[test]
fn a_linked_context_whose_parents_both_complete_settles_once() {
    model(|| {
        let first = Ctx::beginning("first");
        let second = Ctx::beginning("second");
        let linked = first.linked("linked", [&*second]);
        let leaf = linked.child("leaf");
        let racing = thread::spawn({
            let (linked, leaf) = (linked.ctx(), leaf.ctx());
            move || {
                second.cancel_because("second");
                assert!(linked.is_done() && leaf.is_done());
                second
            }
        });
        first.cancel_because("first");
        assert!(linked.is_done() && leaf.is_done());
        let why = linked.completion().expect("it is done");
        let _second = racing.join().expect("no panic");
        assert_eq!(linked.completion().expect("it is done").reason(), why.reason());
        assert_eq!(leaf.completion().expect("it is done").reason(), why.reason());
    });
}

#[test]
fn a_linked_context_made_while_one_parent_completes_and_another_is_done_is_done_at_once() {
    model(|| {
        let first = Ctx::beginning("first");
        let second = Ctx::beginning("second");
        second.cancel_because("second");
        let (above, other) = (first.ctx(), second.ctx());
        let making = thread::spawn(move || {
            let linked = above.linked("linked", [&other]);
            assert!(linked.is_done());
        });
        first.cancel_because("first");
        making.join().expect("no panic");
    });
}

#[test]
fn a_linked_context_made_while_a_parent_completes_is_never_an_orphan() {
    model(|| {
        let first = Ctx::beginning("first");
        let second = Ctx::beginning("second");
        let (above, other) = (first.ctx(), second.ctx());
        let making = thread::spawn(move || above.linked("linked", [&other]));
        second.cancel_because("second");
        let linked = making.join().expect("no panic");
        assert_eq!(linked.completion().expect("it is done").reason(), Some("second"));
    });
}

/// Scenario 8.
#[test]
fn a_waiter_that_registers_while_its_context_completes_is_woken() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let waiting = thread::spawn(move || {
            let why = block_on(child.done());
            assert_eq!(why.reason(), Some("enough"));
        });
        root.cancel_because("enough");
        waiting.join().expect("no panic");
    });
}

#[test]
fn a_waiter_on_the_completed_context_itself_is_woken() {
    model(|| {
        let root = Ctx::beginning("root");
        let ctx = root.ctx();
        let waiting = thread::spawn(move || block_on(ctx).reason().map(str::to_owned));
        root.cancel_because("enough");
        assert_eq!(waiting.join().expect("no panic").as_deref(), Some("enough"));
    });
}
