//! What contexts cost in memory, counted by an allocator of this test program's own.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::task::{Context, Waker};

use machinery::Ctx;

struct Counting;

thread_local! {
    // Of each thread by itself, as tests run beside each other.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MADE: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize, pieces: usize) {
    // Not in the last moments of a thread.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    let _ = MADE.try_with(|made| made.set(made.get() + pieces));
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed(), 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many bytes more live after `code` than before, and how many allocations it made.
fn cost<R>(code: impl FnOnce() -> R) -> (isize, usize, R) {
    let (live, made) = (LIVE.get(), MADE.get());
    let result = code();
    (LIVE.get() - live, MADE.get() - made, result)
}

const KIDS: usize = 10_000_000;

/// Scenario 3.
#[test]
fn ten_million_children_made_and_dropped_under_a_living_parent_leave_nothing() {
    let root = Ctx::beginning("root");
    drop((root.child("first"), root.child("second")));
    let (grown, _, ()) = cost(|| {
        for _ in 0..KIDS {
            drop(root.child("child"));
        }
    });
    assert_eq!(grown, 0);
    assert!(!root.is_done());
}

/// Scenario 3.
#[test]
fn every_kind_of_use_of_a_child_leaves_nothing_with_its_parent() {
    let (root, other) = (Ctx::beginning("root"), Ctx::beginning("other"));
    let keeper = root.add_done_callback(|_| {});
    let mut cx = Context::from_waker(Waker::noop());
    let mut round = |n: usize| {
        let child = root.child(format!("child {n}"));
        child.add_done_callback(|_| {});
        let leaf = child.child("leaf").hand_over();
        let linked = leaf.linked("linked", [&*other, &*root]);
        let detached = root.detached("detached");
        let mut waits = (leaf.done(), root.done(), root.drained());
        let _ = std::pin::Pin::new(&mut waits.0).poll(&mut cx);
        let _ = std::pin::Pin::new(&mut waits.1).poll(&mut cx);
        let _ = std::pin::Pin::new(&mut waits.2).poll(&mut cx);
        let id = root.add_done_callback(|_| {});
        assert!(root.remove_done_callback(id) == machinery::ctx::Removal::Removed);
        if n.is_multiple_of(2) {
            child.cancel_because(format!("{n}"));
        }
        drop((detached, linked, waits, child, leaf));
    };
    (0..100).for_each(&mut round);
    let (grown, _, ()) = cost(|| (0..20_000).for_each(&mut round));
    assert_eq!(grown, 0);
    assert!(root.has_direct_done_callback(keeper));
}

#[test]
fn a_burst_of_children_is_given_back() {
    let root = Ctx::beginning("root");
    drop(root.child("first"));
    let (grown, _, ()) = cost(|| {
        let kids: Vec<_> = (0..100_000).map(|_| root.child("child")).collect();
        drop(kids);
    });
    assert!(grown < 4_096, "{grown}");
}

#[test]
fn a_child_with_a_fixed_name_is_one_allocation_of_at_most_120_bytes() {
    let root = Ctx::beginning("root");
    let mut kids = Vec::with_capacity(1_000);
    kids.push(root.child("first"));
    let (grown, made, ()) = cost(|| kids.push(root.child("second")));
    assert!(grown <= 400 && made <= 3, "{grown} bytes in {made}: the parent's list begins");
    let (_, made, child) = cost(|| kids[0].child("only"));
    assert_eq!(made, 1);
    drop(child);
    let (grown, _, ()) = cost(|| kids.extend((2..1_000).map(|_| root.child("child"))));
    assert!(grown <= 120 * 1_000, "{grown}");
}

#[test]
fn asking_a_context_allocates_nothing() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let (_, made, ()) = cost(|| {
        assert!(!child.is_done() && !child.is_cancelled() && child.completion().is_none());
        let other = child.ctx();
        assert!(other == *child && other.name() == "child");
    });
    assert_eq!(made, 0);
    root.cancel();
    let (_, made, ()) = cost(|| assert!(child.is_cancelled() && child.completion().is_some()));
    assert_eq!(made, 0);
}

#[test]
fn contexts_that_completed_one_after_the_other_keep_nothing_but_themselves() {
    let root = Ctx::beginning("root");
    let mut cx = Context::from_waker(Waker::noop());
    let (grown, _, ()) = cost(|| {
        for n in 0..50_000 {
            let mid = root.child("mid");
            let mut done = mid.child("leaf").done();
            assert!(std::pin::Pin::new(&mut done).poll(&mut cx).is_ready());
            mid.set_exception(format!("{n}"));
        }
    });
    assert!(grown < 4_096, "{grown}");
    let (freed, _, ()) = cost(|| drop(root));
    assert!(freed <= 0, "{freed}");
}
