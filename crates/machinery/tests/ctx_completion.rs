//! How a context completes: who may, once, and with which record.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock as a user does")]

mod wakers;

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use machinery::ctx::CompletionKind;
use machinery::{Ctx, CtxOptions};
use tokio::time::Instant;
use wakers::Probe;

#[test]
fn a_context_is_pending_until_its_guard_completes_it() {
    let root = Ctx::beginning("root");
    assert!(!root.is_done() && !root.is_cancelled());
    assert!(root.exception().is_none() && root.completion().is_none());
    assert!(root.cancel());
    assert!(root.is_done() && root.is_cancelled());
    let why = root.completion().unwrap();
    assert_eq!((why.kind(), why.reason()), (CompletionKind::Cancelled, None));
    assert!(why.error().is_none() && why.is_cancelled());
}

#[test]
fn a_reason_is_kept() {
    let root = Ctx::beginning("root");
    assert!(root.cancel_because("SIGTERM"));
    assert_eq!(root.completion().unwrap().reason(), Some("SIGTERM"));
    assert!(root.is_cancelled() && root.exception().is_none());
}

#[test]
fn an_error_is_kept_and_is_no_cancellation() {
    let root = Ctx::beginning("root");
    assert!(root.set_exception(std::io::Error::other("disk full")));
    assert!(root.is_done() && !root.is_cancelled());
    let error = root.exception().unwrap();
    assert!(error.is::<std::io::Error>());
    let why = root.completion().unwrap();
    assert_eq!(why.kind(), CompletionKind::Failed);
    assert!(Arc::ptr_eq(why.error().unwrap(), &error));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_neither_a_cancellation_nor_an_error() {
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(Duration::from_secs(1))).unwrap();
    let why = root.done().await;
    assert_eq!(why.kind(), CompletionKind::DeadlinePassed);
    assert!(root.is_done() && !root.is_cancelled() && root.exception().is_none());
}

#[test]
fn a_dropped_guard_cancels() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let (seen, below) = (child.ctx(), child.child("below").hand_over());
    drop(child);
    assert!(seen.is_cancelled() && below.is_cancelled());
    assert!(!root.is_done());
}

#[test]
fn the_first_completion_wins_and_nothing_later_changes_it() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    assert!(child.cancel_because("first"));
    assert!(!child.cancel());
    assert!(!child.cancel_because("second"));
    assert!(!child.set_exception("third"));
    assert!(!child.canceller().cancel_because("fourth"));
    assert!(root.set_exception("of the parent"));
    let seen = child.ctx();
    drop(child);
    assert_eq!(seen.completion().unwrap().reason(), Some("first"));
    assert!(seen.exception().is_none());
}

#[test]
fn a_parents_completion_is_not_replaced_by_the_childs_own_later_one() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    root.cancel_because("of the parent");
    assert!(!child.set_exception("of the child"));
    assert_eq!(child.completion().unwrap().reason(), Some("of the parent"));
}

/// Scenario 29.
#[test]
fn a_childs_error_and_a_completion_from_outside_are_both_kept() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let leaf = child.child("leaf");
    child.set_exception("broken");
    root.cancel_because("enough");
    assert_eq!(child.exception().unwrap().to_string(), "broken");
    assert_eq!(leaf.exception().unwrap().to_string(), "broken");
    assert_eq!(root.completion().unwrap().reason(), Some("enough"));
}

#[test]
fn everything_below_is_done_when_the_completing_call_returns() {
    let root = Ctx::beginning("root");
    let mut below = vec![root.ctx()];
    for depth in 0..6 {
        for above in below.clone() {
            below.push(above.child(format!("{depth}-a")).hand_over());
            below.push(above.child(format!("{depth}-b")).hand_over());
        }
    }
    assert_eq!(below.len(), 729);
    root.cancel_because("enough");
    assert!(below.iter().all(Ctx::is_done));
    assert!(below.iter().all(|ctx| ctx.completion().is_some_and(|why| why.reason() == Some("enough"))));
}

