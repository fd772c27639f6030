//! Causes that speak of the very contexts that hold them, and must not keep them alive.

use std::sync::{Arc, Weak};

use machinery::{Completion, Ctx, CtxGuard, CtxOptions, TaskHolder, async_with_timeout};

/// A root, and what lives as long as it does.
fn witnessed() -> (CtxGuard, Weak<()>) {
    let witness = Arc::new(());
    let weak = Arc::downgrade(&witness);
    let root = Ctx::beginning_with("root", CtxOptions::new().value(witness)).expect("no deadline, no runtime");
    (root, weak)
}

#[test]
fn a_completion_from_below_as_the_error_of_a_context_keeps_nothing_alive() {
    let (root, witness) = witnessed();
    let child = root.child("child");
    child.set_exception(std::io::Error::other("disk full"));
    root.set_exception(child.completion().unwrap());

    let error = root.exception().unwrap();
    assert!(error.to_string().starts_with("`root-->child` failed at "), "{error}");
    assert_eq!(error.source().unwrap().to_string(), "disk full");
    assert!(root.completion().unwrap().to_string().contains("disk full"));
    drop((error, child, root));
    assert!(witness.upgrade().is_none());
}

#[tokio::test]
async fn the_failure_that_stopped_a_holder_keeps_nothing_alive() {
    let (root, witness) = witnessed();
    let tasks = TaskHolder::builder(&root).fail_fast().build();
    let ctx = tasks.ctx().clone();
    tasks.add("failing", async { Err::<(), _>("no route") });
    let failures = tasks.finish().await.unwrap_err();
    assert!(failures.to_string().contains("no route"));
    let why: Completion = ctx.completion().unwrap();
    assert!(why.to_string().contains("no route"), "{why}");
    drop((why, failures, ctx, root));
    assert!(witness.upgrade().is_none());
}

#[tokio::test]
async fn the_error_of_a_task_as_the_error_of_its_context_keeps_nothing_alive() {
    let (root, witness) = witnessed();
    let tasks = TaskHolder::builder(&root).name("tasks").build();
    let error = tasks.task("failing").silent().spawn(async { Err::<(), _>("no route") }).await.unwrap_err();
    tasks.finish().await;
    assert_eq!(error.path(), "root-->tasks");
    root.set_exception(error);
    drop(root);
    assert!(witness.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_error_of_work_with_a_timeout_keeps_nothing_alive() {
    let (root, witness) = witnessed();
    let error = async_with_timeout(&root, "slow", std::future::pending::<()>()).await.unwrap_err();
    assert!(root.set_exception(error));
    drop(root);
    assert!(witness.upgrade().is_none());

    let (root, witness) = witnessed();
    let child = root.child("child");
    child.cancel_because("enough");
    let error = async_with_timeout(&child, "late", async {}).await.unwrap_err();
    let why = error.completion().unwrap();
    assert_eq!((why.name(), why.path().as_str(), why.reason()), ("child", "root-->child", Some("enough")));
    assert_eq!(why.location(), child.completion().unwrap().location());
    assert_eq!(why.to_string(), child.completion().unwrap().to_string());
    assert!(root.set_exception(error));
    drop((child, root));
    assert!(witness.upgrade().is_none());
}

#[tokio::test]
async fn the_failures_of_a_holder_as_the_error_of_a_context_keep_nothing_alive() {
    let (root, witness) = witnessed();
    let tasks = TaskHolder::builder(&root).name("tasks").collect_all().build();
    tasks.add("failing", async { Err::<(), _>("no route") });
    let failures = tasks.finish().await.unwrap_err();
    assert!(root.set_exception(failures));
    assert!(root.exception().unwrap().to_string().starts_with("1 failure in `root-->tasks`"));
    drop(root);
    assert!(witness.upgrade().is_none());
}

#[tokio::test]
async fn the_error_of_a_cancelled_or_refused_task_keeps_nothing_alive() {
    let (root, witness) = witnessed();
    let child = root.child("child");
    let tasks = TaskHolder::new(&child);
    let cut = tasks.add("forever", std::future::pending::<()>());
    child.cancel_because("enough");
    let refused = tasks.add("late", async {}).await.unwrap_err();
    let given_back = tasks.try_add("later", async {}).unwrap_err();
    tasks.finish().await;
    let cut = cut.await.unwrap_err();
    assert_eq!(cut.completion().unwrap().path(), "root-->child");
    let group = machinery::apply::ErrorGroup::merge([
        Arc::new(cut) as machinery::SharedError,
        Arc::new(refused),
        Arc::new(std::io::Error::other(given_back.to_string())),
    ]);
    assert!(root.set_exception(group.unwrap()));
    drop((given_back, child, root));
    assert!(witness.upgrade().is_none());
}

#[test]
fn an_error_that_is_shared_already_stays_the_same_error() {
    let (first, second) = (Ctx::beginning("first"), Ctx::beginning("second"));
    first.set_exception(std::io::Error::other("disk full"));
    second.set_exception(first.exception().unwrap());
    assert!(Arc::ptr_eq(&first.exception().unwrap(), &second.exception().unwrap()));
    assert!(second.exception().unwrap().is::<std::io::Error>());
}

#[test]
fn a_value_whose_drop_panics_keeps_no_context_above_it_alive() {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the drop of a value");
        }
    }

    let (root, witness) = witnessed();
    let middle = root.child("middle").hand_over();
    let leaf = middle.child_with("leaf", CtxOptions::new().value(Bomb)).unwrap().hand_over();
    drop((root, middle));
    assert!(witness.upgrade().is_some());
    assert!(std::panic::catch_unwind(|| drop(leaf)).is_err());
    assert!(witness.upgrade().is_none());
}
