//! The ticker on the paused clock.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock and spawns as a user does")]

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use futures_util::stream::{FusedStream, FuturesUnordered};
use futures_util::{FutureExt, Stream, StreamExt};
use machinery::tick::{PauseGuard, Pauser, TickerHandle};
use machinery::{Ctx, CtxOptions, Tick, Ticker, tick};
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tokio::time::{Instant, advance, sleep, sleep_until, timeout};

#[path = "../src/tick/schedule/model.rs"]
mod model;
mod wakers;

const DAY: f64 = 86_400.0;

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// `(iteration, time_till_next, time)` in milliseconds.
type Row = (u64, u128, u128);

async fn timeline(ticker: &mut Ticker, ticks: usize, busy: &[(u64, f64)]) -> Vec<Row> {
    timeline_with(ticker, ticks, busy, |_, _| ()).await
}

async fn timeline_with(
    ticker: &mut Ticker,
    ticks: usize,
    busy: &[(u64, f64)],
    mut after: impl FnMut(u64, &TickerHandle),
) -> Vec<Row> {
    let start = Instant::now();
    let handle = ticker.handle();
    let busy: HashMap<_, _> = busy.iter().copied().collect();
    let mut rows = Vec::new();
    while rows.len() < ticks {
        let Some(tick) = ticker.next().await else {
            break;
        };
        rows.push((tick.iteration, tick.time_till_next.as_millis(), start.elapsed().as_millis()));
        after(tick.iteration, &handle);
        if let Some(busy) = busy.get(&tick.iteration) {
            sleep(s(*busy)).await;
        }
    }
    rows
}

fn times(rows: &[Row]) -> Vec<u128> {
    rows.iter().map(|row| row.2).collect()
}

#[tokio::test(start_paused = true)]
async fn row_every_3() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(3.0), &root).start();
    assert_eq!(
        timeline(&mut ticker, 5, &[]).await,
        [(1, 3000, 0), (2, 3000, 3000), (3, 3000, 6000), (4, 3000, 9000), (5, 3000, 12_000)]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_3_busy_2_each_time_3_more_after_the_3rd_7_more_after_the_5th() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(3.0), &root).start();
    let busy = [(1, 2.0), (2, 2.0), (3, 5.0), (4, 2.0), (5, 9.0), (6, 2.0), (7, 2.0)];
    assert_eq!(times(&timeline(&mut ticker, 7, &busy).await), [0, 3000, 6000, 11_000, 13_000, 22_000, 24_000]);
}

#[tokio::test(start_paused = true)]
async fn row_every_3_max_time_20() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let mut ticker = tick(s(3.0), &root).max_time(s(20.0)).start();
    assert_eq!(times(&timeline(&mut ticker, 99, &[]).await), [0, 3000, 6000, 9000, 12_000, 15_000, 18_000]);
    assert_eq!(start.elapsed(), s(20.0));
}

