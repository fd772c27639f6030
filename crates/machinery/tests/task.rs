//! Tasks, through their handles.
#![expect(clippy::disallowed_methods, reason = "a test spawns as a user does")]

mod faults;
mod reports;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use faults::FailsTwice;
use machinery::ctx::Removal;
use machinery::protocols::{FutureState, FutureStatus, WithRepr};
use machinery::{Ctx, Task, TaskHolder, async_as_background, task_holder, wait_for_all, wait_for_first};
use reports::Reports;

async fn until_done<T>(task: &Task<T>) {
    while !task.is_done() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn awaiting_gives_the_value_the_failure_or_the_panic_with_its_message() {
    let root = Ctx::beginning("root");
    assert_eq!(async_as_background(&root, "good", async { 7 }).await.unwrap(), 7);

    let failed = async_as_background(&root, "bad", async { Err::<u32, _>(std::io::Error::other("disk full")) });
    let failed = failed.await.unwrap_err();
    assert!(!failed.is_cancelled() && !failed.is_panic());
    assert_eq!(failed.to_string(), "task `bad` of `root` failed: disk full");
    assert!(failed.error().unwrap().is::<std::io::Error>());
    assert_eq!((failed.name().as_str(), failed.kind()), ("bad", Some("Error")));
}

/// Reliability 30.
#[tokio::test]
async fn scenario_30_a_panic_keeps_its_message() {
    let root = Ctx::beginning("root");
    let number = 7;
    let fixed = async_as_background(&root, "fixed", async { panic!("a mistake") }).await.map(drop).unwrap_err();
    let made = async_as_background(&root, "made", async move { panic!("mistake {number}") }).await.map(drop);
    assert!(fixed.is_panic());
    assert_eq!(fixed.to_string(), "task `fixed` of `root` panicked: a mistake");
    assert_eq!(made.unwrap_err().to_string(), "task `made` of `root` panicked: mistake 7");
}

#[tokio::test]
async fn a_panic_in_the_drop_of_the_work_is_its_end() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let root = Ctx::beginning("root");
    let task = async_as_background(&root, "bomb", async {
        let _bomb = Bomb;
        pending::<()>().await;
    });
    tokio::task::yield_now().await;
    task.cancel();
    let error = task.await.unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("in a drop"), "{error}");
    root.close().await;
}

#[tokio::test]
async fn a_value_that_nobody_takes_may_panic_in_its_drop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let reports = Reports::default();
    let root = reports.root();
    task_holder(&root, async |tasks| {
        drop(tasks.add("bomb", async { machinery::task::Plain(Bomb) }));
    })
    .await;
    assert_eq!(reports.count("the drop of what a task returned panicked: in a drop"), 1);
}

#[tokio::test]
async fn cancel_stops_the_task_and_says_whether_it_was_the_first() {
    let root = Ctx::beginning("root");
    let task = async_as_background(&root, "forever", pending::<()>());
    assert!(!task.is_done());
    assert!(task.cancel());
    assert!(!task.cancel());
    until_done(&task).await;
    assert!(task.is_cancelled());
    assert!(!task.cancel());
    let error = task.await.unwrap_err();
    assert_eq!(error.to_string(), "task `forever` of `root` was cancelled");
}

#[tokio::test]
async fn cancel_before_the_first_poll_drops_the_work_unpolled() {
    let root = Ctx::beginning("root");
    let task = async_as_background(&root, "never", async { unreachable!("it was polled") });
    task.cancel();
    assert!(task.await.map(drop).unwrap_err().is_cancelled());
}

#[tokio::test]
async fn work_with_a_context_is_told_by_cancel_at_once_and_may_clean_up_and_abort_cuts_it() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let told = tasks.add_with("told", |ctx| async move {
        assert_eq!(ctx.full_name(), "root-->task_holder-->told");
        let why = ctx.done().await;
        why.reason().map(str::to_owned)
    });
    let deaf = tasks.add_with("deaf", |_| pending::<()>());
    tokio::task::yield_now().await;
    told.cancel();
    assert_eq!(told.await.unwrap().as_deref(), Some("its task was cancelled"));
    deaf.cancel();
    tokio::task::yield_now().await;
    assert!(!deaf.is_done());
    deaf.abort();
    assert!(deaf.await.unwrap_err().is_cancelled());
    tasks.finish().await;
}

#[tokio::test]
async fn the_own_context_of_a_task_completes_when_its_work_ends() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let own = tasks.add_with("own", |ctx| async move { machinery::task::Plain(ctx) }).await.unwrap();
    assert!(own.is_done() && !root.is_done());
    tasks.finish().await;
}

#[tokio::test]
async fn an_error_that_only_says_that_the_context_is_done_is_a_cancellation() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = TaskHolder::new(&root);
    let task = tasks.add_with("reader", |ctx| async move { ctx.run(pending::<()>()).await });
    tokio::task::yield_now().await;
    tasks.cancel();
    tasks.finish().await;
    assert!(task.is_cancelled());
    assert_eq!(reports.all(), [""; 0]);
}

