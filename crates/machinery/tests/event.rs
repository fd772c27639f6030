//! The event, through its public face.
#![expect(clippy::disallowed_methods, reason = "the tests spawn as users do")]

mod wakers;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use machinery::Event;
use machinery::event::EventWait;
use proptest::prelude::*;
use wakers::{Probe, on_drop, on_wake, poll_with};

#[test]
fn set_and_clear_say_whether_they_changed_anything() {
    let event = Event::new();
    assert!(!event.is_set());
    assert!(!event.clear());
    assert!(event.set());
    assert!(event.is_set());
    assert!(!event.set());
    assert!(event.clear());
    assert!(!event.is_set());
    assert!(event.set());
}

#[test]
fn clones_are_the_same_event() {
    let event = Event::named("opened");
    event.clone().set();
    assert!(event.is_set());
    assert_eq!(event.clone().name(), Some("opened"));
    assert!(format!("{event:?}").contains("opened"));
}

#[test]
fn a_wait_on_a_set_event_is_over_at_once() {
    let event = Event::new();
    event.set();
    assert_eq!(event.wait().now_or_never(), Some(()));
}

#[test]
fn one_set_wakes_everybody_who_waits() {
    let event = Event::new();
    let mut waits: Vec<_> = (0..100).map(|_| (Probe::new(), event.wait())).collect();
    for (probe, wait) in &mut waits {
        assert!(probe.poll(wait).is_pending());
    }
    event.set();
    for (probe, wait) in &mut waits {
        assert_eq!(probe.woken(), 1);
        assert!(probe.poll(wait).is_ready());
    }
}

#[test]
fn set_and_then_cleared_still_wakes_those_who_were_waiting() {
    let event = Event::new();
    let (polled, unpolled) = (Probe::new(), Probe::new());
    let mut polled_wait = event.wait();
    let mut unpolled_wait = event.wait();
    assert!(polled.poll(&mut polled_wait).is_pending());

    event.set();
    event.clear();
    let mut later = event.wait();

    assert_eq!(polled.woken(), 1);
    assert!(polled.poll(&mut polled_wait).is_ready());
    assert!(unpolled.poll(&mut unpolled_wait).is_ready());
    assert!(Probe::new().poll(&mut later).is_pending());
}

#[test]
fn a_wait_that_began_while_the_event_was_set_is_over_although_it_was_cleared_since() {
    let event = Event::new();
    event.set();
    let wait = event.wait();
    event.clear();
    assert_eq!(wait.now_or_never(), Some(()));
}

#[test]
fn a_wait_that_is_over_stays_over() {
    let event = Event::new();
    let probe = Probe::new();
    let mut wait = event.wait();
    event.set();
    assert!(probe.poll(&mut wait).is_ready());
    event.clear();
    assert!(probe.poll(&mut wait).is_ready());
}

#[test]
fn scenario_08_setting_while_a_waiter_polls_loses_no_wake_up() {
    for _ in 0..300 {
        let event = Event::new();
        let start = Arc::new(Barrier::new(2));
        let setter = std::thread::spawn({
            let (event, start) = (event.clone(), Arc::clone(&start));
            move || {
                start.wait();
                event.set();
                event.clear();
            }
        });
        let wait = event.wait();
        start.wait();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(wait);
        setter.join().unwrap();
    }
}

#[test]
fn scenario_09_a_waker_may_use_the_event() {
    let event = Event::new();
    let mut wait = event.wait();
    let (send, receive) = mpsc::channel();
    let waker = on_wake({
        let event = event.clone();
        move || {
            assert!(event.clear());
            let wait = event.wait();
            assert!(event.set());
            send.send(wait.now_or_never()).unwrap();
        }
    });
    assert!(poll_with(&mut wait, &waker).is_pending());
    event.set();
    assert_eq!(receive.try_recv(), Ok(Some(())));
}

