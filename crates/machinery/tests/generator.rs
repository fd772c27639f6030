//! Asynchronous generators.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock and spawns as a user does")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{FusedStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use machinery::generator::{AsyncGenerator, GeneratorBuilder, GeneratorError, Yielder, stop_async_generator};
use machinery::{Ctx, CtxOptions, Report, SharedError, Tramp};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kind(error: &SharedError) -> &GeneratorError {
    error.downcast_ref().unwrap_or_else(|| panic!("another error: {error}"))
}

/// Keeps what is reported.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Tramp for Kept {
    fn log_exception(&self, report: &Report<'_>) {
        self.0.lock().unwrap().push(format!("{}: {report}", report.ctx().full_name()));
    }
}

impl Kept {
    fn root(&self) -> machinery::CtxGuard {
        Ctx::beginning_with("root", CtxOptions::new().tramp(self.clone())).unwrap()
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn count_to(n: u32) -> AsyncGenerator<u32> {
    AsyncGenerator::new(move |mut y| async move {
        for i in 1..=n {
            y.yield_(i).await?;
        }
        Ok(())
    })
}

#[tokio::test]
async fn a_generator_is_a_stream_that_ends_once_and_stays_ended() {
    let mut numbers = count_to(3);
    assert!(!numbers.is_terminated());
    assert_eq!(numbers.by_ref().collect::<Vec<_>>().await, [1, 2, 3]);
    assert!(numbers.is_terminated());
    assert!(numbers.is_finished());
    assert_eq!(StreamExt::next(&mut numbers).await, None);
}

#[tokio::test]
async fn the_body_runs_only_as_far_as_it_is_asked() {
    let log = Log::default();
    let seen = log.clone();
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        seen.say("begun");
        y.yield_(1).await?;
        seen.say("asked again");
        y.yield_(2).await?;
        Ok(())
    });
    assert!(log.all().is_empty());
    assert_eq!(numbers.next().await, Some(1));
    assert_eq!(log.all(), ["begun"]);
    assert_eq!(numbers.next().await, Some(2));
    assert_eq!(log.all(), ["begun", "asked again"]);
}

#[tokio::test]
async fn the_error_that_a_fallible_body_ends_with_is_its_last_item() {
    let mut numbers = AsyncGenerator::fallible(|mut y| async move {
        y.yield_(1).await?;
        Err(std::io::Error::other("disk full"))?;
        Ok(())
    });
    assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
    let error = numbers.next().await.unwrap().unwrap_err();
    assert!(error.is::<std::io::Error>());
    assert!(numbers.next().await.is_none());
}

#[tokio::test]
async fn what_is_sent_is_what_the_yield_gives() {
    let log = Log::default();
    let seen = log.clone();
    let mut echo = GeneratorBuilder::new().receiving().plain(|mut y: Yielder<usize, String>| async move {
        let mut length = 0;
        while let Some(text) = y.yield_(length).await? {
            length = text.len();
            seen.say(text);
        }
        Ok(())
    });
    let early = echo.send("early".to_owned()).await.unwrap_err();
    assert!(!early.is_finished());
    assert_eq!(early.into_value(), "early");
    assert_eq!(echo.next().await, Some(0));
    assert_eq!(echo.send("one".to_owned()).await.unwrap(), Some(3));
    assert_eq!(echo.send("seven".to_owned()).await.unwrap(), Some(5));
    assert_eq!(echo.next().await, None);
    assert_eq!(log.all(), ["one", "seven"]);
    let late = echo.send("late".to_owned()).await.unwrap_err();
    assert!(late.is_finished());
    assert_eq!(late.into_value(), "late");
}

#[tokio::test]
async fn a_thrown_error_comes_up_at_the_yield_and_is_the_same_error() {
    let error: SharedError = Arc::new(std::io::Error::other("no more paper"));
    let mut numbers = count_to(3);
    numbers.next().await;
    let back = numbers.throw(error.clone()).await.unwrap_err();
    assert!(Arc::ptr_eq(&back, &error));
    assert!(numbers.is_finished());

    let mut numbers = AsyncGenerator::fallible(|mut y| async move {
        y.yield_(1).await?;
        Ok(())
    });
    let _ = numbers.next().await;
    let back = numbers.throw(error.clone()).await.unwrap_err();
    assert!(Arc::ptr_eq(&back, &error), "also out of the box that `?` put it in");
}

