//! When the next tick is due: pure arithmetic on durations since the start of the ticker, without a clock.

use std::time::Duration;

use super::Tick;

/// How late a wake-up may be and still count as on time.
///
/// Tokio's timer and the poller below it round to whole milliseconds, and the operating system adds its own. Without
/// this a grid of 1 ms would lose every other point, and one whose period equals `min_wait` would skip points for ever.
const TIMER_SLACK: Duration = Duration::from_millis(5);

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A tick is given.
    Tick(Tick),
    /// Nothing until the given time since the start; `None` is for ever.
    Wait(Option<Duration>),
    /// There are no more ticks.
    End,
}

/// The schedule of one ticker. All times count from its start.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    every: Duration,
    min_wait: Duration,
    max_iterations: Option<u64>,
    end: Option<Duration>,
    /// A point of the grid before every tick that is still to come, and at most a few periods before it.
    anchor: Duration,
    /// `None` when it lies beyond what a `Duration` can express.
    due: Option<Duration>,
    last: Option<Duration>,
    iteration: u64,
    /// What `change_after_once` asked for before the first tick.
    once: Option<Duration>,
    /// The consumer is not to blame for what `due` is late by, as it was waiting for it: the timer is.
    awaited: bool,
}

impl Schedule {
    pub(super) fn new(
        every: Duration,
        min_wait: Option<Duration>,
        max_iterations: Option<u64>,
        max_time: Option<Duration>,
    ) -> Self {
        Self {
            every,
            min_wait: min_wait.unwrap_or(Duration::ZERO),
            max_iterations,
            end: max_time,
            anchor: Duration::ZERO,
            due: Some(Duration::ZERO),
            last: None,
            iteration: 0,
            once: None,
            // Nobody can come for the first tick before it is due.
            awaited: true,
        }
    }

    pub(super) fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Whether the ticks that were asked for have all been given.
    pub(super) fn is_spent(&self) -> bool {
        self.max_iterations.is_some_and(|max| self.iteration >= max)
    }

    /// How many ticks there are still to come at most.
    pub(super) fn left(&self) -> Option<u64> {
        self.max_iterations.map(|max| max.saturating_sub(self.iteration))
    }

    pub(super) fn step(&mut self, now: Duration, held: bool) -> Step {
        if self.is_spent() || self.end.is_some_and(|end| now >= end) {
            return Step::End;
        }
        if held {
            self.awaited = false;
            return Step::Wait(self.end);
        }
        match self.due {
            Some(due) if due <= now => Step::Tick(self.give(due, now)),
            Some(due) => {
                self.awaited = true;
                Step::Wait(Some(self.end.map_or(due, |end| end.min(due))))
            }
            None => Step::Wait(self.end),
        }
    }

    pub(super) fn change_after(&mut self, every: Duration) {
        self.every = every;
        self.once = None;
        self.awaited &= self.last.is_none();
        if let Some(last) = self.last {
            self.anchor = last;
            self.due = last.checked_add(every);
        }
    }

    pub(super) fn change_after_once(&mut self, every: Duration) {
        self.awaited &= self.last.is_none();
        match self.last {
            Some(last) => self.due = last.checked_add(every),
            None => self.once = Some(every),
        }
    }

    fn give(&mut self, due: Duration, now: Duration) -> Tick {
        let on_time = self.awaited && now - due <= TIMER_SLACK;
        let at = if on_time { due } else { now };
        let on_grid = self.point_after(at);
        self.last = Some(at);
        self.due = match self.once.take() {
            Some(every) => at.checked_add(every),
            None => on_grid,
        };
        // Points that a late timer has let pass are made up for as well.
        self.awaited = on_time && self.due.is_some_and(|due| at < due && due <= now);
        self.iteration += 1;
        Tick {
            iteration: self.iteration,
            time_till_next: self.due.map_or(Duration::MAX, |due| due.saturating_sub(now)),
        }
    }

    /// The first point of the grid after `at` that is not nearer to it than `min_wait`.
    fn point_after(&mut self, at: Duration) -> Option<Duration> {
        if self.every.is_zero() {
            return at.checked_add(self.min_wait);
        }
        let earliest = at.checked_add(self.min_wait.max(Duration::from_nanos(1)))?;
        // On a grid that is kept up with, one of the next two points is the one.
        let first = self.anchor.checked_add(self.every)?;
        if first >= earliest {
            return Some(first);
        }
        let second = first.checked_add(self.every)?;
        if second >= earliest {
            self.anchor = first;
            return Some(second);
        }
        let every = self.every.as_nanos();
        let missed = (earliest.as_nanos() - self.anchor.as_nanos() - 1) / every;
        self.anchor = from_nanos(self.anchor.as_nanos() + missed * every)?;
        self.anchor.checked_add(self.every)
    }
}

fn from_nanos(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).ok()?;
    let rest = u32::try_from(nanos % NANOS_PER_SECOND).ok()?;
    Some(Duration::new(seconds, rest))
}

#[cfg(test)]
mod tests;
