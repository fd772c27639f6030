//! Waiting for the first and for all, through the public face.
#![expect(clippy::disallowed_methods, reason = "the tests spawn as users do")]

mod tramps;
mod wakers;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Waker;
use std::time::Duration;

use machinery::protocols::{WaitByCallback, WaiterId};
use machinery::{Ctx, CtxOptions, Event, Promise, TaskHolder, wait_for_all, wait_for_first};
use proptest::prelude::*;
use tramps::Kept;
use wakers::{Probe, on_wake, poll_with};

#[test]
fn with_no_members_it_returns_at_once() {
    let probe = Probe::new();
    assert!(probe.poll(&mut wait_for_first(())).is_ready());
    assert!(probe.poll(&mut wait_for_all(())).is_ready());
    let none: [&dyn WaitByCallback; 0] = [];
    assert!(probe.poll(&mut wait_for_first(&none[..])).is_ready());
    assert!(probe.poll(&mut wait_for_all(Vec::<Ctx>::new())).is_ready());
    assert_eq!(probe.woken(), 0);
}

#[test]
fn an_answer_that_is_known_yields_to_the_scheduler_once_all_the_same() {
    let event = Event::new();
    event.set();
    let probe = Probe::new();
    let mut first = wait_for_first((&event, Event::new()));
    assert!(probe.poll(&mut first).is_pending());
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut first).is_ready());

    let mut all = wait_for_all([&event, &event]);
    assert!(probe.poll(&mut all).is_pending());
    assert_eq!(probe.woken(), 2);
    assert!(probe.poll(&mut all).is_ready());
    assert!(probe.poll(&mut all).is_ready());
    assert_eq!((probe.woken(), probe.kept()), (2, 0));
}

