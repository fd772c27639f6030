use std::time::Duration;

use proptest::prelude::*;

use super::{Schedule, Step};

#[path = "model.rs"]
mod model;

use model::{Event, SetUp, event, model};

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the consumer does after a tick.
#[derive(Clone, Copy)]
enum Then {
    Busy(f64),
    Change(f64),
    Once(f64),
    Pause(f64),
}

/// Runs a schedule without a clock; gives `(iteration, time_till_next, time)` in milliseconds, and when it ended.
fn run(mut schedule: Schedule, ticks: usize, script: &[(u64, Then)]) -> (Vec<(u64, u64, u64)>, Option<u64>) {
    let mut now = Duration::ZERO;
    let mut held_until = Duration::ZERO;
    let mut given = Vec::new();
    while given.len() < ticks {
        match schedule.step(now, now < held_until) {
            Step::Tick(tick) => {
                given.push((tick.iteration, tick.time_till_next.as_millis() as u64, now.as_millis() as u64));
                for (_, then) in script.iter().filter(|(after, _)| *after == tick.iteration) {
                    match *then {
                        Then::Busy(time) => now += s(time),
                        Then::Change(every) => schedule.change_after(s(every)),
                        Then::Once(every) => schedule.change_after_once(s(every)),
                        Then::Pause(time) => held_until = now + s(time),
                    }
                }
            }
            Step::Wait(until) if now < held_until => now = until.map_or(held_until, |until| until.min(held_until)),
            Step::Wait(until) => now = until.expect("something to wait for"),
            Step::End => return (given, Some(now.as_millis() as u64)),
        }
    }
    (given, None)
}

fn times(ticks: &[(u64, u64, u64)]) -> Vec<u64> {
    ticks.iter().map(|(_, _, at)| *at).collect()
}

const DEFAULT: Option<Duration> = Some(Duration::from_millis(100));

#[test]
fn every_3() {
    let (ticks, _) = run(Schedule::new(s(3.0), DEFAULT, None, None), 5, &[]);
    assert_eq!(ticks, [(1, 3000, 0), (2, 3000, 3000), (3, 3000, 6000), (4, 3000, 9000), (5, 3000, 12_000)]);
}

#[test]
fn every_3_with_a_body_that_is_busy() {
    let mut script: Vec<_> = (1..8).map(|after| (after, Then::Busy(2.0))).collect();
    script.extend([(3, Then::Busy(3.0)), (5, Then::Busy(7.0))]);
    let (ticks, _) = run(Schedule::new(s(3.0), DEFAULT, None, None), 7, &script);
    assert_eq!(times(&ticks), [0, 3000, 6000, 11_000, 13_000, 22_000, 24_000]);
}

#[test]
fn every_3_with_max_time_20() {
    let (ticks, ended) = run(Schedule::new(s(3.0), DEFAULT, None, Some(s(20.0))), 99, &[]);
    assert_eq!(times(&ticks), [0, 3000, 6000, 9000, 12_000, 15_000, 18_000]);
    assert_eq!(ended, Some(20_000));
}

#[test]
fn every_0_with_min_wait() {
    let schedule = Schedule::new(Duration::ZERO, DEFAULT, None, None);
    let (ticks, _) = run(schedule, 6, &[(3, Then::Busy(2.0))]);
    assert_eq!(ticks, [(1, 100, 0), (2, 100, 100), (3, 100, 200), (4, 100, 2200), (5, 100, 2300), (6, 100, 2400)]);
}

#[test]
fn every_0_with_min_wait_0() {
    let schedule = Schedule::new(Duration::ZERO, Some(Duration::ZERO), None, None);
    let (ticks, _) = run(schedule, 6, &[(3, Then::Busy(2.0))]);
    assert_eq!(ticks, [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 2000), (5, 0, 2000), (6, 0, 2000)]);
}

#[test]
fn every_5_with_min_wait_2_skips_a_point_that_is_too_near() {
    let (ticks, _) = run(Schedule::new(s(5.0), Some(s(2.0)), None, None), 4, &[(2, Then::Busy(9.0))]);
    assert_eq!(ticks, [(1, 5000, 0), (2, 5000, 5000), (3, 6000, 14_000), (4, 5000, 20_000)]);
}

#[test]
fn every_5_without_min_wait_keeps_strictly_to_the_grid() {
    let script = [(2, Then::Busy(9.0)), (4, Then::Busy(12.0))];
    let (ticks, _) = run(Schedule::new(s(5.0), None, None, None), 6, &script);
    assert_eq!(
        ticks,
        [(1, 5000, 0), (2, 5000, 5000), (3, 1000, 14_000), (4, 5000, 15_000), (5, 3000, 27_000), (6, 5000, 30_000)]
    );
}

