//! The tramp, through the public face.

mod tramps;

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use machinery::protocols::{FutureState, WithRepr};
use machinery::{
    AsyncGenerator, Ctx, CtxOptions, Event, Name, Promise, Report, SharedError, TaskHolder, Tramp, tramp, wait_for_all,
};
use tracing::field::{Field, Visit};
use tracing::span;
use tramps::Kept;

/// Keeps the fields of each event, as `LEVEL name=value …`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Line(&mut line));
        self.0.lock().expect("never poisoned").push(line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// What is written to `tracing` meanwhile.
fn written(code: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), code);
    std::mem::take(&mut *lines.0.lock().expect("never poisoned"))
}

fn error(text: &'static str) -> SharedError {
    Arc::new(std::io::Error::other(text))
}

#[test]
fn the_default_writes_to_tracing_with_path_and_task_as_fields() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let (name, here) = (Name::from("poller"), Location::caller());
    let lines = written(|| {
        child.tramp().log_info(&child, "all is well");
        Report::new(&child, "task failed").task(&name).error(&error("disk full")).at(here).send();
        Report::new(&child, "holder dropped").send();
    });
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("INFO"), "{lines:?}");
    assert!(lines[0].contains("message=all is well") && lines[0].contains("ctx=root-->child"), "{lines:?}");
    assert!(lines[1].starts_with("ERROR"), "{lines:?}");
    assert!(lines[1].contains("message=task failed: disk full"), "{lines:?}");
    assert!(lines[1].contains("ctx=root-->child") && lines[1].contains("task=\"poller\""), "{lines:?}");
    assert!(lines[1].contains(&format!("at={here}")), "{lines:?}");
    assert!(lines[2].contains("message=holder dropped") && !lines[2].contains("task="), "{lines:?}");
}

#[test]
fn an_unread_error_of_a_promise_without_a_context_is_written_to_tracing() {
    let lines = written(|| {
        Promise::<u32>::new("port").set_exception("none is free");
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("none is free") && lines[0].contains("task=\"port\""), "{lines:?}");
}

#[test]
fn an_error_of_a_generator_without_a_context_that_nobody_took_is_written_to_tracing() {
    for closed in [false, true] {
        let lines = written(|| {
            let mut numbers = AsyncGenerator::new(|mut y| async move {
                let thrown = y.yield_(1).await.unwrap_err();
                y.yield_(2).await?;
                Err(thrown)
            });
            assert_eq!(numbers.next().now_or_never(), Some(Some(1)));
            assert_eq!(numbers.throw("no more paper").now_or_never().unwrap().unwrap(), Some(2));
            assert_eq!(numbers.next().now_or_never(), Some(None));
            if closed {
                assert!(numbers.close().now_or_never().unwrap().is_err());
            }
        });
        assert_eq!(lines.len(), usize::from(!closed), "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("no more paper")), "{lines:?}");
    }
}

#[test]
fn a_report_says_each_source_once() {
    #[derive(Debug)]
    struct Wraps(SharedError, &'static str);
    impl fmt::Display for Wraps {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
    }
    impl std::error::Error for Wraps {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&*self.0)
        }
    }
    let root = Ctx::beginning("root");
    let plain: SharedError = Arc::new(Wraps(error("disk full"), "could not save"));
    assert_eq!(Report::new(&root, "task failed").error(&plain).to_string(), "task failed: could not save: disk full");
    let repeats: SharedError = Arc::new(Wraps(error("disk full"), "could not save: disk full"));
    assert_eq!(Report::new(&root, "task failed").error(&repeats).to_string(), "task failed: could not save: disk full");
}

#[test]
fn it_is_inherited_replaced_for_a_subtree_and_kept_by_linked_and_detached_contexts() {
    struct Numbered(u32);
    impl Tramp for Numbered {}
    let number = |ctx: &Ctx| ctx.tramp().downcast_ref::<Numbered>().map(|tramp| tramp.0);

    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(Numbered(1))).unwrap();
    let other = Ctx::beginning_with("other", CtxOptions::new().tramp(Numbered(2))).unwrap();
    let child = root.child("child");
    let replaced = child.child_with("replaced", CtxOptions::new().tramp(Numbered(3))).unwrap();
    assert_eq!(number(&child.child("below")), Some(1));
    assert_eq!(number(&replaced.child("below")), Some(3));
    assert_eq!(number(&child.linked("linked", [&*other])), Some(1));
    assert_eq!(number(&other.detached("detached")), Some(2));
    assert_eq!(number(&Ctx::beginning("plain")), None);
}

#[test]
fn an_own_tramp_is_found_by_its_type_from_any_context_below() {
    struct Own(u32);
    impl Tramp for Own {}
    let kept = Kept::new();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(Own(7))).unwrap();
    let below = root.child_with("below", CtxOptions::new().tramp(kept)).unwrap().child("deep").hand_over();
    assert_eq!(below.tramp_as::<Own>().unwrap().0, 7);
    assert!(below.tramp_as::<Kept>().is_some());
    assert!(root.tramp_as::<Kept>().is_none());
    assert!(below.tramp().downcast_ref::<Own>().is_none());
}

