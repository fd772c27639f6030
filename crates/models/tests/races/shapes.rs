//! Random trees with links, completed and dropped by several threads: no circle of waiting, and nobody is forgotten.

use machinery::Ctx;
use machinery_models::{large_model, model, thread};

#[test]
fn two_sweeps_that_meet_at_two_links_in_crossed_order_both_end() {
    model(|| {
        let (one, two) = (Ctx::beginning("one"), Ctx::beginning("two"));
        let a = one.linked("a", [&*two]);
        let b = two.linked("b", [&*one]);
        let leaf = a.linked("leaf", [&*b]);
        let seen = (a.ctx(), b.ctx(), leaf.ctx());
        let racing = thread::spawn(move || {
            two.cancel();
            assert!(a.is_done() && b.is_done() && leaf.is_done());
            (two, a, b, leaf)
        });
        one.cancel();
        assert!(seen.0.is_done() && seen.1.is_done() && seen.2.is_done());
        drop(racing.join().expect("no panic"));
    });
}

#[test]
fn a_link_below_a_link_and_its_own_grandparent_is_reached_twice() {
    model(|| {
        let root = Ctx::beginning("root");
        let left = root.child("left");
        let right = root.child("right");
        let mid = left.linked("mid", [&*right]);
        let leaf = mid.linked("leaf", [&*root, &*left]);
        let stop = right.canceller();
        let racing = thread::spawn(move || {
            stop.cancel();
        });
        root.cancel();
        assert!(left.is_done() && right.is_done() && mid.is_done() && leaf.is_done());
        racing.join().expect("no panic");
    });
}

#[cfg(machinery_shuttle)]
#[test]
fn a_random_web_of_links_is_completed_and_dropped_by_three_threads() {
    use machinery::CtxGuard;
    use machinery_models::Count;
    use shuttle::rand::Rng;

    large_model(|| {
        let mut random = shuttle::rand::thread_rng();
        let mut guards: Vec<CtxGuard> = vec![Ctx::beginning("0"), Ctx::beginning("1")];
        let ran = Count::new();
        for n in 2..9 {
            let first = &guards[random.gen_range(0..guards.len())];
            let more: Vec<&Ctx> =
                (0..random.gen_range(0..3)).map(|_| &*guards[random.gen_range(0..guards.len())]).collect();
            let guard = first.linked(format!("{n}"), more);
            let ran = ran.clone();
            guard.add_done_callback(move |_| ran.add());
            guards.push(guard);
        }
        let seen: Vec<Ctx> = guards.iter().map(|guard| guard.ctx()).collect();
        let mut parts: Vec<Vec<CtxGuard>> = vec![Vec::new(), Vec::new(), Vec::new()];
        for guard in guards {
            parts[random.gen_range(0..3)].push(guard);
        }
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                thread::spawn(move || {
                    for guard in &part {
                        if guard.name().len() % 2 == 1 && guard.cancel() {
                            assert!(guard.is_done());
                        }
                    }
                    drop(part);
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert!(seen.iter().all(|ctx| ctx.is_done() && ctx.completion().is_some()));
        assert_eq!(ran.get(), 7);
    });
}

#[test]
fn children_and_links_made_while_three_threads_complete_are_all_done_in_the_end() {
    large_model(|| {
        let root = Ctx::beginning("root");
        let (left, right) = (root.child("left"), root.child("right"));
        let making: Vec<_> = (0..2)
            .map(|_| {
                let (left, right) = (left.ctx(), right.ctx());
                thread::spawn(move || {
                    let linked = left.linked("linked", [&right]);
                    let leaf = linked.child("leaf");
                    let late = leaf.linked("late", [&left, &right]);
                    (linked, leaf, late)
                })
            })
            .collect();
        let stop = left.canceller();
        let stopping = thread::spawn(move || stop.cancel());
        root.cancel();
        for thread in making {
            let (linked, leaf, late) = thread.join().expect("no panic");
            assert!(linked.is_done() && leaf.is_done() && late.is_done());
        }
        stopping.join().expect("no panic");
    });
}
