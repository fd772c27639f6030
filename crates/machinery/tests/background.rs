//! Work in the background.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock as a user does")]

mod reports;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use machinery::background::background;
use machinery::{Ctx, async_as_background, async_as_background_with};
use reports::Reports;
use tokio::time::{Instant, sleep};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn the_task_is_named_and_gives_its_result() {
    let root = Ctx::beginning("root");
    let task = async_as_background(&root, "sum", async { 40 + 2 });
    assert_eq!(task.name(), "sum");
    assert_eq!(task.ctx(), &*root);
    assert_eq!(task.await.unwrap(), 42);
}

#[tokio::test]
async fn the_error_waits_for_whoever_awaits_the_task() {
    let reports = Reports::default();
    let root = reports.root();
    let task = async_as_background(&root, "bad", async { Err::<(), _>("no route") });
    tokio::task::yield_now().await;
    assert_eq!(reports.all(), [""; 0]);
    assert_eq!(task.await.unwrap_err().error().unwrap().to_string(), "no route");
    assert_eq!(reports.all(), [""; 0]);
}

#[tokio::test]
async fn an_error_whose_handle_is_dropped_unread_is_reported_all_the_same() {
    let reports = Reports::default();
    let root = reports.root();
    let task = async_as_background(&root, "late", async { Err::<(), _>("no route") });
    while !task.is_done() {
        tokio::task::yield_now().await;
    }
    assert_eq!(reports.all(), [""; 0]);
    drop(task);
    let line = "root late: a task failed and nobody read its error: no route";
    assert_eq!(reports.take(), [line]);

    drop(async_as_background(&root, "late", async { Err::<(), _>("no route") }));
    tokio::task::yield_now().await;
    root.close().await;
    assert_eq!(reports.all(), [line]);
}

#[tokio::test]
async fn not_silent_means_reported_at_once() {
    let reports = Reports::default();
    let root = reports.root();
    let task = background(&root, "bad").reported().spawn(async { Err::<(), _>("no route") });
    while !task.is_done() {
        tokio::task::yield_now().await;
    }
    assert_eq!(reports.all(), ["root bad: a task failed: no route"]);
    drop(task);
    assert_eq!(reports.all().len(), 1);
}

#[tokio::test]
async fn the_context_cancels_the_task_and_draining_waits_for_it() {
    let root = Ctx::beginning("root");
    let plain = async_as_background(&root, "plain", pending::<()>());
    let cleaned = Arc::new(AtomicBool::new(false));
    let clean = Arc::clone(&cleaned);
    let told = async_as_background_with(&root, "told", |ctx| async move {
        ctx.done().await;
        tokio::task::yield_now().await;
        clean.store(true, Ordering::SeqCst);
    });
    root.close().await;
    assert!(cleaned.load(Ordering::SeqCst));
    assert!(plain.await.unwrap_err().completion().is_some());
    told.await.unwrap();
}

#[tokio::test]
async fn below_a_context_that_is_done_the_task_is_cancelled_from_the_start_and_says_so() {
    let reports = Reports::default();
    let root = reports.root();
    root.cancel_because("too late");
    let task = async_as_background(&root, "late", async { 7 });
    assert!(task.is_done() && task.is_cancelled());
    let error = task.await.unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("too late"), "{error}");
    assert_eq!(reports.count("root late: a task was refused"), 1);
    root.drained().await;
}

/// Reliability 28, for a task in the background.
#[tokio::test(start_paused = true)]
async fn scenario_28_a_background_task_that_ignores_its_cancellation_is_named_and_aborted() {
    let reports = Reports::default();
    let root = reports.root();
    let task = background(&root, "deaf").grace(seconds(5)).spawn_with(|_| pending::<()>());
    sleep(seconds(1)).await;
    let started = Instant::now();
    root.close().await;
    assert_eq!(started.elapsed(), seconds(5));
    assert!(task.await.unwrap_err().to_string().ends_with("as its grace was over"));
    assert_eq!(reports.count("root-->deaf deaf: a task, spawned at "), 1, "{:?}", reports.all());
    assert_eq!(reports.count("has not stopped within its grace of 5s"), 1);
}

#[test]
fn without_a_runtime_the_task_is_refused_with_an_error_that_says_so() {
    let root = Ctx::beginning("outside");
    let task = async_as_background(&root, "nowhere", async {});
    let error = task.error().unwrap();
    assert!(error.is_refused() && error.to_string().contains("runtime"), "{error}");
}

/// Reliability 31, for tasks in the background.
#[test]
fn scenario_31_the_runtime_dropped_with_background_tasks_alive_settles_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let root = Ctx::beginning("root");
    let task = {
        let _entered = runtime.enter();
        async_as_background(&root, "forever", pending::<()>())
    };
    runtime.block_on(tokio::task::yield_now());
    assert!(!task.is_done());
    drop(runtime);
    assert!(task.is_cancelled());
    root.cancel();
}

#[tokio::test]
async fn futures_that_are_not_send_have_a_way_in() {
    let set = tokio::task::LocalSet::new();
    set.run_until(async {
        let root = Ctx::beginning("root");
        let local = std::rc::Rc::new(7);
        let task = background(&root, "local").spawn_local(async move { *local });
        assert_eq!(task.await.unwrap(), 7);
    })
    .await;
}
