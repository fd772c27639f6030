//! Deadlines, on the paused clock.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock and spawns as a user does")]

mod tramps;
mod wakers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use machinery::ctx::CompletionKind;
use machinery::{Ctx, CtxGuard, CtxOptions};
use tokio::runtime::Handle;
use tokio::time::{Instant, advance, sleep};

fn after(ctx: &Ctx, name: &'static str, timeout: Duration) -> CtxGuard {
    ctx.child_with(name, CtxOptions::new().timeout(timeout)).expect("inside a runtime")
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_falls_at_its_instant() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    for wait in [ms(1), ms(7), s(1), s(61), s(3_600), s(90_000)] {
        let start = Instant::now();
        let child = after(&root, "child", wait);
        assert_eq!(child.deadline(), Some(start + wait));
        let why = child.done().await;
        assert_eq!((why.kind(), start.elapsed()), (CompletionKind::DeadlinePassed, wait));
        assert_eq!(why.at(), start + wait);
    }
    let at = start + s(1_000_000);
    let child = root.child_with("child", CtxOptions::new().deadline(at)).unwrap();
    child.done().await;
    assert_eq!(Instant::now(), at);
    assert!(!root.is_done());
}

#[tokio::test(start_paused = true)]
async fn it_is_never_later_than_the_parents() {
    let start = Instant::now();
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(s(5))).unwrap();
    let (later, same) = (after(&root, "later", s(9)), after(&root, "same", s(5)));
    let sooner = after(&root, "sooner", s(2));
    let plain = later.child("plain");
    for ctx in [&later, &same, &plain] {
        assert_eq!(ctx.deadline(), Some(start + s(5)));
    }
    assert_eq!(after(&sooner, "below", s(3)).deadline(), Some(start + s(2)));
    sooner.done().await;
    assert_eq!(start.elapsed(), s(2));
    assert!(!root.is_done() && !later.is_done());
    for ctx in [&later, &same, &plain] {
        assert_eq!(ctx.done().await.path(), "root");
        assert_eq!(start.elapsed(), s(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_that_completed_before_keeps_its_own_cause() {
    let root = Ctx::beginning("root");
    let child = after(&root, "child", s(5));
    child.cancel_because("before");
    advance(s(10)).await;
    tokio::task::yield_now().await;
    assert_eq!(child.completion().unwrap().reason(), Some("before"));
}

/// Scenario 33.
#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_or_in_the_past_is_over_when_the_context_is_made() {
    advance(s(10)).await;
    let root = Ctx::beginning("root");
    let now = Instant::now();
    for options in [
        CtxOptions::new().timeout(Duration::ZERO),
        CtxOptions::new().deadline(now),
        CtxOptions::new().deadline(now - s(7)),
    ] {
        let child = root.child_with("child", options.clone()).unwrap();
        assert_eq!(child.completion().unwrap().kind(), CompletionKind::DeadlinePassed);
        assert!(child.child("below").is_done());
        let alone = Ctx::beginning_with("alone", options).unwrap();
        assert!(alone.is_done());
    }
    assert!(!root.is_done());
}

/// Scenario 33.
#[tokio::test(start_paused = true)]
async fn deadlines_of_years_and_of_the_longest_duration_disturb_nobody() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let years = after(&root, "three years", s(3 * 365 * 86_400));
    let centuries = after(&root, "five centuries", s(500 * 365 * 86_400));
    let never = after(&root, "never", Duration::MAX);
    let longest = Ctx::beginning_with("longest", CtxOptions::new().timeout(Duration::MAX)).unwrap();
    assert_eq!(never.deadline(), None);
    let soon = after(&root, "soon", s(1));
    soon.done().await;
    assert_eq!(start.elapsed(), s(1));
    years.done().await;
    assert_eq!(start.elapsed(), s(3 * 365 * 86_400));
    assert!(!centuries.is_done() && !never.is_done() && !longest.is_done());
    assert!(after(&never, "below", s(1)).done().await.path().ends_with("below"));
}

/// Scenario 33.
#[tokio::test(start_paused = true)]
async fn deadlines_that_tighten_while_they_are_waited_on_fall_at_the_earliest() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let mut waits = Vec::new();
    let mut kept = Vec::new();
    for (made_after, timeout) in [(0, 100), (1, 50), (2, 20), (1, 30), (1, 2)] {
        sleep(s(made_after)).await;
        let due = start.elapsed() + s(timeout);
        let child = after(&root, "child", s(timeout));
        let ctx = child.ctx();
        kept.push(child);
        waits.push(tokio::spawn(async move {
            ctx.done().await;
            assert_eq!(start.elapsed(), due);
        }));
    }
    for wait in waits {
        wait.await.unwrap();
    }
    let wide = after(&root, "wide", s(60));
    let start = Instant::now();
    let narrow = after(&wide, "narrow", s(10));
    let waiting = tokio::spawn({
        let (wide, narrow) = (wide.ctx(), narrow.ctx());
        async move {
            narrow.done().await;
            let first = start.elapsed();
            wide.done().await;
            (first, start.elapsed())
        }
    });
    assert_eq!(waiting.await.unwrap(), (s(10), s(60)));
}