#[test]
fn futures_are_shown_by_name_and_state() {
    let ctx = Ctx::beginning("root");
    let tramp = ctx.tramp();
    let shown = |future: &dyn WithRepr| (tramp.fut_to_string(future, true), tramp.fut_to_string(future, false));
    let pair = |with: &str, without: &str| (with.to_owned(), without.to_owned());

    let promise = Promise::<u32>::on(&ctx, "port");
    assert_eq!(shown(&promise), pair("<Future#port(pending)>", "(pending)"));
    promise.set_result(80);
    assert_eq!(shown(&promise), pair("<Future#port(result)>", "(result)"));

    let promise = Promise::<u32>::on(&ctx, "port");
    promise.cancel();
    assert_eq!(shown(&promise), pair("<Future#port(cancelled)>", "(cancelled)"));

    let promise = Promise::<u32>::on(&ctx, "port");
    promise.set_exception(std::io::Error::other("none is free"));
    assert_eq!(shown(&promise), pair("<Future#port(exception:Error:none is free)>", "(exception:Error:none is free)"));
    assert!(promise.exception().is_some());

    assert_eq!(shown(&*ctx), pair("<Future#root(pending)>", "(pending)"));
    ctx.cancel();
    assert_eq!(shown(&ctx), pair("<Future#root(cancelled)>", "(cancelled)"));
    assert_eq!(shown(&Event::new()), pair("<Future(pending)>", "(pending)"));
    assert_eq!(shown(&Event::named("open")), pair("<Future#open(pending)>", "(pending)"));
}

#[test]
fn the_kind_is_the_errors_type_where_a_typed_call_knew_it() {
    #[derive(Debug)]
    struct NoneFree;
    impl fmt::Display for NoneFree {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("none is free")
        }
    }
    impl std::error::Error for NoneFree {}

    let ctx = Ctx::beginning("root");
    let typed = Promise::<u32>::new("typed");
    typed.set_exception(NoneFree);
    let shared: SharedError = typed.exception().unwrap().clone();
    let untyped = Promise::<u32>::new("untyped");
    untyped.set_exception(shared);
    assert!(untyped.exception().is_some());

    let tramp = ctx.tramp();
    assert_eq!(tramp.fut_to_string(&typed, false), "(exception:NoneFree:none is free)");
    assert_eq!(tramp.fut_to_string(&untyped, false), "(exception:Error:none is free)");
}

#[test]
fn futures_can_be_given_another_name() {
    let ctx = Ctx::beginning("root");
    let tramp = ctx.tramp();
    let promise = Promise::<u32>::on(&ctx, "port");
    assert_eq!(tramp.get_future_name(&promise).unwrap(), "port");
    assert!(tramp.set_future_name(&promise, "http".into()));
    assert_eq!(promise.name(), "http");
    assert_eq!(tramp.fut_to_string(&promise, true), "<Future#http(pending)>");
    assert!(!tramp.set_future_name(&*ctx, "other".into()));
    assert_eq!(ctx.name(), "root");
}

#[test]
fn the_reporter_logs_errors_and_never_cancellations() {
    let kept = Kept::new();
    let ctx = kept.root();
    let [pending, cancelled, fine, failed] =
        ["pending", "cancelled", "fine", "failed"].map(|name| Promise::<u32>::on(&ctx, name));
    cancelled.cancel();
    fine.set_result(1);
    failed.set_exception("no route");
    let tramp = ctx.tramp();
    assert!(!tramp.reporter(&ctx, &pending));
    assert!(!tramp.reporter(&ctx, &cancelled));
    assert!(tramp.reporter(&ctx, &fine));
    assert!(kept.reports().is_empty());
    assert!(!tramp.reporter(&ctx, &failed));
    drop(failed);
    assert_eq!(kept.reports(), ["root/failed: ended with an error: no route"]);
}

#[test]
fn the_silent_reporter_looks_and_logs_nothing() {
    let kept = Kept::new();
    let ctx = kept.root();
    let (fine, failed) = (Promise::on(&ctx, "fine"), Promise::<u32>::on(&ctx, "failed"));
    fine.set_result(1);
    failed.set_exception("no route");
    assert!(ctx.tramp().silent_reporter(&ctx, &fine));
    assert!(!ctx.tramp().silent_reporter(&ctx, &failed));
    drop(failed);
    assert!(kept.reports().is_empty());
}

#[test]
fn both_reporters_are_done_callbacks() {
    let kept = Kept::new();
    let ctx = kept.root();
    let (loud, silent) = (Promise::<u32>::on(&ctx, "loud"), Promise::<u32>::on(&ctx, "silent"));
    loud.add_done_callback(tramp::reporter(&ctx));
    silent.add_done_callback(tramp::silent_reporter(&ctx));
    loud.set_exception("no route");
    silent.set_exception("no route");
    drop((loud, silent));
    assert_eq!(kept.reports(), ["root/loud: ended with an error: no route"]);
}

