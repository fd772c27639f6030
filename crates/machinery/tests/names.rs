//! The table of names in the manual is complete, leads to items that exist, and these are found by their old names.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every name of the system, with the item that it is here, as a path in this crate.
const NAMES: &[(&str, &str)] = &[
    // Contexts
    ("CTX", "Ctx"),
    ("CtxGuard", "CtxGuard"),
    ("beginning", "Ctx::beginning"),
    ("child", "Ctx::child"),
    ("name", "Ctx::name"),
    ("prefix", "CtxOptions::prefix"),
    ("deadline", "CtxOptions::deadline"),
    ("timeout", "CtxOptions::timeout"),
    ("tramp", "CtxOptions::tramp"),
    ("WithoutCancel", "Ctx::detached"),
    ("cancel", "CtxGuard::cancel"),
    ("cancel_because", "CtxGuard::cancel_because"),
    ("set_exception", "CtxGuard::set_exception"),
    ("done", "Ctx::is_done"),
    ("is_done", "Ctx::is_done"),
    ("is_cancelled", "Ctx::is_cancelled"),
    ("exception", "Ctx::exception"),
    ("completion", "Ctx::completion"),
    ("drained", "Ctx::drained"),
    ("close", "CtxGuard::close"),
    ("run", "Ctx::run"),
    ("add_done_callback", "Ctx::add_done_callback"),
    ("add_on_done", "Ctx::add_on_done"),
    ("remove_done_callback", "Ctx::remove_done_callback"),
    ("has_direct_done_callback", "Ctx::has_direct_done_callback"),
    // Waiting, timeouts and background work
    ("wait_for_first", "wait_for_first"),
    ("wait_for_all", "wait_for_all"),
    ("async_with_timeout", "async_with_timeout"),
    ("timeout", "timeout::WithTimeout::timeout"),
    ("timeout_error", "timeout::WithTimeout::timeout_error"),
    ("timeout_event", "timeout::WithTimeout::timeout_event"),
    ("grace", "timeout::WithTimeout::grace"),
    ("async_as_background", "async_as_background"),
    ("silent", "background::BackgroundBuilder::reported"),
    // Tramp
    ("Tramp", "Tramp"),
    ("log_info", "Tramp::log_info"),
    ("log_exception", "Tramp::log_exception"),
    ("set_future_name", "Tramp::set_future_name"),
    ("get_future_name", "Tramp::get_future_name"),
    ("fut_to_string", "Tramp::fut_to_string"),
    ("reporter", "tramp::reporter"),
    ("silent_reporter", "tramp::silent_reporter"),
    // Protocols, and the types under them
    ("FutureStatus", "protocols::FutureStatus"),
    ("FutureCallback", "protocols::FutureCallback"),
    ("FutureCTXCallback", "protocols::FutureCtxCallback"),
    ("WaitByCallback", "protocols::WaitByCallback"),
    ("WithRepr", "protocols::WithRepr"),
    ("Promise", "Promise"),
    ("set_result", "Promise::set_result"),
    ("set_exception", "Promise::set_exception"),
    ("cancel", "Promise::cancel"),
    ("Event", "Event"),
    ("set", "Event::set"),
    ("clear", "Event::clear"),
    ("is_set", "Event::is_set"),
    ("wait", "Event::wait"),
    ("Task", "Task"),
    // The ticker
    ("tick", "tick"),
    ("Ticker", "Ticker"),
    ("Tick", "Tick"),
    ("iteration", "Tick::iteration"),
    ("time_till_next", "Tick::time_till_next"),
    ("max_iterations", "tick::TickerBuilder::max_iterations"),
    ("max_time", "tick::TickerBuilder::max_time"),
    ("min_wait", "tick::TickerBuilder::min_wait"),
    ("pauser", "tick::TickerBuilder::pauser"),
    ("name", "tick::TickerBuilder::name"),
    ("change_after", "tick::TickerHandle::change_after"),
    ("change_after_once", "tick::TickerHandle::change_after_once"),
    ("set_new_every", "tick::TickerHandle::change_after_once"),
    // The task holder
    ("task_holder", "task_holder"),
    ("TaskHolder", "TaskHolder"),
    ("add_coroutine", "Tasks::add"),
    ("add", "Tasks::add"),
    ("try_add", "Tasks::try_add"),
    ("add_task", "Tasks::add_task"),
    ("pending", "Tasks::pending"),
    ("contains", "Tasks::contains"),
    ("silent", "holder::TaskBuilder::silent"),
    ("name", "holder::HolderBuilder::name"),
    ("grace", "holder::HolderBuilder::grace"),
    ("finish", "TaskHolder::finish"),
    // Queues
    ("queue", "queue"),
    ("Queue", "Queue"),
    ("LimitedQueue", "LimitedQueue"),
    ("sync_queue", "sync_queue"),
    ("SyncQueue", "SyncQueue"),
    ("EnsureItemGetter", "Queue"),
    ("item_ensurer", "queue::QueueBuilder::item_ensurer"),
    ("append", "Queue::append"),
    ("append_priority", "Queue::append_priority"),
    ("append_instruction", "Queue::append_instruction"),
    ("process_after_yielded", "Queue::process_after_yielded"),
    ("is_empty", "Queue::is_empty"),
    ("len", "Queue::len"),
    ("remaining", "Queue::remaining"),
    ("breaker", "Queue::breaker"),
    ("empty_on_finished", "queue::QueueBuilder::empty_on_finished"),
    ("name", "queue::QueueBuilder::name"),
    // The queue manager
    ("queue_manager", "queue_manager"),
    ("QueueFeeder", "QueueFeeder"),
    ("Streamer", "Streamer"),
    ("add_sync_function", "QueueFeeder::add_fn"),
    ("add_sync_iterator", "QueueFeeder::add_iter"),
    ("add_value", "QueueFeeder::add_value"),
    ("add_coroutine", "QueueFeeder::add_future"),
    ("add_task", "QueueFeeder::add_task"),
    ("add_async_generator", "QueueFeeder::add_stream"),
    ("make_empty_context", "manager::QueueManagerBuilder::make_empty_context"),
    ("name", "manager::QueueManagerBuilder::name"),
    ("set_as_finished_if_out_of_sources", "QueueFeeder::set_as_finished_if_out_of_sources"),
    ("breaker", "Streamer::breaker"),
    ("remaining", "Streamer::remaining"),
    ("QueueManagerResult", "QueueManagerResult"),
    ("QueueManagerSuccess", "QueueManagerResult::Success"),
    ("QueueManagerFailure", "QueueManagerResult::Failure"),
    ("QueueManagerIterationStop", "QueueManagerResult::IterationStop"),
    ("QueueManagerStopped", "QueueManagerResult::Stopped"),
    ("sources", "QueueManagerResult::sources"),
    ("value", "QueueManagerResult::into_value"),
    ("exception", "QueueManagerResult::exception"),
    ("context", "QueueManagerResult::context"),
    ("QueueInput", "QueueInput"),
    ("SYNC_FUNCTION", "QueueInput::Function"),
    ("SYNC_ITERATOR", "QueueInput::Iterator"),
    ("SYNC_GENERATOR", "QueueInput::Iterator"),
    ("VALUE", "QueueInput::Value"),
    ("COROUTINE", "QueueInput::Future"),
    ("TASK", "QueueInput::Task"),
    ("ASYNC_GENERATOR", "QueueInput::Stream"),
    // Odd helpers
    ("ensure_aexit", "ensure_aexit"),
    ("AsyncGenerator", "AsyncGenerator"),
    ("stop_async_generator", "stop_async_generator"),
    ("noncancelled_results_from_futs", "noncancelled_results_from_futs"),
    ("find_and_apply_result", "find_and_apply_result"),
];