#[test]
fn change_after_moves_the_grid() {
    let script = [(3, Then::Change(5.0)), (5, Then::Busy(8.0)), (7, Then::Busy(1.0))];
    let (ticks, _) = run(Schedule::new(s(3.0), DEFAULT, None, None), 8, &script);
    assert_eq!(
        ticks,
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

#[test]
fn change_after_once_leaves_the_grid_as_it_was() {
    let (ticks, _) = run(Schedule::new(s(3.0), DEFAULT, None, None), 6, &[(3, Then::Once(5.0))]);
    assert_eq!(
        ticks,
        [(1, 3000, 0), (2, 3000, 3000), (3, 3000, 6000), (4, 1000, 11_000), (5, 3000, 12_000), (6, 3000, 15_000)]
    );
}

#[test]
fn a_pause_holds_one_tick_back_and_then_the_grid_goes_on() {
    let (ticks, _) = run(Schedule::new(s(5.0), None, None, None), 5, &[(2, Then::Pause(28.0))]);
    assert_eq!(ticks, [(1, 5000, 0), (2, 5000, 5000), (3, 2000, 33_000), (4, 5000, 35_000), (5, 5000, 40_000)]);
}

#[test]
fn a_once_that_comes_early_leaves_the_grid_as_it_was() {
    let (ticks, _) = run(Schedule::new(s(3.0), DEFAULT, None, None), 4, &[(2, Then::Once(1.0))]);
    assert_eq!(ticks, [(1, 3000, 0), (2, 3000, 3000), (3, 2000, 4000), (4, 3000, 6000)]);
}

#[test]
fn changes_before_the_first_tick_leave_it_where_it_is() {
    let mut schedule = Schedule::new(s(3.0), DEFAULT, None, None);
    schedule.change_after(s(7.0));
    schedule.change_after_once(s(2.0));
    let (ticks, _) = run(schedule, 4, &[]);
    assert_eq!(ticks, [(1, 2000, 0), (2, 5000, 2000), (3, 7000, 7000), (4, 7000, 14_000)]);
}

#[test]
fn a_wake_up_that_is_late_by_the_timers_resolution_is_on_time() {
    let mut schedule = Schedule::new(ms(100), DEFAULT, None, None);
    assert!(matches!(schedule.step(ms(0), false), Step::Tick(_)));
    assert_eq!(schedule.step(ms(1), false), Step::Wait(Some(ms(100))));
    let Step::Tick(tick) = schedule.step(ms(102), false) else {
        panic!("a tick was due");
    };
    assert_eq!(tick.time_till_next, ms(98));
    assert_eq!(schedule.step(ms(103), false), Step::Wait(Some(ms(200))));
}

#[test]
fn a_grid_of_a_millisecond_loses_no_point_to_a_late_timer() {
    let mut schedule = Schedule::new(ms(1), None, None, None);
    assert!(matches!(schedule.step(ms(0), false), Step::Tick(_)));
    assert_eq!(schedule.step(ms(0), false), Step::Wait(Some(ms(1))));
    let late = Duration::from_micros(3100);
    for iteration in 2..=4 {
        let Step::Tick(tick) = schedule.step(late, false) else {
            panic!("a tick was due");
        };
        assert_eq!(tick.iteration, iteration);
    }
    assert_eq!(schedule.step(late, false), Step::Wait(Some(ms(4))));
}

#[test]
fn a_late_timer_is_no_excuse_for_a_consumer_that_is_late_itself() {
    let mut schedule = Schedule::new(ms(10), None, None, None);
    assert!(matches!(schedule.step(ms(0), false), Step::Tick(_)));
    assert_eq!(schedule.step(ms(0), false), Step::Wait(Some(ms(10))));
    assert!(matches!(schedule.step(ms(12), false), Step::Tick(_)));
    assert!(matches!(schedule.step(ms(43), false), Step::Tick(_)));
    assert_eq!(schedule.step(ms(43), false), Step::Wait(Some(ms(50))));
}

#[test]
fn a_short_delay_between_ticks_without_a_period_is_the_consumers() {
    let mut schedule = Schedule::new(ms(0), None, None, None);
    assert!(matches!(schedule.step(ms(0), false), Step::Tick(_)));
    schedule.change_after_once(ms(5));
    assert_eq!(schedule.step(ms(4), false), Step::Wait(Some(ms(5))));
    assert!(matches!(schedule.step(ms(5), false), Step::Tick(_)));
    assert!(matches!(schedule.step(ms(6), false), Step::Tick(_)));
    schedule.change_after(ms(2));
    assert_eq!(schedule.step(ms(7), false), Step::Wait(Some(ms(8))));
}

#[test]
fn a_gap_of_six_hours_is_one_tick_and_then_the_grid() {
    let (ticks, _) = run(Schedule::new(s(7.0), DEFAULT, None, None), 4, &[(2, Then::Busy(21_600.0))]);
    assert_eq!(ticks, [(1, 7000, 0), (2, 7000, 7000), (3, 2000, 21_607_000), (4, 7000, 21_609_000)]);
}

#[test]
fn the_longest_period_is_waited_for_without_overflow() {
    let mut schedule = Schedule::new(Duration::MAX, DEFAULT, None, None);
    let Step::Tick(first) = schedule.step(ms(6), false) else {
        panic!("the first tick comes at once");
    };
    assert_eq!(first.time_till_next, Duration::MAX - ms(6));
    assert_eq!(schedule.step(ms(7), false), Step::Wait(Some(Duration::MAX)));
    schedule.change_after(Duration::MAX);
    assert_eq!(schedule.step(ms(7), false), Step::Wait(None));
    schedule.change_after_once(ms(10));
    let Step::Tick(second) = schedule.step(ms(16), false) else {
        panic!("the change brought it near");
    };
    assert_eq!(second.time_till_next, Duration::MAX);
    assert_eq!(schedule.step(ms(17), false), Step::Wait(None));
}

#[test]
fn a_minimal_wait_beyond_all_time_is_waited_for_without_overflow() {
    let mut schedule = Schedule::new(s(1.0), Some(Duration::MAX), None, None);
    assert!(matches!(schedule.step(ms(1), false), Step::Tick(_)));
    assert_eq!(schedule.step(ms(2), false), Step::Wait(None));
}

#[test]
fn the_finest_grid_after_the_longest_gap_is_found_at_once() {
    let mut schedule = Schedule::new(Duration::from_nanos(1), None, None, None);
    assert!(matches!(schedule.step(Duration::MAX - ms(1), false), Step::Tick(_)));
    let next = Duration::MAX - ms(1) + Duration::from_nanos(1);
    assert_eq!(schedule.step(Duration::MAX - ms(1), false), Step::Wait(Some(next)));
}

/// The same through the schedule, woken only when something happens.
fn driven((every, min_wait, max_time): SetUp, busy: &[u64], events: &[(u64, Event)]) -> Vec<(u64, u64, u64)> {
    let mut schedule = Schedule::new(ms(every), min_wait.map(ms), Some(busy.len() as u64), Some(ms(max_time)));
    let mut events = events.iter().peekable();
    let (mut now, mut held, mut free_at) = (0, false, 0);
    let mut given = Vec::new();
    loop {
        while let Some((_, event)) = events.next_if(|(at, _)| *at <= now) {
            match *event {
                Event::Change(every) => schedule.change_after(ms(every)),
                Event::Once(every) => schedule.change_after_once(ms(every)),
                Event::Hold => held = true,
                Event::Release => held = false,
            }
        }
        let mut until = u64::MAX;
        if now < free_at {
            until = free_at;
        } else {
            match schedule.step(ms(now), held) {
                Step::Tick(tick) => {
                    free_at = now + busy[given.len()];
                    given.push((tick.iteration, tick.time_till_next.as_millis() as u64, now));
                    continue;
                }
                Step::Wait(wait) => until = wait.map_or(until, |wait| wait.as_millis() as u64),
                Step::End => return given,
            }
        }
        now = events.peek().map_or(until, |(at, _)| until.min(*at));
    }
}

proptest! {
    #[test]
    fn random_changes_pauses_and_busy_times_agree_with_the_model(
        every in prop_oneof![0..4u64, 0..80u64],
        min_wait in prop_oneof![Just(None), Just(Some(0)), (1..40u64).prop_map(Some)],
        busy in prop::collection::vec(prop_oneof![Just(0), 0..12u64, 0..200u64], 0..40),
        mut events in prop::collection::vec((0..1500u64, event()), 0..12),
    ) {
        events.sort_by_key(|(at, _)| *at);
        let set_up = (every, min_wait, 2000);
        prop_assert_eq!(driven(set_up, &busy, &events), model(set_up, &busy, &events));
    }
}