/// Scenario 34.
#[tokio::test(start_paused = true)]
async fn past_twelve_days_and_past_two_to_the_36_milliseconds_short_timers_stay_exact() {
    let root = Ctx::beginning("root");
    let far = after(&root, "far", ms(1 << 37));
    for gap in [s(11 * 86_400), s(2 * 86_400), s(400 * 86_400), ms(1 << 36)] {
        let (before, start) = (after(&root, "before", gap + ms(5)), Instant::now());
        advance(gap).await;
        let short = after(&root, "short", ms(3));
        let at = Instant::now();
        short.done().await;
        assert_eq!(at.elapsed(), ms(3));
        before.done().await;
        assert_eq!(start.elapsed(), gap + ms(5));
        assert!(!far.is_done());
    }
    far.done().await;
}

#[tokio::test(start_paused = true)]
async fn contexts_with_deadlines_have_no_task_of_their_own() {
    let root = Ctx::beginning("root");
    let before = Handle::current().metrics().num_alive_tasks();
    let many: Vec<_> = (1..=1_000).map(|n| after(&root, "child", ms(n))).collect();
    assert!(Handle::current().metrics().num_alive_tasks() <= before + 1);
    sleep(ms(500)).await;
    tokio::task::yield_now().await;
    assert_eq!(many.iter().filter(|child| child.is_done()).count(), 500);
    drop(many);
    assert!(Handle::current().metrics().num_alive_tasks() <= before + 1);
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_one_instant_all_fall_before_any_callback_runs() {
    let root = Ctx::beginning("root");
    let at = CtxOptions::new().deadline(Instant::now() + s(1));
    let many: Vec<_> = (0..50).map(|_| root.child_with("child", at.clone()).expect("inside a runtime")).collect();
    let seen: Arc<Vec<Ctx>> = Arc::new(many.iter().map(|child| child.ctx()).collect());
    let done = Arc::new(Mutex::new(Vec::new()));
    for child in &many {
        let (seen, done) = (Arc::downgrade(&seen), done.clone());
        child.add_done_callback(move |_| {
            let seen = seen.upgrade().expect("it is kept");
            done.lock().expect("never poisoned").push(seen.iter().filter(|ctx| ctx.is_done()).count());
        });
    }
    many[7].done().await;
    tokio::task::yield_now().await;
    assert_eq!(*done.lock().unwrap(), vec![50; 50]);
}

#[tokio::test(start_paused = true)]
async fn what_a_callback_completes_is_told_after_the_other_deadlines_of_that_instant() {
    let root = Ctx::beginning("root");
    let (first, second) = (after(&root, "first", ms(3)), after(&root, "second", ms(3)));
    let caused = root.child("caused");
    let (tell, told) = std::sync::mpsc::channel();
    let (tell_second, tell_caused, stop) = (tell.clone(), tell.clone(), caused.canceller());
    first.add_done_callback(move |_| {
        stop.cancel();
        tell.send("first").unwrap();
    });
    second.add_done_callback(move |_| tell_second.send("second").unwrap());
    caused.add_done_callback(move |_| tell_caused.send("caused").unwrap());
    caused.done().await;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["first", "second", "caused"]);
}

