//! What holders keep, show and report when they are stopped, dropped, and looked at from outside.

mod reports;

use std::collections::HashSet;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use machinery::{Ctx, TaskHolder, task_holder};
use reports::Reports;

/// Reliability 16, for the value.
#[tokio::test]
async fn scenario_16_the_end_of_a_holder_dropped_at_any_await_aborts_what_is_left_and_says_so() {
    for polls in 0..4 {
        for stop in [false, true] {
            let reports = Reports::default();
            let root = reports.root();
            let living = Arc::new(());
            let tasks = TaskHolder::builder(&root).name("tasks").collect_all().build();
            let mine = Arc::clone(&living);
            let deaf = tasks.add_with("deaf", |_| async move {
                pending::<()>().await;
                drop(mine);
            });
            tasks.add("failing", async { Err::<(), _>("no route") });
            tokio::task::yield_now().await;
            let mut ending: Pin<Box<dyn Future<Output = _>>> =
                if stop { Box::pin(tasks.stop()) } else { Box::pin(tasks.finish()) };
            for _ in 0..polls {
                assert!(ending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                tokio::task::yield_now().await;
            }
            drop(ending);
            root.close().await;
            assert_eq!(Arc::strong_count(&living), 1, "after {polls} polls");
            assert!(deaf.await.unwrap_err().is_cancelled());
            let told = reports.all();
            assert_eq!(told.len(), 2, "{told:?}");
            assert!(told[0].contains("a holder was dropped with 1 task running: `deaf`"), "{told:?}");
            assert_eq!(told[1], "root-->tasks failing: a task failed: no route");
        }
    }
}

#[tokio::test]
async fn a_failure_that_speaks_of_another_context_is_kept_when_the_holder_is_stopped() {
    let reports = Reports::default();
    let root = reports.root();
    let database = Ctx::beginning("database");
    let failures = TaskHolder::builder(&root)
        .collect_all()
        .scope(async |tasks| {
            let stopped = tasks.ctx().clone();
            tasks.add_with("query", |ctx| async move {
                ctx.done().await;
                database.set_exception("disk full");
                database.run(pending::<()>()).await
            });
            tasks.add_with("other", |ctx| async move { stopped.run(pending::<()>()).await.map(|()| drop(ctx)) });
            tokio::task::yield_now().await;
            root.cancel();
        })
        .await
        .unwrap_err();
    assert_eq!(failures.tasks().map(|task| task.name().as_str()).collect::<Vec<_>>(), ["query"]);
    assert!(failures.first().unwrap().to_string().contains("disk full"));
    assert!(failures.completion().is_some());
}

#[tokio::test]
async fn an_error_that_only_says_that_its_context_completed_is_a_cancellation() {
    let reports = Reports::default();
    let root = reports.root();
    task_holder(&root, async |tasks| {
        tasks.add_with("run", |ctx| async move { ctx.run(pending::<()>()).await });
        tasks.add_with(
            "limited",
            |ctx| async move { machinery::async_with_timeout(&ctx, "work", pending::<()>()).await },
        );
        tokio::task::yield_now().await;
        root.set_exception("disk full");
    })
    .await;
    assert_eq!(reports.all(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_inner_scope_was_only_cut_by_the_end_of_its_context_is_a_cancellation() {
    let reports = Reports::default();
    for failed in [false, true] {
        let root = reports.root();
        let ended = TaskHolder::builder(&root)
            .fail_fast()
            .scope(async |tasks| {
                tasks.add_with("cut", async |ctx| {
                    let inner = TaskHolder::builder(&ctx).fail_fast();
                    inner.scope(async |tasks| drop(tasks.add("forever", pending::<()>()))).await
                });
                tasks.add_with("the body says so", async |ctx| {
                    let inner = TaskHolder::builder(&ctx).collect_all();
                    inner.scope(async |tasks| tasks.ctx().run(pending::<()>()).await).await
                });
                tokio::task::yield_now().await;
                if failed {
                    tasks.add("failing", async { Err::<(), _>("no route") });
                } else {
                    root.set_exception("disk full");
                }
            })
            .await
            .unwrap_err();
        assert_eq!(ended.len(), usize::from(failed), "{ended}");
        assert_eq!(ended.completion().is_some(), !failed);
    }

    // What failed inside is a failure outside as well.
    let root = reports.root();
    task_holder(&root, async |tasks| {
        tasks.add_with("clean-up", async |ctx| {
            let inner = TaskHolder::builder(&ctx).collect_all();
            inner
                .scope(async |tasks| {
                    tasks.add_with("flush", async |ctx| {
                        ctx.done().await;
                        Err::<(), _>("disk full")
                    });
                })
                .await
        });
        tokio::task::yield_now().await;
        root.cancel();
    })
    .await;
    assert_eq!(reports.take().len(), 1);
}

/// The second holder's context most likely lies where that of the first one lay.
#[tokio::test]
async fn a_failure_of_an_earlier_holder_that_stops_a_later_one_comes_from_outside() {
    let root = Ctx::beginning("root");
    let attempts = root.child("attempts");
    let first = TaskHolder::builder(&attempts).name("tasks").collect_all().build();
    first.add("query", async { Err::<(), _>("no route") });
    let error = first.finish().await.unwrap_err().into_tasks().remove(0);

    let second = TaskHolder::builder(&attempts).name("tasks").collect_all().build();
    let query = second.add("query", pending::<()>());
    tokio::task::yield_now().await;
    attempts.set_exception(error);
    assert!(query.await.unwrap_err().is_cancelled());
    let failures = second.finish().await.unwrap_err();
    assert!(failures.completion().is_some());
}

/// The context of the second lies where that of the first one lay, most likely, and both complete in one instant.
#[tokio::test(start_paused = true)]
async fn a_failure_that_speaks_of_a_context_that_is_gone_is_kept() {
    let root = Ctx::beginning("root");
    let database = root.child("database");
    database.set_exception("disk full");
    let error = machinery::async_with_timeout(&database, "query", pending::<()>()).await.unwrap_err();
    drop(database);

    let server = root.child("server");
    let tasks = TaskHolder::builder(&server).collect_all().build();
    tasks.add_with("report", |ctx| async move {
        ctx.done().await;
        Err::<(), _>(error)
    });
    tokio::task::yield_now().await;
    server.set_exception("no route");
    let failures = tasks.finish().await.unwrap_err();
    assert_eq!(failures.len(), 1, "{failures}");
}

/// Reliability 37, for tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenario_37_snapshots_while_tasks_come_and_go_have_each_at_most_once() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let (handle, over) = (tasks.handle(), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&over);
    let looking = tokio::task::spawn_blocking(move || {
        let mut looks = 0;
        while looks < 1_000 || !until.load(Ordering::SeqCst) {
            let held = handle.held();
            let names: HashSet<&str> = held.iter().map(|task| task.name().as_str()).collect();
            assert_eq!(names.len(), held.len());
            looks += 1;
        }
    });
    for n in 0..10_000 {
        tasks.add(format!("task {n}"), tokio::task::yield_now());
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    tasks.finish().await;
    over.store(true, Ordering::SeqCst);
    looking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fail_fast_returns_the_failures_of_the_clean_up_beside_the_one_that_stopped_it() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = TaskHolder::builder(&root).name("tasks").fail_fast().build();
    tasks.add_with("flush", |ctx| async move {
        let why = ctx.done().await;
        assert_eq!(why.error().unwrap().to_string(), "task `query` of `root-->tasks` failed: no route");
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err::<(), _>("disk full")
    });
    tasks.add_with("goodbye", |ctx| async move {
        ctx.done().await;
        panic!("a mistake, number {}", 7);
    });
    tasks.add("cut", pending::<()>());
    tasks.add("query", async {
        tokio::task::yield_now().await;
        Err::<(), _>("no route")
    });
    let failures = tasks.finish().await.unwrap_err();
    let told: Vec<_> = failures.tasks().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "task `query` of `root-->tasks` failed: no route",
            "task `goodbye` of `root-->tasks` panicked: a mistake, number 7",
            "task `flush` of `root-->tasks` failed: disk full",
        ]
    );
    assert!(failures.completion().is_none(), "nothing came from outside");
    assert_eq!(reports.all(), Vec::<String>::new());
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a mistake");
    }
}

#[tokio::test]
async fn a_failure_that_comes_after_a_drop_of_the_holder_is_reported() {
    for fail_fast in [false, true] {
        let reports = Reports::default();
        let root = reports.root();
        let builder = TaskHolder::builder(&root).name("tasks");
        let add = |tasks: &machinery::holder::Tasks| {
            let bomb = Bomb;
            tasks.add("bad", async move {
                pending::<()>().await;
                drop(bomb);
            });
        };
        if fail_fast {
            let tasks = builder.fail_fast().build();
            add(&tasks);
        } else {
            let tasks = builder.collect_all().build();
            add(&tasks);
        }
        root.close().await;
        let told = reports.all();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], "root-->tasks bad: a task panicked: a mistake");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_aborted_at_the_end_of_the_grace_is_reported_once_when_the_body_ends_in_that_instant() {
    let reports = Reports::default();
    let root = reports.root();
    let mut scope = pin!(TaskHolder::builder(&root).grace(Duration::from_secs(1)).scope(async |tasks| {
        tasks.add_with("deaf", |_| pending::<()>());
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    root.cancel();
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(Duration::from_secs(2)).await;
    // The grace ends beside the body, then the body does, and the task has not had its turn.
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    scope.await;
    assert_eq!(reports.count("has not stopped within its grace"), 1, "{:?}", reports.all());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_body_is_reported_where_the_scope_is_dropped_in_its_last_wait() {
    let reports = Reports::default();
    let root = reports.root();
    let slow = |ctx: Ctx| async move {
        ctx.done().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    };
    let soon = Duration::from_secs(1);
    let told = || {
        let told = reports.take().into_iter().filter(|line| line.contains("of its body")).collect::<Vec<_>>();
        told.join("; ")
    };
    let what = "root-->task_holder: a scope was dropped half-way, with an error of its body that nobody read";

    let scope = task_holder(&root, async |tasks| {
        tasks.add_with("slow", slow);
        tokio::task::yield_now().await;
        panic!("a mistake")
    });
    let scope: Pin<Box<dyn Future<Output = ()>>> = Box::pin(scope);
    assert!(tokio::time::timeout(soon, scope).await.is_err());
    assert_eq!(told(), format!("{what}: panicked: a mistake"));

    let scope = TaskHolder::builder(&root).collect_all().scope(async |tasks| {
        tasks.add_with("slow", slow);
        tokio::task::yield_now().await;
        Err::<(), _>("no route")
    });
    assert!(tokio::time::timeout(soon, scope).await.is_err());
    assert_eq!(told(), format!("{what}: no route"));
    root.close().await;
}

/// An error that cannot become one.
struct Bad;

impl From<Bad> for Box<dyn std::error::Error + Send + Sync> {
    fn from(_: Bad) -> Self {
        panic!("a conversion that panics")
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_nobody_read_and_that_panics_when_it_is_looked_at_is_reported_as_that() {
    let reports = Reports::default();
    let root = reports.root();
    let scope = TaskHolder::builder(&root).collect_all().scope(async |tasks| {
        tasks.add_with("slow", |_| tokio::time::sleep(Duration::from_secs(10)));
        tokio::task::yield_now().await;
        Err::<(), _>(Bad)
    });
    assert!(tokio::time::timeout(Duration::from_secs(1), scope).await.is_err());
    assert_eq!(
        reports.count("of its body that nobody read: panicked: a conversion that panics"),
        1,
        "{:?}",
        reports.all()
    );
    root.close().await;
}

#[tokio::test]
async fn whoever_waits_for_a_holder_is_woken_when_the_context_counts_none_of_its_work() {
    /// Says what is at work when it is woken.
    struct Looks(Ctx, Mutex<Vec<String>>);

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0.unfinished().to_string());
        }
    }

    let root = Ctx::beginning("app");
    let tasks = TaskHolder::new(&root);
    tasks.add("poll", pending::<()>());
    tokio::task::yield_now().await;
    let looks = Arc::new(Looks(root.ctx(), Mutex::default()));
    let waker = Waker::from(Arc::clone(&looks));
    let mut finish = pin!(tasks.finish());
    assert!(finish.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    root.cancel();
    root.drained().await;
    assert_eq!(*looks.1.lock().unwrap(), ["app(cancelled): nothing is at work\n"]);
    assert!(finish.poll(&mut Context::from_waker(&waker)).is_ready());
}

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test]
async fn a_holder_is_not_finished_while_what_a_task_returned_to_nobody_is_dropped() {
    /// Polls the end of the holder when it is dropped.
    struct Looks(Arc<Mutex<Option<Ending>>>, Arc<AtomicBool>);

    impl Drop for Looks {
        fn drop(&mut self) {
            let Some(mut ending) = self.0.lock().unwrap().take() else { return };
            let poll = ending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.1.store(poll.is_pending(), Ordering::SeqCst);
            *self.0.lock().unwrap() = Some(ending);
        }
    }

    for aborted in [false, true] {
        let root = Ctx::beginning("app");
        let tasks = TaskHolder::new(&root);
        let (ending, waited) = (Arc::default(), Arc::default());
        let (looks, going) = (Looks(Arc::clone(&ending), Arc::clone(&waited)), tasks.handle());
        let task = tasks.add("loads", async move { Some(looks) });
        if aborted {
            task.cancel(); // too late for a task that ends at its first poll, but not for the order
        }
        drop(task);
        *ending.lock().unwrap() = Some(Box::pin(tasks.finish()));
        while going.pending() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(waited.load(Ordering::SeqCst), "aborted: {aborted}");
        let ending = ending.lock().unwrap().take();
        ending.expect("it was put back").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_return_within_the_grace_is_reported_and_waited_for() {
    for (body, told) in [(4, 0), (6, 1)] {
        let reports = Reports::default();
        let root = reports.root();
        TaskHolder::builder(&root)
            .grace(Duration::from_secs(5))
            .scope(async |_| {
                root.cancel();
                tokio::time::sleep(Duration::from_secs(body)).await;
            })
            .await;
        let what = "the body of a scope has not returned within its grace of 5s: it is waited for";
        assert_eq!(reports.count(what), told, "{:?}", reports.all());
        assert_eq!(reports.all().len(), told);
    }
}

#[tokio::test]
async fn tasks_that_only_a_shutdown_cut_are_not_said_to_have_failed() {
    let root = Ctx::beginning("app");
    for cut in [false, true] {
        let below = root.child("services");
        let ended = TaskHolder::builder(&below)
            .fail_fast()
            .scope(async |tasks| {
                tasks.add_with("orderly", |ctx| async move { drop(ctx.done().await) });
                if cut {
                    tasks.add("plain", pending::<()>());
                }
                tokio::task::yield_now().await;
                below.cancel_because("SIGTERM");
            })
            .await;
        let Some(failures) = ended.err() else {
            assert!(!cut);
            continue;
        };
        assert!(cut && failures.is_empty() && failures.body().is_none());
        let told = failures.to_string();
        let begins = "tasks in `app-->services-->task_holder` were cut: `app-->services` was cancelled at ";
        assert!(told.starts_with(begins) && told.ends_with(": SIGTERM"), "{told}");
    }
}
