//! Contexts with several parents, and contexts that are detached from theirs.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock as a user does")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use machinery::{Ctx, CtxOptions, Tramp};
use tokio::time::{Instant, advance};

struct Named(&'static str);
impl Tramp for Named {}

fn named(name: &'static str) -> machinery::CtxGuard {
    Ctx::beginning_with(name, CtxOptions::new().tramp(Named(name))).expect("no deadline is asked for")
}

#[test]
fn a_linked_context_completes_with_the_first_of_its_parents() {
    for which in 0..3 {
        let parents = [Ctx::beginning("0"), Ctx::beginning("1"), Ctx::beginning("2")];
        let linked = parents[0].linked("linked", [&*parents[1], &*parents[2]]);
        let leaf = linked.child("leaf");
        assert!(!linked.is_done());
        parents[which].cancel_because(format!("{which}"));
        assert_eq!(linked.completion().unwrap().path(), format!("{which}"));
        for parent in &parents {
            parent.cancel_because("later");
        }
        assert_eq!(linked.completion().unwrap().reason(), Some(which.to_string().as_str()));
        assert_eq!(leaf.completion().unwrap().reason(), Some(which.to_string().as_str()));
    }
}

#[test]
fn it_completes_no_parent() {
    let (one, two) = (Ctx::beginning("one"), Ctx::beginning("two"));
    let linked = one.linked("linked", [&*two]);
    linked.cancel();
    assert!(!one.is_done() && !two.is_done());
    drop(linked);
    assert!(!one.is_done() && !two.is_done());
}

#[test]
fn name_tramp_and_values_come_from_the_first_parent() {
    let (one, two) = (named("one"), named("two"));
    let options = CtxOptions::new().prefix("p");
    let linked = one.linked_with("linked", [&*two], options).unwrap();
    assert_eq!(linked.full_name(), "one-->[p]-->linked");
    assert_eq!(linked.tramp_as::<Named>().unwrap().0, "one");
    assert!(linked.parent().unwrap() == *one);
}

#[tokio::test(start_paused = true)]
async fn its_deadline_is_the_earliest_of_all() {
    let start = Instant::now();
    let with = |name, seconds| {
        Ctx::beginning_with(name, CtxOptions::new().timeout(Duration::from_secs(seconds))).expect("inside a runtime")
    };
    let (late, early) = (with("late", 9), with("early", 5));
    let linked = late.linked("linked", [&*early]);
    assert_eq!(linked.deadline().unwrap() - start, Duration::from_secs(5));
    assert_eq!(linked.child("leaf").deadline(), linked.deadline());
    let own = CtxOptions::new().timeout(Duration::from_secs(2));
    let sooner = late.linked_with("sooner", [&*early], own).unwrap();
    let own = CtxOptions::new().timeout(Duration::from_secs(7));
    let later = late.linked_with("later", [&*early], own).unwrap();
    assert_eq!(later.deadline(), early.deadline());
    sooner.done().await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let why = later.done().await;
    assert_eq!((start.elapsed(), why.path().as_str()), (Duration::from_secs(5), "early"));
    assert!(linked.is_done() && !late.is_done());
}

#[test]
fn a_link_to_a_parent_that_is_done_is_done_from_the_start() {
    let (one, two, three) = (Ctx::beginning("one"), Ctx::beginning("two"), Ctx::beginning("three"));
    two.cancel_because("enough");
    for linked in [one.linked("a", [&*two, &*three]), two.linked("b", [&*one]), one.linked("c", [&*three, &*two])] {
        assert_eq!(linked.completion().unwrap().reason(), Some("enough"));
        let (send, ran) = mpsc::channel();
        linked.add_done_callback(move |_| send.send(()).unwrap());
        assert_eq!(ran.try_iter().count(), 1);
    }
    assert!(!one.is_done() && !three.is_done());
}

#[test]
fn it_runs_its_callbacks_once_though_all_its_parents_complete() {
    let (one, two) = (Ctx::beginning("one"), Ctx::beginning("two"));
    let linked = one.linked("linked", [&*two]).hand_over();
    let (send, ran) = mpsc::channel();
    linked.add_done_callback(move |why| send.send(why.path()).unwrap());
    drop(linked);
    two.cancel();
    one.cancel();
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), ["two"]);
}

