//! Task holders, in both forms.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "the tests stand where callers do, with foreign tasks and the clock")]

mod reports;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use machinery::{Ctx, Task, TaskHolder, Tasks, task_holder};
use reports::Reports;
use tokio::time::{Instant, sleep};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Says when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn flag() -> (Arc<AtomicBool>, impl Fn() + Send + Sync + Clone + 'static) {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    (flag, move || set.store(true, Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn leaving_the_scope_waits_for_all_tasks() {
    let root = Ctx::beginning("root");
    let done = AtomicUsize::new(0);
    let started = Instant::now();
    let done = &done;
    let answer = task_holder(&root, async |tasks| {
        for n in 1..=5 {
            tasks.add(format!("task {n}"), sleep(seconds(n)));
        }
        assert_eq!(tasks.pending(), 5);
        done.fetch_add(1, Ordering::SeqCst);
        7
    })
    .await;
    assert_eq!((answer, done.load(Ordering::SeqCst)), (7, 1));
    assert_eq!(started.elapsed(), seconds(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_borrows_runs_inside_a_spawned_task() {
    let handle = tokio::task::spawn(async {
        let root = Ctx::beginning("root");
        let words = vec!["a".to_owned(), "bc".to_owned()];
        let mut sum = 0;
        task_holder(&root, async |tasks| {
            for word in &words {
                let length = word.len();
                sum += tasks.add(word, async move { length }).await.unwrap();
            }
        })
        .await;
        sum
    });
    assert_eq!(handle.await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn tasks_added_by_tasks_during_the_last_wait_are_waited_for() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let (seen, see) = flag();
    let more = tasks.handle();
    tasks.add("first", async move {
        sleep(seconds(1)).await;
        let again = more.clone();
        more.add("second", async move {
            sleep(seconds(1)).await;
            again.add("third", async move {
                sleep(seconds(1)).await;
                see();
            });
        });
    });
    tasks.finish().await;
    assert!(seen.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn completion_of_the_context_cancels_the_tasks_at_once_and_waits_for_them() {
    let root = Ctx::beginning("root");
    let (dropped, drop_it) = flag();
    let cleaned = Arc::new(Mutex::new(None));
    let started = Instant::now();
    let body_went_on = task_holder(&root, async |tasks| {
        let cleaned = Arc::clone(&cleaned);
        tasks.add("plain", async move {
            let _guard = OnDrop(drop_it);
            pending::<()>().await;
        });
        tasks.add_with("told", |ctx| async move {
            ctx.done().await;
            sleep(seconds(3)).await;
            *cleaned.lock().unwrap() = Some(started.elapsed());
        });
        sleep(seconds(1)).await;
        root.cancel();
        tokio::task::yield_now().await;
        assert!(dropped.load(Ordering::SeqCst));
        assert!(tasks.ctx().is_done());
        sleep(seconds(1)).await;
        true
    })
    .await;
    assert!(body_went_on);
    assert_eq!(*cleaned.lock().unwrap(), Some(seconds(4)));
    assert_eq!(started.elapsed(), seconds(4));
}

#[tokio::test(start_paused = true)]
async fn a_failing_body_cancels_the_tasks_and_then_the_failure_goes_on() {
    let root = Ctx::beginning("root");
    let (cleaned, clean) = flag();
    let result = task_holder(&root, async |tasks| {
        tasks.add("forever", pending::<()>());
        tasks.add_with("told", |ctx| async move {
            let why = ctx.done().await;
            assert_eq!(why.reason(), Some("the body of the scope failed"));
            sleep(seconds(1)).await;
            clean();
        });
        tokio::task::yield_now().await;
        Err::<(), _>("no route")
    })
    .await;
    assert_eq!(result, Err("no route"));
    assert!(cleaned.load(Ordering::SeqCst));
    assert!(!root.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_panicking_body_cancels_the_tasks_and_then_the_panic_goes_on() {
    let (cleaned, clean) = flag();
    let scope = tokio::task::spawn(async move {
        let root = Ctx::beginning("root");
        task_holder(&root, async |tasks| {
            tasks.add_with("told", |ctx| async move {
                ctx.done().await;
                sleep(seconds(1)).await;
                clean();
            });
            tokio::task::yield_now().await;
            panic!("a mistake");
        })
        .await;
    });
    let panic = scope.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a mistake"));
    assert!(cleaned.load(Ordering::SeqCst));
}

/// A body written by hand, which is over at once and panics where it is told to.
struct Panics {
    polled: bool,
    dropped: bool,
}

impl Future for Panics {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        assert!(!self.polled, "polled");
        Poll::Ready(7)
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(!self.dropped, "dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_outside_its_poll_has_the_tasks_cleaned_up_as_well() {
    for (called, polled, dropped, expected) in
        [(true, false, false, "called"), (false, false, true, "dropped"), (false, true, true, "polled")]
    {
        let reports = Reports::default();
        let root = reports.root();
        let (cleaned, clean) = flag();
        let scope = tokio::task::spawn(async move {
            task_holder(&root, |tasks: &Tasks| {
                tasks.add_with("told", |ctx| async move {
                    ctx.done().await;
                    sleep(seconds(1)).await;
                    clean();
                });
                assert!(!called, "called");
                Panics { polled, dropped }
            })
            .await
        });
        let panic = scope.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&expected));
        assert!(cleaned.load(Ordering::SeqCst), "{expected}");
        // Of two panics the first goes on.
        let second = "root-->task_holder: the drop of the body of a scope panicked: dropped";
        assert_eq!(reports.all(), if polled { vec![second] } else { vec![] });
    }
}

#[tokio::test]
async fn by_default_a_failing_task_is_reported_and_its_siblings_go_on() {
    let reports = Reports::default();
    let root = reports.root();
    let (went_on, go) = flag();
    let seven = task_holder(&root, async |tasks| {
        tasks.add("bad", async { Err::<(), _>("no route") });
        tasks.add("worse", async { panic!("a mistake") });
        tasks.add("good", async move {
            tokio::task::yield_now().await;
            go();
        });
        7
    })
    .await;
    assert_eq!(seven, 7);
    assert!(went_on.load(Ordering::SeqCst));
    assert_eq!(
        reports.all(),
        ["root-->task_holder bad: a task failed: no route", "root-->task_holder worse: a task panicked: a mistake",]
    );
}

#[tokio::test]
async fn fail_fast_stops_the_siblings_and_returns_the_failure() {
    let reports = Reports::default();
    let root = reports.root();
    let failures = TaskHolder::builder(&root)
        .name("tasks")
        .fail_fast()
        .scope(async |tasks| {
            tasks.add("forever", pending::<()>());
            tasks.add("bad", async { Err::<(), _>(std::io::Error::other("disk full")) });
            tasks.ctx().done().await;
        })
        .await
        .unwrap_err();
    assert_eq!(failures.len(), 1);
    let first = failures.first().unwrap();
    assert_eq!((first.name().as_str(), first.kind()), ("bad", Some("Error")));
    assert_eq!(first.error().unwrap().to_string(), "disk full");
    assert!(failures.completion().is_none());
    assert!(!root.is_done());
    assert_eq!(reports.all(), [""; 0], "who gets the failures needs no report");
}

#[tokio::test]
async fn collect_all_lets_the_siblings_go_on_and_returns_every_failure_by_name() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::builder(&root).collect_all().build();
    let (went_on, go) = flag();
    tasks.add("bad", async { Err::<(), _>("no route") });
    tasks.add("worse", async { panic!("a mistake, number {}", 7) });
    tasks.add("good", async move {
        tokio::task::yield_now().await;
        go();
    });
    let failures = tasks.finish().await.unwrap_err();
    let told: Vec<_> = failures.tasks().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "task `bad` of `root-->task_holder` failed: no route",
            "task `worse` of `root-->task_holder` panicked: a mistake, number 7",
        ]
    );
    assert!(failures.first().is_some_and(|first| !first.is_panic()));
    assert!(went_on.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_result_policy_keeps_the_error_of_the_body_beside_those_of_the_tasks() {
    let root = Ctx::beginning("root");
    let builder = TaskHolder::builder(&root).collect_all();
    let failures = builder
        .scope(async |tasks| {
            let bad = tasks.add("bad", async { Err::<(), _>("no route") });
            bad.await.unwrap_err();
            Err::<u32, _>("no plan")
        })
        .await
        .unwrap_err();
    assert_eq!(failures.body().unwrap().to_string(), "no plan");
    assert_eq!(failures.first().unwrap().name(), "bad");
    assert!(failures.completion().is_none(), "the stop was the holder's own");
    assert!(
        failures.to_string().starts_with("2 failures in `root-->task_holder`: the body failed: no plan; task `bad`")
    );
}

/// Reliability 29.
#[tokio::test(start_paused = true)]
async fn scenario_29_a_childs_error_together_with_completion_from_outside_are_both_kept() {
    for fail_fast in [false, true] {
        let root = Ctx::beginning("root");
        let outer = root.child("outer");
        let stop = outer.canceller();
        let body = async |tasks: &machinery::Tasks| {
            tasks.add("forever", pending::<()>());
            tasks.add_with("bad", |ctx| async move {
                ctx.done().await;
                Err::<(), _>("could not flush")
            });
            sleep(seconds(1)).await;
            stop.cancel_because("SIGTERM");
        };
        let builder = TaskHolder::builder(&outer);
        let failures = match fail_fast {
            true => builder.fail_fast().scope(body).await.unwrap_err(),
            false => builder.collect_all().scope(body).await.unwrap_err(),
        };
        assert_eq!(failures.first().unwrap().error().unwrap().to_string(), "could not flush");
        assert_eq!(failures.completion().unwrap().reason(), Some("SIGTERM"));
        let shown = failures.to_string();
        assert!(shown.contains("could not flush") && shown.contains("SIGTERM"), "{shown}");
    }
}

#[tokio::test]
async fn completion_from_outside_that_cuts_nothing_is_no_failure() {
    let root = Ctx::beginning("root");
    let stop = root.canceller();
    let done = TaskHolder::builder(&root)
        .collect_all()
        .scope(async |tasks| {
            tasks.add_with("told", |ctx| async move {
                ctx.done().await;
            });
            stop.cancel();
        })
        .await;
    assert!(done.is_ok());
}

/// Reliability 26.
#[tokio::test]
async fn scenario_26_a_holder_that_outlives_a_million_finished_tasks_keeps_nothing_of_them() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let living = Arc::new(());
    let mut most = 0;
    for _ in 0..1_000 {
        for _ in 0..1_000 {
            let living = Arc::clone(&living);
            tasks.add("quick", async move {
                tokio::task::yield_now().await;
                drop(living);
            });
        }
        while tasks.pending() > 0 {
            tokio::task::yield_now().await;
        }
        most = most.max(Arc::strong_count(&living));
        assert_eq!(tasks.held().len(), 0);
    }
    assert_eq!(most, 1);
    tasks.finish().await;
}

/// Reliability 27, with the add before the close.
#[tokio::test]
async fn scenario_27_a_task_added_in_the_last_wait_is_waited_for() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let more = tasks.handle();
    let (seen, see) = flag();
    tasks.add("first", pending_twice());
    let mut finish = pin!(tasks.finish());
    assert!(poll_once(finish.as_mut()).is_pending());
    more.try_add("late", async move { see() }).unwrap();
    finish.await;
    assert!(seen.load(Ordering::SeqCst));
}

/// Reliability 27, with the add after the close.
#[tokio::test]
async fn scenario_27_a_task_added_after_the_close_is_refused_with_its_work_given_back() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = TaskHolder::builder(&root).name("tasks").build();
    let more = tasks.handle();
    tasks.finish().await;

    let refused = more.try_add("late", async { 7 }).unwrap_err();
    assert_eq!(refused.name(), "late");
    assert_eq!(refused.into_work().await, 7);
    let refused = more.try_add_with("late", |_| async { 8 }).unwrap_err();
    assert_eq!(refused.into_work()(root.ctx()).await, 8);
    assert_eq!(reports.all(), [""; 0]);

    let task = more.add("later", async { 7 });
    assert!(task.is_done() && task.is_cancelled());
    assert!(task.await.unwrap_err().is_refused());
    assert_eq!(reports.count("root-->tasks later: a task was refused"), 1);
}

/// Reliability 27, with the add and the close on two threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenario_27_a_task_racing_the_close_is_waited_for_or_refused() {
    for _ in 0..500 {
        let root = Ctx::beginning("root");
        let tasks = TaskHolder::new(&root);
        let more = tasks.handle();
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let adding = tokio::task::spawn_blocking(move || {
            (0..20)
                .filter(|_| {
                    let counted = Arc::clone(&counted);
                    let added = more.try_add("racing", async move {
                        counted.fetch_add(1, Ordering::SeqCst);
                    });
                    added.is_ok()
                })
                .count()
        });
        tasks.finish().await;
        let ran_at_the_close = ran.load(Ordering::SeqCst);
        let taken = adding.await.unwrap();
        assert_eq!(ran_at_the_close, taken);
    }
}

/// Reliability 28.
#[tokio::test(start_paused = true)]
async fn scenario_28_a_task_that_ignores_its_cancellation_is_named_when_the_grace_ends_and_aborted() {
    let reports = Reports::default();
    let root = reports.root();
    let started = Instant::now();
    let tasks = TaskHolder::builder(&root).name("tasks").grace(seconds(5)).build();
    let (dropped, drop_it) = flag();
    let line = line!() + 1;
    let deaf = tasks.add_with("deaf", |_| async move {
        let _guard = OnDrop(drop_it);
        pending::<()>().await;
    });
    tasks.add("plain", pending::<()>());
    tasks.add_with("orderly", |ctx| async move {
        ctx.done().await;
        sleep(seconds(4)).await;
    });
    sleep(seconds(2)).await;
    root.cancel();
    tasks.finish().await;

    assert_eq!(started.elapsed(), seconds(7));
    assert!(dropped.load(Ordering::SeqCst));
    let error = deaf.await.unwrap_err();
    assert!(error.to_string().ends_with("was aborted, as its grace was over"), "{error}");
    let told = reports.all();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("root-->tasks deaf: task `deaf`, spawned at "), "{told:?}");
    assert!(told[0].contains(&format!("{}:{line}:", file!())), "{told:?}");
    assert!(told[0].contains("has been running for 7"), "{told:?}");
    assert!(told[0].contains("within its grace of 5s"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_grace_ends_for_the_tasks_also_while_the_body_goes_on() {
    let reports = Reports::default();
    let root = reports.root();
    let builder = TaskHolder::builder(&root).grace(seconds(1));
    builder
        .scope(async |tasks| {
            let deaf = tasks.add_with("deaf", |_| pending::<()>());
            sleep(seconds(1)).await;
            root.cancel();
            sleep(seconds(2)).await;
            assert!(deaf.is_done());
        })
        .await;
    assert_eq!(reports.count("has not stopped within its grace of 1s"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grace_of_zero_and_one_without_end_are_kept() {
    let root = Ctx::beginning("root");
    let started = Instant::now();
    for (grace, lasts) in [(Duration::ZERO, 0), (Duration::MAX, 9)] {
        let below = root.child("below");
        let tasks = TaskHolder::builder(&below).grace(grace).build();
        tasks.add_with("slow", |ctx| async move {
            ctx.done().await;
            sleep(seconds(9)).await;
        });
        tokio::task::yield_now().await;
        let before = started.elapsed();
        drop(below);
        tasks.finish().await;
        let took = (started.elapsed() - before).as_secs();
        assert_eq!(took, lasts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_holder_aborts_what_is_left_and_says_so_and_the_context_above_waits() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = TaskHolder::builder(&root).name("tasks").build();
    let (dropped, drop_it) = flag();
    let slow = tasks.add_with("slow", |ctx| async move {
        let _guard = OnDrop(drop_it);
        ctx.done().await;
        pending::<()>().await;
    });
    sleep(seconds(2)).await;
    drop(tasks);
    let told = reports.all();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("root-->tasks: a holder was dropped with 1 task running: `slow` from "), "{told:?}");
    assert!(told[0].contains("running for 2"), "{told:?}");
    assert!(!dropped.load(Ordering::SeqCst), "a drop waits for nothing");

    root.close().await;
    assert!(dropped.load(Ordering::SeqCst));
    assert!(slow.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_holder_that_is_dropped_empty_says_nothing() {
    let reports = Reports::default();
    let root = reports.root();
    let tasks = TaskHolder::new(&root);
    tasks.add("quick", async {}).await.unwrap();
    tokio::task::yield_now().await;
    drop(tasks);
    assert_eq!(reports.all(), [""; 0]);
}

/// Reliability 16, for the scope and for `finish`.
#[tokio::test(start_paused = true)]
async fn scenario_16_a_scope_dropped_at_any_await_leaves_no_task_behind() {
    for polls in 0..6 {
        let reports = Reports::default();
        let root = reports.root();
        let living = Arc::new(());
        {
            let scope = task_holder(&root, async |tasks| {
                for _ in 0..3 {
                    let mine = Arc::clone(&living);
                    tasks.add("forever", async move {
                        pending::<()>().await;
                        drop(mine);
                    });
                    tokio::task::yield_now().await;
                }
            });
            let mut scope = pin!(scope);
            for _ in 0..polls {
                assert!(poll_once(scope.as_mut()).is_pending());
                tokio::task::yield_now().await;
            }
        }
        let left = reports.count("root-->task_holder: a holder was dropped with ");
        assert_eq!(left, usize::from(polls > 0), "{:?}", reports.all());
        root.close().await;
        assert_eq!(Arc::strong_count(&living), 1, "after {polls} polls");
    }
}

#[tokio::test]
async fn drained_waits_for_the_tasks_of_holders_below() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let (release, wait) = tokio::sync::oneshot::channel::<()>();
    tasks.add_with("told", |_| async move {
        wait.await.ok();
    });
    root.cancel();
    let mut drained = pin!(root.drained());
    tokio::task::yield_now().await;
    assert!(poll_once(drained.as_mut()).is_pending());
    release.send(()).unwrap();
    drained.await;
    tasks.finish().await;
}

#[tokio::test]
async fn a_holder_without_tasks_keeps_nobody_from_draining() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    tasks.add("quick", async {}).await.unwrap();
    root.cancel();
    root.drained().await;
    drop(tasks);
}

#[tokio::test]
async fn work_below_a_context_that_is_done_is_refused_and_says_so() {
    let reports = Reports::default();
    let root = reports.root();
    root.cancel_because("too late");
    let (ran, run) = flag();
    task_holder(&root, async |tasks| {
        let task = tasks.add("late", async move { run() });
        assert!(task.is_cancelled());
        assert!(tasks.try_add("later", async {}).unwrap_err().completion().is_some());
        assert!(task.await.unwrap_err().to_string().contains("too late"));
    })
    .await;
    assert!(!ran.load(Ordering::SeqCst));
    assert_eq!(reports.count("late: a task was refused"), 1);
}

#[tokio::test(start_paused = true)]
async fn held_tasks_are_seen_with_name_line_and_age() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let mut task = tasks.add("poll", pending::<()>());
    let elsewhere = TaskHolder::new(&root);
    assert!(tasks.contains(&task) && !elsewhere.contains(&task));
    assert_eq!((tasks.pending(), elsewhere.pending()), (1, 0));
    sleep(seconds(90)).await;
    let held = tasks.held();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].name(), "poll");
    assert_eq!(held[0].location().file(), file!());
    assert_eq!(held[0].running_for().unwrap().as_secs(), 90);
    task.cancel();
    (&mut task).await.unwrap_err();
    assert!(!tasks.contains(&task));
    assert_eq!((tasks.pending(), tasks.held().len()), (0, 0));
    tasks.finish().await;
    elsewhere.finish().await;
}

#[tokio::test]
async fn a_foreign_join_handle_is_waited_for_and_its_result_passed_on() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let good = tasks.add_task("good", tokio::task::spawn(async { Ok::<_, std::io::Error>(7) }));
    let bad = tasks.task("bad").silent().adopt(tokio::task::spawn(async { Err::<(), _>("no route") }));
    let worse = tasks.task("worse").silent().adopt(tokio::task::spawn(async { panic!("a mistake") }));
    assert_eq!(good.await.unwrap(), 7);
    assert_eq!(bad.await.unwrap_err().error().unwrap().to_string(), "no route");
    let worse = worse.await.unwrap_err();
    assert!(worse.is_panic() && worse.to_string().contains("a mistake"));
    tasks.finish().await;
}

#[tokio::test]
async fn cancellation_aborts_a_foreign_join_handle() {
    let root = Ctx::beginning("root");
    let (dropped, drop_it) = flag();
    let foreign = tokio::task::spawn(async move {
        let _guard = OnDrop(drop_it);
        pending::<()>().await;
    });
    task_holder(&root, async |tasks| {
        tasks.add_task("foreign", foreign);
        tokio::task::yield_now().await;
        root.cancel();
    })
    .await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_foreign_join_handle_that_is_refused_is_aborted() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let more = tasks.handle();
    tasks.finish().await;
    let (dropped, drop_it) = flag();
    let foreign = tokio::task::spawn(async move {
        let _guard = OnDrop(drop_it);
        pending::<()>().await;
    });
    tokio::task::yield_now().await;
    assert!(more.add_task("foreign", foreign).is_cancelled());
    tokio::task::yield_now().await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_task_of_another_holder_can_be_taken_over() {
    let root = Ctx::beginning("root");
    let (first, second) = (TaskHolder::new(&root), TaskHolder::new(&root));
    let task = first.add_with("told", |ctx| async move {
        ctx.done().await;
        7
    });
    let taken = second.add_task("taken", task);
    tokio::task::yield_now().await;
    second.cancel();
    second.finish().await;
    assert_eq!(taken.await.unwrap(), 7);
    assert_eq!(first.pending(), 0);
    first.finish().await;
}

#[tokio::test]
async fn the_failure_of_a_task_that_is_taken_over_is_reported_once() {
    let reports = Reports::default();
    let root = reports.root();
    let (first, second) = (TaskHolder::new(&root), TaskHolder::new(&root));
    let fails = async || Err::<(), _>("no route");

    let failed = second.add_task("taken", first.add("loud", fails())).await.unwrap_err();
    assert_eq!(failed.to_string(), "task `taken` of `root-->task_holder` failed: no route");
    assert_eq!(reports.take(), ["root-->task_holder loud: a task failed: no route"]);

    let silent = first.task("quiet").silent().spawn(fails());
    drop(second.add_task("taken", silent).await);
    assert_eq!(reports.take(), ["root-->task_holder taken: a task failed: no route"]);

    // Nobody reads it here, and it has been told of there.
    let taken = second.task("taken").silent().adopt(first.add("panics", async { panic!("a mistake") }));
    while !taken.is_done() {
        tokio::task::yield_now().await;
    }
    drop(taken);
    assert_eq!(reports.take(), ["root-->task_holder panics: a task panicked: a mistake"]);

    let collecting = TaskHolder::builder(&root).collect_all().build();
    collecting.add_task("taken", first.add("loud", fails()));
    let failures = collecting.finish().await.unwrap_err();
    assert_eq!(failures.first().unwrap().name(), "taken");
    assert_eq!(reports.take(), ["root-->task_holder loud: a task failed: no route"]);

    let collecting = TaskHolder::builder(&root).collect_all().build();
    drop(second.add_task("taken", collecting.add("collected", fails())).await);
    assert_eq!(collecting.finish().await.unwrap_err().len(), 1);
    first.finish().await;
    second.finish().await;
    assert_eq!(reports.all(), [""; 0]);
}

#[tokio::test]
async fn futures_that_are_not_send_run_in_a_local_set() {
    let set = tokio::task::LocalSet::new();
    set.run_until(async {
        let root = Ctx::beginning("root");
        let count = Rc::new(Cell::new(0));
        task_holder(&root, async |tasks| {
            for n in 1..=3 {
                let count = Rc::clone(&count);
                tasks.add_local("local", async move {
                    tokio::task::yield_now().await;
                    count.set(count.get() + n);
                });
            }
            let count = Rc::clone(&count);
            tasks.task("told").spawn_local_with(|ctx| async move {
                ctx.done().await;
                count.set(count.get() * 10);
            });
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            root.cancel();
        })
        .await;
        assert_eq!(count.get(), 60);
    })
    .await;
}

#[tokio::test]
async fn a_local_task_outside_a_local_set_panics_and_leaves_the_holder_usable() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tasks.add_local("local", async {});
    }));
    assert!(tried.is_err());
    assert_eq!(tasks.pending(), 0);
    tasks.add("good", async {});
    tasks.finish().await;
}

#[tokio::test]
async fn work_that_panics_when_it_is_called_leaves_the_holder_usable() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tasks.add_with("bad", |_| -> std::future::Ready<()> { panic!("at once") });
    }));
    assert!(tried.is_err());
    assert_eq!(tasks.pending(), 0);
    tasks.finish().await;
}

