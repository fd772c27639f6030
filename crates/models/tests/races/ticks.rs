//! A ticker that waits, against its pauser, its handles, its context and its end.
//!
//! No clock is part of it: a ticker waits for nothing but its signal while it is held, and where its period is longer
//! than all time. What is due then comes at once.

use std::time::Duration;

use machinery::tick::{Pauser, tick};
use machinery::{Ctx, Ticker};
use machinery_models::{Count, block_on, model, thread};

/// One that has given its first tick, and gives no other by itself.
fn waiting(root: &Ctx) -> Ticker {
    let mut ticker = tick(Duration::MAX, root).start();
    assert!(block_on(ticker.next()).is_some());
    ticker
}

#[test]
fn a_pause_that_ends_while_a_ticker_looks_wakes_it() {
    model(|| {
        let root = Ctx::beginning("root");
        let pauser = Pauser::new();
        let pause = pauser.hold();
        let mut ticker = tick(Duration::MAX, &root).pauser(&pauser).start();
        let racing = thread::spawn(move || drop(pause));
        assert_eq!(block_on(ticker.next()).map(|tick| tick.iteration), Some(1));
        racing.join().expect("no panic");
    });
}

#[test]
fn the_last_of_two_guards_that_go_at_once_wakes_the_ticker() {
    model(|| {
        let root = Ctx::beginning("root");
        let pauser = Pauser::new();
        let pauses = [pauser.hold(), pauser.hold()];
        let mut ticker = tick(Duration::MAX, &root).pauser(&pauser).start();
        let racing = pauses.map(|pause| thread::spawn(move || drop(pause)));
        assert!(block_on(ticker.next()).is_some());
        for racing in racing {
            racing.join().expect("no panic");
        }
        assert!(!pauser.is_held());
    });
}

#[test]
fn a_pause_that_is_followed_by_another_ends_for_a_ticker_that_begins_meanwhile() {
    model(|| {
        let root = Ctx::beginning("root");
        let pauser = Pauser::new();
        let pause = pauser.hold();
        let other = pauser.clone();
        let racing = thread::spawn(move || {
            drop(pause);
            drop(other.hold());
        });
        let mut ticker = tick(Duration::MAX, &root).pauser(&pauser).start();
        assert!(block_on(ticker.next()).is_some());
        racing.join().expect("no panic");
    });
}

#[test]
fn a_change_while_a_ticker_looks_wakes_it() {
    model(|| {
        let root = Ctx::beginning("root");
        let mut ticker = waiting(&root);
        let handle = ticker.handle();
        let racing = thread::spawn(move || handle.change_after_once(Duration::ZERO));
        assert_eq!(block_on(ticker.next()).map(|tick| tick.iteration), Some(2));
        racing.join().expect("no panic");
    });
}

#[test]
fn two_changes_at_once_are_both_kept() {
    model(|| {
        let root = Ctx::beginning("root");
        let mut ticker = waiting(&root);
        let (period, once) = (ticker.handle(), ticker.handle());
        let racing = [
            thread::spawn(move || period.change_after(Duration::ZERO)),
            thread::spawn(move || once.change_after_once(Duration::ZERO)),
        ];
        assert!(block_on(ticker.next()).is_some());
        for racing in racing {
            racing.join().expect("no panic");
        }
        // In whichever order they came, the period is the new one, on which ticks are the minimal wait apart.
        ticker.handle().change_after_once(Duration::ZERO);
        let next = block_on(ticker.next()).expect("a tick").time_till_next;
        assert_eq!(next, Duration::from_millis(100));
    });
}

#[test]
fn a_ticker_that_moves_to_another_task_is_woken_there() {
    model(|| {
        let root = Ctx::beginning("root");
        let mut ticker = waiting(&root);
        let handle = ticker.handle();
        let racing = thread::spawn(move || handle.change_after_once(Duration::ZERO));
        let before = Count::new();
        let mut next = Box::pin(ticker.next());
        let given = machinery_models::poll_with(&mut next, &before.waker());
        drop(next);
        if given.is_pending() {
            assert!(block_on(ticker.next()).is_some());
        }
        racing.join().expect("no panic");
    });
}

#[test]
fn a_completion_ends_a_ticker_that_is_held_and_one_that_is_let_go() {
    model(|| {
        let root = Ctx::beginning("root");
        let pauser = Pauser::new();
        let pause = pauser.hold();
        let mut ticker = tick(Duration::MAX, &root).pauser(&pauser).start();
        let racing = thread::spawn(move || {
            root.cancel();
            drop(pause);
        });
        assert_eq!(block_on(ticker.next()), None);
        assert!(ticker.ctx().is_done());
        racing.join().expect("no panic");
    });
}

#[test]
fn a_change_that_comes_after_the_completion_gives_no_tick() {
    model(|| {
        let root = Ctx::beginning("root");
        let mut ticker = waiting(&root);
        let handle = ticker.handle();
        let racing = thread::spawn(move || {
            root.cancel();
            handle.change_after_once(Duration::ZERO);
        });
        assert_eq!(block_on(ticker.next()), None);
        racing.join().expect("no panic");
    });
}

#[test]
fn a_ticker_that_is_dropped_as_its_pause_ends_leaves_nothing_behind() {
    model(|| {
        let root = Ctx::beginning("root");
        let pauser = Pauser::new();
        let pause = pauser.hold();
        let woken = Count::new();
        let mut ticker = tick(Duration::MAX, &root).pauser(&pauser).start();
        assert!(machinery_models::poll_with(&mut Box::pin(ticker.next()), &woken.waker()).is_pending());
        let racing = thread::spawn(move || drop(pause));
        drop(ticker);
        racing.join().expect("no panic");
        assert!(woken.get() <= 1);
        assert!(std::sync::Arc::into_inner(woken).is_some(), "a waker is kept");
        assert!(!root.is_done());
    });
}