const TABLE: &str = include_str!("../src/manual/names.md");

/// The rows of the tables: the name, and the target of the link beside it.
fn rows() -> Vec<(&'static str, &'static str)> {
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        let target = cells.next()?.split_once("](crate::")?.1.strip_suffix(')')?;
        Some((name, target.trim_end_matches("()")))
    };
    TABLE.lines().filter_map(row).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Every alias in the sources, with the line that declares the item which carries it.
fn aliases() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut aliases = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let alias = line.strip_prefix("#[doc(alias = \"").and_then(|rest| rest.strip_suffix("\")]"));
            if let Some(alias) = alias {
                let declared = lines[at..].iter().find(|line| !line.starts_with("#[") && !line.starts_with("///"));
                aliases.push((alias.to_owned(), declared.copied().unwrap_or_default().to_owned()));
            }
        }
    }
    aliases
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn the_table_has_every_name_of_the_system_and_no_other() {
    let wanted: BTreeSet<_> = NAMES.iter().copied().collect();
    let found: BTreeSet<_> = rows().into_iter().collect();
    let missing: Vec<_> = wanted.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
    assert!(surplus.is_empty(), "in the table, and not in the list: {surplus:#?}");
    assert_eq!(rows().len(), NAMES.len(), "a row or an entry stands twice");
}

