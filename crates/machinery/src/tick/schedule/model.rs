//! What a ticker has to do, in the simplest words; the tests compare with it. Times are in milliseconds.

use proptest::prelude::*;

/// The period, the minimal wait, and the time after which it ends.
pub(crate) type SetUp = (u64, Option<u64>, u64);

/// What happens to a ticker from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Change(u64),
    Once(u64),
    Hold,
    Release,
}

/// Gives `(iteration, time_till_next, time)`: the timelines as a rule, stepped a millisecond at a time, with the grid searched from its origin.
pub(crate) fn model((every, min_wait, max_time): SetUp, busy: &[u64], events: &[(u64, Event)]) -> Vec<(u64, u64, u64)> {
    let (mut origin, mut every) = (0, every);
    let (mut due, mut last, mut first_once) = (0, None, None);
    let (mut held, mut free_at) = (false, 0);
    let mut given = Vec::new();
    for now in 0..max_time {
        for (_, event) in events.iter().filter(|(at, _)| *at == now) {
            match (*event, last) {
                (Event::Hold, _) => held = true,
                (Event::Release, _) => held = false,
                (Event::Change(period), Some(last)) => (origin, every, due) = (last, period, last + period),
                (Event::Change(period), None) => (every, first_once) = (period, None),
                (Event::Once(wait), Some(last)) => due = last + wait,
                (Event::Once(wait), None) => first_once = Some(wait),
            }
        }
        while !held && now >= free_at && now >= due && given.len() < busy.len() {
            let nearest = now + min_wait.unwrap_or(0);
            due = if every == 0 {
                nearest
            } else {
                (0..).map(|n| origin + n * every).find(|point| *point > now && *point >= nearest).expect("endless")
            };
            last = Some(now);
            if let Some(wait) = first_once.take() {
                due = now + wait;
            }
            free_at = now + busy[given.len()];
            given.push((given.len() as u64 + 1, due - now, now));
        }
    }
    given
}

/// Any of them, with a release more often than a hold.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..60u64).prop_map(Event::Change),
        (0..60u64).prop_map(Event::Once),
        Just(Event::Hold),
        Just(Event::Release),
        Just(Event::Release),
    ]
}