#[tokio::test]
async fn a_body_that_catches_what_is_thrown_goes_on() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        let mut n = 0;
        loop {
            n += 1;
            if let Err(thrown) = y.yield_(n).await {
                if thrown.is_closed() {
                    return Err(thrown);
                }
                n += 100;
            }
        }
    });
    assert_eq!(numbers.next().await, Some(1));
    assert_eq!(numbers.throw("a hundred").await.unwrap(), Some(102));
    assert_eq!(numbers.next().await, Some(103));
    numbers.close().await.unwrap();
    assert_eq!(numbers.next().await, None);
}

#[tokio::test]
async fn a_throw_into_one_that_has_not_begun_or_has_ended_comes_back() {
    let log = Log::default();
    let seen = log.clone();
    let mut fresh = AsyncGenerator::<u32>::new(|_| async move {
        seen.say("begun");
        Ok(())
    });
    assert_eq!(fresh.throw("early").await.unwrap_err().to_string(), "early");
    assert!(fresh.is_finished());
    assert_eq!(fresh.throw("late").await.unwrap_err().to_string(), "late");
    assert!(log.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn close_awaits_the_clean_up() {
    let log = Log::default();
    let seen = log.clone();
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        let thrown = y.yield_(1).await.unwrap_err();
        assert!(thrown.is_closed());
        sleep(s(3)).await;
        seen.say("clean");
        Err(thrown)
    });
    numbers.next().await;
    let start = Instant::now();
    numbers.close().await.unwrap();
    assert_eq!(start.elapsed(), s(3));
    assert_eq!(log.all(), ["clean"]);
    numbers.close().await.unwrap();
}

#[tokio::test]
async fn an_error_of_the_clean_up_reaches_the_one_who_closes() {
    let mut numbers = AsyncGenerator::fallible(|mut y| async move {
        if y.yield_(1).await.is_err() {
            Err("the door is stuck")?;
        }
        Ok(())
    });
    let _ = numbers.next().await;
    assert_eq!(numbers.close().await.unwrap_err().to_string(), "the door is stuck");
}

#[tokio::test]
async fn a_body_that_yields_again_after_it_was_closed_is_dropped_and_that_is_said() {
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        let _held = held;
        loop {
            let _ = y.yield_(1).await;
        }
    });
    numbers.next().await;
    assert!(kind(&numbers.close().await.unwrap_err()).is_went_on());
    assert_eq!(Arc::strong_count(&dropped), 1);
    assert_eq!(numbers.next().await, None);
}

#[tokio::test]
async fn stop_on_one_that_is_finished_is_fine() {
    let mut numbers = count_to(0);
    assert_eq!(numbers.next().await, None);
    stop_async_generator(&mut numbers, None, None).await.unwrap();
}

#[tokio::test]
async fn stop_throws_the_exception_and_the_error_it_ends_with_reaches_the_caller() {
    let why: SharedError = Arc::new(std::io::Error::other("enough"));
    let mut numbers = count_to(3);
    numbers.next().await;
    let back = stop_async_generator(&mut numbers, None, Some(why.clone())).await.unwrap_err();
    assert!(Arc::ptr_eq(&back, &why));

    let mut numbers = count_to(3);
    numbers.next().await;
    let back = stop_async_generator(&mut numbers, None, None).await.unwrap_err();
    assert!(kind(&back).is_cancellation());

    let mut numbers = AsyncGenerator::fallible(|mut y| async move {
        let _ = y.yield_(1).await;
        Err("the clean-up failed".into())
    });
    let _ = numbers.next().await;
    let back = stop_async_generator(&mut numbers, None, Some(why)).await.unwrap_err();
    assert_eq!(back.to_string(), "the clean-up failed");
}

