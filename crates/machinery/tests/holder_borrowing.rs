//! Tasks that borrow, polled where the body is.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock and spawns as a user does")]

mod faults;
mod reports;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use faults::FailsTwice;
use machinery::holder::BorrowingTasks;
use machinery::{Ctx, task_holder};
use reports::Reports;
use tokio::time::{Instant, sleep};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts its drop.
struct Held<'a>(&'a AtomicUsize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_borrow_run_concurrently_and_are_all_over_at_the_end() {
    let root = Ctx::beginning("root");
    let words = vec!["a".to_owned(), "bc".to_owned(), "def".to_owned()];
    let seen = Mutex::new(Vec::new());
    let started = Instant::now();
    let tasks = BorrowingTasks::new(&root);
    let mut all = Vec::new();
    for word in &words {
        let seen = &seen;
        all.push(tasks.add(word, async move {
            sleep(seconds(5 - word.len() as u64)).await;
            seen.lock().unwrap().push(word.as_str());
            word.len()
        }));
    }
    assert_eq!(tasks.pending(), 3);
    tasks.finish().await;
    assert_eq!(all.swap_remove(0).await.unwrap(), 1);
    assert_eq!(*seen.lock().unwrap(), ["def", "bc", "a"]);
    assert_eq!(started.elapsed(), seconds(4));
}

