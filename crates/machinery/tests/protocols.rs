//! The interfaces that contexts, promises and events share.

mod wakers;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::time::Duration;

use machinery::aexit::Ended;
use machinery::apply::ErrorGroup;
use machinery::event::EventWait;
use machinery::promise::{Awaited, Settled};
use machinery::protocols::{
    FutureCallback, FutureCtxCallback, FutureState, FutureStatus, WaitByCallback, WaiterId, WithRepr,
};
use machinery::wait::{WaitForAll, WaitForFirst};
use machinery::{Completion, Ctx, CtxGuard, CtxOptions, Event, Promise, PromiseError, TaskHolder, wait_for_all};
use wakers::{Probe, on_drop, on_wake};

/// What it answers: done, cancelled, exception, result.
fn status<F: FutureStatus<Value: Debug>>(future: &F) -> String {
    let mut said = Vec::new();
    if future.is_done() {
        said.push("done".to_owned());
    }
    if future.is_cancelled() {
        said.push("cancelled".to_owned());
    }
    said.extend(future.exception().map(|error| format!("exception {error}")));
    said.extend(future.result().map(|value| format!("result {value:?}")));
    said.join(", ")
}

#[test]
fn a_promise_has_a_status() {
    let promise = Promise::new("answer");
    assert_eq!(status(&promise), "");
    promise.set_result(42);
    assert_eq!(status(&promise), "done, result 42");
    let promise = Promise::<u32>::new("answer");
    promise.cancel();
    assert_eq!(status(&promise), "done, cancelled");
    let promise = Promise::<u32>::new("answer");
    promise.set_exception("no idea");
    assert_eq!(status(&promise), "done, exception no idea");
}

#[tokio::test(start_paused = true)]
async fn a_context_has_a_status() {
    let root = Ctx::beginning("root");
    assert_eq!((status(&root), status(&*root)), (String::new(), String::new()));
    let failing = root.child("failing");
    failing.set_exception("no route");
    assert_eq!(status(&failing), "done, exception no route");
    let late = root.child_with("late", CtxOptions::new().timeout(Duration::from_secs(1))).unwrap();
    late.done().await;
    assert_eq!(status(&*late), "done");
    let shown = late.repr_state().to_string();
    assert!(shown.starts_with("exception:DeadlinePassed:"), "{shown}");
    root.cancel();
    assert_eq!(status(&root), "done, cancelled");
    assert_eq!(status(&failing), "done, exception no route");
}

#[test]
fn an_event_has_a_status() {
    let event = Event::new();
    assert_eq!(status(&event), "");
    event.set();
    assert_eq!(status(&event), "done, result ()");
    event.clear();
    assert_eq!(status(&event), "");
}

#[test]
fn a_status_can_be_asked_for_through_a_pointer() {
    let promise = Promise::new("answer");
    promise.set_result(42);
    let asked: Vec<Box<dyn FutureStatus<Value = u32>>> = vec![Box::new(promise)];
    assert_eq!(asked[0].result(), Some(42));
}

#[test]
fn callbacks_can_be_named_and_given_to_both() {
    fn told(send: mpsc::Sender<&'static str>) -> impl FutureCallback<Promise<u32>> {
        move |_: &Promise<u32>| send.send("promise").expect("somebody listens")
    }
    fn told_with_ctx(send: mpsc::Sender<&'static str>) -> impl FutureCtxCallback<Completion> {
        move |_: &Ctx, _: &Completion| send.send("context").expect("somebody listens")
    }
    let (send, receive) = mpsc::channel();
    let promise = Promise::new("answer");
    promise.add_done_callback(told(send.clone()));
    promise.set_result(42);
    let root = Ctx::beginning("root");
    root.add_on_done(told_with_ctx(send));
    root.cancel();
    assert!(receive.try_iter().eq(["promise", "context"]));
}

/// Holds an implementation to the rules that the trait states.
fn keeps_the_rules<W: WaitByCallback + 'static>(make: impl Fn() -> (W, Box<dyn FnOnce() -> bool>)) {
    let (it, complete) = make();
    let (told, removed) = (Probe::new(), Probe::new());
    assert!(!it.is_complete());
    assert!(it.add_waiter(told.waker()).is_some());
    let id = it.add_waiter(removed.waker()).expect("it is not complete");
    assert_eq!((told.kept(), removed.kept()), (1, 1));
    it.remove_waiter(id);
    assert_eq!(removed.kept(), 0);
    it.remove_waiter(id);
    assert_eq!((told.kept(), told.woken()), (1, 0));

    assert!(complete());
    assert!(it.is_complete());
    assert_eq!((told.woken(), removed.woken()), (1, 0));
    assert_eq!(told.kept(), 0);
    assert!(it.add_waiter(told.waker()).is_none());
    assert_eq!((told.woken(), told.kept()), (1, 0));
    it.remove_waiter(id);
    it.remove_waiter(WaiterId::new(7, 7_000_000_000));

    // A waker, and the drop of one, may do anything with it.
    let (it, complete) = make();
    let it = Arc::new(it);
    let calls = Arc::new(AtomicUsize::new(0));
    let uses = || {
        let (it, calls) = (Arc::downgrade(&it), Arc::clone(&calls));
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
            if let Some(it) = it.upgrade()
                && let Some(id) = it.add_waiter(Probe::new().waker())
            {
                it.remove_waiter(id);
            }
        }
    };
    it.add_waiter(on_wake(uses()));
    it.add_waiter(on_wake(|| panic!("a waker that panics")));
    it.add_waiter(on_wake(uses()));
    let id = it.add_waiter(on_drop(uses())).expect("it is not complete");
    it.remove_waiter(id);
    it.add_waiter(on_drop(uses()));
    assert!(complete());
    it.add_waiter(on_drop(uses()));
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