#[test]
fn the_same_parent_named_twice_counts_once() {
    let one = Ctx::beginning("one");
    let linked = one.linked("linked", [&*one, &*one]);
    assert!(!linked.is_done());
    one.cancel();
    assert!(linked.is_done());
    let none: [&Ctx; 0] = [];
    assert!(one.linked("alone", none).is_done());
}

#[test]
fn a_diamond_completes_from_each_of_its_corners() {
    for corner in 0..3 {
        let root = Ctx::beginning("root");
        let (left, right) = (root.child("left"), root.child("right"));
        let bottom = left.linked("bottom", [&*right]);
        let leaf = bottom.child("leaf");
        [&root, &left, &right][corner].cancel_because("enough");
        assert_eq!(leaf.completion().unwrap().reason(), Some("enough"), "{corner}");
        assert!(bottom.is_done());
    }
}

#[test]
fn a_context_may_be_linked_to_its_own_ancestor() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let linked = child.linked("linked", [&*root]);
    root.cancel_because("enough");
    assert!(child.is_done());
    assert_eq!(linked.completion().unwrap().reason(), Some("enough"));
}

#[test]
fn a_dropped_link_leaves_nothing_behind_on_either_side() {
    let alive = Arc::new(());
    let with = |name| Ctx::beginning_with(name, CtxOptions::new().value(alive.clone())).expect("no deadline");
    let (one, two) = (with("one"), with("two"));
    for _ in 0..3 {
        let linked = one.linked_with("linked", [&*two], CtxOptions::new().value(alive.clone())).unwrap();
        assert_eq!(Arc::strong_count(&alive), 4);
        drop(linked);
        assert_eq!(Arc::strong_count(&alive), 3);
    }
    let linked = one.linked("linked", [&*two]).hand_over();
    drop(one);
    assert!(linked.is_done());
    drop(two);
    assert_eq!(Arc::strong_count(&alive), 3, "a link keeps its parents readable");
    drop(linked);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_detached_context_keeps_name_tramp_and_values_and_neither_completion_nor_deadline() {
    let options = CtxOptions::new().tramp(Named("app")).value(7_u8);
    let root = Ctx::beginning_with("app", options).unwrap();
    let detached = root.detached("flush");
    let leaf = detached.child("leaf");
    root.cancel();
    assert!(!detached.is_done() && !leaf.is_done());
    assert_eq!(leaf.full_name(), "app-->flush-->leaf");
    assert_eq!(leaf.tramp_as::<Named>().unwrap().0, "app");
    assert_eq!(*leaf.value::<u8>().unwrap(), 7);
    detached.cancel_because("flushed");
    assert_eq!(leaf.completion().unwrap().reason(), Some("flushed"));
    assert_eq!(leaf.completion().unwrap().path(), "app-->flush");
}

#[test]
fn a_detached_context_can_be_made_below_one_that_is_done() {
    let root = Ctx::beginning("app");
    root.cancel();
    let detached = root.detached("flush");
    assert!(!detached.is_done());
    assert!(!detached.child("leaf").is_done());
    assert_eq!(detached.to_string(), "app(cancelled)-->flush(pending)");
    let seen = detached.ctx();
    drop(detached);
    assert!(seen.is_cancelled());
    assert_eq!(seen.completion().unwrap().path(), "app-->flush");
}

#[tokio::test(start_paused = true)]
async fn a_detached_context_may_have_a_deadline_of_its_own() {
    let root = Ctx::beginning_with("root", CtxOptions::new().timeout(Duration::from_secs(1))).unwrap();
    let free = root.detached("free");
    let own = root.detached_with("own", CtxOptions::new().timeout(Duration::from_secs(3))).unwrap();
    let below = own.child_with("below", CtxOptions::new().timeout(Duration::from_secs(9))).unwrap();
    assert_eq!(free.deadline(), None);
    assert_eq!(below.deadline(), own.deadline());
    advance(Duration::from_secs(2)).await;
    tokio::task::yield_now().await;
    assert!(root.is_done() && !own.is_done());
    let start = Instant::now();
    below.done().await;
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(!free.is_done());
}
