//! What goes wrong below a context is reported before that is drained: whoever has waited has it in the log.

mod faults;

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::FailsTwice;
use futures_util::FutureExt;
use machinery::aexit::{AsyncExit, Ended, ensure_aexit};
use machinery::{
    AsyncGenerator, Ctx, CtxGuard, CtxOptions, Feed, Report, TaskHolder, Tramp, async_as_background_with,
    async_with_timeout, queue_manager,
};
use tokio::time::{sleep, timeout};

/// Writes down what is reported, and whether somebody who waits for the root would have been let go by then.
#[derive(Clone, Default)]
struct Watching {
    root: Arc<Mutex<Option<Ctx>>>,
    told: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Tramp for Watching {
    fn log_exception(&self, report: &Report<'_>) {
        let root = self.root.lock().expect("never poisoned").clone().expect("set at once");
        let drained = root.is_done() && root.drained().now_or_never().is_some();
        self.told.lock().expect("never poisoned").push((report.to_string(), drained));
    }
}

impl Watching {
    fn root(&self) -> CtxGuard {
        let root =
            Ctx::beginning_with("root", CtxOptions::new().tramp(self.clone())).expect("no deadline is asked for");
        *self.root.lock().expect("never poisoned") = Some(root.ctx());
        root
    }

    /// Closes the context, after which everything has been told, and in time.
    async fn close(&self, root: CtxGuard, what: &str) {
        root.close().await;
        // Which has this for its tramp, and would be kept for ever.
        self.root.lock().expect("never poisoned").take();
        let told = self.told.lock().expect("never poisoned").clone();
        assert_eq!(told, [(what.to_owned(), false)]);
    }
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// Fails once its time has come.
async fn fails(ctx: Ctx) -> Result<(), &'static str> {
    ctx.done().await;
    sleep(one_second()).await;
    Err("disk full")
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_task_in_the_background() {
    let watching = Watching::default();
    let root = watching.root();
    drop(async_as_background_with(&root, "flush", fails));
    watching.close(root, "a task failed and nobody read its error: disk full").await;
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_task_in_a_holder() {
    let watching = Watching::default();
    let root = watching.root();
    let tasks = TaskHolder::new(&root);
    tasks.add_with("flush", fails);
    let finish = tasks.finish();
    tokio::join!(finish, watching.close(root, "a task failed: disk full"));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_finish_that_was_left() {
    struct Thing;

    impl AsyncExit for Thing {
        type Error = io::Error;

        async fn start(&mut self) -> io::Result<()> {
            pending().await
        }

        async fn finish(self, _: Ended) -> io::Result<()> {
            sleep(one_second()).await;
            Err(io::Error::other("disk full"))
        }
    }

    let watching = Watching::default();
    let root = watching.root();
    let run = ensure_aexit(&root, "thing", Thing, async |_| Ok::<_, io::Error>(()));
    assert!(timeout(one_second(), run).await.is_err());
    watching.close(root, "finish failed: disk full").await;
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_generator_that_was_dropped() {
    let watching = Watching::default();
    let root = watching.root();
    let mut lines = AsyncGenerator::on(&root, "lines", |_, mut y| async move {
        let thrown = y.yield_("line").await.unwrap_err();
        sleep(one_second()).await;
        assert!(thrown.is_closed(), "it was closed");
        panic!("a mistake")
    });
    assert_eq!(lines.next().await, Some("line"));
    drop(lines);
    watching.close(root, "the clean-up of a dropped generator failed: panicked: a mistake").await;
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_source_whose_manager_was_dropped() {
    let watching = Watching::default();
    let root = watching.root();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let generator = AsyncGenerator::fallible(|mut y| async move {
        assert!(y.yield_(1).await.is_err());
        sleep(one_second()).await;
        Err("disk full".into())
    });
    feeder.add("numbers", Feed::generator(generator));
    assert_eq!(results.next().await.unwrap().into_value(), Some(1));
    drop(results);
    watching.close(root, "source failed after its stream had ended: disk full").await;
}

#[tokio::test(start_paused = true)]
async fn the_panic_of_work_with_a_time_limit_that_is_dropped() {
    let watching = Watching::default();
    let root = watching.root();
    let work = FailsTwice;
    let late = async_with_timeout(&root, "late", async move {
        let _held = &work;
        pending::<()>().await
    });
    let stopped = async { assert!(late.await.unwrap_err().completion().is_some()) };
    let what = "work failed after its time was over: panicked: a mistake";
    tokio::join!(stopped, watching.close(root, what));
}