#[test]
fn whoever_sees_a_context_as_done_in_a_callback_or_a_waker_sees_everything_below_as_done() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let leaf = child.child("leaf");
    let (child_seen, leaf_seen) = (child.ctx(), leaf.ctx());
    let asked = Arc::new(AtomicBool::new(false));
    root.add_done_callback({
        let (asked, child_seen, leaf_seen) = (asked.clone(), child_seen.clone(), leaf_seen.clone());
        move |_| asked.store(child_seen.is_done() && leaf_seen.is_done(), Ordering::SeqCst)
    });
    let waked = Arc::new(AtomicBool::new(false));
    let mut done = root.done();
    let waker = wakers::on_wake({
        let waked = waked.clone();
        move || waked.store(child_seen.is_done() && leaf_seen.is_done(), Ordering::SeqCst)
    });
    assert!(wakers::poll_with(&mut done, &waker).is_pending());
    root.cancel();
    assert!(asked.load(Ordering::SeqCst) && waked.load(Ordering::SeqCst));
}

#[test]
fn one_completion_is_one_record_for_the_whole_subtree() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let leaf = child.child("leaf");
    child.set_exception("disk full");
    let (here, below) = (child.completion().unwrap(), leaf.completion().unwrap());
    assert!(Arc::ptr_eq(here.error().unwrap(), below.error().unwrap()));
    assert_eq!((here.path(), here.at()), (below.path(), below.at()));
    assert_eq!(here.location(), below.location());
    assert_eq!((below.name(), below.path().as_str()), ("child", "root-->child"));
    assert!(!root.is_done());
}

#[test]
fn a_record_says_where_it_began_also_when_those_contexts_are_gone() {
    let root = Ctx::beginning("root");
    let mid = root.child_with("mid", CtxOptions::new().prefix("http")).unwrap();
    let leaf = mid.child("leaf").hand_over();
    mid.cancel_because("enough");
    drop((mid, root));
    let why = leaf.completion().unwrap();
    drop(leaf);
    assert_eq!(why.path(), "root-->[http]-->mid");
    assert_eq!(why.name(), "mid");
}

#[test]
fn the_line_is_that_of_the_call_that_completed() {
    let root = Ctx::beginning("root");
    let line = line!() + 1;
    root.cancel();
    let location = root.completion().unwrap().location();
    assert_eq!((location.file(), location.line()), (file!(), line));

    let root = Ctx::beginning("root");
    let canceller = root.canceller();
    let line = line!() + 1;
    canceller.set_exception("broken");
    assert_eq!(root.completion().unwrap().location().line(), line);

    let root = Ctx::beginning("root");
    let seen = root.ctx();
    let line = line!() + 1;
    let closing = root.close();
    assert_eq!(seen.completion().unwrap().location().line(), line);
    drop(closing);
}

#[test]
fn for_a_drop_it_is_the_line_where_the_guard_was_made() {
    let root = Ctx::beginning("root");
    let line = line!() + 1;
    let child = root.child("child");
    let seen = child.ctx();
    drop(child);
    assert_eq!(seen.completion().unwrap().location().line(), line);
    assert_eq!(seen.location().line(), line);
    assert!(seen.completion().unwrap().to_string().contains("ended with its guard"));
}

