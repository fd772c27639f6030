//! A holder's close, its orders and its tasks' ends, against whatever else happens to them.
//!
//! Tokio's own runtime is no part of the model: one thread has it run what was spawned, step by step. loom leaves
//! these out, as it cannot see what the reference counts of the standard library and of Tokio put in order.
#![cfg(any(machinery_loom, machinery_shuttle))]

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use machinery::{Ctx, CtxGuard, CtxOptions, Report, TaskHolder, Tramp};
use machinery_models::{Count, large_model, thread};
use tokio::runtime::{Builder, Runtime};

/// Counts what is reported.
struct Reported(Arc<Count>);

impl Tramp for Reported {
    fn log_exception(&self, _: &Report<'_>) {
        self.0.add();
    }
}

struct World {
    runtime: Runtime,
    root: CtxGuard,
    reported: Arc<Count>,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let reported = Count::new();
        let options = CtxOptions::new().runtime(runtime.handle().clone()).tramp(Reported(Arc::clone(&reported)));
        let root = Ctx::beginning_with("root", options).expect("no deadline");
        Self { runtime, root, reported }
    }

    /// Runs what was spawned and is ready.
    fn step(&self) {
        self.runtime.block_on(tokio::task::yield_now());
    }

    /// Polls `future` and runs what was spawned in turns, until it ends.
    fn drive<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let woken = Count::new();
        let waker = woken.waker();
        loop {
            let before = woken.get();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            // It is polled again only when it was woken: a wake-up that gets lost is a model without an end.
            while woken.get() == before {
                self.step();
                thread::yield_now();
            }
        }
    }
}

/// Scenario 27.
#[test]
fn a_task_added_while_the_holder_closes_is_waited_for_or_refused() {
    large_model(|| {
        let world = World::new();
        let tasks = TaskHolder::new(&world.root);
        let more = tasks.handle();
        let ran = Count::new();
        let counted = Arc::clone(&ran);
        let adding = thread::spawn(move || {
            let added = more.try_add("racing", async move { counted.add() });
            added.map(drop).is_ok()
        });
        world.drive(pin!(tasks.finish()));
        let ran_at_the_close = ran.get();
        let taken = adding.join().expect("no panic");
        assert_eq!(ran_at_the_close, usize::from(taken));
        assert_eq!(world.reported.get(), 0);
    });
}

#[test]
fn a_task_added_while_the_context_completes_is_cancelled_or_refused() {
    large_model(|| {
        let world = World::new();
        let tasks = TaskHolder::new(&world.root);
        let more = tasks.handle();
        let adding = thread::spawn(move || more.try_add("racing", pending::<()>()).ok());
        world.root.cancel();
        world.drive(pin!(tasks.finish()));
        if let Some(task) = adding.join().expect("no panic") {
            assert!(task.is_done() && task.is_cancelled());
        }
    });
}

#[test]
fn a_cancel_that_races_the_first_wait_of_the_task_is_heard() {
    large_model(|| {
        let world = World::new();
        let tasks = TaskHolder::new(&world.root);
        let task = tasks.add("racing", pending::<()>());
        let cancelling = thread::spawn(move || {
            assert!(task.cancel());
            task
        });
        world.drive(pin!(tasks.finish()));
        let task = cancelling.join().expect("no panic");
        assert!(task.is_cancelled());
    });
}

#[test]
fn a_holder_is_finished_once_its_context_counts_none_of_its_work() {
    large_model(|| {
        let world = World::new();
        let tasks = TaskHolder::new(&world.root);
        drop(tasks.add("task", pending::<()>()));
        let canceller = world.root.canceller();
        let cancelling = thread::spawn(move || canceller.cancel());
        world.drive(pin!(tasks.finish()));
        assert!(world.root.unfinished().is_empty());
        assert!(cancelling.join().expect("no panic"));
    });
}

#[test]
fn a_task_that_ends_while_it_is_awaited_elsewhere_wakes_who_awaits_it() {
    large_model(|| {
        let world = World::new();
        let tasks = TaskHolder::new(&world.root);
        let task = tasks.add("racing", async { 7 });
        let awaiting = thread::spawn(move || machinery_models::block_on(task).ok());
        world.drive(pin!(tasks.finish()));
        assert_eq!(awaiting.join().expect("no panic"), Some(7));
    });
}

#[test]
fn an_error_whose_handle_is_dropped_while_the_task_ends_is_reported_once() {
    large_model(|| {
        let world = World::new();
        let tasks = TaskHolder::new(&world.root);
        let task = tasks.task("racing").silent().spawn(async { Err::<(), _>("no route") });
        let dropping = thread::spawn(move || drop(task));
        world.drive(pin!(tasks.finish()));
        dropping.join().expect("no panic");
        assert_eq!(world.reported.get(), 1);
    });
}
