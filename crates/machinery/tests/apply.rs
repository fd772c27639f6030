//! Results and errors carried between promises.

mod tramps;

use std::sync::Arc;

use machinery::apply::ErrorGroup;
use machinery::{
    Promise, SharedError, TaskHolder, find_and_apply_result, noncancelled_results_from_futs, wait_for_all,
};
use tramps::Kept;

fn error(text: &'static str) -> SharedError {
    Arc::new(std::io::Error::other(text))
}

fn promises<const N: usize>() -> [Promise<u32>; N] {
    std::array::from_fn(|n| Promise::new(format!("promise-{n}")))
}

#[test]
fn results_are_those_of_the_done_and_not_cancelled_in_their_order() {
    let [a, b, c, d] = promises();
    d.set_result(4);
    a.set_result(1);
    b.cancel();
    let (results, error) = noncancelled_results_from_futs([&a, &b, &c, &d]);
    assert_eq!(results, [1, 4]);
    assert!(error.is_none());
    assert_eq!(noncancelled_results_from_futs::<Promise<u32>>([]).0, []);
}

#[test]
fn the_only_error_is_returned_as_it_is() {
    let [a, b] = promises();
    let only = error("no route");
    a.set_exception(only.clone());
    b.set_result(2);
    let (results, found) = noncancelled_results_from_futs([&a, &b]);
    assert_eq!(results, [2]);
    assert!(Arc::ptr_eq(&found.unwrap(), &only));
}

#[test]
fn the_same_error_seen_several_times_is_one() {
    let [a, b, c] = promises();
    let same = error("no route");
    a.set_exception(same.clone());
    b.set_exception(same.clone());
    c.set_exception(same.clone());
    let (_, found) = noncancelled_results_from_futs([&a, &b, &c]);
    assert!(Arc::ptr_eq(&found.unwrap(), &same));

    let [d] = promises();
    d.set_exception(error("no route"));
    let (_, found) = noncancelled_results_from_futs([&a, &b, &d]);
    assert_eq!(ErrorGroup::of(&found.unwrap()).unwrap().len(), 2, "equal in text is not the same");
}

#[test]
fn several_errors_are_a_group_in_their_order() {
    let futs: [_; 4] = promises();
    for (fut, text) in futs.iter().zip(["one", "two", "three", "four"]) {
        fut.set_exception(error(text));
    }
    let (_, found) = noncancelled_results_from_futs(&futs);
    let found = found.unwrap();
    assert_eq!(found.to_string(), "4 errors: one; two; three; four");
    let group = ErrorGroup::of(&found).unwrap();
    let texts: Vec<String> = group.into_iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["one", "two", "three", "four"]);
    assert_eq!(std::error::Error::source(group).unwrap().to_string(), "one");
}

#[test]
fn an_error_seen_alone_and_in_a_group_is_one() {
    let (one, two) = (error("one"), error("two"));
    let group = ErrorGroup::merge([one.clone(), two.clone()]).unwrap();
    let merged = ErrorGroup::merge([one, group.clone(), two, group.clone()]).unwrap();
    assert_eq!(merged.to_string(), "2 errors: one; two");
    assert!(Arc::ptr_eq(&ErrorGroup::merge([group.clone(), group.clone()]).unwrap(), &group));
}

#[test]
fn a_cancelled_last_cancels_all() {
    let [last, a, b] = promises();
    last.cancel();
    b.set_result(2);
    assert!(!find_and_apply_result(&last, [&a, &b]));
    assert!(a.is_cancelled());
    assert_eq!(b.value(), Some(&2));
}

#[test]
fn a_settled_last_settles_the_unsettled_with_its_result() {
    let [last, a, b] = promises();
    last.set_result(7);
    b.set_exception("stays");
    assert!(!find_and_apply_result(&last, [&a, &b]));
    assert_eq!(a.value(), Some(&7));
    assert!(b.exception().is_some());
}

#[test]
fn a_settled_last_settles_the_unsettled_with_its_error() {
    let [last, a, b] = promises();
    let same = error("no route");
    last.set_exception(same.clone());
    b.set_result(2);
    assert!(!find_and_apply_result(&last, [&a, &b]));
    assert!(Arc::ptr_eq(a.exception().unwrap(), &same));
    assert_eq!(b.value(), Some(&2));
}

#[test]
fn an_error_goes_to_all_unsettled_and_to_last_even_where_there_are_results() {
    let [last, a, b, c, d] = promises();
    let same = error("no route");
    a.set_result(1);
    b.set_exception(same.clone());
    d.cancel();
    assert!(find_and_apply_result(&last, [&a, &b, &c, &d]));
    assert!(Arc::ptr_eq(last.exception().unwrap(), &same));
    assert!(Arc::ptr_eq(c.exception().unwrap(), &same));
    assert_eq!(a.value(), Some(&1));
    assert!(d.is_cancelled());
}

