//! Every line of code that is shown is the user's: of what made a context, and of what completed it.

use machinery::generator::AsyncGenerator;
use machinery::holder::BorrowingTasks;
use machinery::{
    Ctx, Queue, SyncQueue, TaskHolder, async_as_background_with, async_with_timeout_with, queue_manager, task_holder,
    tick,
};
use std::panic::Location;
use std::time::Duration;

#[track_caller]
fn line() -> u32 {
    Location::caller().line()
}

/// The lines of `{:#}` of a tree that are not of this file.
fn strange(root: &Ctx) -> Vec<String> {
    let tree = format!("{:#}", root.tree());
    tree.lines().filter(|line| !line.contains(concat!(" from ", file!(), ":"))).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_tree_shows_who_asked_for_a_context() {
    let root = Ctx::beginning("app");
    let holder = TaskHolder::builder(&root).name("holder").build();
    holder.add_with("told", |ctx| async move { drop(ctx.done().await) });
    holder.task("told-too").spawn_with(|ctx| async move { drop(ctx.done().await) });
    async_as_background_with(&root, "background", |ctx| async move { drop(ctx.done().await) });
    let graced = machinery::background::background(&root, "graced").grace(Duration::from_secs(1));
    graced.spawn_with(|ctx| async move { drop(ctx.done().await) });
    let _queues = (Queue::<u32>::new(&root), SyncQueue::<u32>::new(&root), queue_manager::<u32>(&root).build());
    let _ticker = tick(Duration::from_secs(1), &root).start();
    let _generator = AsyncGenerator::<u32>::on(&root, "generator", |_, _| async { Ok(()) });
    let _borrowing = BorrowingTasks::new(&root);
    task_holder(&root, async |_| {
        let limited = async_with_timeout_with(&root, "limited", async |_| {
            assert_eq!(root.tree().iter().count(), 14);
            assert_eq!(strange(&root), [""; 0]);
        });
        limited.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_holder_that_fails_fast_names_the_line_of_the_task() {
    let root = Ctx::beginning("app");
    let holder = TaskHolder::builder(&root).fail_fast().build();
    let ctx = holder.ctx().clone();
    let (task, spawned) = (holder.add("bad", async { Err::<(), _>("no route") }), line());
    assert!(holder.finish().await.is_err());
    assert!(task.error().is_some());
    let why = ctx.completion().unwrap();
    assert_eq!((why.location().file(), why.location().line()), (file!(), spawned));
    assert!(why.to_string().contains(file!()), "{why}");
}

#[tokio::test]
async fn a_task_that_is_cancelled_knows_the_line_that_did_it() {
    let root = Ctx::beginning("app");
    let holder = TaskHolder::new(&root);
    let task = holder.add_with("told", |ctx| async move { ctx.done().await });
    tokio::task::yield_now().await;
    let (first, called) = (task.cancel(), line());
    assert!(first);
    let why = task.await.unwrap();
    assert_eq!((why.location().file(), why.location().line()), (file!(), called));
    holder.finish().await;
}

#[tokio::test(start_paused = true)]
async fn work_whose_time_is_over_knows_the_line_that_limited_it() {
    let root = Ctx::beginning("app");
    let mut seen = None;
    let (limited, called) = (async_with_timeout_with(&root, "slow", async |ctx| seen = Some(ctx.done().await)), line());
    assert!(limited.await.unwrap_err().is_timeout());
    let at = seen.unwrap().location();
    assert_eq!((at.file(), at.line()), (file!(), called));
}

#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_ends_at_the_line_that_made_it() {
    let root = Ctx::beginning("app");
    let mut ended = Vec::new();

    let (mut ticker, made) = (tick(Duration::from_secs(1), &root).max_iterations(1).start(), line());
    ticker.next().await;
    assert!(ticker.next().await.is_none());
    ended.push((ticker.ctx().clone(), made));

    let ((_feeder, results), made) = (queue_manager::<u32>(&root).build(), line());
    ended.push((results.ctx().clone(), made));
    drop(results);

    let (mut generator, made) = (AsyncGenerator::<u32>::on(&root, "generator", |_, _| async { Ok(()) }), line());
    assert!(generator.next().await.is_none());
    ended.push((generator.ctx().unwrap().clone(), made));

    let (scope, made) = (
        TaskHolder::builder(&root).scope(async |tasks| {
            ended.push((tasks.ctx().clone(), 0));
            Err::<(), _>("the body fails")
        }),
        line(),
    );
    assert!(scope.await.is_err());
    ended.last_mut().unwrap().1 = made - 4;

    for (ctx, made) in ended {
        let why = ctx.completion().unwrap();
        assert_eq!((why.location().file(), why.location().line()), (file!(), made), "{why}");
    }
}
