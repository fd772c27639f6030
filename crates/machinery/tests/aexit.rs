//! A thing that is started and finished asynchronously, through the public face.
#![expect(clippy::disallowed_methods, reason = "the tests spawn as users do")]

mod tramps;
mod wakers;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use machinery::aexit::{AsyncExit, Ended, ensure_aexit};
use machinery::{Ctx, CtxOptions};
use tokio::time::sleep;
use tramps::Kept;
use wakers::Probe;

/// Writes down what happens to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, text: impl Into<String>) {
        self.0.lock().expect("never poisoned").push(text.into());
    }

    fn said(&self) -> Vec<String> {
        self.0.lock().expect("never poisoned").clone()
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Does {
    #[default]
    Well,
    Fails,
    Panics,
    Waits,
}

#[derive(Clone, Default)]
struct Thing {
    log: Log,
    start: Does,
    finish: Does,
}

impl Does {
    async fn act(self, what: &str) -> io::Result<()> {
        match self {
            Self::Well => Ok(()),
            Self::Fails => Err(io::Error::other(format!("{what} fails"))),
            Self::Panics => panic!("{what} panics"),
            Self::Waits => {
                sleep(Duration::from_secs(5)).await;
                Ok(())
            }
        }
    }
}

impl AsyncExit for Thing {
    type Error = io::Error;

    async fn start(&mut self) -> io::Result<()> {
        self.log.say("start");
        self.start.act("start").await
    }

    async fn finish(self, ended: Ended) -> io::Result<()> {
        self.log.say(format!("finish: it {ended}"));
        let result = self.finish.act("finish").await;
        self.log.say("finished");
        result
    }
}

impl Thing {
    fn new(start: Does, finish: Does) -> Self {
        Self { start, finish, ..Self::default() }
    }
}

async fn fine(thing: &mut Thing) -> io::Result<u32> {
    thing.log.say("body");
    Ok(42)
}

#[tokio::test]
async fn on_success_finish_runs_exactly_once_after_the_body() {
    let ctx = Ctx::beginning("root");
    let thing = Thing::default();
    let log = thing.log.clone();
    assert_eq!(ensure_aexit(&ctx, "thing", thing, fine).await.unwrap(), 42);
    assert_eq!(log.said(), ["start", "body", "finish: it ended well", "finished"]);
}

#[tokio::test]
async fn the_body_may_borrow_from_its_surroundings() {
    let ctx = Ctx::beginning("root");
    let mut sum = 0;
    let numbers = [1, 2, 3];
    ensure_aexit(&ctx, "thing", Thing::default(), async |thing| {
        for number in &numbers {
            thing.log.say(number.to_string());
            sum += number;
        }
        Ok::<_, io::Error>(())
    })
    .await
    .unwrap();
    assert_eq!(sum, 6);
}

#[tokio::test]
async fn if_start_fails_finish_runs_with_the_error_and_the_starts_error_is_returned() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::new(Does::Fails, Does::Well);
    let log = thing.log.clone();
    let error = ensure_aexit(&ctx, "thing", thing, fine).await.unwrap_err();
    assert!(error.is::<io::Error>());
    assert_eq!(error.to_string(), "start fails");
    assert_eq!(log.said(), ["start", "finish: it failed to start: start fails", "finished"]);
    assert!(kept.reports().is_empty());
}

#[tokio::test]
async fn if_start_and_finish_fail_the_starts_error_is_returned_and_the_other_reported() {
    let kept = Kept::new();
    let ctx = kept.root();
    let error = ensure_aexit(&ctx, "thing", Thing::new(Does::Fails, Does::Fails), fine).await.unwrap_err();
    assert_eq!(error.to_string(), "start fails");
    assert_eq!(kept.reports(), ["root/thing: finish failed: finish fails"]);
}

#[tokio::test]
async fn if_the_body_fails_finish_runs_with_its_error() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::new(Does::Well, Does::Fails);
    let log = thing.log.clone();
    let error = ensure_aexit(&ctx, "thing", thing, async |_| Err::<(), _>("no route")).await.unwrap_err();
    assert_eq!(error.to_string(), "no route");
    assert_eq!(log.said(), ["start", "finish: it failed: no route", "finished"]);
    assert_eq!(kept.reports(), ["root/thing: finish failed: finish fails"]);
}

#[tokio::test]
async fn if_only_finish_fails_its_error_is_returned() {
    let kept = Kept::new();
    let ctx = kept.root();
    let error = ensure_aexit(&ctx, "thing", Thing::new(Does::Well, Does::Fails), fine).await.unwrap_err();
    assert_eq!(error.to_string(), "finish fails");
    assert!(kept.reports().is_empty());
}