#[tokio::test]
async fn stop_sends_what_it_is_to_provide_and_then_closes_whatever_happened() {
    let log = Log::default();
    let seen = log.clone();
    let mut stubborn = GeneratorBuilder::new().receiving().plain(|mut y: Yielder<u32, &str>| async move {
        for n in 0.. {
            match y.yield_(n).await {
                Ok(sent) => seen.say(format!("sent {sent:?}")),
                Err(thrown) => {
                    seen.say(format!("thrown {thrown}"));
                    if thrown.is_closed() {
                        return Err(thrown);
                    }
                }
            }
        }
        Ok(())
    });
    stubborn.next().await;
    let why: SharedError = Arc::new(std::io::Error::other("enough"));
    stop_async_generator(&mut stubborn, Some("a last word"), Some(why)).await.unwrap();
    assert_eq!(log.all(), ["thrown enough", "sent Some(\"a last word\")", "thrown the generator is closed"]);
    assert!(stubborn.is_finished());
}

#[tokio::test]
async fn stop_without_something_to_provide_asks_for_the_next_item() {
    let mut caught = AsyncGenerator::new(|mut y| async move {
        assert!(y.yield_(1).await.is_err());
        assert_eq!(y.yield_(2).await.unwrap(), None);
        Ok(())
    });
    caught.next().await;
    stop_async_generator(&mut caught, None, None).await.unwrap();
    assert!(caught.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_inside_an_await_of_its_own_is_told_through_its_context() {
    let log = Log::default();
    let seen = log.clone();
    let root = Ctx::beginning("root");
    let mut readings = AsyncGenerator::<u32>::on(&root, "readings", |ctx, _y| async move {
        let why = ctx.done().await;
        sleep(s(2)).await;
        seen.say(why.to_string());
        Ok(())
    });
    assert!(readings.next().now_or_never().is_none());
    let start = Instant::now();
    let error = stop_async_generator(&mut readings, None, None).await.unwrap_err();
    assert!(kind(&error).is_cancellation(), "it never came up, and so comes back");
    assert_eq!(start.elapsed(), s(2));
    assert_eq!(log.all().len(), 1);
    assert!(!root.is_done());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_listen_is_dropped_when_its_grace_ends() {
    let root = Ctx::beginning("root");
    let dropped = Arc::new(());
    for grace in [Some(s(3)), None] {
        let held = Arc::clone(&dropped);
        let builder = GeneratorBuilder::new().on(&root, "deaf");
        let builder = match grace {
            Some(grace) => builder.grace(grace),
            None => builder,
        };
        let mut deaf = builder.plain(|_, mut y: Yielder<u32>| async move {
            let _held = held;
            sleep(s(1_000_000)).await;
            y.yield_(1).await?;
            Ok(())
        });
        assert!(deaf.next().now_or_never().is_none());
        let start = Instant::now();
        let error = stop_async_generator(&mut deaf, None, None).await.unwrap_err();
        assert!(kind(&error).is_grace_over());
        assert_eq!(start.elapsed(), grace.unwrap_or(s(10)));
        assert_eq!(Arc::strong_count(&dropped), 1);
        assert!(deaf.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn the_grace_bounds_the_clean_up_at_a_yield_too() {
    let root = Ctx::beginning("root");
    let mut slow = GeneratorBuilder::new().on(&root, "slow").grace(s(5)).plain(|_, mut y| async move {
        let _ = y.yield_(1).await;
        sleep(s(60)).await;
        Ok(())
    });
    slow.next().await;
    let start = Instant::now();
    assert!(kind(&slow.close().await.unwrap_err()).is_grace_over());
    assert_eq!(start.elapsed(), s(5));
}

#[tokio::test]
async fn one_without_a_context_that_is_inside_an_await_of_its_own_is_dropped() {
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    let mut waiting = AsyncGenerator::<u32>::new(|_| async move {
        let _held = held;
        std::future::pending().await
    });
    assert!(waiting.next().now_or_never().is_none());
    stop_async_generator(&mut waiting, None, None).await.unwrap();
    assert_eq!(Arc::strong_count(&dropped), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_thrown_while_it_is_inside_an_await_comes_up_at_its_next_yield() {
    let mut slow = AsyncGenerator::new(|mut y| async move {
        sleep(s(5)).await;
        if let Err(thrown) = y.yield_(1).await {
            assert_eq!(thrown.to_string(), "hurry");
        }
        y.yield_(2).await?;
        Ok(())
    });
    assert!(slow.next().now_or_never().is_none());
    assert_eq!(slow.throw("hurry").await.unwrap(), Some(2));
    assert_eq!(slow.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_completion_of_its_context_is_thrown_in_and_ends_the_stream() {
    let log = Log::default();
    let seen = log.clone();
    let root = Ctx::beginning("root");
    let mut numbers = AsyncGenerator::on(&root, "numbers", |_, mut y| async move {
        for n in 0.. {
            if let Err(thrown) = y.yield_(n).await {
                sleep(s(1)).await;
                seen.say(thrown.to_string());
                return Err(thrown);
            }
        }
        Ok(())
    });
    assert_eq!(numbers.ctx().unwrap().full_name(), "root-->numbers");
    numbers.next().await;
    root.cancel_because("SIGTERM");
    assert_eq!(numbers.next().await, None);
    assert!(log.all()[0].contains("SIGTERM"), "{:?}", log.all());
    root.drained().await;
}

#[tokio::test(start_paused = true)]
async fn the_completion_of_its_context_reaches_one_inside_an_await_of_its_own() {
    let kept = Kept::default();
    let root = kept.root();
    let mut deaf = AsyncGenerator::<u32>::on(&root, "deaf", |_, _y| std::future::pending());
    let start = Instant::now();
    tokio::spawn(async move {
        sleep(s(2)).await;
        root.cancel();
    });
    assert_eq!(deaf.next().await, None);
    assert_eq!(start.elapsed(), s(12));
    assert_eq!(kept.all().len(), 1, "{:?}", kept.all());
    assert!(kept.all()[0].contains("grace"), "{:?}", kept.all());
}

#[tokio::test]
async fn on_a_context_that_is_done_the_body_does_not_begin() {
    let root = Ctx::beginning("root");
    root.cancel();
    let mut never = AsyncGenerator::<u32>::on(&root, "never", |_, _y| async { panic!("begun") });
    assert_eq!(never.next().await, None);
    root.drained().await;
}

#[tokio::test(start_paused = true)]
async fn its_context_is_drained_only_when_it_has_cleaned_up() {
    let root = Ctx::beginning("root");
    let mut numbers = AsyncGenerator::on(&root, "numbers", |_, mut y| async move {
        let _ = y.yield_(1).await;
        sleep(s(4)).await;
        Ok(())
    });
    numbers.next().await;
    let start = Instant::now();
    let ((), closed) = tokio::join!(
        async {
            root.cancel();
            root.drained().await;
        },
        numbers.close(),
    );
    closed.unwrap();
    assert_eq!(start.elapsed(), s(4));
}

#[tokio::test(start_paused = true)]
async fn a_drop_half_way_never_waits_and_hands_the_clean_up_to_the_context() {
    let log = Log::default();
    let seen = log.clone();
    let root = Ctx::beginning("root");
    let mut numbers = AsyncGenerator::on(&root, "numbers", |_, mut y| async move {
        let thrown = y.yield_(1).await.unwrap_err();
        sleep(s(4)).await;
        seen.say("clean");
        Err(thrown)
    });
    numbers.next().await;
    let start = Instant::now();
    drop(numbers);
    assert_eq!(start.elapsed(), s(0));
    root.close().await;
    assert_eq!(start.elapsed(), s(4));
    assert_eq!(log.all(), ["clean"]);
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_fails_panics_or_hangs_after_the_drop_is_reported() {
    let kept = Kept::default();
    let root = kept.root();
    for how in ["fails", "panics", "hangs"] {
        let mut numbers = GeneratorBuilder::new().on(&root, how).fallible(move |_, mut y| async move {
            let _ = y.yield_(1).await;
            match how {
                "fails" => Err("the door is stuck".into()),
                "panics" => panic!("the door fell off"),
                _ => std::future::pending().await,
            }
        });
        let _ = numbers.next().await;
        drop(numbers);
    }
    root.close().await;
    let kept = kept.all();
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().any(|text| text.contains("root-->fails") && text.contains("the door is stuck")), "{kept:?}");
    assert!(kept.iter().any(|text| text.contains("root-->panics") && text.contains("the door fell off")), "{kept:?}");
    assert!(kept.iter().any(|text| text.contains("root-->hangs") && text.contains("grace")), "{kept:?}");
}

#[test]
fn a_drop_half_way_without_a_runtime_is_reported() {
    let kept = Kept::default();
    let root = kept.root();
    let mut numbers = AsyncGenerator::on(&root, "numbers", |_, mut y| async move {
        y.yield_(1).await?;
        Ok(())
    });
    assert_eq!(numbers.next().now_or_never(), Some(Some(1)));
    drop(numbers);
    assert_eq!(kept.all().len(), 1);
    assert!(kept.all()[0].contains("its clean-up did not run"), "{:?}", kept.all());
    assert!(root.drained().now_or_never().is_none());
    root.cancel();
    assert!(root.drained().now_or_never().is_some());
}

#[test]
fn scenario_31_the_runtime_is_dropped_with_a_clean_up_under_way() {
    let kept = Kept::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (root, after) = runtime.block_on(async {
        let root = kept.root();
        let make = |name| {
            AsyncGenerator::on(&root, name, |_, mut y| async move {
                let _ = y.yield_(1).await;
                std::future::pending().await
            })
        };
        let mut before = make("before");
        let mut after = make("after");
        before.next().await;
        after.next().await;
        drop(before);
        tokio::task::yield_now().await;
        (root, after)
    });
    drop(runtime);
    drop(after);
    assert_eq!(kept.all().len(), 2, "{:?}", kept.all());
    assert!(kept.all().iter().all(|text| text.contains("its clean-up did not run")), "{:?}", kept.all());
    root.cancel();
    assert!(root.drained().now_or_never().is_some());
}

#[test]
fn outside_a_runtime_a_generator_without_a_clock_has_no_grace() {
    let root = Ctx::beginning("root");
    let mut deaf = AsyncGenerator::<u32>::on(&root, "deaf", |_, _y| std::future::pending());
    assert!(deaf.next().now_or_never().is_none());
    let error = deaf.close().now_or_never().expect("it does not wait").unwrap_err();
    assert!(kind(&error).is_grace_over());
}

#[tokio::test]
async fn one_that_has_not_begun_is_dropped_in_silence() {
    let kept = Kept::default();
    let root = kept.root();
    drop(AsyncGenerator::<u32>::on(&root, "never", |_, _y| async { panic!("begun") }));
    root.close().await;
    assert!(kept.all().is_empty());
}

#[tokio::test]
async fn a_panic_of_the_body_goes_to_the_consumer_and_ends_the_generator() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        y.yield_(1).await?;
        panic!("a mistake");
    });
    numbers.next().await;
    let panic = AssertUnwindSafe(numbers.next()).catch_unwind().await.unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "a mistake");
    assert!(numbers.is_finished());
    assert_eq!(numbers.next().await, None);
    numbers.close().await.unwrap();

    // The thread is as good as new.
    assert_eq!(count_to(2).collect::<Vec<_>>().await, [1, 2]);
}

#[tokio::test]
async fn generators_nest_and_delegate() {
    let mut outer = AsyncGenerator::new(|mut y| async move {
        let mut inner = AsyncGenerator::new(|mut y| async move {
            let mut innermost = count_to(2);
            while let Some(n) = innermost.next().await {
                y.yield_(n * 10).await?;
            }
            Ok(())
        });
        y.yield_(0).await?;
        while let Some(n) = inner.next().await {
            y.yield_(n).await?;
            y.yield_(n + 1).await?;
        }
        Ok(())
    });
    let mut seen = Vec::new();
    while let Some(n) = outer.next().await {
        seen.push(n);
    }
    assert_eq!(seen, [0, 10, 11, 20, 21]);
}

#[test]
fn scenario_25_generators_nested_a_thousand_deep() {
    let nested = || {
        let mut numbers = count_to(2);
        for _ in 0..1000 {
            let mut below = numbers;
            numbers = AsyncGenerator::new(|mut y| async move {
                while let Some(n) = below.next().await {
                    y.yield_(n + 1).await?;
                }
                Ok(())
            });
        }
        assert_eq!(numbers.collect::<Vec<_>>().now_or_never().unwrap(), [1001, 1002]);
    };
    // A level takes two kilobytes where nothing is optimized, and more under a sanitizer.
    std::thread::Builder::new().stack_size(1 << 25).spawn(nested).unwrap().join().unwrap();
}

#[tokio::test]
async fn a_yielder_that_is_used_outside_of_its_generator_gets_an_error() {
    let (give, given) = tokio::sync::oneshot::channel();
    let mut outer = AsyncGenerator::<u32>::new(|y| async move {
        let _ = give.send(y);
        std::future::pending().await
    });
    assert!(outer.next().now_or_never().is_none());
    let mut stolen = given.await.unwrap();
    let error = stolen.yield_(1).await.unwrap_err();
    assert!(kind(error.error()).is_misuse(), "in no generator at all");

    let mut other = AsyncGenerator::new(|mut y: Yielder<bool>| async move {
        let error = stolen.yield_(2).await.unwrap_err();
        y.yield_(kind(error.error()).is_misuse()).await?;
        Ok(())
    });
    assert_eq!(other.next().await, Some(true), "in the body of another generator");
}

#[tokio::test]
async fn a_yield_that_moves_to_another_task_gets_an_error_and_does_not_hang() {
    let mut numbers = AsyncGenerator::<u32>::new(|mut y| async move {
        let mut yielded = Box::pin(async move { y.yield_(1).await.map(drop) });
        assert!(futures_util::poll!(&mut yielded).is_pending());
        let moved = tokio::spawn(yielded).await.unwrap();
        assert!(kind(moved.unwrap_err().error()).is_misuse());
        Ok(())
    });
    assert_eq!(numbers.next().await, Some(1));
    // The other task polls the yield before the consumer has answered it.
    tokio::task::yield_now().await;
    assert_eq!(numbers.next().await, None);
}

#[tokio::test]
async fn a_yielder_is_no_good_in_a_generator_inside_its_own() {
    let mut outer = AsyncGenerator::new(|mut y: Yielder<u32>| async move {
        let mut inner = AsyncGenerator::new(|mut inside: Yielder<bool>| async move {
            let error = y.yield_(1).await.unwrap_err();
            inside.yield_(kind(error.error()).is_misuse()).await.map(drop)
        });
        assert_eq!(inner.next().await, Some(true));
        Ok(())
    });
    assert_eq!(outer.next().await, None);
}

#[tokio::test]
async fn a_generator_goes_on_after_one_inside_it_has_panicked() {
    let mut outer = AsyncGenerator::new(|mut y| async move {
        for n in 1..=2 {
            let mut inner = AsyncGenerator::<u32>::new(|_y| async { panic!("a mistake") });
            assert!(AssertUnwindSafe(inner.next()).catch_unwind().await.is_err());
            y.yield_(n).await?;
        }
        Ok(())
    });
    assert_eq!(outer.by_ref().collect::<Vec<_>>().await, [1, 2]);
}

#[tokio::test]
async fn a_yield_that_is_polled_after_its_end_gives_none() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        let mut yielded = y.yield_(1);
        (&mut yielded).await?;
        assert_eq!((&mut yielded).await?, None);
        drop(yielded);
        y.yield_(2).await?;
        Ok(())
    });
    assert_eq!(numbers.by_ref().collect::<Vec<_>>().await, [1, 2]);
}

#[tokio::test]
async fn a_yield_inside_something_that_polls_only_what_was_woken_goes_on() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        let mut inside: FuturesUnordered<_> = [async move {
            for n in 1..=3 {
                y.yield_(n).await?;
            }
            Ok(())
        }]
        .into_iter()
        .collect();
        inside.next().await.unwrap()
    });
    let all = async {
        let mut seen = Vec::new();
        while let Some(n) = numbers.next().await {
            seen.push(n);
        }
        seen
    };
    let all = tokio::time::timeout(s(60), all).await.expect("no hang");
    assert_eq!(all, [1, 2, 3]);
}

