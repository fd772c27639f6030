//! Contexts that one completion reaches along several ways.

use machinery::Ctx;

/// Every order in which a node with several parents can stand among its siblings.
#[test]
fn a_context_below_two_parents_of_one_tree_is_completed_once_in_any_order() {
    for order in 0..4 {
        let root = Ctx::beginning("root");
        let other = Ctx::beginning("other");
        let early = (order & 1 == 0).then(|| root.child("early"));
        let link = |inner: &Ctx| root.linked("linked", [inner, &*other]);
        let (inner, linked, below) = if order & 2 == 0 {
            let inner = root.child("inner");
            let linked = link(&inner);
            let below = linked.child("below");
            (inner, linked, below)
        } else {
            let inner = early.as_ref().map_or_else(|| root.child("inner"), |early| early.child("inner"));
            let linked = inner.linked("linked", [&*root]);
            let below = linked.child("below");
            (inner, linked, below)
        };
        let (send, runs) = std::sync::mpsc::channel();
        for ctx in [&*root, &inner, &linked, &below] {
            let send = send.clone();
            let name = ctx.name().to_owned();
            ctx.add_done_callback(move |_| send.send(name).unwrap());
        }
        drop(send);
        root.cancel_because("all");
        assert!(inner.is_done() && linked.is_done() && below.is_done());
        assert_eq!(below.completion().unwrap().reason(), Some("all"));
        let mut runs: Vec<String> = runs.iter().collect();
        assert_eq!(runs.first().map(String::as_str), Some("root"), "a parent's callbacks come first");
        runs.sort();
        assert_eq!(runs, ["below", "inner", "linked", "root"]);
        assert!(!other.is_done());
    }
}

#[test]
fn two_sweeps_that_meet_in_different_orders_do_not_wait_for_each_other() {
    for _ in 0..200 {
        let (one, two) = (Ctx::beginning("one"), Ctx::beginning("two"));
        let (under_one, under_two) = (one.child("under"), two.child("under"));
        let first = one.linked("first", [&*under_two]);
        let second = two.linked("second", [&*under_one]);
        let leaves = [first.child("leaf"), second.child("leaf")];
        let stops = [one.canceller(), two.canceller()];
        std::thread::scope(|scope| {
            for stop in stops {
                scope.spawn(move || stop.cancel());
            }
        });
        assert!(leaves.iter().all(|leaf| leaf.is_done()));
    }
}
