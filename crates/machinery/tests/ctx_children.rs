//! Names, the places of children, and how contexts show themselves.

mod wakers;

use std::error::Error;
use std::future::pending;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;
use std::{fmt, io};

use machinery::generator::AsyncGenerator;
use machinery::manager::QueueManagerResult;
use machinery::{Ctx, CtxOptions, Tramp, queue_manager};

#[test]
fn the_full_name_joins_the_names_and_prefixes_from_the_root() {
    let root = Ctx::beginning("app");
    let server = root.child_with("server", CtxOptions::new().prefix("http")).unwrap();
    let request = server.child("request");
    assert_eq!(request.full_name(), "app-->[http]-->server-->request");
    assert_eq!((request.name(), root.full_name().as_str()), ("request", "app"));
}

#[test]
fn a_name_may_have_any_characters() {
    for name in ["", "-->", "a\nb\0", "[x]-->", "日本語 🦀", " "] {
        let root = Ctx::beginning(name);
        let child = root.child(String::from(name));
        assert_eq!(child.name(), name);
        assert_eq!(child.full_name(), format!("{name}-->{name}"));
        root.cancel_because(String::from(name));
        assert_eq!(child.completion().unwrap().reason(), Some(name));
    }
}

#[test]
fn a_child_of_a_context_that_is_done_is_done_from_the_start() {
    let root = Ctx::beginning("root");
    let mid = root.child("mid");
    root.cancel_because("enough");
    let late = mid.child("late");
    assert!(late.is_done());
    assert_eq!(late.completion().unwrap().reason(), Some("enough"));
    assert!(!late.cancel());
    let later = late.child_with("later", CtxOptions::new().prefix("x")).unwrap();
    assert_eq!(later.completion().unwrap().path(), "root");
    let (send, ran) = mpsc::channel();
    later.add_done_callback(move |why| send.send(why.path()).unwrap());
    assert_eq!(ran.try_recv().unwrap(), "root");
}

#[test]
fn display_and_debug_show_the_state_of_each_level_nearest_last() {
    let root = Ctx::beginning("app");
    let server = root.child_with("server", CtxOptions::new().prefix("http")).unwrap();
    let request = server.child("request");
    assert_eq!(request.to_string(), "app(pending)-->[http]-->server(pending)-->request(pending)");
    server.set_exception("broken");
    assert_eq!(request.to_string(), "app(pending)-->[http]-->server(failed)-->request(failed)");
    root.cancel();
    assert_eq!(request.to_string(), "app(cancelled)-->[http]-->server(failed)-->request(failed)");
    assert_eq!(format!("{:?}", request.ctx()), format!("<Ctx {request}>"));
    assert!(format!("{request:?}").contains("app(cancelled)"));
}

#[tokio::test(start_paused = true)]
async fn display_shows_a_deadline_that_passed() {
    let root = Ctx::beginning("app");
    let child = root.child_with("child", CtxOptions::new().timeout(Duration::from_secs(1))).unwrap();
    child.done().await;
    assert_eq!(child.to_string(), "app(pending)-->child(deadline passed)");
}

#[test]
fn a_tramp_is_replaced_for_the_subtree_only() {
    struct Named(&'static str);
    impl Tramp for Named {}

    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(Named("outer"))).unwrap();
    let mid = root.child_with("mid", CtxOptions::new().tramp(Named("inner"))).unwrap();
    let leaf = mid.child("leaf");
    assert_eq!(root.tramp_as::<Named>().unwrap().0, "outer");
    assert_eq!(leaf.tramp_as::<Named>().unwrap().0, "inner");
    assert_eq!(leaf.tramp().downcast_ref::<Named>().unwrap().0, "inner");
}

#[test]
fn options_of_a_clone_are_shared_and_the_same_for_several_contexts() {
    let options = CtxOptions::new().prefix("p").value(7_u8);
    let root = Ctx::beginning("root");
    let one = root.child_with("one", options.clone()).unwrap();
    let two = root.child_with("two", options).unwrap();
    assert_eq!(*one.value::<u8>().unwrap() + *two.value::<u8>().unwrap(), 14);
    assert_eq!(two.full_name(), "root-->[p]-->two");
}