#[test]
fn scenario_10_the_drop_of_a_waker_may_use_the_event() {
    let event = Event::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    let waker = || {
        let (event, dropped) = (event.clone(), Arc::clone(&dropped));
        on_drop(move || {
            event.set();
            event.clear();
            dropped.fetch_add(1, Ordering::SeqCst);
        })
    };
    // Dropped with the wait, replaced by another, woken.
    let mut wait = event.wait();
    assert!(poll_with(&mut wait, &waker()).is_pending());
    drop(wait);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);

    let mut wait = event.wait();
    assert!(poll_with(&mut wait, &waker()).is_pending());
    let _ = poll_with(&mut wait, &Probe::new().waker());
    assert_eq!(dropped.load(Ordering::SeqCst), 2);

    let mut wait = event.wait();
    assert!(poll_with(&mut wait, &waker()).is_pending());
    event.set();
    assert_eq!(dropped.load(Ordering::SeqCst), 3);
}

#[test]
fn scenario_11_a_waker_that_panics_keeps_no_other_from_being_woken() {
    let event = Event::new();
    let probes: Vec<_> = (0..10).map(|_| Probe::new()).collect();
    let mut waits: Vec<_> = (0..10).map(|_| event.wait()).collect();
    let mut bombs: Vec<_> = (0..10).map(|_| event.wait()).collect();
    for ((probe, wait), bomb) in probes.iter().zip(&mut waits).zip(&mut bombs) {
        assert!(poll_with(bomb, &on_wake(|| panic!("a waker that panics"))).is_pending());
        assert!(probe.poll(wait).is_pending());
    }
    assert!(event.set());
    assert!(probes.iter().all(|probe| probe.woken() == 1));
    event.clear();
    assert!(event.set());
}

