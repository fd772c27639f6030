//! The one place that reads a clock: Tokio's, which tests can pause, and for what only costs time the real one.

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The real time, for decisions that change how fast something is and not what it does.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub(crate) fn real_now() -> std::time::Instant {
    std::time::Instant::now()
}