#[tokio::test]
async fn a_panic_of_the_start_or_of_the_body_goes_on_once_finish_is_over() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::new(Does::Panics, Does::Well);
    let log = thing.log.clone();
    let run = std::panic::AssertUnwindSafe(ensure_aexit(&ctx, "thing", thing, fine));
    let panic = run.catch_unwind().await.unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), "start panics");
    assert_eq!(log.said(), ["start", "finish: it failed to start: panicked: start panics", "finished"]);

    let thing = Thing::new(Does::Well, Does::Panics);
    let run = ensure_aexit(&ctx, "thing", thing, async |_| {
        if ctx.is_done() {
            return Err::<(), &str>("done");
        }
        panic!("body panics")
    });
    let panic = std::panic::AssertUnwindSafe(run).catch_unwind().await.unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "body panics");
    assert_eq!(kept.reports(), ["root/thing: finish failed: panicked: finish panics"]);
}

#[tokio::test]
async fn a_panic_of_finish_reaches_the_caller_where_nothing_came_before_it() {
    let ctx = Ctx::beginning("root");
    let run = ensure_aexit(&ctx, "thing", Thing::new(Does::Well, Does::Panics), fine);
    let panic = std::panic::AssertUnwindSafe(run).catch_unwind().await.unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), "finish panics");
}

#[tokio::test(start_paused = true)]
async fn dropped_in_the_start_finish_runs_as_a_task_that_the_context_waits_for() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::new(Does::Waits, Does::Waits);
    let log = thing.log.clone();
    let run = ensure_aexit(&ctx, "thing", thing, fine);
    assert!(tokio::time::timeout(Duration::from_secs(1), run).await.is_err());
    assert_eq!(log.said(), ["start"]);

    let begun = tokio::time::Instant::now();
    ctx.close().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!(log.said(), ["start", "finish: it was dropped half-way", "finished"]);
    assert!(kept.reports().is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropped_in_the_body_finish_runs_as_a_task() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::new(Does::Well, Does::Fails);
    let log = thing.log.clone();
    let run = ensure_aexit(&ctx, "thing", thing, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, io::Error>(())
    });
    assert!(tokio::time::timeout(Duration::from_secs(1), run).await.is_err());
    ctx.close().await;
    assert_eq!(log.said(), ["start", "finish: it was dropped half-way", "finished"]);
    assert_eq!(kept.reports(), ["root/thing: finish failed: finish fails"]);
}

#[tokio::test(start_paused = true)]
async fn dropped_in_finish_it_goes_on_where_it_was_and_does_not_begin_again() {
    let ctx = Ctx::beginning("root");
    let thing = Thing::new(Does::Well, Does::Waits);
    let log = thing.log.clone();
    let begun = tokio::time::Instant::now();
    let run = ensure_aexit(&ctx, "thing", thing, fine);
    assert!(tokio::time::timeout(Duration::from_secs(2), run).await.is_err());
    assert_eq!(log.said(), ["start", "body", "finish: it ended well"]);
    ctx.close().await;
    assert_eq!(log.said(), ["start", "body", "finish: it ended well", "finished"]);
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn scenario_16_dropped_at_any_await_finish_runs_to_its_end_exactly_once() {
    for polls in 1..12 {
        let kept = Kept::new();
        let ctx = kept.root();
        let thing = Thing::default();
        let log = thing.log.clone();
        let mut run = Box::pin(ensure_aexit(&ctx, "thing", Slow(thing), async |slow| {
            yields(3).await;
            slow.0.log.say("body");
            Ok::<_, io::Error>(())
        }));
        let probe = Probe::new();
        let mut over = false;
        for _ in 0..polls {
            if !over {
                over = probe.poll(&mut run).is_ready();
            }
        }
        drop(run);
        ctx.close().await;
        let said = log.said();
        let finishes = |what: &str| said.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!(finishes("finish: "), 1, "after {polls} polls: {said:?}");
        assert_eq!(finishes("finished"), 1, "after {polls} polls: {said:?}");
        assert!(kept.reports().is_empty());
    }
}

/// Pending so many times.
async fn yields(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

struct Slow(Thing);

impl AsyncExit for Slow {
    type Error = io::Error;

    async fn start(&mut self) -> io::Result<()> {
        yields(3).await;
        self.0.start().await
    }

    async fn finish(self, ended: Ended) -> io::Result<()> {
        yields(3).await;
        self.0.finish(ended).await
    }
}

#[tokio::test]
async fn never_polled_it_starts_and_finishes_nothing() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::default();
    let log = thing.log.clone();
    drop(ensure_aexit(&ctx, "thing", thing, fine));
    ctx.close().await;
    assert!(log.said().is_empty() && kept.reports().is_empty());
}

#[test]
fn dropped_half_way_where_there_is_no_runtime_it_is_reported() {
    let kept = Kept::new();
    let ctx = kept.root();
    let thing = Thing::default();
    let log = thing.log.clone();
    let mut run = Box::pin(ensure_aexit(&ctx, "thing", thing, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, io::Error>(())
    }));
    assert!(Probe::new().poll(&mut run).is_pending());
    drop(run);
    assert_eq!(log.said(), ["start"]);
    let reports = kept.reports();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].starts_with("root/thing: dropped half-way, and finish did not run to its end: "), "{reports:?}");
    assert!(reports[0].contains("runtime"), "{reports:?}");
}

