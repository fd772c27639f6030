//! Generators whose bodies do with their yields whatever safe code can do.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::{FutureExt, StreamExt};
use machinery::Ctx;
use machinery::generator::{AsyncGenerator, GeneratorBuilder, GeneratorError, Thrown, Yield, Yielder};

/// Counts how many there are, each with memory of its own.
struct Counted(Arc<AtomicUsize>, #[expect(dead_code, reason = "memory of its own, and not `Sync`")] Box<Cell<u8>>);

impl Counted {
    fn new(living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(living), Box::new(Cell::new(0)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Kept<T> = Arc<Mutex<Option<T>>>;

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn is_misuse<T>(polled: Poll<Result<T, Thrown>>) -> bool {
    let Poll::Ready(Err(thrown)) = polled else { return false };
    thrown.error().downcast_ref::<GeneratorError>().is_some_and(GeneratorError::is_misuse)
}

/// A yield that lives as long as anything.
fn forever<Y: Send + 'static, S: Send + 'static>(y: Yielder<Y, S>, item: Y) -> Yield<'static, Y, S> {
    /// For a sanitizer, which takes what nobody points to for lost.
    static YIELDERS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let y = Box::leak(Box::new(y));
    YIELDERS.lock().unwrap().push(std::ptr::from_ref(y).addr());
    y.yield_(item)
}

/// Polls it once, with the context of the body, and does not wait for it.
async fn begin<F: Future + Unpin>(future: &mut F) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Suspends once, and then wakes.
async fn breathe() {
    let mut first = true;
    poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_yield_that_outlives_its_generator_is_a_misuse_and_drops_its_item() {
    let living = Arc::new(AtomicUsize::new(0));
    for polled in [false, true] {
        let kept: Kept<Yield<'static, Counted>> = Kept::default();
        let (given, count) = (Arc::clone(&kept), Arc::clone(&living));
        let mut outer = AsyncGenerator::new(move |y: Yielder<Counted>| async move {
            let mut late = forever(y, Counted::new(&count));
            if polled {
                begin(&mut late).await;
            }
            *given.lock().unwrap() = Some(late);
            pending().await
        });
        let first = outer.next().now_or_never().flatten();
        assert_eq!(first.is_some(), polled);
        drop((first, outer));
        let mut late = kept.lock().unwrap().take().unwrap();
        // In the body of another generator of the same types.
        let mut other = AsyncGenerator::new(move |mut y: Yielder<Counted>| async move {
            assert!(is_misuse(poll(&mut late)));
            drop(late);
            y.yield_(Counted::new(&Arc::default())).await.map(drop)
        });
        assert!(other.next().await.is_some());
        assert!(other.next().await.is_none());
        assert_eq!(living.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_yield_of_the_outer_body_does_not_reach_into_an_inner_one_nor_around_it() {
    let kept: Kept<Yield<'static, String>> = Kept::default();
    let given = Arc::clone(&kept);
    let mut outer = AsyncGenerator::new(move |y: Yielder<String>| async move {
        *given.lock().unwrap() = Some(forever(y, "outer".to_owned()));
        let taken = Arc::clone(&given);
        let mut inner = AsyncGenerator::new(move |mut y: Yielder<String>| async move {
            let mut of_outer = taken.lock().unwrap().take().unwrap();
            y.yield_("inner".to_owned()).await?;
            assert!(is_misuse(poll(&mut of_outer)));
            // It is over, wherever it is polled.
            assert!(matches!(poll(&mut of_outer), Poll::Ready(Ok(None))));
            drop(of_outer);
            y.yield_("more".to_owned()).await.map(drop)
        });
        assert_eq!(inner.next().await.unwrap(), "inner");
        breathe().await;
        assert_eq!(inner.next().await.unwrap(), "more");
        assert!(inner.next().await.is_none());
        Ok(())
    });
    assert!(outer.next().await.is_none());
}

#[tokio::test]
async fn two_generators_inside_one_body_may_change_places_at_any_await() {
    let numbers = |from: u32| {
        AsyncGenerator::new(move |mut y| async move {
            for n in from..from + 50 {
                if n % 3 == 0 {
                    breathe().await;
                }
                y.yield_(n.to_string()).await?;
            }
            Ok(())
        })
    };
    let mut both = AsyncGenerator::new(move |mut y: Yielder<String>| async move {
        let (mut left, mut right) = (numbers(0), numbers(100));
        loop {
            let half = left.next().now_or_never();
            std::mem::swap(&mut left, &mut right);
            if half == Some(None) {
                break;
            }
            if let Some(item) = half.flatten() {
                y.yield_(item).await?;
            }
            // What is inside of an await of its own goes on below another poll, at another place.
            left = *Box::new(left);
        }
        Ok(())
    });
    let seen: Vec<String> = both.by_ref().collect().await;
    assert!(seen.len() >= 98, "{seen:?}");
}

#[tokio::test]
async fn a_body_that_catches_panics_of_generators_inside_goes_on_yielding() {
    let mut outer = AsyncGenerator::new(|mut y: Yielder<u32>| async move {
        for n in 0..10 {
            let mut inner = AsyncGenerator::new(|mut inside: Yielder<u32>| async move {
                let mut given = inside.yield_(7);
                begin(&mut given).await;
                panic!("with an item in the head")
            });
            let caught = catch_unwind(AssertUnwindSafe(|| inner.next().now_or_never()));
            assert!(caught.is_err());
            assert!(inner.is_finished());
            y.yield_(n).await?;
            assert_eq!(inner.next().await, None);
        }
        Ok(())
    });
    assert_eq!(outer.by_ref().collect::<Vec<_>>().await, (0..10).collect::<Vec<_>>());
}

/// Drops and polls what it was given whenever anybody wakes, clones or drops it.
struct Mischief(Kept<Yield<'static, Counted, u64>>, Kept<Yield<'static, Counted, u64>>);

impl Wake for Mischief {
    fn wake(self: Arc<Self>) {
        let mut late = self.0.lock().unwrap().take();
        if let Some(late) = &mut late {
            let _ = poll(late);
        }
        drop(late);
        drop(self.1.lock().unwrap().take());
    }
}

#[tokio::test]
async fn a_waker_that_polls_and_drops_yields_during_the_poll_does_no_harm() {
    let living = Arc::new(AtomicUsize::new(0));
    let kept: [Kept<Yield<'static, Counted, u64>>; 2] = Default::default();
    let (given, count) = (kept.clone(), Arc::clone(&living));
    let mut outer = GeneratorBuilder::new().receiving::<u64>().plain(move |y: Yielder<Counted, u64>| async move {
        let late = forever(y, Counted::new(&count));
        *given[0].lock().unwrap() = Some(late);
        let waker = Waker::from(Arc::new(Mischief(Arc::clone(&given[0]), Arc::clone(&given[1]))));
        poll_fn(|_| {
            // The first poll hands over with this waker, in place of that of the body.
            let mut late = given[0].lock().unwrap().take().unwrap();
            assert!(Pin::new(&mut late).poll(&mut Context::from_waker(&waker)).is_pending());
            *given[1].lock().unwrap() = Some(late);
            Poll::Ready(())
        })
        .await;
        // While the head is full.
        waker.wake_by_ref();
        breathe().await;
        waker.wake_by_ref();
        Ok(())
    });
    let first = outer.next().await;
    assert!(first.is_some());
    drop(first);
    let _ = outer.send(7).await;
    while outer.next().await.is_some() {}
    drop(outer);
    drop(kept);
    assert_eq!(living.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_error_that_is_thrown_while_an_old_yield_is_polled_comes_up_at_the_next_one() {
    let mut items = AsyncGenerator::new(|mut y: Yielder<u32>| async move {
        let mut old = y.yield_(1);
        (&mut old).await?;
        breathe().await;
        assert!(matches!((&mut old).await, Ok(None)));
        drop(old);
        assert_eq!(y.yield_(2).await.unwrap_err().to_string(), "no route");
        y.yield_(3).await.map(drop)
    });
    assert_eq!(items.next().await, Some(1));
    assert!(poll(&mut Box::pin(items.next())).is_pending());
    assert_eq!(items.throw("no route").await.unwrap(), Some(3));
}

/// Polls a yield with the context of the body, and then waits for something else, before it comes back to the yield.
async fn come_back<S: Send + 'static>(mut given: Yield<'_, u32, S>, turns: u32) -> Result<Option<S>, Thrown> {
    begin(&mut given).await;
    let mut seen = 0;
    poll_fn(|_| {
        seen += 1;
        if seen > turns { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    given.await
}

#[tokio::test]
async fn what_is_sent_waits_for_the_yield_that_the_body_comes_back_to() {
    let mut items = GeneratorBuilder::new().receiving::<String>().plain(|mut y| async move {
        assert_eq!(come_back(y.yield_(1), 2).await?.as_deref(), Some("first"));
        y.yield_(2).await.map(drop)
    });
    assert_eq!(items.next().await, Some(1));
    assert!(items.send("first".to_owned()).now_or_never().is_none());
    // It stands there no more, and so takes no other.
    let second = items.send("second".to_owned()).now_or_never().unwrap();
    assert_eq!(second.unwrap_err().into_value(), "second");
    assert_eq!(items.next().await, Some(2));
    assert_eq!(items.next().await, None);
}

#[tokio::test]
async fn of_two_errors_that_are_thrown_the_last_comes_up_where_the_body_stands_or_at_its_next_yield() {
    for comes_back in [true, false] {
        let mut items = AsyncGenerator::new(move |mut y: Yielder<u32>| async move {
            let thrown = if comes_back {
                come_back(y.yield_(1), 2).await.unwrap_err()
            } else {
                assert!(come_back(y.yield_(1), 3).await.unwrap().is_none());
                y.yield_(2).await.unwrap_err()
            };
            assert_eq!(thrown.to_string(), "the second");
            y.yield_(3).await.map(drop)
        });
        assert_eq!(items.next().await, Some(1));
        if !comes_back {
            assert!(items.next().now_or_never().is_none());
        }
        assert!(items.throw("the first").now_or_never().is_none());
        assert_eq!(items.throw("the second").await.unwrap(), Some(3));
        assert_eq!(items.next().await, None);
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker");
    }
}

#[tokio::test]
async fn a_waker_that_panics_does_not_lose_what_is_sent() {
    let mut items = GeneratorBuilder::new().receiving::<u64>().plain(|mut y: Yielder<u64, u64>| async move {
        let waker = Waker::from(Arc::new(Panics));
        let mut given = y.yield_(0);
        let mut answer = poll_fn(|_| Pin::new(&mut given).poll(&mut Context::from_waker(&waker))).await?;
        drop(given);
        while let Some(n) = answer {
            answer = y.yield_(n).await?;
        }
        Ok(())
    });
    assert_eq!(items.next().await, Some(0));
    assert_eq!(items.send(5).await.unwrap(), Some(5));
    assert_eq!(items.send(6).await.unwrap(), Some(6));
    assert_eq!(items.next().await, None);
}

/// Polls a generator inside of its own drop.
struct Nested(Option<Box<AsyncGenerator<Nested>>>, Arc<AtomicUsize>);

impl Drop for Nested {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        if let Some(mut inside) = self.0.take() {
            while inside.next().now_or_never().flatten().is_some() {}
        }
    }
}

fn nested(depth: u32, drops: &Arc<AtomicUsize>) -> AsyncGenerator<Nested> {
    let drops = Arc::clone(drops);
    AsyncGenerator::new(move |mut y| async move {
        for _ in 0..2 {
            let inside = (depth > 0).then(|| Box::new(nested(depth - 1, &drops)));
            y.yield_(Nested(inside, Arc::clone(&drops))).await?;
        }
        // One that is dropped by the poll that hands it over twice.
        let mut twice = y.yield_(Nested(None, Arc::clone(&drops)));
        begin(&mut twice).await;
        drop(twice);
        let inside = (depth > 0).then(|| Box::new(nested(depth - 1, &drops)));
        y.yield_(Nested(inside, Arc::clone(&drops))).await.map(drop)
    })
}

#[tokio::test]
async fn items_whose_drop_polls_generators_are_all_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let mut items = nested(3, &drops);
    while items.next().await.is_some() {}
    // Four in each generator, and three of these have one inside: 4 (1 + 3 + 9 + 27).
    assert_eq!(drops.load(Ordering::SeqCst), 160);
}

struct Loud(Arc<AtomicUsize>);

impl Drop for Loud {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("the drop of an item");
    }
}

#[tokio::test]
async fn items_whose_drop_panics_leave_the_thread_as_it_was() {
    let drops = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let count = Arc::clone(&drops);
        let mut items = AsyncGenerator::new(move |y: Yielder<Loud>| async move {
            let mut given = forever(y, Loud(count));
            begin(&mut given).await;
            std::mem::forget(given);
            Ok(())
        });
        // With the end of the body, in one poll.
        let item = items.next().now_or_never().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(item))).is_err());
        assert!(items.next().await.is_none());

        let count = Arc::clone(&drops);
        let unpolled = AsyncGenerator::new(move |y: Yielder<Loud>| forever(y, Loud(count)).map(|sent| sent.map(drop)));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(unpolled))).is_err());
    }
    assert_eq!(drops.load(Ordering::SeqCst), 20);
    let mut plain = AsyncGenerator::new(|mut y: Yielder<u32>| async move { y.yield_(1).await.map(drop) });
    assert_eq!(plain.next().await, Some(1));
}

#[repr(align(256))]
#[derive(Debug, PartialEq)]
struct Wide([u8; 300]);

#[tokio::test]
async fn items_of_no_size_and_items_that_are_wide_come_through() {
    let mut units = AsyncGenerator::new(|mut y: Yielder<()>| async move {
        loop {
            y.yield_(()).await?;
        }
    });
    for _ in 0..100 {
        assert_eq!(units.next().await, Some(()));
    }
    let mut wide = GeneratorBuilder::new().receiving::<Wide>().plain(|mut y: Yielder<Wide, Wide>| async move {
        let mut item = Wide([0; 300]);
        while let Some(next) = y.yield_(item).await? {
            item = next;
        }
        Ok(())
    });
    assert_eq!(wide.next().await, Some(Wide([0; 300])));
    for n in 1..20 {
        assert_eq!(wide.send(Wide([n; 300])).await.unwrap(), Some(Wide([n; 300])));
    }
    assert_eq!(wide.next().await, None);
}

#[tokio::test]
async fn a_generator_and_its_futures_that_are_forgotten_half_way_leave_nothing_behind() {
    for _ in 0..50 {
        let mut items = AsyncGenerator::new(|mut y: Yielder<u32>| async move {
            let given = y.yield_(1);
            std::mem::forget(given);
            let mut given = y.yield_(2);
            begin(&mut given).await;
            std::mem::forget(given);
            breathe().await;
            y.yield_(3).await.map(drop)
        });
        assert_eq!(items.next().await, Some(2));
        assert_eq!(items.next().await, Some(3));
        assert_eq!(items.next().await, None);
    }
}

/// Answers to an item, where the next poll of the body goes elsewhere first.
#[tokio::test]
async fn a_generator_that_moves_between_threads_at_every_item_keeps_its_answers() {
    let mut echo = GeneratorBuilder::new().receiving::<String>().plain(|mut y: Yielder<String, String>| async move {
        let mut item = String::new();
        while let Some(next) = y.yield_(item).await? {
            breathe().await;
            item = next;
        }
        Ok(())
    });
    assert_eq!(echo.next().await.as_deref(), Some(""));
    for n in 0..50 {
        let mut moved = echo;
        let (answer, back) = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let answer = runtime.block_on(moved.send(n.to_string())).unwrap();
            (answer, moved)
        })
        .join()
        .unwrap();
        assert_eq!(answer, Some(n.to_string()));
        echo = back;
    }
}

#[tokio::test]
async fn the_clean_up_of_a_dropped_generator_yields_in_vain_in_its_task() {
    let root = Ctx::beginning("root");
    let living = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&living);
    let mut items = AsyncGenerator::on(&root, "items", move |_ctx, mut y: Yielder<Counted>| async move {
        let stopped = y.yield_(Counted::new(&count)).await;
        let mut inside = AsyncGenerator::new(move |mut y: Yielder<Counted>| async move {
            loop {
                y.yield_(Counted::new(&count)).await?;
            }
        });
        for _ in 0..3 {
            breathe().await;
            drop(inside.next().await);
        }
        stopped.map(drop)
    });
    drop(items.next().await);
    drop(items);
    root.cancel();
    root.drained().await;
    assert_eq!(living.load(Ordering::SeqCst), 0);
}
