//! A deadline against completion. The runtime is Tokio's own on a paused clock, driven by one of the modelled threads.

#![expect(clippy::disallowed_methods, reason = "it reads the paused clock")]

use std::time::Duration;

use machinery::ctx::CompletionKind;
use machinery::{Ctx, CtxOptions};
use machinery_models::{Count, model, poll_with, thread};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Takes the clock past the deadline and lets the driver of the deadlines do its work.
fn pass(runtime: &Runtime) {
    runtime.block_on(async {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(5)).await;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    });
}

fn options(runtime: &Runtime) -> CtxOptions {
    let _inside = runtime.enter();
    CtxOptions::new().runtime(runtime.handle().clone()).timeout(Duration::from_millis(2))
}

#[test]
fn a_deadline_and_a_cancellation_settle_a_context_once_and_all_below_alike() {
    model(|| {
        let runtime = runtime();
        let root = {
            let _inside = runtime.enter();
            Ctx::beginning_with("root", options(&runtime)).expect("it has a clock")
        };
        let child = root.child("child");
        let woken = Count::new();
        let mut done = child.done();
        assert!(poll_with(&mut done, &woken.waker()).is_pending());
        let ran = Count::new();
        child.add_done_callback({
            let ran = ran.clone();
            move |_| ran.add()
        });
        let timing = thread::spawn(move || {
            pass(&runtime);
            runtime
        });
        let won = root.cancel_because("enough");
        let runtime = timing.join().expect("no panic");
        let kind = if won { CompletionKind::Cancelled } else { CompletionKind::DeadlinePassed };
        assert_eq!(root.completion().expect("it is done").kind(), kind);
        assert_eq!(child.completion().expect("it is done").kind(), kind);
        assert_eq!((woken.get(), ran.get()), (1, 1));
        drop((done, child, root));
        drop(runtime);
    });
}

#[test]
fn a_context_is_dropped_while_its_deadline_falls() {
    model(|| {
        let runtime = runtime();
        let root = Ctx::beginning("root");
        let child = {
            let _inside = runtime.enter();
            root.child_with("child", options(&runtime)).expect("it has a clock")
        };
        let timing = thread::spawn(move || {
            pass(&runtime);
            runtime
        });
        drop(child);
        drop(timing.join().expect("no panic"));
        assert!(!root.is_done());
    });
}

#[test]
fn a_deadline_is_set_while_another_falls() {
    model(|| {
        let runtime = runtime();
        let handle = runtime.handle().clone();
        let root = Ctx::beginning("root");
        let first = {
            let _inside = runtime.enter();
            root.child_with("first", options(&runtime)).expect("it has a clock")
        };
        let above = root.ctx();
        let soon = {
            let _inside = runtime.enter();
            Instant::now() + Duration::from_millis(4)
        };
        let making = thread::spawn(move || {
            let options = CtxOptions::new().runtime(handle).deadline(soon);
            above.child_with("second", options).expect("it has a clock")
        });
        pass(&runtime);
        let second = making.join().expect("no panic");
        pass(&runtime);
        assert!(first.is_done() && second.is_done());
        drop((first, second, root));
        drop(runtime);
    });
}
