//! Wake-ups of a queue manager that sleeps.

use futures_util::StreamExt;
use machinery::{Ctx, QueueManagerResult, queue_manager};
use machinery_models::{block_on, model, thread};

/// Scenario 21.
#[test]
fn a_source_added_while_the_manager_sleeps_wakes_it() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let adding = thread::spawn(move || {
            let _ = feeder.add_value("seven", 7);
            feeder
        });
        let first = block_on(results.next());
        assert!(matches!(first, Some(QueueManagerResult::Success { value: 7, .. })));
        let _feeder = adding.join().expect("no panic");
    });
}

#[test]
fn a_manager_that_never_yielded_ends_when_it_is_told_that_its_sources_are_all() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let finishing = thread::spawn(move || {
            feeder.set_as_finished_if_out_of_sources();
            feeder
        });
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::Stopped { .. })));
        assert!(block_on(results.next()).is_none());
        let _feeder = finishing.join().expect("no panic");
    });
}

#[test]
fn the_drop_of_the_last_feeder_ends_a_manager_that_sleeps() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let dropping = thread::spawn(move || drop(feeder));
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::Stopped { .. })));
        assert!(block_on(results.next()).is_none());
        dropping.join().expect("no panic");
    });
}

#[test]
fn a_completion_ends_a_manager_that_sleeps() {
    model(|| {
        let root = Ctx::beginning("root");
        let (feeder, mut results) = queue_manager::<u8>(&root).build();
        let stopping = thread::spawn(move || root.cancel());
        assert!(matches!(block_on(results.next()), Some(QueueManagerResult::Stopped { .. })));
        assert!(block_on(results.next()).is_none());
        stopping.join().expect("no panic");
        drop(feeder);
    });
}
