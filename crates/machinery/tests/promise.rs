//! The promise, through its public face.
#![expect(clippy::disallowed_methods, reason = "the tests spawn as users do")]

mod tramps;
mod wakers;

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use futures_util::FutureExt;
use machinery::ctx::Removal;
use machinery::promise::Settled;
use machinery::{Ctx, Promise, SharedError, async_with_timeout};
use proptest::prelude::*;
use tramps::Kept;
use wakers::{Probe, on_drop, on_wake, poll_with};

#[test]
fn the_first_to_settle_it_wins_for_good() {
    let promise = Promise::new("answer");
    assert!(!promise.is_done());
    assert!(promise.outcome().is_none());
    assert!(promise.set_result(1));
    assert!(!promise.set_result(2));
    assert!(!promise.set_exception("late"));
    assert!(!promise.cancel());
    assert_eq!(promise.try_set_result(3), Err(3));
    assert_eq!(promise.value(), Some(&1));
    assert!(promise.is_done() && !promise.is_cancelled() && promise.exception().is_none());
}

#[tokio::test]
async fn any_number_of_tasks_await_it() {
    let promise = Promise::new("answer");
    let waiters: Vec<_> = (0..50).map(|_| tokio::spawn(promise.clone().into_future())).collect();
    tokio::task::yield_now().await;
    promise.set_result(String::from("forty-two"));
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), "forty-two");
    }
    assert_eq!((&promise).await.unwrap(), "forty-two");
}

#[tokio::test]
async fn the_error_reaches_everybody_and_keeps_its_sources() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("could not load")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    let promise = Promise::<u32>::new("index");
    promise.set_exception(Outer(std::io::Error::other("disk full")));
    let error = (&promise).await.unwrap_err();
    assert!(!error.is_cancelled());
    assert_eq!(error.to_string(), "promise `index` failed: could not load");
    assert_eq!(error.name().as_str(), "index");
    let outer = error.source().unwrap();
    assert!(outer.is::<Outer>());
    assert_eq!(outer.source().unwrap().to_string(), "disk full");
    let again = promise.await.unwrap_err();
    assert!(Arc::ptr_eq(error.error().unwrap(), again.error().unwrap()));
}

#[tokio::test]
async fn a_shared_error_stays_the_same_error() {
    let error: SharedError = Arc::new(std::io::Error::other("disk full"));
    let promise = Promise::<u32>::new("index");
    promise.set_exception(error.clone());
    assert!(Arc::ptr_eq(promise.exception().unwrap(), &error));
}

#[tokio::test]
async fn a_cancelled_promise_says_so_to_those_who_await_it() {
    let promise = Promise::<u32>::new("answer");
    assert!(promise.cancel());
    assert!(promise.is_cancelled());
    let error = promise.await.unwrap_err();
    assert!(error.is_cancelled() && error.error().is_none() && error.source().is_none());
    assert_eq!(error.to_string(), "promise `answer` was cancelled");
}

#[test]
fn it_needs_no_runtime() {
    let promise = Promise::new("answer");
    let setter = std::thread::spawn({
        let promise = promise.clone();
        move || promise.set_result(42)
    });
    assert_eq!(futures_executor_block_on(promise), 42);
    assert!(setter.join().unwrap());
}

fn futures_executor_block_on(promise: Promise<u32>) -> u32 {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut awaited = promise.into_future();
    loop {
        if let std::task::Poll::Ready(outcome) = poll_with(&mut awaited, &waker) {
            return outcome.expect("a result");
        }
        std::thread::park();
    }
}

#[test]
fn handles_know_whether_they_are_of_the_same_promise() {
    let (a, b) = (Promise::<u32>::new("same"), Promise::<u32>::new("same"));
    assert!(a.same_as(&a.clone()));
    assert!(!a.same_as(&b));
}

#[test]
fn callbacks_run_once_in_the_order_of_registration() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let promise = Promise::new("answer");
    for n in 0..5 {
        let order = Arc::clone(&order);
        promise.add_done_callback(move |promise| order.lock().unwrap().push((n, promise.value().copied())));
    }
    promise.set_result(42);
    promise.set_result(43);
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4].map(|n| (n, Some(42))));
}

#[test]
fn a_callback_on_a_settled_promise_runs_before_the_call_returns() {
    let promise = Promise::<u32>::new("answer");
    promise.cancel();
    let (send, receive) = mpsc::channel();
    let id = promise.add_done_callback(move |promise| send.send(promise.is_cancelled()).unwrap());
    assert_eq!(receive.try_recv(), Ok(true));
    assert_eq!(promise.remove_done_callback(id), Removal::AlreadyRun);
    assert!(!promise.has_direct_done_callback(id));
}

