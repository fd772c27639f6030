//! Causes that speak of the very contexts that hold them, and must not keep them alive.

use std::sync::{Arc, Weak};

use machinery::{Completion, Ctx, CtxGuard, CtxOptions, TaskHolder};

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
