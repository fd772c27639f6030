//! Waiting for an item in a thread, for so long at most.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock as a user does")]

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use machinery::queue::TryAppendError;
use machinery::sync_queue::NextTimeoutError;
use machinery::{Ctx, SyncQueue, sync_queue};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance};

type Waited = Result<Option<u32>, NextTimeoutError>;

/// Waits a minute at most, in a thread of its own.
fn wait(queue: &SyncQueue<u32>) -> oneshot::Receiver<Waited> {
    let (sender, receiver) = oneshot::channel();
    let mut items = queue.iter();
    thread::spawn(move || sender.send(items.next_timeout(Duration::from_secs(60))));
    receiver
}

/// As long as something blocks, the clock goes on only where it is moved: not while a thread is on its way.
fn blocking<R: Send + 'static>(code: impl FnOnce() -> R + Send + 'static) -> impl Future<Output = R> {
    let blocking = tokio::task::spawn_blocking(code);
    async { blocking.await.expect("no panic") }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time_on_the_clock_of_the_runtime() {
    let root = Ctx::beginning("app");
    let queue = sync_queue(&root).name("jobs").build();
    let start = Instant::now();
    let late = wait(&queue).await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    assert_eq!(late.to_string(), "no item came in 60s from the queue `app-->jobs`");
    // It can be asked again, and nothing was lost.
    queue.append(7);
    assert_eq!(wait(&queue).await.unwrap(), Ok(Some(7)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_once_with_an_item_or_the_end() {
    let root = Ctx::beginning("app");
    let queue = SyncQueue::new(&root);
    let start = Instant::now();
    let wait = || {
        let mut items = queue.iter();
        blocking(move || items.next_timeout(Duration::from_secs(60)))
    };
    let (waited, ()) = tokio::join!(wait(), async {
        advance(Duration::from_secs(1)).await;
        queue.append(7);
    });
    assert_eq!(waited, Ok(Some(7)));
    let (waited, ()) = tokio::join!(wait(), async {
        advance(Duration::from_secs(1)).await;
        root.cancel();
    });
    assert_eq!(waited, Ok(None));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[test]
fn where_no_runtime_runs_the_real_clock_ends_a_wait() {
    let brief = Duration::from_millis(1);
    let without = Ctx::beginning("without");
    assert!(SyncQueue::<u32>::new(&without).iter().next_timeout(brief).is_err());

    let untimed = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let idle = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for runtime in [untimed, idle] {
        let _inside = runtime.enter();
        let root = Ctx::beginning("idle");
        let queue = SyncQueue::<u32>::new(&root);
        assert!(queue.iter().next_timeout(brief).is_err());
        assert!(queue.iter().next_timeout(Duration::ZERO).is_err());
        queue.append(7);
        assert_eq!(queue.iter().next_timeout(Duration::MAX).unwrap(), Some(7));
    }
}

#[test]
fn a_wait_of_any_length_ends_with_the_context() {
    let root = Ctx::beginning("app");
    let queue = SyncQueue::<u32>::new(&root);
    let mut items = queue.iter();
    let waiting = thread::spawn(move || (items.next_timeout(Duration::MAX), items.is_over()));
    root.cancel();
    assert_eq!(waiting.join().unwrap(), (Ok(None), true));
}

#[test]
fn scenario_32_a_wait_ends_in_the_destructors_of_a_thread() {
    struct AtExit(SyncQueue<u32>, mpsc::Sender<[Waited; 2]>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            let mut items = self.0.iter();
            let late = items.next_timeout(Duration::from_millis(1));
            self.0.append(7);
            self.1.send([late, items.next_timeout(Duration::from_secs(60))]).unwrap();
        }
    }
    thread_local!(static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let handle = runtime.handle().clone();
    let root = runtime.block_on(async { Ctx::beginning("app") });
    let queue = SyncQueue::new(&root);
    let (sender, seen) = mpsc::channel();
    let code = move || {
        AT_EXIT.with(|slot| *slot.borrow_mut() = Some(AtExit(queue, sender)));
        // What Tokio has of a thread comes later, and so it goes earlier.
        drop(handle.enter());
    };
    thread::spawn(code).join().unwrap();
    let [late, came] = seen.recv().unwrap();
    assert!(late.is_err());
    assert_eq!(came, Ok(Some(7)));
}

/// Appends in a thread of its own, and waits a minute at most.
fn append(queue: &SyncQueue<u32>, item: u32) -> oneshot::Receiver<Result<(), TryAppendError<u32>>> {
    let (sender, receiver) = oneshot::channel();
    let queue = queue.clone();
    thread::spawn(move || sender.send(queue.append_timeout(item, Duration::from_secs(60))));
    receiver
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_room_ends_with_its_time_and_gives_the_item_back() {
    let root = Ctx::beginning("app");
    for capacity in [0, 1] {
        let queue = sync_queue(&root).capacity(capacity).build();
        if capacity == 1 {
            append(&queue, 1).await.unwrap().unwrap();
        }
        assert!(queue.is_full());
        let start = Instant::now();
        let late = append(&queue, 2).await.unwrap().unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(60));
        assert!(late.is_full());
        assert_eq!(late.into_inner(), 2);
        // It stands in nobody's way.
        queue.remaining().for_each(drop);
        let mut items = queue.for_tasks().stream();
        let (appended, item) = tokio::join!(append(&queue, 3), items.next());
        appended.unwrap().unwrap();
        assert_eq!(item, Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_room_ends_at_once_with_room_or_the_end() {
    let root = Ctx::beginning("app");
    let queue = sync_queue(&root).capacity(1).build();
    queue.append(1);
    let start = Instant::now();
    let append = |item| {
        let queue = queue.clone();
        blocking(move || queue.append_timeout(item, Duration::from_secs(60)))
    };
    let (appended, ()) = tokio::join!(append(2), async {
        advance(Duration::from_secs(1)).await;
        assert_eq!(queue.remaining().next(), Some(1));
    });
    appended.unwrap();
    let (refused, ()) = tokio::join!(append(3), async {
        advance(Duration::from_secs(1)).await;
        root.cancel();
    });
    let refused = refused.unwrap_err();
    assert!(refused.is_done() && refused.completion().is_some());
    assert_eq!(refused.into_inner(), 3);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert!(append(4).await.unwrap_err().is_done());
}

#[test]
fn a_queue_is_full_where_it_has_no_room_left() {
    let root = Ctx::beginning("app");
    assert!(!SyncQueue::<u32>::new(&root).is_full());
    assert!(sync_queue(&root).capacity(0).build::<u32>().is_full());
    let queue = sync_queue(&root).capacity(1).build();
    assert!(!queue.is_full());
    queue.append(1);
    queue.append(2);
    assert!(queue.is_full() && queue.for_tasks().is_full());
    assert!(queue.append_timeout(3, Duration::ZERO).unwrap_err().is_full());
    queue.remaining().for_each(drop);
    assert!(!queue.is_full());
    queue.append_timeout(3, Duration::MAX).unwrap();
}
