//! Work with a time limit, on the paused clock.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock and spawns as a user does")]

mod reports;

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use machinery::{Ctx, CtxOptions, Event, TaskHolder, async_with_timeout, async_with_timeout_with};
use reports::Reports;
use tokio::time::{Instant, advance, sleep};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Blocks the thread for so long: the clock goes on, and nobody else runs.
fn blocks(time: Duration) {
    // It moves the clock in its first poll.
    let _ = pin!(advance(time)).poll(&mut Context::from_waker(Waker::noop()));
}

#[tokio::test(start_paused = true)]
async fn the_result_of_the_work_is_returned() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let text = "borrowed".to_owned();
    let length = async_with_timeout(&root, "measure", async {
        sleep(seconds(9)).await;
        text.len()
    })
    .timeout_event(&late)
    .await;
    assert_eq!(length.unwrap(), 8);
    advance(seconds(5)).await;
    assert!(!late.is_set());
    root.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_work_is_returned_and_told_apart() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let error = async_with_timeout(&root, "parse", async { "x".parse::<u32>() })
        .timeout_error("too slow")
        .timeout_event(&late)
        .await
        .unwrap_err();
    assert!(!error.is_timeout() && error.completion().is_none() && !late.is_set());
    assert_eq!(error.kind(), Some("ParseIntError"));
    assert_eq!(error.to_string(), "`parse` of `root` failed: invalid digit found in string");
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_given_it_is_ten_seconds() {
    let root = Ctx::beginning("root");
    let started = Instant::now();
    let error = async_with_timeout(&root, "slow", pending::<()>()).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(started.elapsed(), seconds(10));
    assert_eq!(error.to_string(), "`slow` of `root` was not done within 10s");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_gives_the_supplied_error_and_sets_the_event() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let error = async_with_timeout(&root, "slow", pending::<()>())
        .timeout(seconds(3))
        .timeout_error(std::io::Error::other("the host did not answer"))
        .timeout_event(&late)
        .await
        .unwrap_err();
    assert!(error.is_timeout() && late.is_set());
    assert!(error.error().unwrap().is::<std::io::Error>());
    assert_eq!(error.to_string(), "the host did not answer");
}

#[tokio::test(start_paused = true)]
async fn when_the_context_completes_first_its_completion_is_the_error() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let stop = root.canceller();
    tokio::spawn(async move {
        sleep(seconds(2)).await;
        stop.cancel_because("SIGTERM");
    });
    let started = Instant::now();
    let error = async_with_timeout(&root, "slow", pending::<()>())
        .timeout(seconds(3))
        .timeout_error("too slow")
        .timeout_event(&late)
        .await
        .unwrap_err();
    assert_eq!(error.completion().unwrap().reason(), Some("SIGTERM"));
    assert!(!error.is_timeout() && error.error().is_none());
    assert_eq!(started.elapsed(), seconds(2));
    advance(seconds(5)).await;
    assert!(!late.is_set());
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_of_the_context_is_its_completion_and_no_timeout() {
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(seconds(2))).unwrap();
    let error = async_with_timeout(&root, "slow", pending::<()>()).timeout(seconds(3)).await.unwrap_err();
    assert!(!error.is_timeout());
    assert!(error.completion().is_some());
}

#[tokio::test(start_paused = true)]
async fn it_returns_only_once_the_work_has_cleaned_up() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let (started, seen) = (Instant::now(), late.clone());
    let error = async_with_timeout_with(&root, "call", async move |ctx: Ctx| {
        ctx.done().await;
        assert_eq!(started.elapsed(), seconds(3));
        tokio::task::yield_now().await;
        assert!(seen.is_set(), "the event comes ahead of the clean-up");
        sleep(seconds(100)).await;
        7
    })
    .timeout(seconds(3))
    .timeout_event(&late)
    .await
    .unwrap_err();
    assert!(error.is_timeout(), "work that ends well after its timeout is still a timeout");
    assert_eq!(started.elapsed(), seconds(103));
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_in_the_instant_it_is_told_is_still_a_timeout() {
    let root = Ctx::beginning("root");
    let work = async_with_timeout_with(&root, "call", |ctx| async move {
        ctx.done().await;
    });
    assert!(work.timeout(seconds(3)).await.unwrap_err().is_timeout());
}

