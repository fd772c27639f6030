use std::sync::mpsc;

use machinery::{Event, async_as_background};
use tokio::task::yield_now;
use tokio::time::{advance, sleep};

use super::*;
use crate::directory::Kind;
use crate::progress::tests::Screen;

fn run(progress: &Progress) -> Run {
    Run::new(Walk::new(Options::default(), Handles::new(8), Largest::new(0), &[]), 1, progress)
}

/// Lets everybody on this thread do what there is to do, without the clock.
async fn everybody() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_system_call_that_does_not_return_is_waited_for_a_tenth_of_a_second_and_no_longer() {
    let root = Ctx::beginning("disk_usage");
    let mut run = run(&Screen::plain().1);
    let tally = run.tally.clone();
    let entry = Entry { at: Node::root(&run.walk, c"root".into()), bytes: 7, kind: Kind::File };
    let (called, (release, stuck)) = (Event::new(), mpsc::channel::<()>());
    let mut found = Some(entry);
    let call = called.clone();
    let source = Feed::blocking_iter(std::iter::from_fn(move || {
        if let Some(entry) = found.take() {
            return Some(Ok::<_, Unreadable>(Feed::value(entry)));
        }
        call.set();
        let _ = stuck.recv();
        None
    }));
    // Detached, as the root above the counting is what is cancelled.
    let aside = root.detached("aside");
    let ctx = root.ctx();
    let counting = async_as_background(&aside, "counting", async move { run.count_from(&ctx, source).await });
    called.wait().await;
    everybody().await;
    // As long as nothing is to stop, there is all the time in the world.
    advance(Duration::from_secs(3_600)).await;
    everybody().await;
    assert!(!counting.is_done());

    root.cancel();
    everybody().await;
    advance(PATIENCE - Duration::from_millis(1)).await;
    everybody().await;
    assert!(!counting.is_done());
    advance(Duration::from_millis(1)).await;
    everybody().await;
    assert!(counting.is_done());
    assert_eq!(tally.sums().bytes, 7, "what was found before counts");
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_every_five_seconds_and_ten_times_a_second_on_a_terminal() {
    let root = Ctx::beginning("disk_usage");
    let tally = Arc::<Tally>::default();
    let (plain, on_plain) = Screen::plain();
    let (live, on_live) = Screen::live();
    for progress in [on_plain, on_live] {
        async_as_background(&root, "progress", show_progress(root.ctx(), progress, tally.clone()));
    }
    sleep(Duration::from_millis(12_350)).await;
    assert_eq!(plain.lines(), ["0 files, 0 B, 0/s, 5.0 s", "0 files, 0 B, 0/s, 10.0 s"]);
    assert_eq!(live.current(), "0 files, 0 B, 0/s, 12.3 s");
    root.close().await;
}
