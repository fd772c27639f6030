//! Ctrl-C: once to stop and be told what was counted so far, twice to leave at once.

use machinery::ctx::Canceller;
use tokio::signal::unix::Signal;

use crate::INTERRUPTED;
use crate::progress::Progress;

/// Cancels the root at the first Ctrl-C, and leaves the process at the second.
pub(crate) async fn listen(mut pressed: Signal, root: Canceller, progress: Progress) {
    pressed.recv().await;
    root.cancel_because("Ctrl-C");
    progress.say("disk_usage: stopping; press Ctrl-C once more to leave at once");
    pressed.recv().await;
    progress.clear();
    std::process::exit(INTERRUPTED.into());
}