#[tokio::test(start_paused = true)]
async fn row_every_0_min_wait_100_ms_busy_2_after_the_3rd() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(Duration::ZERO, &root).start();
    assert_eq!(
        timeline(&mut ticker, 6, &[(3, 2.0)]).await,
        [(1, 100, 0), (2, 100, 100), (3, 100, 200), (4, 100, 2200), (5, 100, 2300), (6, 100, 2400)]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_0_min_wait_0_busy_2_after_the_3rd() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(Duration::ZERO, &root).min_wait(Duration::ZERO).start();
    assert_eq!(
        timeline(&mut ticker, 6, &[(3, 2.0)]).await,
        [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 2000), (5, 0, 2000), (6, 0, 2000)]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_5_min_wait_2_busy_9_after_the_2nd() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(5.0), &root).min_wait(s(2.0)).start();
    assert_eq!(
        timeline(&mut ticker, 4, &[(2, 9.0)]).await,
        [(1, 5000, 0), (2, 5000, 5000), (3, 6000, 14_000), (4, 5000, 20_000)]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_5_min_wait_none_busy_9_after_the_2nd_12_after_the_4th() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(5.0), &root).min_wait(None).start();
    assert_eq!(
        timeline(&mut ticker, 6, &[(2, 9.0), (4, 12.0)]).await,
        [(1, 5000, 0), (2, 5000, 5000), (3, 1000, 14_000), (4, 5000, 15_000), (5, 3000, 27_000), (6, 5000, 30_000)]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_3_change_after_5_after_the_3rd_busy_8_after_the_5th_1_after_the_7th() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(3.0), &root).start();
    let rows = timeline_with(&mut ticker, 8, &[(5, 8.0), (7, 1.0)], |iteration, handle| {
        if iteration == 3 {
            handle.change_after(s(5.0));
        }
    });
    assert_eq!(
        rows.await,
        [
            (1, 3000, 0),
            (2, 3000, 3000),
            (3, 3000, 6000),
            (4, 5000, 11_000),
            (5, 5000, 16_000),
            (6, 2000, 24_000),
            (7, 5000, 26_000),
            (8, 5000, 31_000)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_3_change_after_once_5_after_the_3rd() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(3.0), &root).start();
    let rows = timeline_with(&mut ticker, 6, &[], |iteration, handle| {
        if iteration == 3 {
            handle.change_after_once(s(5.0));
        }
    });
    assert_eq!(
        rows.await,
        [(1, 3000, 0), (2, 3000, 3000), (3, 3000, 6000), (4, 1000, 11_000), (5, 3000, 12_000), (6, 3000, 15_000)]
    );
}

#[tokio::test(start_paused = true)]
async fn row_every_5_min_wait_none_paused_for_28_from_the_2nd() {
    let root = Ctx::beginning("root");
    let pauser = Pauser::new();
    let mut ticker = tick(s(5.0), &root).min_wait(None).pauser(&pauser).start();
    let rows = timeline_with(&mut ticker, 5, &[], |iteration, _| {
        if iteration == 2 {
            release_after(pauser.hold(), 28.0);
        }
    });
    assert_eq!(rows.await, [(1, 5000, 0), (2, 5000, 5000), (3, 2000, 33_000), (4, 5000, 35_000), (5, 5000, 40_000)]);
}

fn release_after(pause: PauseGuard, seconds: f64) {
    tokio::spawn(async move {
        sleep(s(seconds)).await;
        pause.release();
    });
}

/// Does on the clock what the model does; the consumer is polled only when it was woken.
async fn driven((every, min_wait, max_time): model::SetUp, busy: &[u64], events: &[(u64, model::Event)]) -> Vec<Row> {
    let ms = Duration::from_millis;
    let root = Ctx::beginning("root");
    let pauser = Pauser::new();
    let start = Instant::now();
    let mut ticker = tick(ms(every), &root)
        .min_wait(min_wait.map(ms))
        .max_iterations(busy.len() as u64)
        .max_time(ms(max_time))
        .pauser(&pauser)
        .start();
    let handle = ticker.handle();
    let events = async {
        let mut pause = None;
        for (at, event) in events {
            sleep_until(start + ms(*at)).await;
            match *event {
                model::Event::Change(every) => handle.change_after(ms(every)),
                model::Event::Once(every) => handle.change_after_once(ms(every)),
                model::Event::Hold => pause = Some(pauser.hold()),
                model::Event::Release => pause = None,
            }
        }
        std::future::pending::<()>().await;
        drop(pause);
    };
    let consumer = async {
        let mut rows = Vec::new();
        while let Some(tick) = ticker.next().await {
            rows.push((tick.iteration, tick.time_till_next.as_millis(), start.elapsed().as_millis()));
            let busy = busy[rows.len() - 1];
            if busy > 0 {
                sleep(ms(busy)).await;
            }
        }
        rows
    };
    let mut events = pin!(events);
    let mut consumer: FuturesUnordered<_> = [consumer].into_iter().collect();
    let rows = poll_fn(|cx| {
        assert!(events.as_mut().poll(cx).is_pending());
        consumer.poll_next_unpin(cx)
    });
    rows.await.expect("the consumer ends")
}

