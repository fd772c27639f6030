//! Spans of time in four bytes.

use std::time::Duration;

/// Milliseconds for three weeks, then seconds for sixty years.
pub(super) fn stamp(since: Duration) -> u32 {
    const SECONDS: u32 = 1 << 31;
    match u32::try_from(since.as_millis()) {
        Ok(millis) if millis < SECONDS - 1 => millis + 1,
        _ => SECONDS | u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
    }
}

pub(super) fn unstamp(stamp: u32) -> Option<Duration> {
    const SECONDS: u32 = 1 << 31;
    match stamp {
        0 => None,
        _ if stamp & SECONDS != 0 => Some(Duration::from_secs((stamp & !SECONDS).into())),
        millis => Some(Duration::from_millis((millis - 1).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_exact_to_the_millisecond_for_weeks_and_to_the_second_for_decades() {
        for millis in [0, 1, 999, 86_400_000] {
            let since = Duration::from_millis(millis);
            assert_eq!(unstamp(stamp(since)), Some(since));
        }
        let decade = Duration::from_millis(315_360_000_000 + 7);
        assert_eq!(unstamp(stamp(decade)), Some(Duration::from_secs(315_360_000)));
        assert!(unstamp(stamp(Duration::MAX)).is_some());
        assert_eq!(unstamp(0), None);
    }
}