#[test]
fn everything_that_can_be_waited_for_keeps_the_rules() {
    keeps_the_rules(|| {
        let event = Event::new();
        (event.clone(), Box::new(move || event.set()))
    });
    keeps_the_rules(|| {
        let promise = Promise::<u32>::new("answer");
        (promise.clone(), Box::new(move || promise.cancel()))
    });
    keeps_the_rules(|| {
        let root = Ctx::beginning("root");
        (root.clone(), Box::new(move || root.cancel_because("over")))
    });
    keeps_the_rules(|| {
        let root = Ctx::beginning("root");
        (root.child("child"), Box::new(move || root.cancel()))
    });
    keeps_the_rules(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let root = Ctx::beginning_with("root", CtxOptions::new().runtime(runtime.handle().clone())).unwrap();
        let holder = TaskHolder::new(&root);
        let event = Event::new();
        let task = holder.add("task", event.wait());
        let complete = move || {
            event.set();
            runtime.block_on(holder.finish());
            !root.is_done()
        };
        (task, Box::new(complete))
    });
    keeps_the_rules(|| {
        let event = Event::new();
        let boxed: Box<dyn WaitByCallback> = Box::new(Arc::new(event.clone()));
        (boxed, Box::new(move || event.set()))
    });
}

#[test]
fn the_types_are_send_sync_and_unpin_as_far_as_what_they_hold() {
    fn all<T: Send + Sync + Unpin + 'static>() {}
    fn send<T: Send>() {}
    all::<Event>();
    all::<EventWait>();
    all::<Promise<u32>>();
    all::<Settled<u32>>();
    all::<Awaited<u32>>();
    all::<PromiseError>();
    all::<ErrorGroup>();
    all::<Ended>();
    all::<FutureState>();
    all::<WaiterId>();
    all::<WaitForFirst<(Ctx, Event, Promise<u32>)>>();
    all::<WaitForAll<Vec<CtxGuard>>>();
    send::<WaitForAll<Vec<&dyn WaitByCallback>>>();
}

#[test]
fn what_can_be_shown_is_shown_through_a_pointer() {
    let things: [Box<dyn WithRepr>; 3] =
        [Box::new(Promise::<u32>::new("promise")), Box::new(Event::named("event")), Box::new(Ctx::beginning("ctx"))];
    let names: Vec<_> = things.iter().map(|thing| thing.repr_name().unwrap().to_string()).collect();
    assert_eq!(names, ["promise", "event", "ctx"]);
    assert!(things.iter().all(|thing| thing.repr_state().to_string() == "pending"));
}

#[test]
fn a_wait_leaves_every_member_also_where_a_foreign_one_panics() {
    struct Bad(Event);

    impl WaitByCallback for Bad {
        fn is_complete(&self) -> bool {
            self.0.is_complete()
        }

        fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
            self.0.add_waiter(waker)
        }

        fn remove_waiter(&self, id: WaiterId) {
            self.0.remove_waiter(id);
            panic!("a member that panics");
        }
    }

    let (probe, good) = (Probe::new(), Event::new());
    let (bad, worse) = (Bad(Event::new()), Bad(Event::new()));
    let mut wait = wait_for_all((&bad, &worse, &good));
    assert!(probe.poll(&mut wait).is_pending());
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(wait)));
    assert_eq!(*dropped.unwrap_err().downcast::<&str>().unwrap(), "a member that panics");
    assert_eq!(probe.kept(), 0, "the wait is still registered with the others");

    // Where a panic is on its way already, a second one would abort the process.
    let mut wait = wait_for_all((&bad, &good));
    assert!(probe.poll(&mut wait).is_pending());
    let first = catch_unwind(AssertUnwindSafe(move || {
        let _wait = wait;
        panic!("the first panic")
    }));
    assert_eq!(*first.unwrap_err().downcast::<&str>().unwrap(), "the first panic");
    assert_eq!(probe.kept(), 0);
}