#[tokio::test(start_paused = true)]
async fn callbacks_and_wakers_run_in_a_task_and_never_inside_the_timer_driver() {
    let root = Ctx::beginning("root");
    let child = after(&root, "child", s(1));
    let places = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let places = places.clone();
        move || places.lock().expect("never poisoned").push(tokio::task::try_id().is_some())
    };
    child.add_done_callback({
        let note = note.clone();
        move |_| {
            note();
            // Timers can be made and polled, which would deadlock under the driver's lock.
            let mut timer = Box::pin(sleep(ms(1)));
            assert!(wakers::poll_with(&mut timer, std::task::Waker::noop()).is_pending());
            timer.as_mut().reset(Instant::now() + s(9));
        }
    });
    let mut done = child.done();
    assert!(wakers::poll_with(&mut done, &wakers::on_wake(note)).is_pending());
    child.done().await;
    tokio::task::yield_now().await;
    assert_eq!(*places.lock().unwrap(), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_at_a_deadline_leaves_the_others_exact() {
    let kept = tramps::Kept::new();
    let root = kept.root();
    let start = Instant::now();
    let first = after(&root, "first", s(1));
    first.add_done_callback(|_| panic!("a mistake"));
    let mut bad = first.done();
    assert!(wakers::poll_with(&mut bad, &wakers::on_wake(|| panic!("a waker"))).is_pending());
    after(&root, "second", s(2)).done().await;
    assert_eq!(start.elapsed(), s(2));
    assert!(first.is_done());
    assert_eq!(kept.reports().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_may_be_made_and_dropped_in_a_callback_of_another() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let made = Arc::new(Mutex::new(None));
    let first = after(&root, "first", s(1));
    let doomed = after(&root, "doomed", s(1) + ms(1));
    first.add_done_callback({
        let (made, ctx) = (made.clone(), root.ctx());
        move |_| {
            drop(doomed);
            *made.lock().expect("never poisoned") = Some(after(&ctx, "second", s(1)));
        }
    });
    first.done().await;
    tokio::task::yield_now().await;
    let second = made.lock().unwrap().take().expect("it was made");
    second.done().await;
    assert_eq!(start.elapsed(), s(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_fall_on_the_multi_thread_runtime_too() {
    let root = Ctx::beginning("root");
    let many: Vec<_> = (0..100).map(|n| after(&root, "child", ms(n % 10 + 1))).collect();
    for child in &many {
        assert_eq!(child.done().await.kind(), CompletionKind::DeadlinePassed);
        assert!(Instant::now() >= child.deadline().unwrap());
    }
}

#[test]
fn a_deadline_on_a_runtime_without_a_clock_is_refused() {
    let clockless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = || CtxOptions::new().runtime(clockless.handle().clone());
    assert!(Ctx::beginning_with("root", options()).is_ok());
    let refused = Ctx::beginning_with("root", options().timeout(s(1))).unwrap_err();
    assert!(refused.to_string().contains("deadline"), "{refused}");
}

#[test]
fn a_deadline_on_a_runtime_that_is_gone_is_refused() {
    for used_before in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let root = runtime.block_on(async { Ctx::beginning("root") });
        let early = used_before.then(|| runtime.block_on(async { after(&root, "early", s(1)) }));
        drop(runtime);
        let refused = root.child_with("late", CtxOptions::new().timeout(s(1))).unwrap_err();
        assert!(refused.to_string().contains("deadline"), "{refused}");
        // What has passed needs no clock, and what was there before ends as before.
        assert!(root.child_with("passed", CtxOptions::new().timeout(s(0))).unwrap().is_done());
        root.cancel();
        assert!(early.is_none_or(|early| early.is_done()));
    }
}

#[test]
fn each_runtime_serves_the_deadlines_of_its_own_contexts() {
    let paused = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (one, two) = (paused(), paused());
    let given = |runtime: &tokio::runtime::Runtime, seconds| {
        let options = CtxOptions::new().runtime(runtime.handle().clone()).timeout(s(seconds));
        let _inside = runtime.enter();
        Ctx::beginning_with("root", options).expect("a runtime was given")
    };
    let (first, second) = (given(&one, 1), given(&two, 1));
    one.block_on(async {
        first.done().await;
        sleep(s(10)).await;
    });
    assert!(!second.is_done());
    two.block_on(second.done());
}
