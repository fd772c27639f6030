//! Waiting for the work below a context against its beginning and its end.

use machinery::{Ctx, model_task};
use machinery_models::{Count, block_on, large_model, model, poll_with, thread};

/// How many contexts with work at or below them there are, and the root.
fn shown(root: &Ctx) -> usize {
    root.unfinished().iter().count()
}

#[test]
fn who_waits_for_a_context_to_drain_goes_on_when_its_task_ends() {
    model(|| {
        let root = Ctx::beginning("root");
        let task = model_task(&root);
        let over = Count::new();
        let working = thread::spawn({
            let over = over.clone();
            move || {
                over.add();
                drop(task);
            }
        });
        block_on(root.close());
        assert_eq!(over.get(), 1);
        working.join().expect("no panic");
    });
}

#[test]
fn a_task_two_levels_below_holds_up_those_who_wait_above() {
    model(|| {
        let root = Ctx::beginning("root");
        let leaf = root.child("leaf");
        let task = model_task(&leaf);
        let over = Count::new();
        let working = thread::spawn({
            let over = over.clone();
            move || {
                over.add();
                drop(task);
                leaf
            }
        });
        block_on(root.close());
        assert_eq!(over.get(), 1);
        drop(working.join().expect("no panic"));
    });
}

#[test]
fn nobody_sees_an_idle_parent_above_a_busy_child() {
    model(|| {
        let root = Ctx::beginning("root");
        let leaf = root.child("leaf");
        let over = Count::new();
        // One task ends while another begins.
        let first = model_task(&leaf);
        let working = thread::spawn({
            let (leaf, over) = (leaf.ctx(), over.clone());
            move || {
                let second = model_task(&leaf);
                let pending = leaf.is_done().then_some(()).is_none();
                over.add();
                drop(second);
                pending
            }
        });
        drop(first);
        root.cancel();
        let began_before = working.join().expect("no panic");
        let mut drained = root.drained();
        assert!(poll_with(&mut drained, &Count::new().waker()).is_ready());
        assert!(over.get() == 1 || !began_before);
        assert_eq!(shown(&root), 1);
    });
}

#[test]
fn two_tasks_that_end_at_once_leave_both_levels_idle() {
    model(|| {
        let root = Ctx::beginning("root");
        let leaf = root.child("leaf");
        let (one, two) = (model_task(&leaf), model_task(&root));
        root.cancel();
        let mut drained = root.drained();
        let woken = Count::new();
        assert!(poll_with(&mut drained, &woken.waker()).is_pending());
        let working = thread::spawn(move || drop(one));
        drop(two);
        working.join().expect("no panic");
        assert!(woken.get() >= 1);
        assert!(poll_with(&mut drained, &woken.waker()).is_ready());
        assert_eq!(shown(&root), 1);
    });
}

#[test]
fn two_tasks_that_begin_at_once_on_one_context_count_above_for_as_long_as_either_lives() {
    model(|| {
        let root = Ctx::beginning("root");
        let leaf = root.child("leaf");
        let seen = leaf.ctx();
        let beginning = thread::spawn(move || model_task(&seen));
        let ours = model_task(&leaf);
        let theirs = beginning.join().expect("no panic");
        root.cancel();
        let mut drained = root.drained();
        let woken = Count::new();
        assert!(poll_with(&mut drained, &woken.waker()).is_pending());
        assert_eq!(shown(&root), 2);
        drop(ours);
        assert!(poll_with(&mut drained, &woken.waker()).is_pending());
        assert_eq!(shown(&root), 2);
        drop(theirs);
        assert!(poll_with(&mut drained, &woken.waker()).is_ready());
        assert_eq!(shown(&root), 1);
    });
}

#[test]
fn a_child_is_listed_once_as_long_as_there_is_work_on_it_whatever_begins_as_it_ends() {
    model(|| {
        let root = Ctx::beginning("root");
        let leaf = root.child("leaf");
        let first = model_task(&leaf);
        let ending = thread::spawn(move || drop(first));
        let second = model_task(&leaf);
        assert_eq!(shown(&root), 2);
        ending.join().expect("no panic");
        assert_eq!(shown(&root), 2);
        drop(second);
        assert_eq!(shown(&root), 1);
    });
}

#[test]
fn tasks_below_a_linked_context_hold_up_all_its_parents() {
    large_model(|| {
        let (first, second) = (Ctx::beginning("first"), Ctx::beginning("second"));
        let linked = first.linked("linked", [&*second]);
        let (above, beside) = (first.ctx(), second.ctx());
        let over = Count::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (task, over) = (model_task(&linked), over.clone());
                thread::spawn(move || {
                    over.add();
                    drop(task);
                })
            })
            .collect();
        let closing = thread::spawn({
            let over = over.clone();
            move || {
                block_on(second.close());
                assert_eq!(over.get(), 2);
            }
        });
        block_on(first.close());
        assert_eq!(over.get(), 2);
        closing.join().expect("no panic");
        assert_eq!((shown(&above), shown(&beside)), (1, 1));
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}