#[test]
fn a_tramp_that_panics_is_contained_and_the_report_goes_to_tracing() {
    struct Panics;
    impl Tramp for Panics {
        fn log_exception(&self, _: &Report<'_>) {
            panic!("a tramp that panics");
        }
    }
    let lines = written(|| {
        let root = Ctx::beginning_with("root", CtxOptions::new().tramp(Panics)).unwrap();
        let promise = Promise::<u32>::on(&root, "port");
        promise.set_exception("none is free");
        drop(promise);
        root.add_done_callback(|_| panic!("a callback that panics"));
        root.cancel();
    });
    let all = lines.join("\n");
    assert_eq!(lines.len(), 4, "{all}");
    assert!(all.contains("a tramp that panics"), "{all}");
    assert!(all.contains("none is free") && all.contains("a callback that panics"), "{all}");
}

#[test]
fn a_tramp_may_use_the_contexts_and_promises_that_it_is_told_of() {
    struct Uses(Promise<u32>, AtomicUsize);
    impl Tramp for Uses {
        fn log_exception(&self, report: &Report<'_>) {
            let child = report.ctx().child("from the tramp");
            child.cancel();
            report.ctx().add_done_callback(|_| {});
            self.0.set_result(1);
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let promise = Promise::new("port");
    let root =
        Ctx::beginning_with("root", CtxOptions::new().tramp(Uses(promise.clone(), AtomicUsize::new(0)))).unwrap();
    let other = Promise::<u32>::on(&root, "other");
    other.add_done_callback(|_| panic!("a callback that panics"));
    other.set_exception("unread");
    drop(other);
    root.add_done_callback(|_| panic!("another"));
    root.cancel();
    assert_eq!(root.tramp_as::<Uses>().unwrap().1.load(Ordering::SeqCst), 3);
    assert!(promise.is_done());
}

#[test]
fn an_error_whose_display_panics_stops_nobody() {
    #[derive(Debug)]
    struct Bad;
    impl fmt::Display for Bad {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a display that panics");
        }
    }
    impl std::error::Error for Bad {}

    let kept = Kept::new();
    let lines = written(|| {
        let ctx = kept.root();
        Promise::<u32>::on(&ctx, "port").set_exception(Bad);
        Promise::<u32>::new("port").set_exception(Bad);
    });
    assert!(lines.iter().any(|line| line.contains("a display that panics")), "{lines:?}");
}

#[test]
fn an_own_tramp_can_name_and_show_futures_its_own_way() {
    struct Shouts;
    impl Tramp for Shouts {
        fn get_future_name(&self, future: &dyn WithRepr) -> Option<Name> {
            future.repr_name().map(|name| name.to_uppercase().into())
        }
    }
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(Shouts)).unwrap();
    let promise = Promise::<u32>::on(&root, "port");
    assert_eq!(root.tramp().fut_to_string(&promise, true), "<Future#PORT(pending)>");
    assert!(matches!(promise.repr_state(), FutureState::Pending));
}

#[tokio::test]
async fn tasks_are_shown_named_and_reported_like_promises() {
    let kept = Kept::new();
    let ctx = kept.root();
    let tramp = ctx.tramp();
    let holder = TaskHolder::new(&ctx);
    let pending = holder.add("pending", std::future::pending::<()>());
    assert_eq!(tramp.fut_to_string(&pending, true), "<Future#pending(pending)>");
    assert!(tramp.set_future_name(&pending, "waits".into()));
    assert_eq!(tramp.get_future_name(&pending).unwrap(), "waits");
    pending.cancel();
    let fine = holder.add("fine", async { 7 });
    let fails = holder.task("fails").silent().spawn(async { "eighty".parse::<u16>() });
    wait_for_all((&pending, &fine, &fails)).await;
    assert_eq!(tramp.fut_to_string(&pending, true), "<Future#waits(cancelled)>");
    assert_eq!(tramp.fut_to_string(&fine, false), "(result)");
    assert_eq!(
        tramp.fut_to_string(&fails, true),
        "<Future#fails(exception:ParseIntError:invalid digit found in string)>"
    );
    assert!(!tramp.silent_reporter(&ctx, &fails));
    assert!(tramp.reporter(&ctx, &fine));
    drop(fails);
    holder.finish().await;
    assert!(kept.reports().is_empty(), "{:?}", kept.reports());
}

#[test]
fn a_report_says_all_it_knows_in_one_line_where_asked() {
    let root = Ctx::beginning("app");
    let (task, error) = (Name::from("poll"), Arc::new(std::io::Error::other("no route")) as SharedError);
    let report = Report::new(&root, "a task failed");
    assert_eq!(format!("{report:#}"), "app: a task failed");
    let here = Location::caller();
    let report = report.task(&task).error(&error).at(here);
    assert_eq!(format!("{report:#}"), format!("app, task `poll` from {here}: a task failed: no route"));
    assert_eq!(report.to_string(), "a task failed: no route");
}
