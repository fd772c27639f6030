//! What a context waits for, when its shutdown takes its time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use machinery::holder::BorrowingTasks;
use machinery::{
    AsyncGenerator, Ctx, CtxGuard, Feed, QueueManagerResult as Fed, SharedError, TaskHolder, async_as_background,
    async_with_timeout, ensure_aexit, queue_manager, task_holder,
};
use proptest::prelude::*;
use tokio::time::{advance, sleep, timeout};

fn holder(ctx: &Ctx, name: &'static str) -> TaskHolder {
    TaskHolder::builder(ctx).name(name).build()
}

/// The lines, without the places in the code and the ages.
fn shown(ctx: &Ctx) -> Vec<String> {
    let text = ctx.unfinished().to_string();
    text.lines().map(|line| line.split(" from ").next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_every_holder_are_named_until_they_are_over() {
    let root = Ctx::beginning("app");
    let server = root.child("server");
    let connections = holder(&server, "connections");
    let jobs = holder(&root, "jobs");
    connections.add_with("10.0.0.7", |_| sleep(Duration::from_secs(60)));
    connections.add_with("10.0.0.8", |_| sleep(Duration::from_secs(90)));
    jobs.add("quick", async {});
    root.cancel();
    assert!(timeout(Duration::from_secs(5), root.drained()).await.is_err());

    assert_eq!(
        shown(&root),
        [
            "app(cancelled)",
            "  server(cancelled)",
            "    connections(cancelled)",
            "      task `10.0.0.7`",
            "      task `10.0.0.8`"
        ]
    );
    let unfinished = root.unfinished();
    let (depth, ctx, work) = unfinished.iter().last().unwrap();
    assert_eq!((depth, ctx), (2, connections.ctx()));
    assert!(work.iter().all(|work| work.running_for() == Some(Duration::from_secs(5))));
    assert!(work.iter().all(|work| work.location().unwrap().file().ends_with("ctx_unfinished.rs")));
    assert!(format!("{unfinished:#}").contains(&format!("connections(cancelled) from {}:", file!())));

    sleep(Duration::from_secs(60)).await;
    assert_eq!(shown(&root).last().unwrap(), "      task `10.0.0.8`");
    sleep(Duration::from_secs(60)).await;
    root.drained().await;
    assert_eq!(root.unfinished().to_string(), "app(cancelled): nothing is at work\n");
}

#[tokio::test]
async fn a_holder_that_nobody_ends_is_what_a_pending_context_would_wait_for() {
    let root = Ctx::beginning("app");
    let holder = TaskHolder::new(&root);
    assert_eq!(
        shown(&root),
        ["app(pending)", "  task_holder(pending)", "    a holder of tasks, which is neither stopped nor finished"]
    );
    holder.finish().await;
    assert!(root.unfinished().is_empty());
}

#[tokio::test]
async fn a_holder_that_is_stopped_is_not_said_to_go_on_while_user_code_follows_its_last_task() {
    /// Looks when it is dropped.
    struct Looks(Ctx, Arc<Mutex<Vec<String>>>);

    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.lock().unwrap().extend(shown(&self.0).pop());
        }
    }

    let root = Ctx::beginning("app");
    let holder = TaskHolder::new(&root);
    let seen = Arc::default();
    let in_callback = Looks(root.ctx(), Arc::clone(&seen));
    let stopped = holder.add("stopped", pending::<()>());
    stopped.add_done_callback(move |_| drop(in_callback));
    root.cancel();
    root.drained().await;

    let root = Ctx::beginning("app");
    let holder = TaskHolder::new(&root);
    let result = Looks(root.ctx(), Arc::clone(&seen));
    let canceller = root.canceller();
    drop(holder.add("unread", async move {
        canceller.cancel();
        Some(result)
    }));
    root.drained().await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["    1 task that is over, but for its callbacks and drops", "    task `unread`"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_with_a_context_leads_to_what_is_at_work_below_it() {
    let root = Ctx::beginning("app");
    task_holder(&root, async |tasks| {
        tasks.add_with("outer", |ctx| async move {
            task_holder(&ctx, async |tasks| {
                tasks.add("inner", sleep(Duration::from_secs(1)));
            })
            .await;
        });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(
            shown(&root),
            [
                "app(pending)",
                "  task_holder(pending)",
                "    task `outer`",
                "    outer(pending)",
                "      task_holder(pending)",
                "        task `inner`"
            ]
        );
    })
    .await;
    assert!(root.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_beside_holders_is_named_or_counted() {
    let root = Ctx::beginning("app");
    let background = async_as_background(&root, "index", pending::<()>());
    let mut limited = Box::pin(async_with_timeout(&root, "call", pending::<()>()).timeout(Duration::from_secs(60)));
    assert!(timeout(Duration::from_secs(2), &mut limited).await.is_err());
    assert_eq!(shown(&root), ["app(pending)", "  task `index`", "  work with a timeout `call`"]);
    let unfinished = root.unfinished();
    let work = unfinished.iter().next().unwrap().2;
    assert_eq!(work[1].running_for(), Some(Duration::from_secs(2)));

    drop(limited);
    background.cancel();
    assert!(background.await.is_err());
    assert!(root.unfinished().is_empty());

    let mut generator = AsyncGenerator::<u32>::on(&root, "numbers", |_, mut y| async move {
        y.yield_(1).await?;
        Ok(())
    });
    assert!(root.unfinished().is_empty(), "it has not begun");
    assert_eq!(generator.next().await, Some(1));
    assert_eq!(shown(&root), ["app(pending)", "  numbers(pending): 1 piece of work"]);
    generator.close().await.unwrap();
    assert!(root.unfinished().is_empty());
    let borrowing = BorrowingTasks::named(&root, "borrowing");
    assert_eq!(shown(&root), ["app(pending)", "  borrowing(pending): 1 piece of work"]);
    drop(borrowing);
    assert!(root.unfinished().is_empty());
}

#[tokio::test]
async fn the_sources_of_a_manager_that_run_are_named() {
    let root = Ctx::beginning("app");
    let (feeder, mut results) = queue_manager::<u32>(&root).max_running(2).build();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    feeder.add_future("fetch", pending::<u32>());
    feeder.add_fn("seed", || Feed::future(pending::<u32>()).named("page"));
    feeder.add_blocking_fn("parse", move || {
        begun.send(()).unwrap();
        wait.recv().unwrap();
        7
    });
    feeder.add("lines", Feed::stream(tokio_stream::pending::<u32>()).in_own_task());
    assert!(timeout(Duration::from_millis(0), results.next()).await.is_err());
    begins.await.unwrap();
    feeder.add_future("waits for a place", pending::<u32>());
    let mut lines = shown(&root);
    lines[2..].sort_unstable();
    assert_eq!(
        lines,
        [
            "app(pending)",
            "  queue_manager(pending)",
            "    function `parse`",
            "    future `fetch`",
            "    future `page`",
            "    stream `lines`"
        ]
    );
    root.cancel();
    assert!(matches!(results.next().await, Some(Fed::Stopped { .. })));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shown(&root), ["app(cancelled)", "  queue_manager(cancelled)", "    function `parse`"]);
    go.send(()).unwrap();
    assert_eq!(results.next().await.and_then(Fed::into_value), Some(7));
    assert!(results.next().await.is_none());
    root.drained().await;
    assert!(root.unfinished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_finish_that_was_handed_over_is_named() {
    struct Slow;

    impl machinery::aexit::AsyncExit for Slow {
        type Error = Infallible;

        async fn start(&mut self) -> Result<(), Infallible> {
            Ok(())
        }

        async fn finish(self, _: machinery::aexit::Ended) -> Result<(), Infallible> {
            sleep(Duration::from_secs(9)).await;
            Ok(())
        }
    }

    let root = Ctx::beginning("app");
    let using = ensure_aexit(&root, "session", Slow, async |_: &mut Slow| pending::<Result<(), SharedError>>().await);
    assert!(timeout(Duration::from_secs(1), using).await.is_err());
    advance(Duration::from_secs(3)).await;
    assert_eq!(root.unfinished().to_string(), "app(pending)\n  the finish of `session`, running for 3s\n");
    sleep(Duration::from_secs(10)).await;
    assert!(root.unfinished().is_empty());
}

#[tokio::test]
async fn a_context_with_several_parents_stands_below_each_of_them() {
    let root = Ctx::beginning("app");
    let (left, right) = (root.child("left"), root.child("right"));
    let both = left.linked("both", [&*right]);
    let held = holder(&both, "held");
    held.add("task", pending::<()>());
    assert_eq!(
        shown(&root),
        [
            "app(pending)",
            "  left(pending)",
            "    both(pending)",
            "      held(pending)",
            "        task `task`",
            "  right(pending)",
            "    both(pending)"
        ]
    );
    assert_eq!(shown(&right), ["right(pending)", "  both(pending)", "    held(pending)", "      task `task`"]);
    held.stop().await;
    assert!(root.unfinished().is_empty() && right.unfinished().is_empty());
}

#[test]
fn many_that_are_at_work_below_one_context_leave_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let root = Ctx::beginning("app");
        let mut holders: Vec<TaskHolder> = (0..10_000).map(|_| TaskHolder::new(&root)).collect();
        assert_eq!(root.unfinished().iter().count(), 10_001);
        shuffle(&mut holders);
        for holder in holders {
            holder.finish().await;
        }
        assert!(root.unfinished().is_empty());
        assert_eq!(root.unfinished().iter().count(), 1);
    });
}

/// In an order that has nothing to do with that of their making.
fn shuffle<T>(items: &mut [T]) {
    let length = items.len();
    for at in 0..length {
        items.swap(at, (at * 7_919) % length);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Child(prop::sample::Index),
    Linked(prop::sample::Index, prop::sample::Index),
    Begin(prop::sample::Index),
    End(prop::sample::Index),
    Cancel(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<prop::sample::Index>().prop_map(Step::Child),
        1 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(a, b)| Step::Linked(a, b)),
        6 => any::<prop::sample::Index>().prop_map(Step::Begin),
        5 => any::<prop::sample::Index>().prop_map(Step::End),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever begins and ends, in any tree: a context is shown if there is work on it or below, with as much as there is.
    #[test]
    fn what_is_shown_is_what_there_is(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let mut guards: Vec<CtxGuard> = vec![Ctx::beginning("0")];
        let mut parents: Vec<Vec<usize>> = vec![vec![]];
        let mut work: Vec<(usize, BorrowingTasks<'static>)> = Vec::new();
        for step in steps {
            match step {
                Step::Child(parent) => {
                    let parent = parent.index(guards.len());
                    guards.push(guards[parent].child(guards.len().to_string()));
                    parents.push(vec![parent]);
                }
                Step::Linked(one, two) => {
                    let (one, two) = (one.index(guards.len()), two.index(guards.len()));
                    if one != two {
                        guards.push(guards[one].linked(guards.len().to_string(), [&*guards[two]]));
                        parents.push(vec![one, two]);
                    }
                }
                Step::Begin(at) => {
                    let at = at.index(guards.len());
                    work.push((at, BorrowingTasks::named(&guards[at], "work")));
                }
                Step::End(which) if !work.is_empty() => drop(work.swap_remove(which.index(work.len()))),
                Step::End(_) => {}
                Step::Cancel(at) => {
                    guards[at.index(guards.len())].cancel();
                }
            }
            // Who stands above what is at work, counted along every way, but for those from a context that was met before.
            for (at, guard) in guards.iter().enumerate() {
                let mut expected: BTreeMap<usize, usize> = BTreeMap::new();
                for (below, _) in &work {
                    *expected.entry(*below).or_default() += 1;
                }
                let is_below = |mut from: Vec<usize>| loop {
                    match from.pop() {
                        None => return false,
                        Some(one) if one == at => return true,
                        Some(one) => from.extend(&parents[one]),
                    }
                };
                expected.retain(|below, _| is_below(vec![*below]));
                let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
                let unfinished = guard.unfinished();
                let rows: Vec<_> = unfinished.iter().collect();
                for (row, (depth, ctx, _)) in rows.iter().enumerate() {
                    if ctx.name() == "work" {
                        let above = rows[..row].iter().rev().find(|(upper, ..)| upper < depth).unwrap().1;
                        *seen.entry(above.name().parse().unwrap()).or_default() += 1;
                    }
                }
                prop_assert_eq!(&seen, &expected);
                prop_assert_eq!(unfinished.is_empty(), expected.is_empty());
                prop_assert_eq!(rows.len() == 1, expected.is_empty());
            }
        }
        drop(work);
        prop_assert!(guards.iter().all(|guard| guard.unfinished().is_empty()));
    }
}