async fn a_loop_lets_its_neighbours_run() {
    let ctx = Ctx::beginning("root");
    ctx.cancel();
    let ran = Arc::new(AtomicUsize::new(0));
    let neighbour = tokio::spawn({
        let ran = Arc::clone(&ran);
        async move {
            for _ in 0..100 {
                ran.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let looping = tokio::spawn({
        let ctx = ctx.clone();
        let ran = Arc::clone(&ran);
        async move {
            while ran.load(Ordering::SeqCst) < 100 {
                wait_for_first([&ctx]).await;
                wait_for_all([&ctx]).await;
            }
        }
    });
    neighbour.await.expect("no panic");
    looping.await.expect("no panic");
}

#[tokio::test]
async fn a_loop_around_an_answer_that_is_known_starves_no_neighbour_on_the_current_thread() {
    a_loop_lets_its_neighbours_run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_loop_around_an_answer_that_is_known_starves_no_neighbour_on_one_worker() {
    a_loop_lets_its_neighbours_run().await;
}

#[tokio::test]
async fn any_mix_of_members_can_be_waited_for() {
    let ctx = Ctx::beginning("root");
    let promise = Promise::<u32>::new("answer");
    let event = Event::new();

    let first = tokio::spawn({
        let (ctx, promise, event) = (ctx.clone(), promise.clone(), event.clone());
        async move { wait_for_first((&ctx, &promise, &event)).await }
    });
    let all = tokio::spawn(wait_for_all((ctx.clone(), promise.clone(), event.clone())));
    tokio::task::yield_now().await;
    assert!(!first.is_finished() && !all.is_finished());

    promise.set_result(42);
    first.await.unwrap();
    event.set();
    tokio::task::yield_now().await;
    assert!(!all.is_finished());
    ctx.cancel();
    all.await.unwrap();

    let members: [&dyn WaitByCallback; 4] = [&ctx, &promise, &event, &*ctx];
    wait_for_all(members).await;
    wait_for_all(&members).await;
    wait_for_first(&members[1..]).await;
    wait_for_first(members.to_vec()).await;
}

#[tokio::test]
async fn how_a_member_ends_makes_no_difference_and_members_are_not_consumed() {
    let kept = Kept::new();
    let ctx = kept.root();
    let (failing, cancelled) = (Promise::<u32>::on(&ctx, "failing"), Promise::<u32>::on(&ctx, "cancelled"));
    let child = ctx.child("child");
    let wait = tokio::spawn(wait_for_all((failing.clone(), cancelled.clone(), child.clone())));
    tokio::task::yield_now().await;
    failing.set_exception("no idea");
    cancelled.cancel();
    child.set_exception("no route");
    wait.await.unwrap();

    assert_eq!((&failing).await.unwrap_err().error().unwrap().to_string(), "no idea");
    assert!(cancelled.is_cancelled());
    assert!(child.exception().is_some());
}

#[tokio::test]
async fn waiting_for_a_promise_is_not_reading_its_error() {
    let kept = Kept::new();
    let ctx = kept.root();
    let failing = Promise::<u32>::on(&ctx, "failing");
    failing.set_exception("no idea");
    wait_for_all([&failing]).await;
    drop(failing);
    assert_eq!(kept.reports().len(), 1);
}

#[tokio::test]
async fn waiting_for_all_ends_when_a_common_parent_completes_them() {
    let root = Ctx::beginning("root");
    let (a, b) = (root.child("a"), root.child("b"));
    let wait = tokio::spawn({
        let (a, b) = (a.clone(), b.clone());
        async move { wait_for_all((&a, &b)).await }
    });
    tokio::task::yield_now().await;
    assert!(!wait.is_finished());
    root.cancel();
    wait.await.unwrap();

    let (below_a, below_b) = (a.child("below"), b.child("below"));
    wait_for_all((&a, &below_a, &b, &below_b, &root)).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_wait() {
    let root = Ctx::beginning("root");
    let soon = root.child_with("soon", CtxOptions::new().timeout(Duration::from_secs(1))).unwrap();
    let later = root.child_with("later", CtxOptions::new().timeout(Duration::from_secs(5))).unwrap();
    wait_for_first((&later, &soon)).await;
    assert!(soon.is_done() && !later.is_done());
    wait_for_all((&later, &soon)).await;
    assert!(later.is_done());
}

#[tokio::test]
async fn the_same_member_may_be_given_twice() {
    let event = Event::new();
    let wait = tokio::spawn(wait_for_all([event.clone(), event.clone(), event.clone()]));
    tokio::task::yield_now().await;
    event.set();
    wait.await.unwrap();
}

#[test]
fn an_event_counts_for_all_from_the_moment_it_is_set() {
    let (blinks, stays) = (Event::new(), Event::new());
    let probe = Probe::new();
    let mut all = wait_for_all((&blinks, &stays));
    assert!(probe.poll(&mut all).is_pending());
    blinks.set();
    blinks.clear();
    assert!(probe.poll(&mut all).is_pending());
    stays.set();
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut all).is_ready());
}

#[test]
fn an_event_that_is_set_twice_counts_once() {
    let (blinks, stays) = (Event::new(), Event::new());
    let probe = Probe::new();
    let mut all = wait_for_all((&blinks, &stays));
    assert!(probe.poll(&mut all).is_pending());
    for _ in 0..3 {
        blinks.set();
        blinks.clear();
    }
    assert_eq!(probe.woken(), 0);
    assert!(probe.poll(&mut all).is_pending());
}

/// Counts what a wait asks of its members.
#[derive(Default)]
struct Counted {
    event: Event,
    calls: AtomicUsize,
    registered: AtomicUsize,
}

impl WaitByCallback for Counted {
    fn is_complete(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.event.is_complete()
    }

    fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let id = self.event.add_waiter(waker);
        self.registered.fetch_add(usize::from(id.is_some()), Ordering::SeqCst);
        id
    }

    fn remove_waiter(&self, id: WaiterId) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.registered.fetch_sub(1, Ordering::SeqCst);
        self.event.remove_waiter(id);
    }
}

#[test]
fn the_cost_of_waiting_for_all_is_linear_and_it_wakes_its_task_once() {
    let members: Vec<_> = (0..10_000).map(|_| Counted::default()).collect();
    let probe = Probe::new();
    let mut all = wait_for_all(&members);
    assert!(probe.poll(&mut all).is_pending());
    for member in &members {
        assert_eq!(probe.woken(), 0);
        member.event.set();
    }
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut all).is_ready());
    assert!(members.iter().all(|member| member.calls.load(Ordering::SeqCst) <= 3));
}

