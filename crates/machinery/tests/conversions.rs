//! The conversions and small traits that everybody expects.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use machinery::{Ctx, CtxOptions, Name, TaskHolder, async_as_background, async_with_timeout, queue, sync_queue};

#[test]
fn names_order_and_hash_as_their_text_does() {
    let names = BTreeSet::from([Name::from("b"), Name::from(String::from("a")), Name::from(Arc::<str>::from("c"))]);
    assert_eq!(names.iter().map(Name::as_str).collect::<String>(), "abc");
    assert!(names.contains("b"));
    let ports = HashMap::from([(Name::from(String::from("http")), 80)]);
    assert_eq!(ports.get("http"), Some(&80));
    assert_eq!(String::from(Name::from("http")), "http");
}

#[cfg(feature = "serde")]
#[test]
fn a_name_is_serialized_as_its_text() {
    assert_eq!(serde_json::to_string(&Name::from("a \"b\"")).unwrap(), r#""a \"b\"""#);
}

#[tokio::test]
async fn a_reference_to_a_guard_can_be_awaited() {
    let root = Ctx::beginning("app");
    root.cancel_because("enough");
    assert_eq!((&root).await.reason(), Some("enough"));
}

#[tokio::test(start_paused = true)]
async fn a_completion_fits_into_functions_that_return_io_errors() {
    async fn read(ctx: &Ctx) -> io::Result<()> {
        ctx.run(std::future::pending::<io::Result<()>>()).await?
    }

    let root = Ctx::beginning("app");
    let late = root.child_with("late", CtxOptions::new().timeout(Duration::from_secs(1))).unwrap();
    let error = read(&late).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().starts_with("the deadline of `app-->late`"), "{error}");

    let failed = root.child("failed");
    failed.set_exception(io::Error::from(io::ErrorKind::NotConnected));
    assert_eq!(read(&failed).await.unwrap_err().kind(), io::ErrorKind::NotConnected);

    root.cancel_because("enough");
    let error = read(&root).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert!(error.get_ref().unwrap().is::<machinery::Completion>());
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_tasks_and_timeouts_are_io_errors_of_the_kind_of_their_cause() {
    let refused = || async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
    let root = Ctx::beginning("app");
    let error = async_as_background(&root, "ask", refused()).await.unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionRefused);
    let error = async_as_background(&root, "ask", async { Err::<(), _>("no") }).await.unwrap_err();
    assert_eq!(io::Error::from(error).to_string(), "task `ask` of `app` failed: no");

    let error = async_with_timeout(&root, "ask", refused()).await.unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionRefused);
    let error = async_with_timeout(&root, "ask", std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn failures_are_taken_apart_and_tell_aborted_tasks() {
    let root = Ctx::beginning("app");
    let tasks = TaskHolder::builder(&root).collect_all().grace(Duration::from_secs(1)).build();
    tasks.add("bad", async { Err::<(), _>("no route") });
    let deaf = tasks.add_with("deaf", |_ctx| std::future::pending::<()>());
    let told = tasks.add("told", std::future::pending::<()>());
    tokio::task::yield_now().await;
    let failures = tasks.stop().await.unwrap_err();
    assert_eq!(failures.into_iter().map(|error| error.name().clone()).collect::<Vec<_>>(), ["bad"]);
    assert!(deaf.error().unwrap().is_aborted());
    assert!(!told.error().unwrap().is_aborted());
}

#[tokio::test]
async fn both_views_of_a_queue_are_the_same_queue() {
    let root = Ctx::beginning("app");
    let items = queue(&root).capacity(2).empty_on_finished().build();
    let threads = items.for_threads();
    items.append(1);
    threads.append(2);
    assert!(items.try_append(3).unwrap_err().is_full());
    assert_eq!((threads.len(), threads.capacity(), threads.ctx()), (2, Some(2), items.ctx()));
    drop(items);
    assert!(!threads.ctx().is_done(), "the other view keeps it");
    root.cancel();
    assert_eq!(threads.iter().collect::<Vec<_>>(), [1, 2]);

    let frames = sync_queue(&Ctx::beginning("other")).build();
    frames.for_tasks().append(7);
    assert_eq!(frames.remaining().collect::<Vec<_>>(), [7]);
}
