//! What a source gives when the stream of results has just been dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, stream};
use machinery::{AsyncGenerator, Ctx, CtxOptions, Feed, Streamer, queue_manager};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::common::{Alive, Heard, note, now};

type Given = Box<dyn FnOnce() -> Feed<u32> + Send>;

/// A generator that has begun, and notes its clean-up, which waits for `wait`.
async fn begun(cleaned: &Arc<AtomicUsize>, wait: impl Future<Output = ()> + Send + 'static) -> Given {
    let cleaned = Arc::clone(cleaned);
    let mut generator = AsyncGenerator::new(move |mut y| async move {
        while y.yield_(0).await.is_ok() {}
        wait.await;
        note(&cleaned);
        Ok(())
    });
    assert_eq!(generator.next().await, Some(0));
    Box::new(move || Feed::generator(generator))
}

async fn a_while() {
    sleep(Duration::from_secs(5)).await;
}

/// A task that never ends by itself.
fn running(alive: &Alive) -> Given {
    let one = alive.one();
    let task = tokio::spawn(async move {
        let _one = &one;
        std::future::pending::<u32>().await
    });
    Box::new(move || Feed::task(task))
}

/// A stream that drops the results while it is asked for its item, as another thread may.
fn dropping(results: &Arc<Mutex<Option<Streamer<u32>>>>, given: Given) -> impl Stream<Item = Feed<u32>> + Send + use<> {
    let (results, mut given) = (Arc::clone(results), Some(given));
    stream::poll_fn(move |_| {
        let results = results.lock().unwrap().take();
        drop(results);
        std::task::Poll::Ready(given.take().map(|given| given()))
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_in_its_own_task_gives_while_the_results_are_dropped_is_let_go_of_in_order() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let (cleaned, alive) = (Arc::new(AtomicUsize::new(0)), Alive::default());
    let all: [Given; 3] = [begun(&cleaned, a_while()).await, running(&alive), Box::new(|| Feed::error("unread"))];
    for given in all {
        let (feeder, mut results) = queue_manager::<u32>(&root).build();
        let place = Arc::new(Mutex::new(None));
        feeder.add("own", Feed::stream(dropping(&place, given)).in_own_task());
        assert!(now(&mut results).is_none());
        *place.lock().unwrap() = Some(results);
        sleep(Duration::from_millis(1)).await;
        assert!(place.lock().unwrap().is_none(), "it was asked");
        drop(feeder);
    }
    root.close().await;
    assert_eq!(cleaned.load(Ordering::SeqCst), 1, "the context has waited for the clean-up");
    assert_eq!(alive.count(), 0, "the task was stopped");
    assert_eq!(heard.reports(), ["root-->queue_manager: own: source failed and nobody read its failure: unread"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_ends_with_after_the_results_were_dropped_is_let_go_of_in_order() {
    let root = Ctx::beginning("root");
    let (cleaned, alive) = (Arc::new(AtomicUsize::new(0)), Alive::default());
    for given in [begun(&cleaned, a_while()).await, running(&alive)] {
        let (feeder, results) = queue_manager::<u32>(&root).build();
        let slow = machinery::async_as_background_with(&root, "slow", |ctx| async move {
            ctx.done().await;
            sleep(Duration::from_secs(1)).await;
            machinery::task::Plain(given())
        });
        assert!(feeder.add_task("late", slow).is_taken());
        sleep(Duration::from_millis(1)).await;
        drop(results);
    }
    root.close().await;
    assert_eq!((cleaned.load(Ordering::SeqCst), alive.count()), (1, 0));
}

#[tokio::test]
async fn what_a_blocking_source_gives_after_the_results_were_dropped_is_let_go_of_in_order() {
    let root = Ctx::beginning("root");
    let (cleaned, alive) = (Arc::new(AtomicUsize::new(0)), Alive::default());
    for iterates in [false, true] {
        for given in [begun(&cleaned, yield_now()).await, running(&alive)] {
            let (feeder, mut results) = queue_manager::<u32>(&root).build();
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let (begun, begins) = tokio::sync::oneshot::channel::<()>();
            let work = move || {
                begun.send(()).unwrap();
                assert!(wait.recv().is_err());
                given()
            };
            if iterates {
                feeder.add_blocking_iter("late", stream_of(work));
            } else {
                feeder.add_blocking_fn("late", work);
            }
            assert!(now(&mut results).is_none());
            begins.await.unwrap();
            drop(results);
            drop(go);
        }
    }
    root.close().await;
    assert_eq!((cleaned.load(Ordering::SeqCst), alive.count()), (2, 0));
}

fn stream_of(work: impl FnOnce() -> Feed<u32> + Send + 'static) -> impl Iterator<Item = Feed<u32>> + Send {
    std::iter::once(work).map(|work| work())
}