#[test]
fn an_item_with_another_name_has_the_name_of_the_system_as_its_alias() {
    let aliases = aliases();
    for (name, item) in NAMES {
        let ident = item.rsplit("::").next().unwrap();
        if ident != *name {
            assert!(
                aliases.iter().any(|(alias, declared)| alias == name && has_word(declared, ident)),
                "`{item}` has no `#[doc(alias = \"{name}\")]`",
            );
        }
    }
}

#[test]
fn every_item_of_the_table_is_used_below() {
    let (_, used) = include_str!("names.rs").rsplit_once("mod every_item").unwrap();
    for (_, item) in NAMES {
        let ident = item.rsplit("::").next().unwrap();
        assert!(has_word(used, ident), "`{item}` is not shown to exist");
    }
}

/// That it compiles shows that every item of the table exists.
#[expect(dead_code, unused_imports, reason = "it is there to be compiled")]
mod every_item {
    use std::time::Duration;

    use machinery::background::BackgroundBuilder;
    use machinery::holder::{HolderBuilder, TaskBuilder};
    use machinery::manager::QueueManagerBuilder;
    use machinery::protocols::{FutureCallback, FutureCtxCallback, FutureStatus, WaitByCallback, WithRepr};
    use machinery::queue::QueueBuilder;
    use machinery::tick::{TickerBuilder, TickerHandle};
    use machinery::timeout::WithTimeout;
    use machinery::tramp::{reporter, silent_reporter};
    use machinery::{
        AsyncGenerator, Ctx, CtxGuard, CtxOptions, Event, LimitedQueue, Name, NoRuntime, Promise, Queue, QueueFeeder,
        QueueInput, QueueManagerResult, SharedError, Streamer, SyncQueue, Task, TaskHolder, Tasks, Tick, Ticker, Tramp,
        async_as_background, async_with_timeout, ensure_aexit, find_and_apply_result, noncancelled_results_from_futs,
        queue, queue_manager, stop_async_generator, sync_queue, task_holder, tick, wait_for_all, wait_for_first,
    };

    async fn contexts(options: CtxOptions, error: std::io::Error, instant: tokio::time::Instant) {
        let root: CtxGuard = Ctx::beginning("root");
        let options = options.prefix("p").timeout(Duration::ZERO).tramp(Mine);
        let child = root.child_with("child", options.deadline(instant)).unwrap();
        let _: (&str, CtxGuard, CtxGuard) = (child.name(), child.child("below"), child.detached("beside"));
        let _: (bool, bool) = (child.is_done(), child.is_cancelled());
        let _ = (child.exception(), child.completion());
        let id = child.add_done_callback(|_| {});
        let _ = (child.add_on_done(|_, _| {}), child.remove_done_callback(id), child.has_direct_done_callback(id));
        let _ = child.run(async {}).await;
        let _: (bool, bool, bool) = (child.cancel(), child.cancel_because("reason"), child.set_exception(error));
        child.drained().await;
        root.close().await;
    }

    async fn waiting(event: Event, promise: Promise<u32>, error: std::io::Error) {
        wait_for_first((&event, &promise)).await;
        wait_for_all([&event]).await;
        let _: (bool, bool, bool) = (event.set(), event.is_set(), event.clear());
        event.wait().await;
        let ctx = Ctx::beginning("root");
        let limited: WithTimeout<_> = async_with_timeout(&ctx, "work", async {}).timeout(Duration::ZERO);
        let _ = limited.timeout_error("late").timeout_event(&event).grace(Duration::ZERO).await;
        async_as_background(&ctx, "work", async {});
        let _: BackgroundBuilder<'_> = machinery::background::background(&ctx, "work").reported();
        let _: (bool, bool, bool) = (promise.set_result(1), promise.set_exception(error), promise.cancel());
    }