/// Holds something whose end can be seen, to tell when a context is freed.
fn watched() -> (CtxOptions, Weak<()>) {
    let alive = Arc::new(());
    let gone = Arc::downgrade(&alive);
    (CtxOptions::new().value(alive), gone)
}

/// Scenario 4.
#[test]
fn a_nested_child_that_outlives_its_completed_parent_leaks_nothing() {
    let root = Ctx::beginning("root");
    let (options, parent_gone) = watched();
    let parent = root.child_with("parent", options).unwrap();
    let (options, child_gone) = watched();
    let child = parent.child_with("child", options).unwrap();
    let leaf = child.child("leaf").hand_over();
    parent.cancel();
    drop(parent);
    drop(child);
    assert!(parent_gone.upgrade().is_some(), "the leaf still names those above it");
    assert_eq!(leaf.full_name(), "root-->parent-->child-->leaf");
    drop(leaf);
    assert!(parent_gone.upgrade().is_none() && child_gone.upgrade().is_none());
    assert!(!root.is_done());
}

#[test]
fn a_context_is_freed_with_its_last_handle_whoever_that_is() {
    let root = Ctx::beginning("root");
    for last in 0..5 {
        let (options, gone) = watched();
        let child = root.child_with("child", options).unwrap();
        let held: Box<dyn std::any::Any> = match last {
            0 => Box::new(child.ctx()),
            1 => Box::new(child.canceller()),
            2 => Box::new(child.done()),
            3 => Box::new(child.drained()),
            _ => Box::new(child.child("leaf")),
        };
        drop(child);
        assert!(gone.upgrade().is_some());
        drop(held);
        assert!(gone.upgrade().is_none(), "{last}");
    }
}

#[test]
fn a_completion_that_somebody_keeps_holds_no_sibling() {
    let root = Ctx::beginning("root");
    let (options, gone) = watched();
    let sibling = root.child_with("sibling", options).unwrap();
    let child = root.child("child");
    root.cancel();
    let why = child.completion().unwrap();
    drop((sibling, child, root));
    assert!(gone.upgrade().is_none());
    assert_eq!(why.path(), "root");
}

/// An error of a user's own, made by `?` or by hand.
#[derive(Debug)]
struct Stopped(Box<dyn Error + Send + Sync>);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl Error for Stopped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[tokio::test]
async fn a_completion_that_came_as_an_error_keeps_no_tree_alive_wherever_it_goes() {
    for way in ["run", "io", "by hand", "manager", "generator"] {
        let (options, gone) = watched();
        let above = Ctx::beginning_with("above", options).unwrap();
        let below = above.child("below");
        let mut results = queue_manager::<u32>(&below).build().1;
        let (sender, thrown) = mpsc::channel();
        let mut items = AsyncGenerator::on(&below, "items", move |_, mut y| async move {
            let why = y.yield_(1).await.unwrap_err();
            sender.send(why.into_error()).unwrap();
            Ok(())
        });
        assert_eq!(items.next().await, Some(1));
        below.cancel_because("enough");
        assert_eq!(items.next().await, None);
        let error: Box<dyn Error + Send + Sync> = match way {
            "run" => Box::new(below.run(pending::<()>()).await.unwrap_err()),
            "manager" => match results.next().await {
                Some(QueueManagerResult::Stopped { exception }) => Box::new(exception.unwrap()),
                _ => unreachable!("it is stopped"),
            },
            "generator" => Box::new(thrown.recv().unwrap()),
            "io" => Box::new(io::Error::from(below.completion().unwrap())),
            _ => Box::new(below.done().await.let_go()),
        };
        above.set_exception(Stopped(error));
        let why = above.completion().unwrap();
        let source = why.error().unwrap().source().unwrap();
        assert!(source.to_string().starts_with("`above-->below` was cancelled at"), "{way}: {source}");
        drop((why, above, below, results, items, thrown));
        assert!(gone.upgrade().is_none(), "{way}");
    }
}