#[test]
fn scenario_12_a_waker_that_blocks_stalls_nobody_else() {
    let event = Event::new();
    let mut wait = event.wait();
    let (blocked, is_blocked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let waker = on_wake(move || {
        blocked.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
    });
    assert!(poll_with(&mut wait, &waker).is_pending());
    let setter = std::thread::spawn({
        let event = event.clone();
        move || event.set()
    });
    is_blocked.recv().unwrap();

    assert!(event.is_set());
    assert!(event.clear());
    let mut other = event.wait();
    let probe = Probe::new();
    assert!(probe.poll(&mut other).is_pending());
    assert!(event.set());
    assert_eq!(probe.woken(), 1);
    drop(other);

    drop(release);
    assert!(setter.join().unwrap());
}

#[test]
fn scenario_16_a_wait_dropped_at_any_point_leaves_nothing_registered() {
    let event = Event::new();
    let probe = Probe::new();
    drop(event.wait());

    let mut wait = event.wait();
    assert!(probe.poll(&mut wait).is_pending());
    assert_eq!(probe.kept(), 1);
    drop(wait);
    assert_eq!(probe.kept(), 0);

    let mut woken = event.wait();
    assert!(probe.poll(&mut woken).is_pending());
    event.set();
    event.clear();
    assert_eq!(probe.kept(), 0);
    let mut other = event.wait();
    assert!(probe.poll(&mut other).is_pending());
    drop(woken);
    assert_eq!(probe.kept(), 1, "the drop of one wait takes away no other's place");
}

#[test]
fn scenario_17_a_wait_that_is_forgotten_holds_up_nobody() {
    let event = Event::new();
    let (forgotten, probe) = (Probe::new(), Probe::new());
    let mut wait = event.wait();
    assert!(forgotten.poll(&mut wait).is_pending());
    std::mem::forget(wait);
    let mut wait = event.wait();
    assert!(probe.poll(&mut wait).is_pending());
    event.set();
    assert_eq!((forgotten.woken(), probe.woken()), (1, 1));
    assert!(probe.poll(&mut wait).is_ready());
}

#[test]
fn scenario_18_only_the_latest_waker_counts() {
    let event = Event::new();
    let (first, second) = (Probe::new(), Probe::new());
    let mut wait = event.wait();
    assert!(first.poll(&mut wait).is_pending());
    assert!(second.poll(&mut wait).is_pending());
    assert_eq!((first.kept(), second.kept()), (0, 1));
    event.set();
    assert_eq!((first.woken(), second.woken()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn scenario_19_a_wait_that_is_alive_but_not_polled_blocks_nobody() {
    let event = Event::new();
    let kept = event.wait();
    tokio::pin!(kept);
    tokio::select! {
        biased;
        () = &mut kept => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    // `kept` is registered and nobody polls it.
    let other = tokio::spawn(event.wait());
    tokio::task::yield_now().await;
    event.set();
    other.await.unwrap();
    kept.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_and_sets_from_many_tasks_all_end() {
    let event = Event::new();
    let waiters: Vec<_> = (0..200)
        .map(|n| {
            let event = event.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    if n % 3 == 0 {
                        let _ = futures_util::future::select(event.wait(), std::future::ready(())).await;
                    }
                    event.wait().await;
                }
            })
        })
        .collect();
    while !waiters.iter().all(tokio::task::JoinHandle::is_finished) {
        event.set();
        event.clear();
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_million_waits_that_come_and_go_leave_the_event_as_it_was() {
    let event = Event::new();
    let probe = Probe::new();
    for _ in 0..1_000_000 {
        let mut wait = event.wait();
        assert_eq!(probe.poll(&mut wait), Poll::Pending);
    }
    assert_eq!(probe.kept(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Set,
    Clear,
    Begin,
    Poll(usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Set),
        2 => Just(Step::Clear),
        3 => Just(Step::Begin),
        6 => (0..8_usize).prop_map(Step::Poll),
        2 => (0..8_usize).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 0..80)
}

/// A wait, and what a model of three lines says of it.
struct Watched {
    wait: EventWait,
    probe: Arc<Probe>,
    registered: bool,
    over: bool,
    wake_ups: usize,
}

proptest! {
    #[test]
    fn any_order_of_steps_agrees_with_the_model(steps in steps()) {
        let event = Event::new();
        let mut set = false;
        let mut waits: Vec<Watched> = Vec::new();
        for step in steps {
            match step {
                Step::Set => {
                    prop_assert_eq!(event.set(), !set);
                    if !set {
                        for watched in &mut waits {
                            watched.wake_ups += usize::from(watched.registered);
                            watched.registered = false;
                            watched.over = true;
                        }
                    }
                    set = true;
                }
                Step::Clear => {
                    prop_assert_eq!(event.clear(), set);
                    set = false;
                }
                Step::Begin => waits.push(Watched {
                    wait: event.wait(),
                    probe: Probe::new(),
                    registered: false,
                    over: set,
                    wake_ups: 0,
                }),
                Step::Poll(n) if n < waits.len() => {
                    let Watched { wait, probe, registered, over, .. } = &mut waits[n];
                    prop_assert_eq!(probe.poll(wait).is_ready(), *over || set);
                    *over |= set;
                    *registered = !*over;
                }
                Step::Drop(n) if n < waits.len() => {
                    let Watched { wait, probe, .. } = waits.swap_remove(n);
                    drop(wait);
                    prop_assert_eq!(probe.kept(), 0);
                }
                Step::Poll(_) | Step::Drop(_) => {}
            }
            prop_assert_eq!(event.is_set(), set);
            for watched in &waits {
                prop_assert_eq!(watched.probe.woken(), watched.wake_ups);
                prop_assert_eq!(watched.probe.kept(), usize::from(watched.registered));
            }
        }
    }
}

#[test]
fn an_event_connects_two_runtimes() {
    let (ping, pong) = (Event::new(), Event::new());
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let other = std::thread::spawn({
        let (ping, pong) = (ping.clone(), pong.clone());
        move || {
            runtime().block_on(async {
                for _ in 0..500 {
                    ping.wait().await;
                    ping.clear();
                    pong.set();
                }
            });
        }
    });
    runtime().block_on(async {
        for _ in 0..500 {
            ping.set();
            pong.wait().await;
            pong.clear();
        }
    });
    other.join().unwrap();
}