#[tokio::test(start_paused = true)]
async fn for_a_deadline_it_is_the_line_that_asked_for_it() {
    let line = line!() + 1;
    let options = CtxOptions::new().timeout(Duration::from_secs(1));
    let root = Ctx::beginning_with("root", options).unwrap();
    let why = root.child("child").done().await;
    assert_eq!(why.location().line(), line);
    assert!(why.to_string().contains("deadline of `root`"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn the_time_is_that_of_the_completion_on_tokios_clock() {
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(Duration::from_secs(3600))).unwrap();
    let start = Instant::now();
    tokio::time::advance(Duration::from_millis(1234)).await;
    root.cancel();
    tokio::time::advance(Duration::from_secs(2)).await;
    let why = root.completion().unwrap();
    assert_eq!(why.at() - start, Duration::from_millis(1234));
    assert_eq!(why.elapsed(), Duration::from_secs(2));
    assert!(why.to_string().contains("2.0 s ago"), "{why}");
}

#[derive(Debug)]
struct Layer(&'static str, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|inner| inner as _)
    }
}

#[test]
fn the_chain_of_sources_survives_from_any_context_below() {
    let root = Ctx::beginning("root");
    let leaf = root.child("mid").hand_over().child("leaf");
    root.set_exception(Layer("outer", Some(Box::new(Layer("middle", Some(Box::new(Layer("inner", None))))))));
    let why = leaf.completion().unwrap();
    let mut chain = Vec::new();
    let mut next = why.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    assert_eq!(chain, ["outer", "middle", "inner"]);
    assert!(why.to_string().ends_with("outer: middle: inner"), "{why}");
    assert!(leaf.exception().unwrap().downcast_ref::<Layer>().is_some());
}

#[test]
fn a_completion_reads_as_a_sentence_of_what_whom_where_and_why() {
    let root = Ctx::beginning("mirror");
    let polling = root.child("polling");
    root.cancel_because("SIGTERM");
    let text = polling.completion().unwrap().to_string();
    let at = format!("at {}:", file!());
    assert!(text.starts_with("`mirror` was cancelled at "), "{text}");
    assert!(text.contains(&at) && text.contains(" ago") && text.ends_with(": SIGTERM"), "{text}");
    let debug = format!("{:?}", polling.completion().unwrap());
    assert!(debug.contains("Cancelled") && debug.contains("mirror") && debug.contains("SIGTERM"), "{debug}");
}

#[cfg(feature = "serde")]
#[test]
fn a_completion_can_be_serialized_for_machines() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    child.set_exception(Layer("outer", Some(Box::new(Layer("inner", None)))));
    let line = line!() - 1;
    let json = serde_json::to_value(child.completion().unwrap()).unwrap();
    assert_eq!(json["kind"], "failed");
    assert_eq!(json["error"], "outer");
    assert_eq!(json["sources"], serde_json::json!(["inner"]));
    assert_eq!(json["path"], "root-->child");
    assert_eq!(json["name"], "child");
    assert_eq!(json["reason"], serde_json::Value::Null);
    assert_eq!(json["line"], line);
    assert_eq!(json["file"], file!());
    assert!(json["elapsed_ms"].is_u64());
}

#[test]
fn the_winning_call_returns_after_its_callbacks_have_run() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let ran = Arc::new(AtomicBool::new(false));
    child.add_done_callback({
        let ran = ran.clone();
        move |_| {
            std::thread::yield_now();
            ran.store(true, Ordering::SeqCst);
        }
    });
    assert!(root.cancel());
    assert!(ran.load(Ordering::SeqCst));
}

#[test]
fn a_losing_call_does_not_wait_for_the_winners_callbacks() {
    let root = Ctx::beginning("root");
    let (go, gate) = mpsc::channel::<()>();
    let (entered, inside) = mpsc::channel();
    root.add_done_callback(move |_| {
        entered.send(()).unwrap();
        gate.recv().unwrap();
    });
    let canceller = root.canceller();
    let winner = std::thread::spawn(move || canceller.cancel_because("first"));
    inside.recv().unwrap();
    assert!(root.is_done());
    assert!(!root.cancel_because("second"));
    go.send(()).unwrap();
    assert!(winner.join().unwrap());
}

#[test]
fn a_canceller_completes_and_its_drop_does_not() {
    let root = Ctx::beginning("root");
    let one = root.canceller();
    let two = one.clone();
    drop(one);
    assert!(!root.is_done());
    assert!(two.ctx() == *root);
    let won = std::thread::spawn(move || two.cancel_because("from a signal handler")).join().unwrap();
    assert!(won);
    assert_eq!(root.completion().unwrap().reason(), Some("from a signal handler"));
}

#[test]
fn a_canceller_outlives_the_guard_and_then_completes_nothing() {
    let root = Ctx::beginning("root");
    let canceller = root.canceller();
    drop(root);
    assert!(!canceller.cancel());
    assert!(canceller.ctx().is_cancelled());
}

#[test]
fn a_handed_over_context_lives_until_its_parent_completes() {
    let root = Ctx::beginning("root");
    let child = root.child("child").hand_over();
    assert!(!child.is_done());
    root.cancel_because("enough");
    assert_eq!(child.completion().unwrap().reason(), Some("enough"));
}

