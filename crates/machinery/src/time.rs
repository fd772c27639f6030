//! The one place that reads a clock: Tokio's, which tests can pause.

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
