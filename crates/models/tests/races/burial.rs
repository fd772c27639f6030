//! The last handle against a sweep: where memory could be used after it is freed.

use machinery::Ctx;
use machinery_models::{Count, large_model, model, poll_with, thread};

#[test]
fn a_plain_child_is_dropped_while_its_parent_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let dropping = thread::spawn(move || drop(child));
        root.cancel();
        dropping.join().expect("no panic");
    });
}

#[test]
fn two_siblings_are_dropped_while_their_parent_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let (one, two) = (root.child("one"), root.child("two"));
        let dropping = thread::spawn(move || {
            drop(one);
            drop(two);
        });
        root.cancel();
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_watched_child_is_dropped_while_its_parent_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let woken = Count::new();
        let mut done = child.done();
        assert!(poll_with(&mut done, &woken.waker()).is_pending());
        drop(done);
        let dropping = thread::spawn(move || drop(child));
        root.cancel();
        dropping.join().expect("no panic");
        assert_eq!(woken.get(), 0);
    });
}

#[test]
fn a_child_with_a_callback_is_dropped_while_its_parent_completes_and_the_callback_runs_once() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let ran = Count::new();
        child.add_done_callback({
            let ran = ran.clone();
            move |_| ran.add()
        });
        let dropping = thread::spawn(move || drop(child));
        root.cancel();
        dropping.join().expect("no panic");
        assert_eq!(ran.get(), 1);
    });
}

#[test]
fn a_child_with_a_child_is_dropped_while_its_parent_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let leaf = child.child("leaf").hand_over();
        let dropping = thread::spawn(move || {
            drop(child);
            leaf
        });
        root.cancel();
        assert!(dropping.join().expect("no panic").is_done());
    });
}

#[test]
fn a_chain_is_dropped_leaf_last_while_its_root_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child").hand_over();
        let leaf = child.child("leaf").hand_over();
        drop(child);
        let dropping = thread::spawn(move || drop(leaf));
        root.cancel();
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_child_that_completes_itself_is_dropped_while_its_parent_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let dropping = thread::spawn(move || {
            child.cancel();
            drop(child);
        });
        root.cancel();
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_linked_context_is_dropped_while_its_parents_complete() {
    model(|| {
        let first = Ctx::beginning("first");
        let second = Ctx::beginning("second");
        let linked = first.linked("linked", [&*second]);
        let dropping = thread::spawn(move || drop(linked));
        first.cancel();
        second.cancel();
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_linked_context_handed_over_is_dropped_while_both_parents_complete_on_two_threads() {
    model(|| {
        let first = Ctx::beginning("first");
        let second = Ctx::beginning("second");
        let linked = first.linked("linked", [&*second]).hand_over();
        let one = thread::spawn(move || first.cancel());
        let two = thread::spawn(move || second.cancel());
        drop(linked);
        one.join().expect("no panic");
        two.join().expect("no panic");
    });
}

#[test]
fn a_guard_dropped_with_its_root_on_another_thread_frees_both() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let dropping = thread::spawn(move || drop(child));
        drop(root);
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_clone_dropped_while_the_guard_is_dropped_frees_once() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let seen = child.ctx();
        let dropping = thread::spawn(move || drop(seen));
        drop(child);
        dropping.join().expect("no panic");
        drop(root);
    });
}

#[test]
fn a_handed_over_child_with_a_callback_lives_until_it_has_run_or_is_removed() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let ran = Count::new();
        let id = child.add_done_callback({
            let ran = ran.clone();
            move |_| ran.add()
        });
        let child = child.hand_over();
        let removing = thread::spawn(move || child.remove_done_callback(id));
        root.cancel();
        let removed = removing.join().expect("no panic") == machinery::ctx::Removal::Removed;
        assert_eq!(ran.get(), usize::from(!removed));
    });
}

#[test]
fn a_context_handed_over_while_its_parent_completes_runs_its_callback_once() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let ran = Count::new();
        child.add_done_callback({
            let ran = ran.clone();
            move |_| ran.add()
        });
        let handing = thread::spawn(move || drop(child.hand_over()));
        root.cancel();
        handing.join().expect("no panic");
        assert_eq!(ran.get(), 1);
    });
}

#[test]
fn a_forest_is_made_dropped_and_completed_by_three_threads() {
    large_model(|| {
        let root = Ctx::beginning("root");
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let above = root.ctx();
                thread::spawn(move || {
                    let mid = above.child("mid");
                    let kept: Vec<_> = (0..3).map(|_| mid.child("leaf").hand_over()).collect();
                    let linked = above.linked("linked", [&*mid, &kept[1]]);
                    let mut done = kept[2].done();
                    let _ = poll_with(&mut done, &Count::new().waker());
                    drop(kept);
                    drop(mid);
                    linked
                })
            })
            .collect();
        root.cancel();
        for thread in threads {
            assert!(thread.join().expect("no panic").is_done());
        }
    });
}

#[test]
fn children_are_listed_while_they_are_dropped() {
    model(|| {
        let root = Ctx::beginning("root");
        let (one, two) = (root.child("one"), root.child("two"));
        let dropping = thread::spawn(move || {
            drop(one);
            drop(two);
        });
        assert!(root.children().len() <= 2);
        dropping.join().expect("no panic");
        assert!(root.children().is_empty());
    });
}

#[test]
fn a_child_that_is_listed_while_its_guard_is_dropped_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let dropping = thread::spawn(move || drop(child));
        let listed = root.children();
        dropping.join().expect("no panic");
        assert!(listed.iter().all(Ctx::is_done));
    });
}

#[test]
fn a_callback_that_is_added_to_a_listed_child_runs_when_its_guard_is_dropped() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let dropping = thread::spawn(move || drop(child));
        let ran = Count::new();
        let listed = root.children().pop();
        let expected = usize::from(listed.is_some());
        if let Some(child) = listed {
            let waker = ran.waker();
            child.add_done_callback(move |_| waker.wake());
        }
        dropping.join().expect("no panic");
        assert_eq!(ran.get(), expected);
    });
}

#[test]
fn children_are_listed_while_their_parent_completes() {
    model(|| {
        let root = Ctx::beginning("root");
        let child = root.child("child");
        let seen = root.ctx();
        let listing = thread::spawn(move || seen.children());
        root.cancel();
        drop(child);
        let listed = listing.join().expect("no panic");
        assert!(listed.iter().all(Ctx::is_done));
    });
}

#[test]
fn children_are_listed_while_one_of_several_parents_completes() {
    model(|| {
        let (root, other) = (Ctx::beginning("root"), Ctx::beginning("other"));
        let child = root.linked("child", [&*other]);
        let completing = thread::spawn(move || drop(other));
        drop(root.children());
        drop(child);
        completing.join().expect("no panic");
        assert!(root.children().is_empty());
    });
}