#[test]
fn removal_says_whether_it_prevented_the_run() {
    let promise = Promise::new("answer");
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = Arc::clone(&ran);
        move |_: &Promise<u32>| {
            ran.fetch_add(1, Ordering::SeqCst);
        }
    };
    let removed = promise.add_done_callback(count());
    let kept = promise.add_done_callback(count());
    assert!(promise.has_direct_done_callback(removed));
    assert_eq!(promise.remove_done_callback(removed), Removal::Removed);
    assert!(!promise.has_direct_done_callback(removed));
    assert_eq!(promise.remove_done_callback(removed), Removal::AlreadyRun);

    let other = Promise::<u32>::new("other");
    assert_eq!(other.remove_done_callback(kept), Removal::AlreadyRun);
    assert!(promise.has_direct_done_callback(kept));

    promise.set_result(42);
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    assert_eq!(promise.remove_done_callback(kept), Removal::AlreadyRun);
}

#[test]
fn a_callback_is_seen_running_and_those_after_it_can_still_be_removed() {
    let promise = Promise::new("answer");
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let first = promise.add_done_callback({
        let (ids, seen) = (Arc::clone(&ids), Arc::clone(&seen));
        move |promise: &Promise<u32>| {
            let ids = ids.lock().unwrap().clone();
            *seen.lock().unwrap() = ids.into_iter().map(|id| promise.remove_done_callback(id)).collect();
        }
    });
    let second = promise.add_done_callback(|_| unreachable!("it was removed"));
    *ids.lock().unwrap() = vec![first, second];
    promise.set_result(42);
    assert_eq!(*seen.lock().unwrap(), [Removal::Running, Removal::Removed]);
}

#[test]
fn scenario_15_removal_racing_the_settling_agrees_with_whether_it_ran() {
    for _ in 0..300 {
        let promise = Promise::new("answer");
        let ran = Arc::new(AtomicUsize::new(0));
        let id = promise.add_done_callback({
            let ran = Arc::clone(&ran);
            move |_| {
                ran.fetch_add(1, Ordering::SeqCst);
            }
        });
        let start = Arc::new(Barrier::new(2));
        let setter = std::thread::spawn({
            let (promise, start) = (promise.clone(), Arc::clone(&start));
            move || {
                start.wait();
                promise.set_result(42);
            }
        });
        start.wait();
        let removal = promise.remove_done_callback(id);
        setter.join().unwrap();
        let expected = usize::from(removal != Removal::Removed);
        assert_eq!(ran.load(Ordering::SeqCst), expected, "{removal:?}");
    }
}

#[test]
fn scenario_08_settling_while_a_waiter_polls_loses_no_wake_up() {
    for n in 0..300 {
        let promise = Promise::new("answer");
        let start = Arc::new(Barrier::new(2));
        let setter = std::thread::spawn({
            let (promise, start) = (promise.clone(), Arc::clone(&start));
            move || {
                start.wait();
                promise.set_result(n);
            }
        });
        start.wait();
        assert_eq!(futures_executor_block_on(promise), n);
        setter.join().unwrap();
    }
}

#[test]
fn scenario_09_a_waker_may_use_the_promise() {
    let promise = Promise::new("answer");
    let mut settled = promise.settled();
    let (send, receive) = mpsc::channel();
    let waker = on_wake({
        let promise = promise.clone();
        move || {
            let id = promise.add_done_callback(|_| {});
            promise.remove_done_callback(id);
            send.send((promise.cancel(), promise.clone().into_future().now_or_never().unwrap().unwrap())).unwrap();
        }
    });
    assert!(poll_with(&mut settled, &waker).is_pending());
    promise.set_result(42);
    assert_eq!(receive.try_recv(), Ok((false, 42)));
}

#[test]
fn scenario_10_the_drop_of_a_waker_may_use_the_promise() {
    let promise = Promise::new("answer");
    let waker = || {
        let promise = promise.clone();
        on_drop(move || {
            assert_eq!(promise.name(), "answer");
            promise.set_result(42);
        })
    };
    let mut settled = promise.settled();
    assert!(poll_with(&mut settled, &waker()).is_pending());
    drop(settled);
    assert_eq!(promise.value(), Some(&42));
}

#[test]
fn scenario_11_a_waker_that_panics_keeps_no_other_from_being_woken() {
    let promise = Promise::new("answer");
    let probe = Probe::new();
    let (mut before, mut bomb, mut after) = (promise.settled(), promise.settled(), promise.settled());
    assert!(probe.poll(&mut before).is_pending());
    assert!(poll_with(&mut bomb, &on_wake(|| panic!("a waker that panics"))).is_pending());
    assert!(probe.poll(&mut after).is_pending());
    assert!(promise.set_result(42));
    assert_eq!(probe.woken(), 2);
}