#[tokio::test]
async fn dropping_the_handle_neither_detaches_the_work_nor_loses_its_error() {
    let reports = Reports::default();
    let root = reports.root();
    let ended = Arc::new(AtomicUsize::new(0));
    task_holder(&root, async |tasks| {
        let count = Arc::clone(&ended);
        drop(tasks.add("good", async move {
            tokio::task::yield_now().await;
            count.fetch_add(1, Ordering::SeqCst);
        }));
        drop(tasks.add("bad", async { Err::<(), _>("no route") }));
        drop(tasks.task("silent").silent().spawn(async { Err::<(), _>("no idea") }));
    })
    .await;
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert_eq!(
        reports.all(),
        [
            "root-->task_holder bad: a task failed: no route",
            "root-->task_holder silent: a task failed and nobody read its error: no idea",
        ]
    );
}

#[tokio::test]
async fn done_callbacks_run_once_each_in_order_and_may_be_removed() {
    let root = Ctx::beginning("root");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let task = async_as_background(&root, "quick", async { 7 });
    let mut ids = Vec::new();
    for n in 0..4 {
        let seen = Arc::clone(&seen);
        ids.push(task.add_done_callback(move |task| {
            assert!(task.is_done());
            seen.lock().unwrap().push((n, task.result()));
        }));
    }
    assert!(task.has_direct_done_callback(ids[1]));
    assert_eq!(task.remove_done_callback(ids[1]), Removal::Removed);
    assert!(!task.has_direct_done_callback(ids[1]));
    until_done(&task).await;
    assert_eq!(*seen.lock().unwrap(), [(0, Some(7)), (2, Some(7)), (3, Some(7))]);
    assert_eq!(task.remove_done_callback(ids[0]), Removal::AlreadyRun);

    let late = Arc::clone(&seen);
    task.add_done_callback(move |_| late.lock().unwrap().push((9, None)));
    assert_eq!(seen.lock().unwrap().last(), Some(&(9, None)));
    assert_eq!(task.await.unwrap(), 7);
}