#[tokio::test]
async fn they_borrow_from_the_body_of_a_scope() {
    let root = Ctx::beginning("root");
    let length = task_holder(&root, async |tasks| {
        let text = tasks.add("load", async { "text".to_owned() }).await.unwrap();
        let local = BorrowingTasks::named(tasks.ctx(), "local");
        assert_eq!(local.ctx().full_name(), "root-->task_holder-->local");
        let length = local.add("measure", async { text.len() });
        local.run(length).await.unwrap()
    })
    .await;
    assert_eq!(length, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_run_in_a_spawned_task_and_are_woken_from_other_threads() {
    let sum = tokio::spawn(async {
        let root = Ctx::beginning("root");
        let sum = AtomicUsize::new(0);
        let tasks = BorrowingTasks::new(&root);
        for n in 0..1_000 {
            let sum = &sum;
            tasks.add("add", async move {
                let n = tokio::spawn(async move { n }).await.unwrap();
                tokio::task::yield_now().await;
                sum.fetch_add(n, Ordering::SeqCst);
            });
        }
        tasks.finish().await;
        sum.into_inner()
    });
    assert_eq!(sum.await.unwrap(), 499_500);
}

#[tokio::test]
async fn the_body_may_add_tasks_and_await_them_and_what_is_not_over_rests() {
    let root = Ctx::beginning("root");
    let count = AtomicUsize::new(0);
    let tasks = BorrowingTasks::new(&root);
    let slow = tasks
        .run(async {
            let slow = tasks.add("slow", async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
            tasks.add("quick", async {}).await.unwrap();
            Some(slow)
        })
        .await
        .unwrap();
    let rests_at = count.load(Ordering::SeqCst);
    assert!(rests_at < 10);
    tokio::task::yield_now().await;
    assert_eq!(count.load(Ordering::SeqCst), rests_at);
    assert_eq!(tasks.pending(), 1);
    tasks.finish().await;
    slow.await.unwrap();
    assert_eq!(count.into_inner(), 10);
}

#[tokio::test]
#[should_panic(expected = "being run already")]
async fn they_are_run_in_one_place_at_a_time() {
    let root = Ctx::beginning("root");
    let tasks = BorrowingTasks::new(&root);
    tasks.run(tasks.run(async {})).await;
}

#[tokio::test]
async fn a_failing_task_is_reported_and_stops_no_other() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = BorrowingTasks::new(&root);
    let bad = tasks.add("bad", async { Err::<(), _>("no route") });
    tasks.add("worse", async { panic!("a mistake") });
    let good = tasks.add("good", async {
        tokio::task::yield_now().await;
        7
    });
    tasks.finish().await;
    assert_eq!(bad.await.unwrap_err().error().unwrap().to_string(), "no route");
    assert_eq!(good.await.unwrap(), 7);
    assert_eq!(
        reports.all(),
        ["root-->task_holder bad: a task failed: no route", "root-->task_holder worse: a task panicked: a mistake",]
    );
}

#[tokio::test]
async fn completion_of_the_context_drops_the_tasks_and_not_the_body() {
    let reports = Reports::default();
    let root = reports.root();
    let dropped = AtomicUsize::new(0);
    let tasks = BorrowingTasks::new(&root);
    let went_on = tasks
        .run(async {
            let held = Held(&dropped);
            let task = tasks.add("forever", async move {
                let _held = held;
                pending::<()>().await;
            });
            tokio::task::yield_now().await;
            root.cancel_because("enough");
            let error = task.await.unwrap_err();
            assert_eq!(error.completion().unwrap().reason(), Some("enough"));
            assert!(tasks.add("late", async {}).await.unwrap_err().is_refused());
            true
        })
        .await;
    assert!(went_on);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(reports.count("late: a task was refused"), 1);
    tasks.finish().await;
}

#[tokio::test]
async fn a_single_task_can_be_cancelled_before_and_after_its_first_poll() {
    let root = Ctx::beginning("root");
    let tasks = BorrowingTasks::new(&root);
    tasks
        .run(async {
            let never = tasks.add("never", async { panic!("it was polled") });
            never.cancel();
            let forever = tasks.add("forever", pending::<()>());
            assert!(never.await.map(drop).unwrap_err().is_cancelled());
            tokio::task::yield_now().await;
            assert!(!forever.is_done());
            forever.cancel();
            assert!(forever.await.unwrap_err().is_cancelled());
            assert_eq!(tasks.pending(), 0);
        })
        .await;
}

/// Reliability 16, for tasks that borrow.
#[tokio::test]
async fn scenario_16_dropped_at_any_await_it_drops_the_tasks_and_says_so_and_handles_hear_of_it() {
    for polls in 0..4 {
        let reports = Reports::default();
        let root = reports.root();
        let dropped = AtomicUsize::new(0);
        let tasks = BorrowingTasks::new(&root);
        let held = Held(&dropped);
        let task = tasks.add("forever", async move {
            let _held = held;
            pending::<()>().await;
        });
        {
            let mut finish = pin!(tasks.finish());
            for _ in 0..polls {
                assert!(finish.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            assert_eq!(dropped.load(Ordering::SeqCst), 0);
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        assert_eq!(reports.all(), ["root-->task_holder: a holder was dropped with 1 task in it, which is dropped"]);
        assert!(task.await.unwrap_err().to_string().ends_with("its holder was dropped"));
        root.close().await;
    }
}

#[tokio::test]
async fn a_task_that_is_always_ready_leaves_the_others_their_turns() {
    let root = Ctx::beginning("root");
    let turns = AtomicUsize::new(0);
    let tasks = BorrowingTasks::new(&root);
    tasks.add("busy", async {
        loop {
            turns.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let other = tasks.add("other", async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    tasks.run(other).await.unwrap();
    tasks.cancel();
    tasks.finish().await;
    let turns = turns.into_inner();
    assert!((50..=1_000).contains(&turns), "{turns}");
}

#[tokio::test]
async fn draining_waits_for_the_holder() {
    let root = Ctx::beginning("root");
    let tasks = BorrowingTasks::new(&root);
    tasks.add("forever", pending::<()>());
    root.cancel();
    let mut drained = pin!(root.drained());
    assert!(drained.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    tasks.finish().await;
    drained.await;
}

#[tokio::test]
async fn of_a_failure_and_a_panic_in_the_drop_after_it_none_is_lost() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = BorrowingTasks::new(&root);
    let task = tasks.add("bad", FailsTwice);
    tasks.finish().await;
    assert_eq!(task.await.unwrap_err().error().unwrap().to_string(), "disk full");
    assert_eq!((reports.count("disk full"), reports.count("a mistake")), (1, 1), "{:?}", reports.all());
}