    struct Mine;

    impl Tramp for Mine {
        fn log_info(&self, _: &Ctx, _: &str) {}

        fn log_exception(&self, _: &machinery::Report<'_>) {}

        fn set_future_name(&self, _: &dyn WithRepr, _: Name) -> bool {
            true
        }

        fn get_future_name(&self, _: &dyn WithRepr) -> Option<Name> {
            None
        }

        fn fut_to_string(&self, _: &dyn WithRepr, _: bool) -> String {
            String::new()
        }
    }

    fn ticks(ctx: &Ctx, pauser: &machinery::tick::Pauser) -> Option<Tick> {
        let builder: TickerBuilder<'_> = tick(Duration::ZERO, ctx).max_iterations(1).max_time(Duration::ZERO);
        let ticker: Ticker = builder.min_wait(None).pauser(pauser).name("ticker").start();
        let handle: TickerHandle = ticker.handle();
        handle.change_after(Duration::ZERO);
        handle.change_after_once(Duration::ZERO);
        Some(Tick { iteration: 1, time_till_next: Duration::ZERO })
    }

    async fn holder(ctx: &Ctx, join: tokio::task::JoinHandle<()>) {
        task_holder(ctx, async |tasks: &Tasks| {
            let task: Task<()> = tasks.add("task", async {});
            let _: (usize, bool) = (tasks.pending(), tasks.contains(&task));
            let _ = (tasks.try_add("task", async {}).is_ok(), tasks.add_task("task", join));
            let silent: TaskBuilder<'_> = tasks.task("task").silent();
            silent.spawn(async {});
        })
        .await;
        let builder: HolderBuilder<'_> = TaskHolder::builder(ctx).name("holder").grace(Duration::ZERO);
        builder.build().finish().await;
    }

    fn queues(ctx: &Ctx, after: fn(&LimitedQueue<'_, u32>)) {
        let builder: QueueBuilder = queue(ctx).name("queue").empty_on_finished();
        let queue: Queue<u32> = builder.build();
        queue.append(1);
        queue.append_priority(2);
        queue.append_instruction(|| {});
        queue.process_after_yielded(after);
        let _: (bool, usize, &Event) = (queue.is_empty(), queue.len(), queue.breaker());
        queue.remaining().for_each(drop);
        let _: SyncQueue<u32> = sync_queue(ctx).build();
        let _ = machinery::queue(ctx).item_ensurer(machinery::queue::downcast::<u32>).build();
    }

    fn manager(ctx: &Ctx, task: tokio::task::JoinHandle<u32>) {
        let builder: QueueManagerBuilder<u32, u8> = queue_manager(ctx).make_empty_context(|| 7).name("manager");
        let (feeder, mut streamer): (QueueFeeder<u32, u8>, Streamer<u32, u8>) = builder.build();
        feeder.add_fn("fn", || 1);
        feeder.add_iter("iter", [1]);
        feeder.add_value("value", 1);
        feeder.add_future("future", async { 1 });
        feeder.add_task("task", task);
        feeder.add_stream("stream", futures_util::stream::iter([1]));
        feeder.set_as_finished_if_out_of_sources();
        let _: &Event = streamer.breaker();
        for result in streamer.remaining() {
            let _ = (result.sources(), result.exception(), result.context());
            match result {
                QueueManagerResult::Success { sources, value: _, context: _ } => match sources.nearest().kind() {
                    QueueInput::Function | QueueInput::Iterator | QueueInput::Value => {}
                    QueueInput::Future | QueueInput::Task | QueueInput::Stream => {}
                    _ => {}
                },
                QueueManagerResult::Failure { .. } | QueueManagerResult::IterationStop { .. } => {}
                QueueManagerResult::Stopped { .. } => drop(result.into_value()),
            }
        }
    }

    async fn helpers(ctx: &Ctx, thing: impl machinery::aexit::AsyncExit, mut generator: AsyncGenerator<u32>) {
        let _ = ensure_aexit(ctx, "thing", thing, async |_| Ok::<_, SharedError>(())).await;
        let _ = stop_async_generator(&mut generator, None, None).await;
        let promises = [Promise::<u32>::new("promise")];
        let _ = noncancelled_results_from_futs(&promises);
        let _: bool = find_and_apply_result(&promises[0], &promises);
    }
}