#[tokio::test]
async fn a_done_callback_that_panics_is_reported_and_stops_nothing() {
    let reports = Reports::default();
    let root = reports.root();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let task = async_as_background(&root, "quick", async {});
    task.add_done_callback(|_| panic!("a mistake"));
    task.add_done_callback(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    drop(task);
    root.drained_after_cancel().await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    assert_eq!(reports.all(), ["root quick: a callback panicked: a mistake"]);
}

trait DrainedAfterCancel {
    async fn drained_after_cancel(&self);
}

impl DrainedAfterCancel for machinery::CtxGuard {
    async fn drained_after_cancel(&self) {
        // The task runs to its end first, as it was spawned before.
        tokio::task::yield_now().await;
        self.cancel();
        self.drained().await;
    }
}

#[tokio::test]
async fn the_status_can_be_asked_without_taking_the_value() {
    let root = Ctx::beginning("root");
    let task = async_as_background(&root, "text", async { "seven".to_owned() });
    assert!(!FutureStatus::is_done(&task));
    assert_eq!(FutureStatus::result(&task), None);
    assert!(matches!(task.repr_state(), FutureState::Pending));
    until_done(&task).await;
    assert_eq!(FutureStatus::result(&task).as_deref(), Some("seven"));
    assert_eq!(FutureStatus::result(&task).as_deref(), Some("seven"));
    assert_eq!(format!("{task:?}"), "<Task#text(result)>");
    assert_eq!(task.await.unwrap(), "seven");

    let bad = async_as_background(&root, "bad", async { "x".parse::<u32>() });
    until_done(&bad).await;
    assert_eq!(format!("{bad:?}"), "<Task#bad(exception:ParseIntError:invalid digit found in string)>");
    assert!(FutureStatus::exception(&bad).is_some());
    assert!(bad.set_repr_name("worse".into()));
    assert_eq!(bad.name(), "worse");
}

#[tokio::test]
async fn a_value_whose_clone_asks_the_task_again_finds_nothing_and_no_deadlock() {
    struct Asks(Arc<Mutex<Option<Arc<Task<Asks>>>>>, bool);
    impl Clone for Asks {
        fn clone(&self) -> Self {
            let task = self.0.lock().unwrap().clone();
            Self(Arc::clone(&self.0), task.is_some_and(|task| task.result().is_none()))
        }
    }
    let root = Ctx::beginning("root");
    let place = Arc::new(Mutex::new(None));
    let own = Arc::clone(&place);
    let task = Arc::new(async_as_background(&root, "asks", async { machinery::task::Plain(Asks(own, false)) }));
    *place.lock().unwrap() = Some(Arc::clone(&task));
    until_done(&task).await;
    assert!(task.result().unwrap().1);
    *place.lock().unwrap() = None;
}

#[tokio::test]
async fn tasks_are_waited_for_beside_other_things_without_consuming_them() {
    let root = Ctx::beginning("root");
    let slow = async_as_background(&root, "slow", async {
        tokio::task::yield_now().await;
        1
    });
    let never = async_as_background(&root, "never", pending::<()>());
    wait_for_first([&slow as &dyn machinery::protocols::WaitByCallback, &never]).await;
    assert!(slow.is_done() && !never.is_done());
    never.cancel();
    wait_for_all([&slow as &dyn machinery::protocols::WaitByCallback, &never]).await;
    assert_eq!(slow.await.unwrap(), 1);
}

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reliability 18, for the handle of a task.
#[tokio::test]
async fn scenario_18_a_task_awaited_from_two_places_wakes_only_the_latest() {
    let root = Ctx::beginning("root");
    let mut task = async_as_background(&root, "slow", async { tokio::task::yield_now().await });
    let (first, second) = (Arc::new(Counting(AtomicUsize::new(0))), Arc::new(Counting(AtomicUsize::new(0))));
    for counting in [&first, &second] {
        let waker = Waker::from(Arc::clone(counting));
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    until_done(&task).await;
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(Arc::strong_count(&first), 1);
}

/// Reliability 16, for the handle of a task.
#[tokio::test]
async fn scenario_16_a_dropped_await_leaves_nothing_registered_and_loses_nothing() {
    let root = Ctx::beginning("root");
    let mut task = async_as_background(&root, "slow", async {
        tokio::task::yield_now().await;
        7
    });
    let counting = Arc::new(Counting(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counting));
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert_eq!((&mut task).await.unwrap(), 7);
    assert_eq!(Arc::strong_count(&counting), 1);

    let mut dropped = async_as_background(&root, "slow", pending::<()>());
    let waker = Waker::from(Arc::clone(&counting));
    assert!(Pin::new(&mut dropped).poll(&mut Context::from_waker(&waker)).is_pending());
    drop((waker, dropped));
    assert_eq!(Arc::strong_count(&counting), 1);
    root.close().await;
}

#[tokio::test]
#[should_panic(expected = "polled after it gave its result")]
async fn polling_after_the_result_was_given_panics() {
    let root = Ctx::beginning("root");
    let mut task = async_as_background(&root, "good", async { 7 });
    assert_eq!((&mut task).await.unwrap(), 7);
    drop((&mut task).await);
}

#[tokio::test]
async fn an_error_can_be_had_again() {
    let root = Ctx::beginning("root");
    let mut task = async_as_background(&root, "bad", async { Err::<u32, _>("no route") });
    let first = (&mut task).await.unwrap_err();
    let second = (&mut task).await.unwrap_err();
    assert!(Arc::ptr_eq(first.error().unwrap(), second.error().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_asked_from_many_threads_while_tasks_end_are_never_lost() {
    let root = Ctx::beginning("root");
    for _ in 0..300 {
        let task = Arc::new(async_as_background(&root, "text", async { vec![7; 10] }));
        let asking: Vec<_> = (0..2)
            .map(|_| {
                let task = Arc::clone(&task);
                tokio::spawn(async move {
                    until_done(&task).await;
                    task.result()
                })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), Some(vec![7; 10]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_racing_the_end_settle_each_task_once() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    for _ in 0..300 {
        let task = Arc::new(tasks.add("racing", async { tokio::task::yield_now().await }));
        let other = Arc::clone(&task);
        let cancelling = tokio::spawn(async move { other.cancel() });
        cancelling.await.unwrap();
        let task = Arc::into_inner(task).unwrap();
        match task.await {
            Ok(()) => {}
            Err(error) => assert!(error.is_cancelled()),
        }
    }
    assert_eq!(tasks.pending(), 0);
    tasks.finish().await;
}

/// Reliability 32, for handles.
#[test]
fn scenario_32_a_handle_outlives_its_runtime_and_may_be_dropped_in_a_thread_local_destructor() {
    thread_local!(static LEFT: std::cell::Cell<Option<Task<u32>>> = const { std::cell::Cell::new(None) });
    let reports = Reports::default();
    let root = reports.root();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (bad, mut good) = {
        let _entered = runtime.enter();
        let bad = async_as_background(&root, "bad", async { Err::<u32, _>("no route") });
        (bad, async_as_background(&root, "good", async { 7 }))
    };
    runtime.block_on(async {
        until_done(&bad).await;
        until_done(&good).await;
    });
    drop(runtime);
    let polled = Pin::new(&mut good).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(7))));
    std::thread::spawn(move || LEFT.set(Some(bad))).join().unwrap();
    assert_eq!(reports.count("nobody read its error: no route"), 1);
}

#[tokio::test]
async fn of_a_failure_and_a_panic_in_the_drop_after_it_none_is_lost() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = TaskHolder::builder(&root).name("tasks").collect_all().build();
    tasks.add("plain", FailsTwice);
    tasks.add_with("told", |_| FailsTwice);
    let failures = tasks.finish().await.unwrap_err().into_tasks();
    for failure in &failures {
        assert_eq!(failure.error().unwrap().to_string(), "disk full");
    }
    assert_eq!(failures.len(), 2);
    let mut told = reports.all();
    told.sort();
    assert_eq!(
        told,
        [
            "root-->tasks plain: the drop of a task that had failed panicked: a mistake",
            "root-->tasks told: the drop of a task that had failed panicked: a mistake",
        ]
    );
}