/// Reliability 31, for holders.
#[test]
fn scenario_31_the_runtime_dropped_with_holders_alive_settles_their_tasks() {
    for workers in [0, 2] {
        let runtime = runtime(workers);
        let root = Ctx::beginning("root");
        let (tasks, plain, told) = runtime.block_on(async {
            let tasks = TaskHolder::new(&root);
            let plain = tasks.add("plain", pending::<()>());
            let told = tasks.add_with("told", |_| pending::<()>());
            tokio::task::yield_now().await;
            (tasks, plain, told)
        });
        drop(runtime);
        for task in [plain, told] {
            assert!(task.is_done());
            let error = task.error().unwrap();
            assert!(error.to_string().ends_with("was cancelled: the runtime was shut down"), "{error}");
        }
        assert_eq!(tasks.pending(), 0);
        let after = tasks.add("after", async {});
        assert!(after.is_cancelled());
        drop(tasks);
        root.cancel();
        assert!(poll_once(pin!(root.drained())).is_ready());
    }
}

/// Reliability 32, for holders.
#[test]
fn scenario_32_handles_work_outside_a_runtime_after_its_shutdown_and_in_thread_local_destructors() {
    type Left = (Task<u32>, TaskHolder);
    thread_local!(static LEFT: Cell<Option<Left>> = const { Cell::new(None) });

    let root = Ctx::beginning("outside");
    let tasks = TaskHolder::new(&root);
    assert!(tasks.try_add("nowhere", async {}).unwrap_err().is_no_runtime());
    assert!(tasks.add("nowhere", async {}).error().unwrap().is_refused());
    drop(tasks);

    let runtime = runtime(0);
    let tasks = runtime.block_on(async { TaskHolder::new(&root) });
    {
        let _entered = runtime.enter();
        let task = tasks.add("entered", async { 7 });
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    }
    let root = Ctx::beginning_with("given", machinery::CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
    let given = TaskHolder::new(&root);
    let task = given.add("given", async { 7_u32 });
    let root = root.hand_over();
    std::thread::spawn(move || LEFT.set(Some((task, given)))).join().unwrap();
    assert!(!root.is_done());
    drop(runtime);
    assert!(tasks.handle().held().is_empty());
}

#[test]
fn everything_that_should_be_is_send_sync_and_unpin() {
    fn all<T: Send + Sync + Unpin>() {}
    fn send<T: Send>(_: &T) {}
    all::<TaskHolder>();
    all::<machinery::Tasks>();
    all::<Task<Cell<u8>>>();
    all::<machinery::TaskError>();
    all::<machinery::holder::Failures>();
    all::<machinery::holder::HeldTask>();
    let root = Ctx::beginning("root");
    send(&task_holder(&root, async |_| {}));
    send(&TaskHolder::new(&root).finish());
}

#[tokio::test]
async fn many_cancels_of_single_tasks_leave_the_others_running() {
    let root = Ctx::beginning("root");
    let tasks = TaskHolder::new(&root);
    let all: Vec<_> = (0..100).map(|n| tasks.add(format!("{n}"), pending::<()>())).collect();
    tokio::task::yield_now().await;
    for task in all.iter().step_by(2) {
        assert!(task.cancel());
        assert!(!task.cancel());
    }
    for task in all.into_iter().step_by(2) {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(tasks.pending(), 50);
    tasks.stop().await;
}

fn runtime(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build().unwrap()
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn pending_twice() -> impl Future<Output = ()> + Send {
    let mut left = 2;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