#[test]
fn waiting_for_the_first_leaves_nothing_registered_with_the_others() {
    let members: Vec<_> = (0..100).map(|_| Counted::default()).collect();
    let probe = Probe::new();
    let mut first = wait_for_first(&members);
    assert!(probe.poll(&mut first).is_pending());
    assert!(members.iter().all(|member| member.registered.load(Ordering::SeqCst) == 1));
    members[57].event.set();
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut first).is_ready());
    assert!(members.iter().all(|member| member.registered.load(Ordering::SeqCst) == 0));
    assert_eq!(probe.kept(), 0);
    assert!(probe.poll(&mut first).is_ready());
}

#[test]
fn scenario_16_a_wait_dropped_at_any_point_leaves_nothing_registered() {
    let root = Ctx::beginning("root");
    let promise = Promise::<u32>::new("answer");
    let event = Event::new();
    let counted = Counted::default();
    let probe = Probe::new();
    drop(wait_for_all((&root, &promise, &event, &counted)));
    {
        let mut wait = wait_for_all((&root, &promise, &event, &counted));
        assert!(probe.poll(&mut wait).is_pending());
        assert_eq!(probe.kept(), 1);
    }
    assert_eq!(probe.kept(), 0);
    {
        let mut wait = wait_for_all((&root, &promise, &event, &counted));
        assert!(probe.poll(&mut wait).is_pending());
        event.set();
        promise.cancel();
        assert!(probe.poll(&mut wait).is_pending());
    }
    assert_eq!((probe.kept(), counted.registered.load(Ordering::SeqCst)), (0, 0));
    {
        let mut known = wait_for_first((&event, &counted));
        assert!(probe.poll(&mut known).is_pending());
    }
    assert_eq!((probe.kept(), counted.registered.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn a_context_that_lives_for_years_keeps_nothing_of_its_waits() {
    let root = Ctx::beginning("root");
    let event = Event::new();
    let probe = Probe::new();
    for _ in 0..100_000 {
        assert!(probe.poll(&mut wait_for_first((&root, &event))).is_pending());
    }
    assert_eq!(probe.kept(), 0);
}

#[test]
fn scenario_08_completion_racing_the_first_poll_loses_no_wake_up() {
    for n in 0..300 {
        let root = Ctx::beginning("root");
        let (child, event) = (root.child("child"), Event::new());
        let promise = Promise::new("answer");
        let start = Arc::new(Barrier::new(2));
        let other = std::thread::spawn({
            let (start, event, promise, stop) = (Arc::clone(&start), event.clone(), promise.clone(), root.canceller());
            move || {
                start.wait();
                event.set();
                stop.cancel();
                promise.set_result(n);
            }
        });
        start.wait();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            wait_for_first((&child, &event)).await;
            wait_for_all((&root, &child, &event, &promise)).await;
        });
        other.join().unwrap();
    }
}

#[test]
fn scenario_09_a_waker_may_wait_anew_and_complete_other_members() {
    let (a, b) = (Event::new(), Event::new());
    let root = Ctx::beginning("root");
    let done = Arc::new(AtomicBool::new(false));
    let waker = on_wake({
        let (a, b, done, stop) = (a.clone(), b.clone(), Arc::clone(&done), root.canceller());
        move || {
            stop.cancel();
            b.set();
            let probe = Probe::new();
            let mut wait = wait_for_all((&a, &b));
            assert!(probe.poll(&mut wait).is_pending());
            done.store(probe.poll(&mut wait).is_ready(), Ordering::SeqCst);
        }
    });
    let mut first = wait_for_first((&a, &b, &root));
    assert!(poll_with(&mut first, &waker).is_pending());
    a.set();
    assert!(done.load(Ordering::SeqCst));
}

#[test]
fn scenario_11_a_waker_that_panics_leaves_the_members_usable() {
    let event = Event::new();
    let mut bomb = wait_for_first([&event]);
    assert!(poll_with(&mut bomb, &on_wake(|| panic!("a waker that panics"))).is_pending());
    let probe = Probe::new();
    let mut wait = wait_for_first([&event]);
    assert!(probe.poll(&mut wait).is_pending());
    event.set();
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut wait).is_ready());
}