#[tokio::test]
async fn an_item_whose_yield_is_dropped_reaches_the_consumer_once() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        for n in 1..=3 {
            let mut yielded = y.yield_(n);
            assert!(futures_util::poll!(&mut yielded).is_pending());
            drop(yielded);
        }
        y.yield_(4).await?;
        let mut last = y.yield_(5);
        assert!(futures_util::poll!(&mut last).is_pending());
        Ok(())
    });
    let mut seen = Vec::new();
    while let Some(n) = numbers.next().await {
        seen.push(n);
    }
    // The second and the third came while the first was still on its way, and their yields were dropped before.
    assert_eq!(seen, [1, 4, 5]);
}

#[tokio::test]
async fn an_error_that_is_thrown_while_the_yield_is_abandoned_is_not_lost() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        tokio::select! {
            biased;
            () = futures_util::future::ready(()).then(|()| tokio::task::yield_now()) => {}
            _ = y.yield_(1) => {}
        }
        let _ = y.yield_(2).await;
        y.yield_(3).await?;
        Ok(())
    });
    assert_eq!(numbers.next().await, Some(1));
    tokio::task::yield_now().await;
    assert_eq!(numbers.throw("listen").await.unwrap(), Some(3), "it came up in place of the second item");

    let mut ends = AsyncGenerator::new(|mut y| async move {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            _ = y.yield_(1) => {}
        }
        Ok(())
    });
    assert_eq!(ends.next().await, Some(1));
    assert_eq!(ends.throw("too late").await.unwrap_err().to_string(), "too late");
}