proptest! {
    #[test]
    fn random_changes_pauses_and_busy_times_agree_with_the_model_on_the_paused_clock(
        every in prop_oneof![0..4u64, 0..80u64],
        min_wait in prop_oneof![Just(None), Just(Some(0)), (1..40u64).prop_map(Some)],
        busy in prop::collection::vec(prop_oneof![Just(0), 0..12u64, 0..200u64], 0..40),
        mut events in prop::collection::vec((0..1500u64, model::event()), 0..12),
    ) {
        events.sort_by_key(|(at, _)| *at);
        let set_up = (every, min_wait, 2000);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let got = runtime.block_on(driven(set_up, &busy, &events));
        let wanted: Vec<Row> = model::model(set_up, &busy, &events)
            .into_iter()
            .map(|(iteration, till_next, at)| (iteration, till_next.into(), at.into()))
            .collect();
        prop_assert_eq!(got, wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_when_its_context_completes() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let mut ticker = tick(s(10.0), &root).start();
    tokio::spawn(async move {
        sleep(s(12.0)).await;
        root.cancel();
    });
    assert_eq!(times(&timeline(&mut ticker, 99, &[]).await), [0, 10_000]);
    assert_eq!(start.elapsed(), s(12.0));
    assert!(ticker.is_terminated());
    assert_eq!(ticker.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_when_its_context_completes_while_it_is_paused() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let pauser = Pauser::new();
    let _pause = pauser.hold();
    let mut ticker = tick(s(1.0), &root).pauser(&pauser).start();
    tokio::spawn(async move {
        sleep(s(12.0)).await;
        root.cancel();
    });
    assert_eq!(ticker.next().await, None);
    assert_eq!(start.elapsed(), s(12.0));
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_at_the_deadline_of_its_context() {
    let root = Ctx::beginning("root");
    let seven = root.child_with("seven", CtxOptions::new().timeout(s(7.0))).unwrap();
    let start = Instant::now();
    let mut ticker = tick(s(3.0), &seven).start();
    assert_eq!(times(&timeline(&mut ticker, 99, &[]).await), [0, 3000, 6000]);
    assert_eq!(start.elapsed(), s(7.0));
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_at_max_time_while_it_is_paused() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let pauser = Pauser::new();
    let mut ticker = tick(s(1.0), &root).pauser(&pauser).max_time(s(2.5)).start();
    assert!(ticker.next().await.is_some());
    let _pause = pauser.hold();
    assert_eq!(ticker.next().await, None);
    assert_eq!(start.elapsed(), s(2.5));
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_at_once_after_max_iterations() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let mut ticker = tick(s(10.0), &root).max_iterations(3).start();
    assert_eq!(ticker.size_hint(), (0, Some(3)));
    assert_eq!(timeline(&mut ticker, 99, &[]).await.len(), 3);
    assert_eq!(start.elapsed(), s(20.0));
    assert_eq!(ticker.next().now_or_never(), Some(None));
    assert_eq!(ticker.size_hint(), (0, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn no_iterations_and_no_time_mean_no_ticks() {
    let root = Ctx::beginning("root");
    assert_eq!(tick(s(1.0), &root).max_iterations(0).start().next().await, None);
    assert_eq!(tick(s(1.0), &root).max_time(Duration::ZERO).start().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_ticker_on_a_context_that_is_done_gives_no_ticks() {
    let root = Ctx::beginning("root");
    root.cancel();
    assert_eq!(tick(s(1.0), &root).start().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_ticker_lives_on_a_child_context_of_its_own() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(1.0), &root).name("progress").max_iterations(1).start();
    let own = ticker.ctx().clone();
    assert_eq!(own.full_name(), "root-->progress");
    ticker.next().await;
    assert!(!own.is_done());
    ticker.next().await;
    assert!(own.is_done());
    assert!(!root.is_done());

    let dropped = tick(s(1.0), &root).start();
    let own = dropped.ctx().clone();
    drop(dropped);
    assert!(own.is_done());
}

#[tokio::test(start_paused = true)]
async fn the_grid_and_max_time_count_from_the_start_and_not_from_the_first_poll() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(3.0), &root).max_time(s(10.0)).start();
    sleep(s(2.0)).await;
    let first = Tick { iteration: 1, time_till_next: s(1.0) };
    assert_eq!(ticker.next().await, Some(first));
    let rest = Instant::now();
    assert_eq!(times(&timeline(&mut ticker, 99, &[]).await), [1000, 4000, 7000]);
    assert_eq!(rest.elapsed(), s(8.0));
}

#[tokio::test(start_paused = true)]
async fn a_change_from_another_task_reaches_a_ticker_that_waits() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let mut ticker = tick(s(1000.0), &root).start();
    let handle = ticker.handle();
    ticker.next().await;
    tokio::spawn(async move {
        sleep(s(2.0)).await;
        handle.change_after_once(s(5.0));
        sleep(s(10.0)).await;
        handle.change_after(s(3.0));
    });
    ticker.next().await;
    assert_eq!(start.elapsed(), s(5.0));
    // Asked for at 12, three seconds after the tick at 5: it is due already.
    ticker.next().await;
    assert_eq!(start.elapsed(), s(12.0));
    ticker.next().await;
    assert_eq!(start.elapsed(), s(14.0));
}

#[tokio::test(start_paused = true)]
async fn of_several_changes_the_last_one_says_when_the_next_tick_comes() {
    // Asked for before the first tick, and while the ticker waits; at once, and each looked at on its own.
    for (begun, looks) in [(false, false), (false, true), (true, false), (true, true)] {
        for last_is_once in [false, true] {
            let root = Ctx::beginning("root");
            let pauser = Pauser::new();
            let mut ticker = tick(s(100.0), &root).pauser(&pauser).start();
            if begun {
                ticker.next().await;
            }
            let start = Instant::now();
            let held = pauser.hold();
            for once in [!last_is_once, last_is_once] {
                if once {
                    ticker.handle().change_after_once(s(10.0));
                } else {
                    ticker.handle().change_after(s(3.0));
                }
                if looks {
                    assert!(ticker.next().now_or_never().is_none());
                }
            }
            drop(held);
            if !begun {
                ticker.next().await;
            }
            ticker.next().await;
            let (first, then) = if last_is_once { (10.0, 12.0) } else { (3.0, 6.0) };
            assert_eq!(start.elapsed(), s(first), "begun: {begun}, looks: {looks}");
            ticker.next().await;
            assert_eq!(start.elapsed(), s(then), "begun: {begun}, looks: {looks}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_from_another_thread_reaches_a_ticker_that_waits() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(Duration::MAX, &root).start();
    let handle = ticker.handle();
    ticker.next().await;
    let changed = tokio::task::spawn_blocking(move || handle.change_after_once(Duration::ZERO));
    assert_eq!(ticker.next().await.unwrap().iteration, 2);
    changed.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_a_ticker_that_is_gone_does_nothing_and_keeps_no_task_alive() {
    struct Counted(#[expect(dead_code, reason = "its count is what matters")] Arc<()>);
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(1.0), &root).start();
    let handle = ticker.handle();
    ticker.next().await;
    let task = Arc::new(());
    let waker = Arc::new(Counted(Arc::clone(&task))).into();
    assert!(ticker.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    drop((waker, ticker));
    assert_eq!(Arc::strong_count(&task), 1);
    handle.change_after(s(2.0));
    handle.clone().change_after_once(s(2.0));
}

#[tokio::test(start_paused = true)]
async fn a_pauser_holds_several_tickers_until_its_last_guard_is_gone() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let pauser = Pauser::new();
    release_after(pauser.hold(), 3.5);
    release_after(pauser.clone().hold(), 4.5);
    let mut a = tick(s(1.0), &root).pauser(&pauser).start();
    let mut b = tick(s(2.0), &root).pauser(&pauser).start();
    let (a, b) = tokio::join!(a.next(), b.next());
    assert_eq!(a.unwrap().time_till_next, s(0.5));
    assert_eq!(b.unwrap().time_till_next, s(1.5));
    assert_eq!(start.elapsed(), s(4.5));
    assert!(!pauser.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_keeps_no_other_ticker_paused() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let root = Ctx::beginning("root");
    let pauser = Pauser::new();
    let pause = pauser.hold();
    let mut bad = tick(s(1.0), &root).pauser(&pauser).start();
    let mut good = tick(s(1.0), &root).pauser(&pauser).start();
    assert!(bad.poll_next_unpin(&mut Context::from_waker(&Arc::new(Panics).into())).is_pending());
    release_after(pause, 1.0);
    assert!(good.next().await.is_some());
    // Nor does it reach whoever changes the period.
    assert!(bad.next().await.is_some());
    assert!(bad.poll_next_unpin(&mut Context::from_waker(&Arc::new(Panics).into())).is_pending());
    bad.handle().change_after(s(2.0));
    assert_eq!(bad.next().await.unwrap().iteration, 2);
}

/// Panics when it is dropped, as the value of a context.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a value that cannot be dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticker_that_goes_as_its_pause_ends_keeps_no_other_paused() {
    let pauser = Pauser::new();
    let (bombed, root) =
        (Ctx::beginning_with("bombed", CtxOptions::new().value(Bomb)).unwrap(), Ctx::beginning("root"));
    let mut gone = tick(s(1.0), &bombed).pauser(&pauser).start();
    let mut other = tick(s(1.0), &root).pauser(&pauser).start();
    let pause = pauser.hold();
    let slot = Arc::new(Mutex::new(None));
    let waker = wakers::on_wake({
        let slot = Arc::clone(&slot);
        move || drop(slot.lock().unwrap().take())
    });
    assert!(wakers::poll_with(&mut pin!(gone.next()), &waker).is_pending());
    // The pauser's own handle is the last one when the waker has dropped these.
    *slot.lock().unwrap() = Some((gone, bombed));
    let other = tokio::spawn(async move { other.next().await.is_some() });
    tokio::task::yield_now().await;
    drop(pause);
    assert!(slot.lock().unwrap().is_none());
    assert!(timeout(s(1.0), other).await.expect("the other goes on").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_ends_before_the_tick_is_due_changes_nothing() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let pauser = Pauser::new();
    let mut ticker = tick(s(10.0), &root).pauser(&pauser).start();
    ticker.next().await;
    release_after(pauser.hold(), 4.0);
    ticker.next().await;
    assert_eq!(start.elapsed(), s(10.0));
}

#[tokio::test(start_paused = true)]
async fn next_is_cancel_safe_at_every_poll() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let mut ticker = tick(s(10.0), &root).start();
    let mut ticks = Vec::new();
    while ticks.len() < 4 {
        tokio::select! {
            tick = ticker.next() => ticks.push((tick.unwrap().iteration, start.elapsed().as_secs())),
            () = sleep(s(0.3)) => {}
        }
    }
    assert_eq!(ticks, [(1, 0), (2, 10), (3, 20), (4, 30)]);
}

#[tokio::test(start_paused = true)]
async fn a_ticker_that_moves_to_another_task_wakes_that_one() {
    let root = Ctx::beginning("root");
    for end in ["tick", "change", "context"] {
        let child = root.child("child");
        let mut ticker = tick(s(10.0), &child).start();
        let handle = ticker.handle();
        ticker.next().await;
        assert!(ticker.next().now_or_never().is_none());
        let moved = tokio::spawn(async move { ticker.next().await.map(|tick| tick.iteration) });
        sleep(s(1.0)).await;
        match end {
            "change" => handle.change_after(Duration::ZERO),
            "context" => drop(child.cancel()),
            _ => {}
        }
        assert_eq!(moved.await.unwrap(), (end != "context").then_some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn periods_beyond_all_time_wait_for_their_context_only() {
    let root = Ctx::beginning("root");
    for every in [Duration::MAX, Duration::MAX / 2, s(1e15)] {
        let child = root.child("child");
        let mut ticker = tick(every, &child).start();
        assert!(ticker.next().await.is_some());
        tokio::spawn(async move {
            sleep(s(DAY)).await;
            child.cancel();
        });
        assert_eq!(ticker.next().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_33_periods_and_limits_of_three_years_and_of_all_time() {
    let root = Ctx::beginning("root");
    let start = Instant::now();
    let years = s(3.0 * 365.0 * DAY);
    let mut ticker = tick(years, &root).max_time(Duration::MAX).start();
    ticker.next().await;
    assert_eq!(ticker.next().await.unwrap().time_till_next, years);
    assert_eq!(start.elapsed(), years);
    let mut never = tick(s(1.0), &root).min_wait(Duration::MAX).max_time(s(5.0)).start();
    never.next().await;
    assert_eq!(never.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn scenario_34_the_clock_past_12_days_and_past_2_to_the_36_ms_with_short_ticks_alive() {
    let root = Ctx::beginning("root");
    let mut far = tick(Duration::from_millis((1 << 36) + 5), &root).start();
    far.next().await;
    for days in [13.0, 800.0] {
        let mut near = tick(s(0.02), &root).min_wait(None).start();
        near.next().await;
        assert!(far.next().now_or_never().is_none());
        advance(s(days * DAY)).await;
        let start = Instant::now();
        near.next().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        near.next().await;
        let second = start.elapsed();
        assert!(second <= s(0.02), "{second:?}");
        near.next().await;
        assert_eq!(start.elapsed(), second + s(0.02));
    }
    assert_eq!(far.next().now_or_never().flatten().map(|tick| tick.iteration), Some(2));
}

#[tokio::test(start_paused = true)]
async fn scenario_35_a_gap_of_six_hours_is_one_tick_and_then_the_grid() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(s(7.0), &root).start();
    ticker.next().await;
    // The gap falls while it waits, as when a machine sleeps.
    assert!(ticker.next().now_or_never().is_none());
    advance(s(21_600.0)).await;
    assert_eq!(timeline(&mut ticker, 3, &[]).await, [(2, 2000, 0), (3, 7000, 2000), (4, 7000, 9000)]);
}

#[tokio::test]
async fn ticks_that_are_always_due_let_other_tasks_run() {
    let root = Ctx::beginning("root");
    let mut ticker = tick(Duration::ZERO, &root).min_wait(None).start();
    let other = tokio::spawn(async move { root.cancel() });
    while ticker.next().await.is_some() {}
    assert!(other.await.unwrap());
}

/// The smallest executor there is, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn outside_a_runtime_a_start_is_refused_or_ends_and_never_panics() {
    let root = Ctx::beginning("outside");
    let refused = tick(s(1.0), &root).try_start().unwrap_err();
    assert!(refused.to_string().contains("outside"), "{refused}");

    let mut ticker = tick(s(1.0), &root).start();
    assert!(block_on(ticker.next()).is_some());
    assert_eq!(block_on(ticker.next()), None);
    assert!(ticker.is_terminated());
}

#[test]
fn a_context_that_knows_a_runtime_keeps_time_on_it_from_outside() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let options = CtxOptions::new().runtime(runtime.handle().clone());
    let root = Ctx::beginning_with("outside", options).unwrap();
    let every = Duration::from_millis(1);
    let ticker = tick(every, &root).min_wait(None).max_iterations(3).try_start().unwrap();
    assert_eq!(block_on(ticker.count()), 3);
}

#[test]
fn a_ticker_polled_on_a_runtime_without_a_clock_keeps_time_on_the_one_that_its_context_knows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let without = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = CtxOptions::new().runtime(runtime.handle().clone());
    let root = Ctx::beginning_with("root", options).unwrap();
    let every = Duration::from_millis(1);
    let mut ticker = tick(every, &root).min_wait(None).max_iterations(4).start();
    runtime.block_on(async {
        ticker.next().await;
        ticker.next().await;
    });
    assert_eq!(without.block_on(ticker.count()), 2);
}

fn paused() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// A ticker that waits on `runtime`.
fn waiting_on(runtime: &Runtime, root: &Ctx) -> Ticker {
    runtime.block_on(async {
        let mut ticker = tick(s(60.0), root).start();
        ticker.next().await;
        ticker.next().await;
        assert!(ticker.next().now_or_never().is_none());
        ticker
    })
}

#[test]
fn a_ticker_keeps_time_on_the_runtime_that_polls_it_now() {
    let (first, second) = (paused(), paused());
    let root = Ctx::beginning("root");
    let mut ticker = waiting_on(&first, &root);
    let took = second.block_on(async {
        let start = Instant::now();
        for iteration in 3..6 {
            assert_eq!(ticker.next().now_or_never(), None);
            // Nobody drives the first one any more, and its timer would not fire.
            let next = timeout(s(1000.0), ticker.next()).await.expect("in time");
            assert_eq!(next.map(|tick| tick.iteration), Some(iteration));
        }
        start.elapsed()
    });
    assert!(took < s(300.0), "{took:?}");
}

#[test]
fn a_ticker_outlives_a_runtime_that_it_kept_time_on() {
    let first = paused();
    let root = Ctx::beginning("root");
    let mut ticker = waiting_on(&first, &root);
    drop(first);
    let next = paused().block_on(async { timeout(s(1000.0), ticker.next()).await });
    assert_eq!(next.expect("in time").map(|tick| tick.iteration), Some(3));
}

#[test]
fn scenario_31_the_runtime_is_dropped_with_tickers_alive() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (root, mut ticker) = runtime.block_on(async {
        let root = Ctx::beginning("root");
        let mut ticker = tick(s(1000.0), &root).start();
        ticker.next().await;
        assert!(ticker.next().now_or_never().is_none());
        (root, ticker)
    });
    drop(runtime);
    // No timer will ever wake it: it ends.
    assert_eq!(block_on(ticker.next()), None);
    drop(ticker);
    drop(root);
}

#[test]
fn scenario_31_the_runtime_is_dropped_while_a_ticker_waits_on_another_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let options = CtxOptions::new().runtime(runtime.handle().clone());
    let root = Ctx::beginning_with("outside", options).unwrap();
    let mut ticker = tick(s(1000.0), &root).start();
    let (waits, waiting) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        block_on(async {
            ticker.next().await;
            let mut next = pin!(ticker.next());
            poll_fn(|cx| {
                let poll = next.as_mut().poll(cx);
                let _ = waits.send(());
                poll
            })
            .await
        })
    });
    waiting.recv().unwrap();
    drop(runtime);
    assert_eq!(waiter.join().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_first_tick_that_is_a_moment_late_skips_no_point() {
    for change in [false, true] {
        let root = Ctx::beginning("root");
        let start = Instant::now();
        let mut ticker = tick(s(0.1), &root).max_iterations(3).start();
        if change {
            ticker.handle().change_after(s(0.1));
        }
        advance(s(0.003)).await;
        let mut at = Vec::new();
        while ticker.next().await.is_some() {
            at.push(start.elapsed().as_millis());
        }
        assert_eq!(at, [3, 100, 200]);
    }
}

#[test]
fn tickers_and_their_handles_are_send_sync_and_unpin() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Ticker>();
    check::<TickerHandle>();
    check::<Pauser>();
    check::<PauseGuard>();
}

#[tokio::test(start_paused = true)]
async fn a_ticker_has_a_debug_form_that_names_it() {
    let root = Ctx::beginning("root");
    let ticker = tick(s(1.0), &root).name("progress").start();
    assert!(format!("{ticker:?}").contains("progress"));
}