#[test]
fn a_callback_of_a_handed_over_context_runs_though_no_handle_is_left() {
    let root = Ctx::beginning("root");
    let (send, ran) = mpsc::channel();
    let child = root.child("child");
    let again = send.clone();
    child.add_done_callback(move |_| again.send("before").unwrap());
    let child = child.hand_over();
    child.add_done_callback(move |_| send.send("after").unwrap());
    drop(child);
    root.cancel();
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), ["before", "after"]);

    let root = Ctx::beginning("root");
    let child = root.child("child");
    let (send, ran) = mpsc::channel();
    child.add_done_callback(move |_| send.send(()).unwrap());
    drop(child.hand_over());
    assert!(ran.try_recv().is_err());
    root.cancel();
    assert_eq!(ran.try_iter().count(), 1);
}

#[test]
fn a_removed_callback_of_a_handed_over_context_no_longer_keeps_it() {
    let root = Ctx::beginning("root");
    let alive = Arc::new(());
    let options = CtxOptions::new().value(alive.clone());
    let child = root.child_with("child", options).unwrap();
    let id = child.add_done_callback(|_| unreachable!());
    let child = child.hand_over();
    child.remove_done_callback(id);
    drop(child);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn contexts_are_equal_by_identity() {
    let root = Ctx::beginning("root");
    let (one, two) = (root.child("same"), root.child("same"));
    assert!(one.ctx() == *one && *one != *two);
    let set: HashSet<Ctx> = [one.ctx(), two.ctx(), one.clone(), root.ctx()].into();
    assert_eq!(set.len(), 3);
    assert!(one.parent().unwrap() == *root && root.parent().is_none());
}

#[test]
fn completion_callbacks_and_waiting_need_no_runtime() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let probe = Probe::new();
    let mut done = child.done();
    let (send, ran) = mpsc::channel();
    child.add_done_callback(move |_| send.send(()).unwrap());
    assert!(probe.poll(&mut done).is_pending());
    root.cancel();
    assert_eq!((probe.woken(), ran.try_iter().count()), (1, 1));
    assert!(probe.poll(&mut done).is_ready());
}

#[test]
fn what_needs_a_runtime_and_has_none_gives_an_error_that_says_so() {
    let root = Ctx::beginning("root");
    let refused = root.runtime().unwrap_err().to_string();
    assert!(refused.contains("Tokio runtime") && refused.contains("`root`"), "{refused}");
    let options = CtxOptions::new().timeout(Duration::from_secs(1));
    let refused = root.child_with("child", options).unwrap_err().to_string();
    assert!(refused.contains("deadline") && refused.contains("root"), "{refused}");
    assert!(!root.is_done());
}

#[test]
fn a_context_knows_the_runtime_that_it_was_made_in_or_given() {
    let made_in = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let given = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let root = {
        let _inside = made_in.enter();
        Ctx::beginning("root")
    };
    let child = root.child("child");
    assert_eq!(child.runtime().unwrap().id(), made_in.handle().id());
    let other = root.child_with("other", CtxOptions::new().runtime(given.handle().clone())).unwrap();
    let below = other.child("below");
    assert_eq!(below.runtime().unwrap().id(), given.handle().id());
    let inside = given.enter();
    assert_eq!(child.runtime().unwrap().id(), made_in.handle().id());
    drop(inside);
    let outside = Ctx::beginning_with("outside", CtxOptions::new().runtime(given.handle().clone())).unwrap();
    assert_eq!(outside.runtime().unwrap().id(), given.handle().id());
}

#[test]
fn values_are_found_by_type_from_below_the_nearest_first() {
    #[derive(Debug, PartialEq)]
    struct Id(u32);
    let root = Ctx::beginning_with("root", CtxOptions::new().value(Id(1)).value("text")).unwrap();
    let child = root.child("child");
    let inner = child.child_with("inner", CtxOptions::new().value(Id(2)).value(Id(3))).unwrap();
    let leaf = inner.child("leaf");
    assert_eq!(*child.value::<Id>().unwrap(), Id(1));
    assert_eq!(*leaf.value::<Id>().unwrap(), Id(3));
    assert_eq!(*leaf.value::<&str>().unwrap(), "text");
    assert!(leaf.value::<u64>().is_none());
}