#[tokio::test(start_paused = true)]
async fn a_future_that_ends_in_the_instant_of_its_timeout_is_in_time() {
    let root = Ctx::beginning("root");
    let work = async_with_timeout(&root, "nap", async {
        sleep(seconds(3)).await;
        7
    });
    assert_eq!(work.timeout(seconds(3)).await.unwrap(), 7);

    // Also where the limit is noticed before the work is.
    let ctx = root.ctx();
    let nap = tokio::spawn(async move {
        let until = Instant::now() + seconds(3);
        let work = async_with_timeout(&ctx, "nap", async move {
            tokio::task::yield_now().await;
            tokio::time::sleep_until(until).await;
            7
        });
        work.timeout(seconds(3)).await
    });
    assert_eq!(nap.await.unwrap().unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_found_done_after_its_timeout_is_a_timeout() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let work = async_with_timeout(&root, "nap", async {
        tokio::task::yield_now().await;
        // As if it had blocked the thread.
        advance(seconds(20)).await;
        7
    });
    assert!(work.timeout(seconds(3)).timeout_event(&late).await.unwrap_err().is_timeout());
    assert!(late.is_set());
}

#[tokio::test(start_paused = true)]
async fn work_that_blocks_past_its_timeout_in_its_first_poll_is_a_timeout() {
    let root = Ctx::beginning("root");
    let late = Event::new();
    let work = async_with_timeout(&root, "blocks", async {
        blocks(seconds(3));
        7
    });
    assert_eq!(work.timeout(seconds(3)).timeout_event(&late).await.unwrap(), 7, "just in time");
    assert!(!late.is_set());

    let work = async_with_timeout(&root, "blocks", async {
        blocks(seconds(4));
        7
    });
    assert!(work.timeout(seconds(3)).timeout_event(&late).await.unwrap_err().is_timeout());
    assert!(late.is_set());
    late.clear();

    let work = async_with_timeout_with(&root, "blocks", |_| async {
        blocks(seconds(4));
        7
    });
    assert!(work.timeout(seconds(3)).timeout_event(&late).await.unwrap_err().is_timeout());
    assert!(late.is_set());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_first_poll_that_blocks_past_the_timeout_is_reported() {
    let reports = Reports::default();
    let root = reports.root();
    let work = async_with_timeout(&root, "blocks", async {
        blocks(seconds(4));
        Err::<(), _>("no route")
    });
    assert!(work.timeout(seconds(3)).await.unwrap_err().is_timeout());
    assert_eq!(reports.all(), ["root blocks: work failed after its time was over: no route"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_timeout_is_reported() {
    let reports = Reports::default();
    let root = reports.root();
    let error = async_with_timeout_with(&root, "call", |ctx| async move {
        ctx.done().await;
        Err::<(), _>("could not hang up")
    })
    .timeout(seconds(3))
    .await
    .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(reports.all(), ["root call: work failed after its time was over: could not hang up"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_only_says_that_the_time_was_over_is_not_reported() {
    let reports = Reports::default();
    let root = reports.root();
    let asked = async_with_timeout_with(&root, "call", |ctx| async move { ctx.run(pending::<()>()).await });
    assert!(asked.timeout(seconds(3)).await.unwrap_err().is_timeout());
    let scoped = async_with_timeout_with(&root, "calls", |ctx| async move {
        let calls = TaskHolder::builder(&ctx).fail_fast();
        calls.scope(async |tasks| drop(tasks.add("call", pending::<()>()))).await
    });
    assert!(scoped.timeout(seconds(3)).await.unwrap_err().is_timeout());

    let above = root.child("above");
    let canceller = above.canceller();
    let asked = async_with_timeout_with(&above, "call", |ctx| async move { ctx.run(pending::<()>()).await });
    let (ended, _) = tokio::join!(asked, async move { canceller.set_exception("disk full") });
    assert!(ended.unwrap_err().completion().is_some());
    assert_eq!(reports.take(), Vec::<String>::new());

    // Another deadline than its own is an error of its own.
    let other = root.child_with("other", CtxOptions::new().timeout(seconds(1))).unwrap();
    let asked = async_with_timeout_with(&root, "call", |ctx| async move {
        ctx.done().await;
        other.run(pending::<()>()).await
    });
    assert!(asked.timeout(seconds(3)).await.unwrap_err().is_timeout());
    assert_eq!(reports.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_goes_on_in_time_and_is_reported_after_the_timeout() {
    let reports = Reports::default();
    let root = reports.root();
    let work = async_with_timeout_with(&root, "call", |ctx| async move {
        ctx.done().await;
        if ctx.is_done() {
            panic!("a mistake");
        }
    });
    assert!(work.timeout(seconds(3)).await.unwrap_err().is_timeout());
    assert_eq!(reports.take(), ["root call: work failed after its time was over: panicked: a mistake"]);

    let ctx = root.ctx();
    let panicking = tokio::spawn(async move {
        async_with_timeout(&ctx, "call", async {
            if true {
                panic!("at once");
            }
        })
        .await
    });
    let panic = panicking.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"at once"));
    assert_eq!(reports.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_grace_bounds_the_clean_up() {
    let reports = Reports::default();
    let root = reports.root();
    let started = Instant::now();
    let error = async_with_timeout_with(&root, "deaf", |_| pending::<()>())
        .timeout(seconds(3))
        .grace(seconds(2))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(started.elapsed(), seconds(5));
    assert_eq!(reports.all(), ["root deaf: work has not ended within its grace of 2s: it is dropped"]);
}

#[tokio::test(start_paused = true)]
async fn where_the_context_completes_first_the_clean_up_is_bounded_and_its_error_reported_as_well() {
    for deaf in [false, true] {
        let reports = Reports::default();
        let root = reports.root();
        let stop = root.canceller();
        tokio::spawn(async move {
            sleep(seconds(1)).await;
            stop.cancel_because("SIGTERM");
        });
        let started = Instant::now();
        let work = async_with_timeout_with(&root, "call", |ctx| async move {
            ctx.done().await;
            sleep(seconds(if deaf { 60 } else { 4 })).await;
            Err::<(), _>("could not hang up")
        });
        let error = work.timeout(seconds(30)).timeout_error("too slow").grace(seconds(5)).await.unwrap_err();
        assert_eq!(error.completion().unwrap().reason(), Some("SIGTERM"));
        assert!(!error.is_timeout() && error.error().is_none());
        assert_eq!(started.elapsed(), seconds(if deaf { 6 } else { 5 }));
        let told = if deaf {
            "root call: work has not ended within its grace of 5s: it is dropped"
        } else {
            "root call: work failed after its time was over: could not hang up"
        };
        assert_eq!(reports.all(), [told]);
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_zero_and_without_end_are_kept() {
    let root = Ctx::beginning("root");
    let ready = async_with_timeout(&root, "ready", async { 7 }).timeout(Duration::ZERO).await;
    assert_eq!(ready.unwrap(), 7);
    let blocks = async_with_timeout(&root, "blocks", async { blocks(seconds(1)) }).timeout(Duration::ZERO).await;
    blocks.expect("zero lets it do what it can do at its first poll");
    let started = Instant::now();
    let slow = async_with_timeout(&root, "slow", pending::<()>()).timeout(Duration::ZERO).await;
    assert!(slow.unwrap_err().is_timeout());
    assert!(started.elapsed() <= Duration::from_millis(1));
    let years = async_with_timeout(&root, "years", sleep(seconds(100_000_000))).timeout(Duration::MAX).await;
    years.unwrap();
}

#[tokio::test]
async fn work_below_a_context_that_is_done_is_not_begun() {
    let root = Ctx::beginning("root");
    root.cancel_because("too late");
    let error = async_with_timeout(&root, "late", async { panic!("it was begun") }).await.map(drop).unwrap_err();
    assert_eq!(error.completion().unwrap().reason(), Some("too late"));
    let told = async_with_timeout_with(&root, "late", |_| -> std::future::Ready<()> { panic!("it was begun") });
    assert_eq!(told.await.unwrap_err().completion().unwrap().reason(), Some("too late"));
}

#[test]
fn without_a_runtime_the_error_says_so() {
    let root = Ctx::beginning("outside");
    let mut work = pin!(async_with_timeout(&root, "work", pending::<()>()));
    let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits for what never comes");
    };
    assert!(result.unwrap_err().is_no_runtime());
}

/// Reliability 16, for work with a time limit.
#[tokio::test(start_paused = true)]
async fn scenario_16_dropped_at_any_await_it_drops_the_work_and_leaves_nothing_registered() {
    let reports = Reports::default();
    let root = reports.root();
    for polls in 0..4_u64 {
        let dropped = Arc::new(AtomicBool::new(false));
        {
            let held = Flag(Arc::clone(&dropped));
            let mut work = pin!(async_with_timeout(&root, "work", async move {
                let _held = held;
                loop {
                    tokio::task::yield_now().await;
                }
            }));
            for _ in 0..polls {
                assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                advance(seconds(1)).await;
            }
        }
        assert!(dropped.load(Ordering::SeqCst));
    }
    assert_eq!(reports.all(), [""; 0]);
    {
        let mut told = pin!(async_with_timeout_with(&root, "told", |_| pending::<()>()));
        assert!(told.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(reports.all(), ["root told: work was dropped before it had ended and cleaned up"]);
    root.close().await;
}

struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_clean_up() {
    let root = Ctx::beginning("root");
    let ctx = root.ctx();
    let work = tokio::spawn(async move {
        async_with_timeout_with(&ctx, "call", |ctx| async move {
            ctx.done().await;
            sleep(seconds(5)).await;
        })
        .await
    });
    tokio::task::yield_now().await;
    let started = Instant::now();
    root.close().await;
    assert_eq!(started.elapsed(), seconds(5));
    assert!(work.await.unwrap().unwrap_err().completion().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_completion_after_the_timeout_is_still_a_timeout_where_both_are_found_at_once() {
    for told in [false, true] {
        let root = Ctx::beginning("root");
        let late = Event::new();
        let plain = async_with_timeout(&root, "plain", pending::<()>()).timeout(seconds(3)).timeout_event(&late);
        let with = async_with_timeout_with(&root, "told", async |ctx| drop(ctx.done().await));
        let with = with.timeout(seconds(3)).timeout_event(&late);
        let mut work: Pin<Box<dyn Future<Output = _>>> = if told { Box::pin(with) } else { Box::pin(plain) };
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        blocks(seconds(4));
        root.cancel();
        assert!(work.await.unwrap_err().is_timeout());
        assert!(late.is_set());
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_of_the_context_that_is_found_late_is_its_completion() {
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(seconds(2))).unwrap();
    let mut work = pin!(async_with_timeout(&root, "slow", pending::<()>()).timeout(seconds(3)));
    assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    blocks(seconds(4));
    root.done().await;
    let error = work.await.unwrap_err();
    assert!(!error.is_timeout() && error.completion().is_some(), "{error}");
}