#[test]
fn scenario_13_a_callback_that_panics_is_reported_and_the_others_run() {
    let kept = Kept::new();
    let ctx = kept.root();
    let promise = Promise::on(&ctx, "answer");
    let ran = Arc::new(AtomicUsize::new(0));
    for n in 0..4 {
        let ran = Arc::clone(&ran);
        promise.add_done_callback(move |_: &Promise<u32>| {
            ran.fetch_add(1, Ordering::SeqCst);
            assert!(n % 2 == 0, "callback {n} panics");
        });
    }
    assert!(promise.set_result(42));
    assert_eq!(ran.load(Ordering::SeqCst), 4);
    assert_eq!(
        kept.reports(),
        ["root/answer: a callback panicked: callback 1 panics", "root/answer: a callback panicked: callback 3 panics",]
    );
}

#[test]
fn scenario_14_a_callback_may_add_remove_settle_and_drop_the_last_handle() {
    let promise = Promise::new("answer");
    let (send, receive) = mpsc::channel();
    let holder = Arc::new(Mutex::new(Some(promise.clone())));
    promise.add_done_callback({
        let holder = Arc::clone(&holder);
        move |promise: &Promise<u32>| {
            let id = promise.add_done_callback({
                let send = send.clone();
                move |_| send.send("inner").unwrap()
            });
            assert_eq!(promise.remove_done_callback(id), Removal::AlreadyRun);
            assert!(!promise.cancel());
            drop(holder.lock().unwrap().take());
            send.send("outer").unwrap();
        }
    });
    let handle = holder.lock().unwrap().clone().unwrap();
    drop(promise);
    handle.set_result(42);
    drop(handle);
    assert!(receive.iter().eq(["inner", "outer"]));
}

#[test]
fn a_chain_of_promises_that_settle_each_other_does_not_grow_the_stack() {
    const LENGTH: usize = 100_000;
    let run = || {
        let chain: Vec<_> = (0..LENGTH).map(|_| Promise::<usize>::new("link")).collect();
        for pair in chain.windows(2) {
            let next = pair[1].clone();
            pair[0].add_done_callback(move |this| {
                next.set_result(this.value().unwrap() + 1);
            });
        }
        assert!(chain[0].set_result(0));
        assert_eq!(chain[LENGTH - 1].value(), Some(&(LENGTH - 1)));
    };
    std::thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_chain_of_promises_that_hold_each_other_is_dropped_without_growing_the_stack() {
    let run = || {
        let last = Promise::<usize>::new("last");
        let mut head = last.clone();
        for _ in 0..100_000 {
            let before = Promise::<usize>::new("link");
            before.add_done_callback(move |this| {
                head.set_result(*this.value().unwrap());
            });
            head = before;
        }
        drop(head);
        last.set_result(1);
    };
    std::thread::Builder::new().stack_size(128 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn the_drop_of_a_callback_may_panic_and_the_thread_goes_on() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a drop that panics");
        }
    }
    let promise = Promise::<u32>::new("answer");
    let bomb = Bomb;
    promise.add_done_callback(move |_| drop(bomb));
    drop(promise);

    let dropped = Promise::<u32>::new("dropped");
    let held = Promise::<u32>::new("held");
    let seen = held.clone();
    held.add_done_callback(|_| {});
    struct Cancels(Promise<u32>);
    impl Drop for Cancels {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let cancels = Cancels(held);
    dropped.add_done_callback(move |_| drop(cancels));
    drop(dropped);
    assert!(seen.is_cancelled());
}

#[test]
fn a_callback_may_wait_on_another_thread_for_whoever_it_woke() {
    let (first, second) = (Promise::new("first"), Promise::new("second"));
    let waiter = std::thread::spawn({
        let second = second.clone();
        move || futures_executor_block_on(second)
    });
    let waiter = Mutex::new(Some(waiter));
    first.add_done_callback({
        let second = second.clone();
        move |_: &Promise<u32>| {
            second.set_result(2);
            let waiter = waiter.lock().unwrap().take().unwrap();
            assert_eq!(waiter.join().unwrap(), 2);
        }
    });
    first.set_result(1);
    assert!(second.is_done());
}

#[tokio::test]
async fn scenario_16_an_await_dropped_at_any_point_leaves_nothing_registered() {
    let promise = Promise::new("answer");
    let probe = Probe::new();
    drop(promise.settled());
    let mut awaited = promise.clone().into_future();
    assert!(probe.poll(&mut awaited).is_pending());
    assert_eq!(probe.kept(), 1);
    drop(awaited);
    assert_eq!(probe.kept(), 0);

    let mut settled = promise.settled();
    assert!(probe.poll(&mut settled).is_pending());
    promise.set_result(42);
    assert_eq!(probe.kept(), 0);
    drop(settled);
    assert_eq!(promise.await.unwrap(), 42);
}

#[test]
fn scenario_17_an_await_that_is_forgotten_holds_up_nobody() {
    let promise = Promise::new("answer");
    let (forgotten, probe) = (Probe::new(), Probe::new());
    let mut awaited = promise.clone().into_future();
    assert!(forgotten.poll(&mut awaited).is_pending());
    std::mem::forget(awaited);
    let mut awaited = promise.clone().into_future();
    assert!(probe.poll(&mut awaited).is_pending());
    promise.set_result(42);
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut awaited).is_ready());
}