#[test]
fn scenario_17_a_wait_that_is_forgotten_holds_up_nobody() {
    let root = Ctx::beginning("root");
    let (forgotten, probe) = (Probe::new(), Probe::new());
    let mut wait = wait_for_all([&*root]);
    assert!(forgotten.poll(&mut wait).is_pending());
    std::mem::forget(wait);
    let mut wait = wait_for_all([&*root]);
    assert!(probe.poll(&mut wait).is_pending());
    root.cancel();
    assert_eq!(probe.woken(), 1);
    assert!(probe.poll(&mut wait).is_ready());
}

#[test]
fn scenario_18_only_the_latest_waker_counts() {
    let (a, b) = (Event::new(), Event::new());
    let (first, second) = (Probe::new(), Probe::new());
    let mut wait = wait_for_all((&a, &b));
    assert!(first.poll(&mut wait).is_pending());
    a.set();
    assert!(second.poll(&mut wait).is_pending());
    assert_eq!((first.kept(), second.kept()), (0, 1));
    b.set();
    assert_eq!((first.woken(), second.woken()), (0, 1));
    assert!(second.poll(&mut wait).is_ready());
}

#[tokio::test(start_paused = true)]
async fn scenario_19_a_wait_that_is_alive_but_not_polled_blocks_nobody() {
    let root = Ctx::beginning("root");
    let event = Event::new();
    let mut kept = wait_for_first((&root, &event));
    tokio::select! {
        biased;
        () = &mut kept => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    let other = tokio::spawn(wait_for_first((root.clone(), event.clone())));
    tokio::task::yield_now().await;
    root.cancel();
    other.await.unwrap();
    kept.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_of_many_tasks_on_the_same_members_all_end() {
    let root = Ctx::beginning("root");
    let events: Arc<Vec<Event>> = Arc::new((0..50).map(|_| Event::new()).collect());
    let waits: Vec<_> = (0..100)
        .map(|n| {
            let (events, ctx) = (Arc::clone(&events), root.clone());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    wait_for_all(&*events).await;
                } else {
                    wait_for_first((&ctx, &events[n / 2])).await;
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let setters: Vec<_> = (0..50)
        .map(|n| {
            let events = Arc::clone(&events);
            tokio::spawn(async move { events[n].set() })
        })
        .collect();
    for setter in setters {
        assert!(setter.await.unwrap());
    }
    for wait in waits {
        wait.await.unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize),
    Clear(usize),
    Poll,
    Rewake,
}

proptest! {
    #[test]
    fn any_order_of_steps_agrees_with_the_model(
        before in proptest::collection::vec(any::<bool>(), 1..6),
        steps in proptest::collection::vec(
            prop_oneof![
                3 => (0..6_usize).prop_map(Step::Set),
                3 => (0..6_usize).prop_map(Step::Clear),
                2 => Just(Step::Poll),
                1 => Just(Step::Rewake),
            ],
            0..40,
        ),
        all in any::<bool>(),
    ) {
        let events: Vec<Event> = before.iter().map(|_| Event::new()).collect();
        for (event, set) in events.iter().zip(&before) {
            if *set {
                event.set();
            }
        }
        let mut wait: Box<dyn Future<Output = ()> + Unpin> =
            if all { Box::new(wait_for_all(events.clone())) } else { Box::new(wait_for_first(events.clone())) };
        let mut probe = Probe::new();

        // Which have been set since the first poll, which counts those that were set then.
        let mut met: Option<Vec<bool>> = None;
        let mut known = false;
        let mut over = false;
        let enough = |met: &[bool]| if all { met.iter().all(|met| *met) } else { met.iter().any(|met| *met) };
        for step in steps {
            let was = met.as_deref().is_some_and(enough);
            let woken = probe.woken();
            match step {
                Step::Set(n) if n < events.len() => {
                    if events[n].set() && let Some(met) = &mut met {
                        met[n] = true;
                    }
                    let is = met.as_deref().is_some_and(enough);
                    prop_assert_eq!(probe.woken() - woken, usize::from(is && !was && !over));
                }
                Step::Clear(n) if n < events.len() => {
                    events[n].clear();
                    prop_assert_eq!(probe.woken(), woken);
                }
                Step::Set(_) | Step::Clear(_) => {}
                Step::Poll | Step::Rewake => {
                    if let Step::Rewake = step {
                        probe = Probe::new();
                    }
                    let ready = probe.poll(&mut wait).is_ready();
                    match &met {
                        None => {
                            let now: Vec<bool> = events.iter().map(Event::is_set).collect();
                            known = enough(&now);
                            prop_assert!(!ready, "it yields once");
                            prop_assert_eq!(probe.woken(), usize::from(known));
                            met = Some(now);
                        }
                        Some(_) => {
                            prop_assert_eq!(ready, known || was);
                            over |= ready;
                        }
                    }
                    prop_assert_eq!(probe.kept(), usize::from(!ready && !known));
                }
            }
        }
        drop(wait);
        prop_assert_eq!(probe.kept(), 0);
    }
}

#[tokio::test]
async fn tasks_are_waited_for_beside_the_others_however_they_end() {
    let kept = Kept::new();
    let ctx = kept.root();
    let event = Event::new();
    let holder = TaskHolder::new(&ctx);
    let opened = event.clone();
    let fine = holder.add("fine", async move { opened.wait().await });
    let failing = holder.add("failing", async { Err::<(), _>("no route") });
    let panics = holder.add("panics", async { assert!(std::hint::black_box(false), "a task that panics") });
    let cancelled = holder.add("cancelled", std::future::pending::<()>());

    wait_for_first((&fine, &failing, &panics)).await;
    assert!(!fine.is_done());
    let mut all = wait_for_all((&fine, &failing, &panics, &cancelled, &event));
    assert!(futures_util::poll!(&mut all).is_pending());
    cancelled.cancel();
    event.set();
    all.await;

    fine.await.unwrap();
    assert!(!failing.await.unwrap_err().is_cancelled());
    assert!(panics.await.unwrap_err().is_panic());
    assert!(cancelled.await.unwrap_err().is_cancelled());
    holder.finish().await;
}

#[tokio::test]
async fn a_wait_for_tasks_that_is_dropped_leaves_them_running() {
    let ctx = Ctx::beginning("root");
    let holder = TaskHolder::new(&ctx);
    let event = Event::new();
    let opened = event.clone();
    let task = holder.add("task", async move {
        opened.wait().await;
        7
    });
    let probe = Probe::new();
    {
        let mut wait = wait_for_all([&task]);
        assert!(probe.poll(&mut wait).is_pending());
        assert_eq!(probe.kept(), 1);
    }
    assert_eq!(probe.kept(), 0);
    event.set();
    assert_eq!(task.await.unwrap(), 7);
    holder.finish().await;
}