#[test]
fn several_errors_go_on_as_a_group() {
    let [last, a, b, c] = promises();
    a.set_exception(error("one"));
    b.set_exception(error("two"));
    assert!(find_and_apply_result(&last, [&a, &b, &c]));
    assert_eq!(ErrorGroup::of(last.exception().unwrap()).unwrap().len(), 2);
    assert!(Arc::ptr_eq(last.exception().unwrap(), c.exception().unwrap()));
}

#[test]
fn the_first_result_goes_to_all_unsettled_and_to_last() {
    let [last, a, b, c, d] = promises();
    c.set_result(3);
    b.set_result(2);
    d.cancel();
    assert!(find_and_apply_result(&last, [&a, &b, &c, &d]));
    assert_eq!(last.value(), Some(&2), "first in the order of the list");
    assert_eq!(a.value(), Some(&2));
    assert_eq!(c.value(), Some(&3));
    assert!(d.is_cancelled());
}

#[test]
fn a_cancelled_one_cancels_last_and_leaves_the_others() {
    let [last, a, b] = promises();
    b.cancel();
    assert!(find_and_apply_result(&last, [&a, &b]));
    assert!(last.is_cancelled());
    assert!(!a.is_done());
}

#[test]
fn nothing_to_apply_changes_nothing() {
    let [last, a, b] = promises();
    assert!(!find_and_apply_result(&last, [&a, &b]));
    assert!(!find_and_apply_result(&last, []));
    assert!(!last.is_done() && !a.is_done() && !b.is_done());
}

#[test]
fn a_second_call_changes_last_no_more() {
    let [last, a, b] = promises();
    a.set_result(1);
    assert!(find_and_apply_result(&last, [&a, &b]));
    assert!(!find_and_apply_result(&last, [&a, &b]));
}

#[test]
fn an_error_that_is_passed_on_is_reported_once() {
    let kept = Kept::new();
    let ctx = kept.root();
    let [last, a, b, c] = ["last", "a", "b", "c"].map(|name| Promise::<u32>::on(&ctx, name));
    a.set_exception("no route");
    assert!(find_and_apply_result(&last, [&a, &b, &c]));
    drop((a, b, c));
    assert!(kept.reports().is_empty());
    drop(last);
    assert_eq!(kept.reports(), ["root/last: an error that nobody read: no route"]);
}

#[test]
fn the_error_of_a_last_that_was_settled_before_is_reported_once() {
    let kept = Kept::new();
    let ctx = kept.root();
    let [last, a] = ["last", "a"].map(|name| Promise::<u32>::on(&ctx, name));
    last.set_exception("no route");
    assert!(!find_and_apply_result(&last, [&a]));
    drop(a);
    assert!(kept.reports().is_empty());
    drop(last);
    assert_eq!(kept.reports().len(), 1);
}

#[tokio::test]
async fn the_results_of_tasks_are_found_as_well() {
    let kept = Kept::new();
    let ctx = kept.root();
    let holder = TaskHolder::new(&ctx);
    let tasks = vec![
        holder.add("one", async { 1 }),
        holder.add("fails", async { Err::<i32, _>("no route") }),
        holder.add("cancelled", std::future::pending::<i32>()),
        holder.add("panics", async {
            assert!(std::hint::black_box(false), "a task that panics");
            2
        }),
        holder.add("pending", std::future::pending::<i32>()),
    ];
    tasks[2].cancel();
    wait_for_all(&tasks[..4]).await;
    let (results, error) = noncancelled_results_from_futs(&tasks);
    assert_eq!(results, [1]);
    let error = error.unwrap();
    let group = ErrorGroup::of(&error).unwrap();
    assert_eq!(group.len(), 2);
    assert!(error.to_string().contains("no route") && error.to_string().contains("a task that panics"), "{error}");
    holder.stop().await;
}

#[test]
fn a_last_that_is_among_the_others_is_changed_once_and_keeps_its_error_to_be_read() {
    let kept = Kept::new();
    let ctx = kept.root();
    let (last, other) = (Promise::<u32>::on(&ctx, "last"), Promise::<u32>::on(&ctx, "other"));
    other.set_exception("no route");
    assert!(find_and_apply_result(&last, [&last, &other]));
    drop(last);
    drop(other);
    assert_eq!(kept.reports(), ["root/last: an error that nobody read: no route"]);
}