#[test]
fn scenario_18_only_the_latest_waker_counts() {
    let promise = Promise::new("answer");
    let (first, second) = (Probe::new(), Probe::new());
    let mut awaited = promise.clone().into_future();
    assert!(first.poll(&mut awaited).is_pending());
    assert!(second.poll(&mut awaited).is_pending());
    assert!(second.poll(&mut awaited).is_pending());
    assert_eq!((first.kept(), second.kept()), (0, 1));
    promise.set_result(42);
    assert_eq!((first.woken(), second.woken()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn scenario_19_an_await_that_is_alive_but_not_polled_blocks_nobody() {
    let promise = Promise::new("answer");
    let mut kept = promise.clone().into_future();
    tokio::select! {
        biased;
        _ = &mut kept => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    let other = tokio::spawn(promise.clone().into_future());
    tokio::task::yield_now().await;
    promise.set_result(42);
    assert_eq!(other.await.unwrap().unwrap(), 42);
    assert_eq!(kept.await.unwrap(), 42);
}

#[test]
fn an_error_that_nobody_has_read_is_reported_when_the_last_handle_is_dropped() {
    let kept = Kept::new();
    let ctx = kept.root();
    let promise = Promise::<u32>::on(&ctx, "port");
    promise.set_exception("none is free");
    let other = promise.clone();
    drop(promise);
    assert!(kept.reports().is_empty());
    drop(other);
    assert_eq!(kept.reports(), ["root/port: an error that nobody read: none is free"]);
}

#[tokio::test]
async fn an_error_that_somebody_has_read_is_not_reported() {
    let kept = Kept::new();
    let ctx = kept.root();
    let failed = || {
        let promise = Promise::<u32>::on(&ctx, "port");
        promise.set_exception("none is free");
        promise
    };
    assert!(failed().exception().is_some());
    assert!(failed().outcome().is_some());
    failed().await.unwrap_err();
    let cancelled = Promise::<u32>::on(&ctx, "port");
    cancelled.cancel();
    drop(cancelled);
    drop(Promise::<u32>::on(&ctx, "never settled"));
    let shown = failed();
    assert!(format!("{shown:?}").contains("none is free"));
    assert!(kept.reports().is_empty());
    drop(shown);
    assert_eq!(kept.reports().len(), 1, "showing an error is not reading it");
}

#[tokio::test]
async fn it_is_not_settled_by_its_context_and_can_be_run_below_it() {
    let ctx = Ctx::beginning("root");
    let promise = Promise::<u32>::on(&ctx, "answer");
    ctx.cancel_because("enough");
    assert!(!promise.is_done());
    assert_eq!(promise.ctx(), Some(&*ctx));
    let completion = ctx.run(promise.clone().into_future()).await.unwrap_err();
    assert_eq!(completion.reason(), Some("enough"));
}

#[test]
fn values_and_callbacks_are_dropped_once_and_without_a_lock() {
    struct Settles(Promise<u32>);
    impl Drop for Settles {
        fn drop(&mut self) {
            self.0.set_result(1);
        }
    }
    let other = Promise::new("other");
    let promise = Promise::<u32>::new("answer");
    let held = Settles(other.clone());
    let id = promise.add_done_callback(move |_| drop(held));
    assert_eq!(promise.remove_done_callback(id), Removal::Removed);
    assert!(other.is_done());

    let itself = Promise::<u32>::new("itself");
    let held = Settles(itself.clone());
    let id = itself.add_done_callback(move |_| drop(held));
    itself.remove_done_callback(id);
    assert!(itself.is_done());
}

#[derive(Clone, Debug)]
enum Step {
    Add,
    Remove(usize),
    Settle,
    Cancel,
    Begin,
    Poll(usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Add),
        3 => (0..8_usize).prop_map(Step::Remove),
        1 => Just(Step::Settle),
        1 => Just(Step::Cancel),
        3 => Just(Step::Begin),
        3 => (0..8_usize).prop_map(Step::Poll),
        2 => (0..8_usize).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    fn any_order_of_steps_agrees_with_the_model(steps in steps()) {
        let promise = Promise::<u32>::new("answer");
        let ran = Arc::new(Mutex::new(Vec::new()));
        let mut should_have_run = Vec::new();
        let mut waiting = Vec::new();
        let mut ids = Vec::new();
        let mut outcome = None;
        let mut waits: Vec<(Settled<u32>, Arc<Probe>, bool, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Add => {
                    let n = ids.len();
                    let ran = Arc::clone(&ran);
                    ids.push(promise.add_done_callback(move |_| ran.lock().unwrap().push(n)));
                    if outcome.is_none() {
                        waiting.push(n);
                    } else {
                        should_have_run.push(n);
                    }
                }
                Step::Remove(n) if n < ids.len() => {
                    let expected = if waiting.contains(&n) { Removal::Removed } else { Removal::AlreadyRun };
                    prop_assert_eq!(promise.has_direct_done_callback(ids[n]), waiting.contains(&n));
                    prop_assert_eq!(promise.remove_done_callback(ids[n]), expected);
                    waiting.retain(|waiting| *waiting != n);
                }
                Step::Settle | Step::Cancel => {
                    let (won, how) = match step {
                        Step::Settle => (promise.set_result(42), Some(42)),
                        _ => (promise.cancel(), None),
                    };
                    prop_assert_eq!(won, outcome.is_none());
                    outcome = outcome.or(Some(how));
                    should_have_run.append(&mut waiting);
                    for (_, _, registered, wake_ups) in &mut waits {
                        *wake_ups += usize::from(std::mem::take(registered));
                    }
                }
                Step::Begin => waits.push((promise.settled(), Probe::new(), false, 0)),
                Step::Poll(n) if n < waits.len() => {
                    let (settled, probe, registered, _) = &mut waits[n];
                    prop_assert_eq!(probe.poll(settled).is_ready(), outcome.is_some());
                    *registered = outcome.is_none();
                    prop_assert_eq!(probe.kept(), usize::from(*registered));
                }
                Step::Drop(n) if n < waits.len() => {
                    let (settled, probe, ..) = waits.swap_remove(n);
                    drop(settled);
                    prop_assert_eq!(probe.kept(), 0);
                }
                Step::Remove(_) | Step::Poll(_) | Step::Drop(_) => {}
            }
            prop_assert_eq!(promise.value().copied(), outcome.flatten());
            prop_assert_eq!(promise.is_done(), outcome.is_some());
            prop_assert_eq!(&*ran.lock().unwrap(), &should_have_run);
            for (_, probe, _, wake_ups) in &waits {
                prop_assert_eq!(probe.woken(), *wake_ups);
            }
        }
    }
}

#[test]
fn a_promise_connects_two_runtimes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pairs: Vec<_> =
        (0..200).map(|n| (Promise::new(format!("ask-{n}")), Promise::new(format!("tell-{n}")))).collect();
    let other = std::thread::spawn({
        let pairs = pairs.clone();
        move || {
            runtime().block_on(async {
                for (ask, tell) in pairs {
                    let asked: usize = ask.await.unwrap();
                    tell.set_result(asked + 1);
                }
            });
        }
    });
    runtime().block_on(async {
        for (n, (ask, tell)) in pairs.into_iter().enumerate() {
            ask.set_result(n);
            assert_eq!(tell.await.unwrap(), n + 1);
        }
    });
    other.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_nobody_settles_is_waited_for_as_long_as_a_context_or_a_time_limit_lasts() {
    let root = Ctx::beginning("app");
    let promise = Promise::<u32>::new("answer");
    let limited = async_with_timeout(&root, "ask", &promise).timeout(Duration::from_secs(3)).await;
    assert!(limited.unwrap_err().is_timeout());
    root.cancel_because("gone");
    assert_eq!(root.run(&promise).await.unwrap_err().reason(), Some("gone"));
    let root = Ctx::beginning("app");
    promise.set_result(7);
    assert_eq!(root.run(&promise).await.unwrap().unwrap(), 7);
    assert_eq!(async_with_timeout(&root, "ask", promise).await.unwrap(), 7);
}
