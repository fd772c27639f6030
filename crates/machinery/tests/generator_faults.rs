//! Generators whose bodies, and whose values, panic or are lost half-way.

mod reports;

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::FusedStream;
use machinery::generator::{AsyncGenerator, GeneratorBuilder, GeneratorError, Thrown, Yielder, stop_async_generator};
use machinery::{Completion, Ctx, QueueManagerResult as Fed, SharedError, queue_manager};
use reports::Reports;

/// Waits for this many polls, without a wake-up.
async fn wait(polls: u32) {
    let mut seen = 0;
    poll_fn(|_| {
        seen += 1;
        if seen > polls { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Polls it once, with the context of the body, and does not wait for it.
async fn begin<F: Future + Unpin>(future: &mut F) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Whether this very poll of `future` panics.
fn panics<F: Future>(future: F) -> bool {
    AssertUnwindSafe(future).catch_unwind().now_or_never().is_some_and(|done| done.is_err())
}

#[tokio::test]
async fn a_body_that_panics_lets_its_context_go_at_once() {
    for polls in 0..3 {
        let root = Ctx::beginning("root");
        let mut numbers = AsyncGenerator::on(&root, "numbers", move |_ctx, mut y: Yielder<u32>| async move {
            let _ = y.yield_(1).await;
            wait(polls).await;
            panic!("a mistake")
        });
        assert_eq!(numbers.next().await, Some(1));
        for _ in 0..polls {
            assert!(numbers.next().now_or_never().is_none());
        }
        // Where nothing is to be looked at, and where an error was thrown in.
        assert!(if polls == 2 { panics(numbers.throw("no route")) } else { panics(numbers.next()) });
        assert!(numbers.is_finished());
        assert!(numbers.ctx().unwrap().is_done());
        root.cancel();
        root.drained().now_or_never().unwrap();
    }
}

/// Panics when it is dropped.
struct Bomb {
    ends: bool,
}

impl Future for Bomb {
    type Output = Result<(), Thrown>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.ends { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the drop of a body");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_drop_panics_lets_its_context_go() {
    for ends in [false, true] {
        let root = Ctx::beginning("root");
        let mut numbers = AsyncGenerator::<u32>::on(&root, "numbers", move |_ctx, _y| Bomb { ends });
        if ends {
            assert!(panics(numbers.next()));
        } else {
            assert!(numbers.next().now_or_never().is_none());
            // When its grace is over.
            assert!(AssertUnwindSafe(stop_async_generator(&mut numbers, None, None)).catch_unwind().await.is_err());
        }
        assert!(numbers.is_finished());
        root.cancel();
        root.drained().now_or_never().unwrap();
        assert_eq!(numbers.next().await, None);
    }
}

#[tokio::test]
async fn after_a_panic_nothing_comes_of_what_was_thrown_in() {
    let mut numbers = AsyncGenerator::fallible(|mut y: Yielder<u32>| async move {
        y.yield_(1).await?;
        wait(2).await;
        panic!("a mistake")
    });
    assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
    assert!(numbers.next().now_or_never().is_none());
    assert!(numbers.throw("no route").now_or_never().is_none());
    assert!(panics(numbers.next()));
    assert!(numbers.is_terminated());
    assert!(numbers.next().await.is_none());
}

struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the drop of what was sent");
    }
}

#[tokio::test]
async fn the_error_of_a_body_outlives_the_panic_of_what_was_sent_in_vain() {
    let root = Ctx::beginning("root");
    let mut numbers = GeneratorBuilder::new().receiving::<Loud>().on(&root, "numbers").fallible(
        |_ctx, mut y: Yielder<u32, Loud>| async move {
            let mut given = y.yield_(1);
            begin(&mut given).await;
            std::mem::forget(given);
            wait(1).await;
            Err("no route".into())
        },
    );
    assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
    assert!(panics(numbers.send(Loud)));
    assert!(numbers.is_finished() && !numbers.is_terminated());
    root.cancel();
    root.drained().now_or_never().unwrap();
    assert_eq!(numbers.next().await.unwrap().unwrap_err().to_string(), "no route");
    assert!(numbers.next().await.is_none());
}

#[tokio::test]
async fn a_misuse_is_one_error_wherever_it_is_seen() {
    let (give, given) = tokio::sync::oneshot::channel();
    let mut outer = AsyncGenerator::<u32>::new(|y| async move {
        let _ = give.send(y);
        Ok(())
    });
    assert_eq!(outer.next().await, None);
    let thrown = given.await.unwrap().yield_(1).await.unwrap_err();
    let error = Arc::clone(thrown.error());
    assert!(Arc::ptr_eq(&error, &thrown.clone().into_error()));
    let mut other = AsyncGenerator::fallible(move |_y: Yielder<u32>| async move { Err(thrown.into()) });
    assert!(Arc::ptr_eq(&error, &other.next().await.unwrap().unwrap_err()));
}

/// Where the body comes back to its first yield after that, drops it, or forgets it, and where it just ends.
#[tokio::test]
async fn an_error_that_is_thrown_before_the_body_takes_what_was_sent_comes_in_its_place() {
    for (what, errors) in ["comes back", "drops", "forgets", "ends"].into_iter().flat_map(|what| [(what, 1), (what, 2)])
    {
        let mut numbers =
            GeneratorBuilder::new().receiving::<Arc<u32>>().plain(move |mut y: Yielder<u32, Arc<u32>>| async move {
                let mut first = y.yield_(1);
                begin(&mut first).await;
                wait(2 + errors).await;
                let thrown = match what {
                    "comes back" => first.await,
                    "ends" => return Ok(()),
                    _ => {
                        if what == "drops" {
                            drop(first)
                        } else {
                            std::mem::forget(first)
                        }
                        y.yield_(0).await
                    }
                };
                assert_eq!(thrown.unwrap_err().to_string(), format!("error {errors}"));
                assert_eq!(y.yield_(2).await?.as_deref(), Some(&8));
                y.yield_(3).await.map(drop)
            });
        assert_eq!(numbers.next().await, Some(1));
        let sent = Arc::new(7);
        assert!(numbers.send(Arc::clone(&sent)).now_or_never().is_none());
        for n in 1..=errors {
            assert!(numbers.throw(format!("error {n}")).now_or_never().is_none());
        }
        if what == "ends" {
            assert_eq!(numbers.next().await, None);
            assert_eq!(numbers.close().await.unwrap_err().to_string(), format!("error {errors}"));
        } else {
            assert_eq!(numbers.next().await, Some(2));
            assert_eq!(numbers.send(Arc::new(8)).await.unwrap(), Some(3));
            assert_eq!(numbers.next().await, None);
        }
        assert_eq!(Arc::strong_count(&sent), 1);
    }
}

#[tokio::test]
async fn a_body_that_catches_an_error_is_still_told_that_it_is_closed() {
    for closes in [false, true] {
        let root = Ctx::beginning("root");
        let mut numbers = AsyncGenerator::on(&root, "numbers", |_ctx, mut y: Yielder<u32>| async move {
            y.yield_(1).await?;
            wait(3).await;
            assert_eq!(y.yield_(2).await.unwrap_err().to_string(), "no route");
            let told = y.yield_(3).await.unwrap_err();
            wait(1).await;
            Err(told)
        });
        assert_eq!(numbers.next().await, Some(1));
        assert!(numbers.next().now_or_never().is_none());
        assert!(numbers.throw("no route").now_or_never().is_none());
        // The error is on its way when the generator is to end.
        if closes {
            assert!(numbers.close().now_or_never().is_none());
            assert!(numbers.close().now_or_never().is_none());
            numbers.close().await.unwrap();
        } else {
            root.cancel();
            assert!(numbers.next().now_or_never().is_none());
            assert!(numbers.next().now_or_never().is_none());
            assert_eq!(numbers.next().await, None);
        }
        assert!(numbers.is_finished());
    }
}

#[tokio::test]
async fn a_generator_that_nobody_has_polled_holds_no_shutdown_up_and_does_not_begin_after_it() {
    let root = Ctx::beginning("app");
    let begun = Arc::new(AtomicBool::new(false));
    let mut numbers = AsyncGenerator::<u32>::on(&root, "numbers", {
        let begun = Arc::clone(&begun);
        |_, _| async move {
            begun.store(true, Ordering::Relaxed);
            Ok(())
        }
    });
    root.cancel();
    assert!(root.drained().now_or_never().is_some());
    assert_eq!(numbers.next().await, None);
    assert!(!begun.load(Ordering::Relaxed) && numbers.is_finished());
    assert!(root.drained().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_context_of_one_that_stands_at_a_yield_is_there_for_its_clean_up() {
    for stop in [false, true] {
        let root = Ctx::beginning("app");
        let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let mut numbers = AsyncGenerator::on(&root, "numbers", move |ctx, mut y| async move {
            let thrown = y.yield_(1).await.unwrap_err();
            told.send(ctx.run(tokio::time::sleep(Duration::from_secs(3))).await.is_ok()).unwrap();
            Err(thrown)
        });
        assert_eq!(numbers.next().await, Some(1));
        if stop {
            assert!(stop_async_generator(&mut numbers, None, None).await.is_err());
        } else {
            numbers.close().await.unwrap();
        }
        assert_eq!(seen.recv().await, Some(true), "it may go on with it");
        assert!(numbers.ctx().is_none_or(|ctx| ctx.is_done()), "and it ends with it");
    }
}

#[tokio::test]
async fn to_stop_one_that_has_not_begun_gives_back_what_would_have_been_thrown() {
    let root = Ctx::beginning("app");
    for on_a_context in [false, true] {
        for error in [Some(Arc::new(std::io::Error::other("enough")) as SharedError), None] {
            let mut never = if on_a_context {
                AsyncGenerator::<u32>::on(&root, "never", |_, _| async { panic!("begun") })
            } else {
                AsyncGenerator::new(|_| async { panic!("begun") })
            };
            let back = stop_async_generator(&mut never, None, error.clone()).await.unwrap_err();
            match error {
                Some(error) => assert!(Arc::ptr_eq(&back, &error)),
                None => assert!(back.downcast_ref::<GeneratorError>().unwrap().is_cancellation()),
            }
            assert!(never.is_finished());
            assert_eq!(never.next().await, None);
            stop_async_generator(&mut never, None, None).await.unwrap();
        }
    }
    root.close().await;
}

#[tokio::test]
async fn an_error_that_stands_behind_the_last_item_is_reported_where_nobody_asks_for_it() {
    let reports = Reports::default();
    let root = reports.root();
    for asked in [false, true] {
        let builder = GeneratorBuilder::new().on(&root, "numbers");
        let mut numbers = builder.fallible(|_, mut y: Yielder<u32>| async move {
            let mut last = y.yield_(1);
            begin(&mut last).await;
            drop(last);
            Err("disk full".into())
        });
        assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
        if asked {
            assert_eq!(numbers.next().await.unwrap().unwrap_err().to_string(), "disk full");
        }
        drop(numbers);
        let line = "root-->numbers: a generator was dropped with an error that nobody took: disk full";
        assert_eq!(reports.take(), if asked { vec![] } else { vec![line] });
    }
}

/// Polls it so many times, and drops it; what it ended with, if it did.
fn polled<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    (0..polls).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// Pending a few times, and woken at once.
async fn rest() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Reliability 16, for what is sent, what is thrown, and stops.
#[tokio::test(start_paused = true)]
async fn scenario_16_a_send_a_throw_and_a_stop_dropped_at_every_suspension_lose_and_double_nothing() {
    for polls in 0..8 {
        for how in ["send", "throw", "stop"] {
            let root = Ctx::beginning("app");
            let log = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&log);
            let builder = GeneratorBuilder::new().receiving().on(&root, "numbers");
            let mut numbers = builder.plain(move |_, mut y: Yielder<u32, &'static str>| async move {
                let say = |what: String| seen.lock().unwrap().push(what);
                for n in 0..10 {
                    match y.yield_(n).await {
                        Ok(None) => {}
                        Ok(Some(sent)) => say(format!("sent {sent}")),
                        Err(thrown) => {
                            say(format!("thrown {thrown}"));
                            rest().await;
                            say("clean".to_owned());
                            return Err(thrown);
                        }
                    }
                    rest().await;
                }
                Ok(())
            });
            assert_eq!(numbers.next().await, Some(0));
            let error = Arc::new(std::io::Error::other("enough")) as SharedError;
            let said = || log.lock().unwrap().join(", ");
            match how {
                "send" => {
                    let item = polled(numbers.send("a word"), polls).map(|sent| sent.unwrap().unwrap());
                    let mut items = Vec::from_iter(item);
                    while items.len() < 3 {
                        items.extend(polled(numbers.next(), 8).unwrap());
                    }
                    assert_eq!(items, [1, 2, 3], "after {polls} polls");
                    assert_eq!(said(), if polls > 0 { "sent a word" } else { "" });
                }
                "throw" => {
                    let ended = polled(numbers.throw(Arc::clone(&error)), polls);
                    let over = ended.is_some();
                    assert!(ended.is_none_or(|ended| ended.unwrap_err().to_string() == "enough"));
                    if !over && polls > 0 {
                        assert_eq!(polled(numbers.next(), 8), Some(None), "after {polls} polls");
                    }
                    assert_eq!(numbers.is_finished(), polls > 0);
                    assert_eq!(said(), if polls > 0 { "thrown enough, clean" } else { "" });
                }
                _ => {
                    let stopped = polled(stop_async_generator(&mut numbers, None, Some(error)), polls);
                    if stopped.is_none() {
                        let again = polled(stop_async_generator(&mut numbers, None, None), 8);
                        assert!(again.is_some_and(|again| again.is_err()), "after {polls} polls");
                    }
                    assert!(numbers.is_finished());
                    let what = if polls > 0 { "enough" } else { "the generator is cancelled" };
                    assert_eq!(said(), format!("thrown {what}, clean"), "after {polls} polls");
                }
            }
            drop(numbers);
            root.close().await;
        }
    }
}

/// Yields once, waits on its context, and passes on how that ended.
fn waiting(ctx: &Ctx) -> AsyncGenerator<u32, (), SharedError> {
    GeneratorBuilder::new().on(ctx, "waiting").fallible(|ctx, mut y| async move {
        y.yield_(1).await?;
        ctx.run(std::future::pending::<()>()).await?;
        Ok(())
    })
}

/// The same, where it waits.
async fn begun(ctx: &Ctx) -> AsyncGenerator<u32, (), SharedError> {
    let mut generator = waiting(ctx);
    assert!(matches!(generator.next().await, Some(Ok(1))));
    assert!(generator.next().now_or_never().is_none());
    generator
}

#[tokio::test]
async fn one_that_passes_on_that_its_context_told_it_to_end_has_ended_well() {
    let reports = Reports::default();
    for failed in [false, true] {
        let root = reports.root();
        begun(&root).await.close().await.unwrap();
        drop(begun(&root).await);

        let (mut read, mut closed) = (begun(&root).await, begun(&root).await);
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        feeder.add_generator("in a manager", waiting(&root));
        assert_eq!(results.next().await.unwrap().into_value(), Some(1));
        assert!(results.next().now_or_never().is_none());
        let completed = if failed { root.set_exception("disk full") } else { root.cancel() };
        assert!(completed);
        assert!(read.next().await.is_none());
        closed.close().await.unwrap();
        assert!(matches!(results.next().await, Some(Fed::Stopped { .. })));
        while let Some(result) = results.next().await {
            assert!(matches!(result, Fed::IterationStop { exception: None, .. }), "{result:?}");
        }
        root.close().await;
    }

    // Nobody reads the results any more.
    let root = reports.root();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    feeder.add_generator("left", waiting(&root));
    assert_eq!(results.next().await.unwrap().into_value(), Some(1));
    assert!(results.next().now_or_never().is_none());
    drop(results);
    root.close().await;
    assert_eq!(reports.all(), Vec::<String>::new());

    // To one who stops it by an error it says how it has ended.
    let root = reports.root();
    let ended = stop_async_generator(&mut begun(&root).await, None, None).await.unwrap_err();
    assert!(ended.is::<Completion>());
    assert!(reports.all().is_empty());
}

/// Cleans up at its yield with the help of another context.
fn storing(ctx: &Ctx, database: &Ctx) -> AsyncGenerator<u32, (), SharedError> {
    let database = database.clone();
    GeneratorBuilder::new().on(ctx, "storing").fallible(move |_ctx, mut y| async move {
        if y.yield_(1).await.is_err() {
            database.run(std::future::pending::<()>()).await?;
        }
        Ok(())
    })
}

#[tokio::test]
async fn a_clean_up_that_fails_as_another_context_is_done_has_failed() {
    let reports = Reports::default();
    let root = reports.root();
    let database = root.detached("database");
    assert!(database.cancel_because("disk full"));

    let mut closed = storing(&root, &database);
    assert_eq!(closed.next().await.unwrap().unwrap(), 1);
    let error = closed.close().await.unwrap_err();
    assert_eq!(error.downcast_ref::<Completion>().unwrap().reason(), Some("disk full"));
    assert_eq!(reports.all(), Vec::<String>::new());

    let mut dropped = storing(&root, &database);
    assert_eq!(dropped.next().await.unwrap().unwrap(), 1);
    drop(dropped);
    tokio::task::yield_now().await; // it cleans up before its own context completes
    root.close().await;
    assert_eq!(reports.count("disk full"), 1, "{:?}", reports.all());
}