#[test]
fn children_may_go_in_any_order() {
    let root = Ctx::beginning("root");
    let mut kids: Vec<_> = (0..100).map(|n| root.child(format!("{n}"))).collect();
    let mut step = 17;
    while kids.len() > 10 {
        step = (step * 31 + 7) % 101;
        let kid = kids.swap_remove(step % kids.len());
        let seen = kid.ctx();
        drop(kid);
        assert!(seen.is_cancelled());
        if step % 5 == 0 {
            kids.push(root.child("new"));
        }
    }
    root.cancel_because("enough");
    assert!(kids.iter().all(|kid| kid.completion().is_some_and(|why| why.reason() == Some("enough"))));
}

#[test]
fn a_value_whose_drop_uses_the_tree_may_do_so() {
    struct Uses(Ctx);
    impl Drop for Uses {
        fn drop(&mut self) {
            let late = self.0.child("made while dropping");
            late.cancel();
            drop(self.0.child("another"));
        }
    }
    let root = Ctx::beginning("root");
    let child = root.child_with("child", CtxOptions::new().value(Uses(root.ctx()))).unwrap();
    let handed = root.child_with("handed", CtxOptions::new().value(Uses(root.ctx()))).unwrap().hand_over();
    drop(child);
    drop(handed);
    root.cancel();
    assert!(root.is_done());
}

#[test]
fn the_children_are_those_that_are_pending_in_the_order_in_which_they_were_made() {
    let root = Ctx::beginning("app");
    assert!(root.children().is_empty());
    let (a, b) = (root.child("a"), root.child("b"));
    let c = root.child("c").hand_over();
    let (outside, apart) = (Ctx::beginning("outside"), root.detached("apart"));
    let linked = outside.linked("linked", [&*root]);
    assert_eq!(root.children(), [a.ctx(), b.ctx(), c.clone(), linked.ctx()]);
    assert_eq!(outside.children(), [linked.ctx()]);

    let gone = b.ctx();
    drop(b);
    linked.cancel();
    assert_eq!(root.children(), [a.ctx(), c.clone()]);
    drop(gone);

    root.cancel();
    assert!(root.children().is_empty());
    drop(apart);
}

#[test]
fn a_tree_shows_every_pending_context_indented_with_its_prefix_and_on_demand_its_line() {
    let root = Ctx::beginning("app");
    let server = root.child_with("server", CtxOptions::new().prefix("http")).unwrap();
    let request = server.child("request");
    let other = root.child("other");
    let tree = root.tree();
    assert_eq!(tree.to_string(), "app(pending)\n  [http]-->server(pending)\n    request(pending)\n  other(pending)\n");
    assert_eq!(server.tree().to_string(), "[http]-->server(pending)\n  request(pending)\n");

    let last = format!("{tree:#}").lines().last().unwrap().to_owned();
    assert_eq!(last, format!("  other(pending) from {}", other.location()));
    assert_eq!(tree.iter().map(|(depth, _)| depth).collect::<Vec<_>>(), [0, 1, 2, 1]);
    root.cancel();
    assert_eq!(root.tree().to_string(), "app(cancelled)\n");
    drop(request);
}

#[test]
fn a_tree_of_any_depth_is_shown_without_recursion() {
    let root = Ctx::beginning("app");
    let mut deepest = root.ctx();
    for _ in 0..20_000 {
        deepest = deepest.child("below").hand_over();
    }
    assert_eq!(root.tree().iter().last().map(|(depth, ctx)| (depth, ctx.clone())), Some((20_000, deepest)));
}

#[test]
fn children_are_listed_while_others_make_and_drop_them() {
    let root = Ctx::beginning("app");
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let child = root.child("child");
                        drop(child.child("grandchild"));
                    }
                })
            })
            .collect();
        while busy.iter().any(|thread| !thread.is_finished()) {
            assert!(root.tree().iter().all(|(depth, _)| depth <= 2));
        }
    });
    assert!(root.children().is_empty());
}

#[test]
fn what_is_below_a_context_with_several_parents_is_shown_once() {
    let root = Ctx::beginning("root");
    let mut all = vec![root.child("left"), root.child("right")];
    for _ in 0..1_000 {
        let above = [all[all.len() - 2].ctx(), all[all.len() - 1].ctx()];
        all.extend(["left", "right"].map(|name| root.linked(name, &above)));
    }
    // The first parent of all of them is the root. Each stands below that, and below its two others.
    assert_eq!(root.tree().iter().count(), 1 + 2 + 3 * 2 * 1_000);
}