#[tokio::test]
async fn an_error_that_comes_late_out_of_a_plain_generator_waits_for_the_one_who_closes() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        let thrown = y.yield_(1).await.unwrap_err();
        y.yield_(2).await?;
        Err(thrown)
    });
    numbers.next().await;
    assert_eq!(numbers.throw("kept for later").await.unwrap(), Some(2));
    assert_eq!(numbers.next().await, None);
    assert!(numbers.is_terminated());
    assert_eq!(numbers.close().await.unwrap_err().to_string(), "kept for later");
    numbers.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_operation_may_be_dropped_at_every_suspension_without_losing_an_item() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        for n in 1..=5 {
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
            y.yield_(n).await?;
        }
        Ok(())
    });
    let mut seen = Vec::new();
    loop {
        // Each future is polled once and dropped.
        match numbers.next().now_or_never() {
            Some(Some(n)) => seen.push(n),
            Some(None) => break,
            None => tokio::task::yield_now().await,
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);

    let log = Log::default();
    let seen = log.clone();
    let mut closing = AsyncGenerator::new(|mut y| async move {
        let thrown = y.yield_(1).await.unwrap_err();
        for n in 0..4 {
            seen.say(n.to_string());
            tokio::task::yield_now().await;
        }
        Err(thrown)
    });
    closing.next().await;
    assert!(closing.close().now_or_never().is_none());
    assert!(closing.close().now_or_never().is_none());
    closing.close().await.unwrap();
    assert_eq!(log.all(), ["0", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generator_moves_between_tasks_and_threads() {
    let mut numbers = AsyncGenerator::new(|mut y| async move {
        for n in 0..100_u32 {
            if n % 3 == 0 {
                tokio::task::yield_now().await;
            }
            y.yield_(n).await?;
        }
        Ok(())
    });
    let mut seen = 0;
    while !numbers.is_finished() {
        let (back, item) = tokio::spawn(async move {
            let item = numbers.next().await;
            (numbers, item)
        })
        .await
        .unwrap();
        numbers = back;
        assert_eq!(item, (seen < 100).then_some(seen));
        seen += 1;
    }
    assert_eq!(seen, 101);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Next,
    Send(u8),
    Throw(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![Just(Op::Next), any::<u8>().prop_map(Op::Send), any::<u8>().prop_map(Op::Throw)]
}

proptest! {
    /// The body yields its number of answers so far, and ends after the last or when it is thrown an even number.
    #[test]
    fn random_operations_agree_with_a_sequential_model(
        ops in prop::collection::vec(op(), 0..30),
        length in 0..12_usize,
        waits in prop::collection::vec(0..3_u8, 12),
    ) {
        let log = Log::default();
        let seen = log.clone();
        let mut generator = GeneratorBuilder::new().receiving().plain(move |mut y: Yielder<usize, u8>| async move {
            for (n, waits) in waits.into_iter().enumerate().take(length) {
                for _ in 0..waits {
                    tokio::task::yield_now().await;
                }
                match y.yield_(n).await {
                    Ok(None) => seen.say("next"),
                    Ok(Some(value)) => seen.say(format!("sent {value}")),
                    Err(thrown) => {
                        seen.say(format!("thrown {thrown}"));
                        if thrown.to_string().parse::<u8>().unwrap() % 2 == 0 {
                            return Err(thrown);
                        }
                    }
                }
            }
            Ok(())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut wanted = Vec::new();
            let (mut at, mut over) = (None, false);
            for op in ops {
                let standing = at.is_some() && !over;
                match op {
                    Op::Next if over => assert_eq!(generator.next().await, None),
                    Op::Send(value) if !standing => {
                        let refused = generator.send(value).await.unwrap_err();
                        assert_eq!(refused.is_finished(), over);
                        assert_eq!(refused.into_value(), value);
                    }
                    Op::Throw(value) if !standing => {
                        let back = generator.throw(value.to_string()).await.unwrap_err();
                        assert_eq!(back.to_string(), value.to_string());
                        over = true;
                    }
                    _ => {
                        let ends = matches!(op, Op::Throw(value) if value % 2 == 0);
                        let n = at.map_or(0, |at: usize| at + 1);
                        let item = (!ends && n < length).then_some(n);
                        if at.is_some() {
                            wanted.push(match op {
                                Op::Next => "next".to_owned(),
                                Op::Send(value) => format!("sent {value}"),
                                Op::Throw(value) => format!("thrown {value}"),
                            });
                        }
                        match op {
                            Op::Next => assert_eq!(generator.next().await, item),
                            Op::Send(value) => assert_eq!(generator.send(value).await.unwrap(), item),
                            Op::Throw(value) => match generator.throw(value.to_string()).await {
                                Ok(got) => assert!(!ends && got == item),
                                Err(error) => assert!(ends && error.to_string() == value.to_string()),
                            },
                        }
                        at = Some(n);
                        over = item.is_none();
                    }
                }
                assert_eq!(generator.is_finished(), over);
            }
            assert_eq!(log.all(), wanted);
        });
    }
}

#[test]
fn scenario_32_a_generator_in_the_destructor_of_a_threads_local() {
    struct Last(Option<AsyncGenerator<u32>>, Arc<AtomicUsize>);
    impl Drop for Last {
        fn drop(&mut self) {
            let mut numbers = self.0.take().unwrap();
            while let Some(Some(n)) = numbers.next().now_or_never() {
                self.1.fetch_add(n as usize, Ordering::Relaxed);
            }
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let sum = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sum);
    std::thread::spawn(move || LAST.set(Some(Last(Some(count_to(3)), seen)))).join().unwrap();
    assert_eq!(sum.load(Ordering::Relaxed), 6);
}

#[test]
fn generators_are_send_and_unpin() {
    fn check<T: Send + Unpin + 'static>() {}
    check::<AsyncGenerator<u32>>();
    check::<AsyncGenerator<std::cell::Cell<u32>, String, SharedError>>();
    check::<Yielder<u32>>();
}
