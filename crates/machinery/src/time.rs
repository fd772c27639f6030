//! The one place that reads a clock: Tokio's, which tests can pause, and for what only costs time the real one.
//!
//! A completion notes when it happened, and an exact clock costs more than all the rest of a completion. So where
//! the clock runs freely, a [`Stamp`] is taken from the kernel's coarse clock, which is some milliseconds behind at
//! most; once a paused clock was seen in this process, stamps are exact.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// A span of time for people: tenths of seconds, and milliseconds where it is shorter than one.
pub(crate) struct Rounded(pub(crate) Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_millis()) {
            Ok(millis @ ..1000) => write!(f, "{millis}ms"),
            Ok(millis) => write!(f, "{:?}", Duration::from_millis(millis / 100 * 100)),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Whether this thread is ending, and what Tokio keeps for it is gone.
pub(crate) fn is_tokio_gone() -> bool {
    Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed())
}

/// The same as [`now`], and the real time where Tokio is gone: its clock, if it can be paused, panics there.
pub(crate) fn now_anywhere() -> Instant {
    if is_tokio_gone() { real_now().into() } else { now() }
}

/// The real time, for decisions that change how fast something is and not what it does.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub(crate) fn real_now() -> std::time::Instant {
    std::time::Instant::now()
}

/// A point in time in one word: nanoseconds since an instant of this process, before it where negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp(i64);

/// Whether a clock that stands still was seen.
static PAUSED: AtomicBool = AtomicBool::new(false);

struct Anchor {
    instant: Instant,
    coarse: i64,
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor { coarse: coarse_nanos(), instant: now_anywhere() })
}

/// Nanoseconds on the kernel's coarse clock.
#[cfg(target_os = "linux")]
fn coarse_nanos() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    time.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec)
}

#[cfg(not(target_os = "linux"))]
fn coarse_nanos() -> i64 {
    0
}

impl Stamp {
    /// Now, at the least cost.
    pub(crate) fn now() -> Self {
        if cfg!(not(target_os = "linux")) || PAUSED.load(Ordering::Relaxed) {
            return Self::of(now_anywhere());
        }
        let anchor = anchor();
        Self(coarse_nanos().wrapping_sub(anchor.coarse))
    }

    pub(crate) fn of(instant: Instant) -> Self {
        let start = anchor().instant;
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Self(match instant.checked_duration_since(start) {
            Some(later) => nanos(later),
            None => -nanos(start.saturating_duration_since(instant)),
        })
    }

    pub(crate) fn instant(self) -> Instant {
        let start = anchor().instant;
        let span = Duration::from_nanos(self.0.unsigned_abs());
        let moved = if self.0 < 0 { start.checked_sub(span) } else { start.checked_add(span) };
        moved.unwrap_or(start)
    }

    pub(crate) fn halves(self) -> (u32, u32) {
        let bits = self.0.cast_unsigned();
        (u32::try_from(bits >> 32).unwrap_or(0), u32::try_from(bits & 0xffff_ffff).unwrap_or(0))
    }

    pub(crate) fn from_halves(high: u32, low: u32) -> Self {
        Self((u64::from(high) << 32 | u64::from(low)).cast_signed())
    }
}

/// Looks whether Tokio's clock stands still here, as it does in tests that paused it.
pub(crate) fn look_for_pause() {
    if PAUSED.load(Ordering::Relaxed) {
        return;
    }
    let (before, start) = (now(), real_now());
    while real_now() == start {
        std::hint::spin_loop();
    }
    if now() == before {
        PAUSED.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Rounded, Stamp, now};

    #[test]
    fn a_span_for_people_has_tenths_of_seconds_and_whole_milliseconds_below_one() {
        let shown = [0, 403_959, 999_999, 1_000_000, 2_405_943, 65_200_000].map(Duration::from_micros).map(Rounded);
        assert_eq!(shown.map(|span| span.to_string()), ["0ms", "403ms", "999ms", "1s", "2.4s", "65.2s"]);
        assert_eq!(Rounded(Duration::MAX).to_string(), format!("{:?}", Duration::MAX));
    }

    #[test]
    fn a_stamp_keeps_its_instant_through_halves() {
        for instant in [now(), now() + Duration::from_secs(1 << 32), now() - Duration::from_millis(1)] {
            let (high, low) = Stamp::of(instant).halves();
            assert_eq!(Stamp::from_halves(high, low).instant(), instant);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_follows_the_paused_clock() {
        super::look_for_pause();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(Stamp::now().instant(), now());
    }
}
