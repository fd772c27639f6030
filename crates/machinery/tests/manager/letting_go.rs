//! What is let go of when nobody wants it any more: each thing by itself, and waited for until that is over.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use machinery::ctx::Canceller;
use machinery::{AsyncGenerator, Ctx, CtxGuard, CtxOptions, Feed, queue_manager};
use tokio::runtime::Runtime;

use super::common::{Alive, Heard, all, now};

/// Panics when the last one is dropped.
#[derive(Debug)]
struct Bomb(&'static str);

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new(self.0));
    }
}

fn root(heard: &Heard) -> CtxGuard {
    Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap()
}

/// How often the drop of `what` was reported.
fn dropped(heard: &Heard, what: &str) -> usize {
    let end = format!("source panicked when it was dropped: the source panicked: {what}");
    heard.reports().iter().filter(|report| report.ends_with(&end)).count()
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_late_clean_up_that_panics_in_its_drop_is_reported_with_that() {
    let heard = Heard::default();
    let root = root(&heard);
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let generator = AsyncGenerator::fallible(|mut y| async move {
        while y.yield_(0).await.is_ok() {}
        Err(Bomb("goodbye").into())
    });
    assert!(feeder.add_generator("generator", generator).is_taken());
    drop(results.next().await);
    drop(results);
    root.close().await;
    assert_eq!(heard.reports().len(), 2, "{:?}", heard.reports());
    assert_eq!(dropped(&heard, "goodbye"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_source_comes_back_also_where_its_context_value_panics_in_its_drop() {
    let heard = Heard::default();
    let root = root(&heard);
    let (feeder, results) = queue_manager::<u32>(&root).make_empty_context(|| Arc::new(Bomb("context"))).build();
    drop(results);
    assert_eq!(feeder.add_value("value", 1).into_refused(), Some(1));
    assert!(feeder.add_iter("iterator", [1]).into_refused().is_some());
    assert!(feeder.add_future("future", async { 1 }).into_refused().is_some());
    assert_eq!(dropped(&heard, "context"), 3, "{:?}", heard.reports());
}

/// Cancels when it is dropped, and notes whether that was waited for then.
struct Probe(Canceller, Ctx, Arc<Mutex<Vec<bool>>>);

impl Probe {
    fn new(root: &CtxGuard, seen: &Arc<Mutex<Vec<bool>>>) -> Self {
        Self(root.canceller(), root.ctx().clone(), Arc::clone(seen))
    }

    fn nothing(&self) -> u32 {
        0
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.cancel();
        self.2.lock().unwrap().push(self.1.drained().now_or_never().is_none());
    }
}

fn runtime() -> (Runtime, CtxGuard) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let root = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    (runtime, root)
}

#[test]
fn a_future_that_waits_is_waited_for_until_it_is_dropped_with_its_runtime() {
    let (runtime, root) = runtime();
    let (feeder, _results) = queue_manager::<u32>(&root).max_running(1).build();
    let seen = Arc::default();
    feeder.add_future("runs", std::future::pending::<u32>());
    let probe = Probe::new(&root, &seen);
    feeder.add_future("waits", async move { probe.nothing() });
    drop(runtime);
    assert_eq!(*seen.lock().unwrap(), [true]);
}

#[test]
fn a_blocking_source_is_waited_for_until_it_is_dropped_for_want_of_its_runtime() {
    let (runtime, root) = runtime();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let seen = Arc::default();
    let probe = Probe::new(&root, &seen);
    drop(runtime);
    feeder.add_blocking_fn("blocking", move || probe.nothing());
    drop(now(&mut results));
    assert_eq!(*seen.lock().unwrap(), [true]);
}

#[test]
fn a_task_of_another_runtime_is_stopped_where_the_manager_has_lost_its_own() {
    let alive = Alive::default();
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let forever = || {
        let one = alive.one();
        other.spawn(async move { std::future::pending::<u32>().await + one.nothing() })
    };
    let (runtime, root) = runtime();
    let (feeder, _results) = queue_manager::<u32>(&root).build();
    feeder.add_task("task", forever());
    drop(runtime);
    let without = Ctx::beginning("without a runtime");
    let (feeder, mut results) = queue_manager::<u32>(&without).build();
    let task = Feed::task(forever());
    feeder.add_fn("function", || task);
    assert!(now(&mut results).is_some());
    other.block_on(tokio::task::yield_now());
    assert_eq!(alive.count(), 0);
}

#[test]
fn what_a_task_had_failed_with_is_not_lost_with_the_runtime_of_the_manager() {
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let task = other.spawn(async { Err::<u32, _>("disk full") });
    other.block_on(tokio::task::yield_now());
    let (runtime, root) = runtime();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_task("task", task);
    drop((feeder, runtime));
    assert_eq!(other.block_on(all(&mut results)), ["task `task`: failed: disk full", "stopped"]);
}

struct Explosive(#[expect(dead_code, reason = "it is dropped")] Bomb);

impl futures_util::Stream for Explosive {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Pending
    }
}

#[test]
fn a_stream_and_its_context_value_may_both_panic_in_their_drop_when_their_runtime_goes() {
    let heard = Heard::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = CtxOptions::new().runtime(runtime.handle().clone()).tramp(heard.clone());
    let root = Ctx::beginning_with("root", options).unwrap();
    let context = || Fragile(clones(9), Some(Bomb("context")));
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(context).build();
    feeder.add("own", Feed::stream(Explosive(Bomb("stream"))).in_own_task());
    assert!(now(&mut results).is_none());
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    assert_eq!((dropped(&heard, "stream"), dropped(&heard, "context")), (1, 1), "{:?}", heard.reports());
    drop(results);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_just_being_added_is_waited_for() {
    let root = Ctx::beginning("root");
    let seen = Arc::default();
    let probe = Mutex::new(Some(Probe::new(&root, &seen)));
    let (feeder, _results) =
        queue_manager::<u32>(&root).make_empty_context(move || drop(probe.lock().unwrap().take())).build();
    let refused = feeder.add_future("future", async { 1 });
    assert!(refused.into_refused().is_some());
    assert_eq!(*seen.lock().unwrap(), [true]);
    root.close().await;
}

/// Its first clones are good, and the next one panics.
struct Fragile(Arc<AtomicIsize>, Option<Bomb>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::panic::resume_unwind(Box::new("no clone"));
        }
        Self(Arc::clone(&self.0), self.1.as_ref().map(|bomb| Bomb(bomb.0)))
    }
}

fn clones(good: isize) -> Arc<AtomicIsize> {
    Arc::new(AtomicIsize::new(good + 1))
}

#[tokio::test(start_paused = true)]
async fn values_that_are_ahead_of_a_source_that_ends_may_all_panic_in_their_drop() {
    let heard = Heard::default();
    let root = root(&heard);
    let (feeder, mut results) = queue_manager::<Bomb>(&root).make_empty_context(|| None).build();
    let ahead = (0..3).map(|_| Feed::value(Bomb("value")));
    feeder.with_context(Some(Fragile(clones(2), None))).add("own", Feed::stream(stream::iter(ahead)).in_own_task());
    drop(feeder);
    assert!(now(&mut results).is_none());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        all(&mut results).await,
        [
            "stream `own`: failed: the source panicked: no clone",
            "stream `own`: end: the source panicked: no clone",
            "stopped"
        ]
    );
    assert_eq!(dropped(&heard, "value"), 3, "{:?}", heard.reports());
}

#[tokio::test]
async fn an_error_that_nobody_fetches_and_its_context_value_may_both_panic_in_their_drop() {
    let heard = Heard::default();
    let root = root(&heard);
    let context = || Fragile(clones(9), Some(Bomb("context")));
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(context).build();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel::<()>();
    let errors = std::iter::once((begun, wait)).map(|(begun, wait)| {
        begun.send(()).unwrap();
        assert!(wait.recv().is_err());
        Err::<u32, _>(Bomb("error"))
    });
    feeder.add("blocking", Feed::iter(errors).blocking().end_at_first_error());
    assert!(now(&mut results).is_none());
    begins.await.unwrap();
    drop(results);
    drop(go);
    root.close().await;
    assert_eq!((dropped(&heard, "error"), dropped(&heard, "context")), (1, 2), "{:?}", heard.reports());
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_fails_where_its_source_was_never_opened_is_reported_with_its_name() {
    let heard = Heard::default();
    let root = root(&heard);
    let mut generator = AsyncGenerator::fallible(|mut y| async move {
        while y.yield_(0).await.is_ok() {}
        Err("the goodbye failed".into())
    });
    assert!(generator.next().await.is_some());
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(|| None).build();
    feeder.with_context(Some(Fragile(clones(1), None))).add("own", Feed::generator(generator).in_own_task());
    drop(feeder);
    assert_eq!(all(&mut results).await.len(), 3);
    assert_eq!(
        heard.reports(),
        ["root-->queue_manager: own: source failed after its stream had ended: the goodbye failed"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_function_for_context_values_goes_with_the_last_feeder() {
    let root = Ctx::beginning("root");
    let alive = Alive::default();
    let one = alive.one();
    let (feeder, mut results) = queue_manager::<u32>(&root).make_empty_context(move || one.nothing()).build();
    feeder.clone().add_iter("iterator", 0..2);
    assert_eq!(alive.count(), 1);
    drop(feeder);
    assert_eq!(alive.count(), 0);
    assert_eq!(all(&mut results).await.len(), 4);
}

/// Asks in its drop whether somebody who waits for the context would still wait.
struct Asks(Ctx, Arc<Mutex<Vec<bool>>>);

impl Drop for Asks {
    fn drop(&mut self) {
        let waits = self.0.drained().now_or_never().is_none();
        self.1.lock().unwrap().push(waits);
    }
}

#[tokio::test(start_paused = true)]
async fn the_context_waits_for_the_drop_of_the_results() {
    let root = Ctx::beginning("root");
    let waits = Arc::default();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for begun in [true, false] {
        let asks = Asks(root.ctx(), Arc::clone(&waits));
        let held = stream::pending::<u32>().map(move |value| {
            let _asks = &asks;
            value
        });
        assert!(feeder.add_stream("held", held).is_taken());
        if begun {
            assert!(now(&mut results).is_none());
        }
    }
    root.cancel();
    drop(results);
    assert_eq!(*waits.lock().unwrap(), [true, true]);
    root.drained().await;
}