#[test]
fn scenario_31_dropped_with_its_runtime_it_is_reported_and_nothing_hangs() {
    let kept = Kept::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ctx = runtime.block_on(async { kept.root() });
    let running = ctx.clone();
    runtime.spawn(async move {
        ensure_aexit(&running, "thing", Thing::default(), async |_| {
            std::future::pending::<()>().await;
            Ok::<_, io::Error>(())
        })
        .await
    });
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    assert_eq!(kept.reports(), ["root/thing: dropped half-way, and finish did not run to its end"]);
}

#[test]
fn it_runs_on_the_runtime_of_the_context_wherever_it_is_dropped() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ctx = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    let thing = Thing::default();
    let log = thing.log.clone();
    let mut run = Box::pin(ensure_aexit(&ctx, "thing", thing, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, io::Error>(())
    }));
    assert!(Probe::new().poll(&mut run).is_pending());
    drop(run);
    runtime.block_on(ctx.close());
    assert_eq!(log.said(), ["start", "finish: it was dropped half-way", "finished"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_spawned_on_many_threads() {
    let root = Ctx::beginning("root");
    let ctx = root.clone();
    let task = tokio::spawn(async move {
        let add = 2;
        ensure_aexit(&ctx, "thing", Thing::default(), async |thing| {
            tokio::task::yield_now().await;
            Ok::<_, io::Error>(fine(thing).await? + add)
        })
        .await
        .unwrap()
    });
    assert_eq!(task.await.unwrap(), 44);
}

#[tokio::test]
async fn a_panic_of_the_very_call_goes_on_once_finish_is_over() {
    struct Eager(Log);

    impl AsyncExit for Eager {
        type Error = io::Error;

        fn start(&mut self) -> impl Future<Output = io::Result<()>> {
            assert!(self.0.said().is_empty(), "start panics");
            std::future::ready(Ok(()))
        }

        async fn finish(self, ended: Ended) -> io::Result<()> {
            tokio::task::yield_now().await;
            self.0.say(format!("finish: it {ended}"));
            Ok(())
        }
    }

    let ctx = Ctx::beginning("root");
    let log = Log::default();
    fn body(_: &mut Eager) -> std::future::Ready<io::Result<()>> {
        panic!("body panics")
    }
    let run = std::panic::AssertUnwindSafe(ensure_aexit(&ctx, "thing", Eager(log.clone()), body));
    assert!(run.catch_unwind().await.is_err());
    assert_eq!(log.said(), ["finish: it failed: panicked: body panics"]);

    let run = std::panic::AssertUnwindSafe(ensure_aexit(&ctx, "thing", Eager(log.clone()), body));
    assert!(run.catch_unwind().await.is_err());
    assert_eq!(log.said()[1..], ["finish: it failed to start: panicked: start panics"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_was_to_be_returned_after_finish_is_reported_where_that_is_dropped() {
    let kept = Kept::new();
    let ctx = kept.root();
    let soon = Duration::from_secs(1);
    let run = ensure_aexit(&ctx, "thing", Thing::new(Does::Fails, Does::Waits), fine);
    assert!(tokio::time::timeout(soon, run).await.is_err());
    assert_eq!(kept.reports(), ["root/thing: dropped half-way, with an error that nobody read: start fails"]);

    let run = ensure_aexit(&ctx, "thing", Thing::new(Does::Well, Does::Waits), async |_| Err::<(), _>("no route"));
    assert!(tokio::time::timeout(soon, run).await.is_err());
    assert!(kept.reports()[1].ends_with(": no route"));

    let thing = Thing::new(Does::Panics, Does::Waits);
    let log = thing.log.clone();
    assert!(tokio::time::timeout(soon, ensure_aexit(&ctx, "thing", thing, fine)).await.is_err());
    assert!(kept.reports()[2].ends_with(": panicked: start panics"));
    ctx.close().await;
    assert_eq!(log.said().last().unwrap(), "finished");
    assert_eq!(kept.reports().len(), 3);
}

/// What a panic leaves behind, and whose drop panics again.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the drop of what a panic left behind");
    }
}

#[tokio::test]
async fn a_panic_whose_payload_panics_in_its_drop_keeps_no_other_error_from_the_caller() {
    struct Bombed;

    impl AsyncExit for Bombed {
        type Error = io::Error;

        async fn start(&mut self) -> io::Result<()> {
            Err(io::Error::other("start fails"))
        }

        async fn finish(self, _: Ended) -> io::Result<()> {
            std::panic::panic_any(Bomb)
        }
    }

    let kept = Kept::new();
    let ctx = kept.root();
    let error = ensure_aexit(&ctx, "thing", Bombed, async |_| Ok::<_, io::Error>(())).await.unwrap_err();
    assert_eq!(error.to_string(), "start fails");
    assert_eq!(kept.reports(), ["root/thing: finish failed: panicked: with something that is not text"]);
}
