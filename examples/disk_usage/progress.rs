//! Progress on standard error: a live line on a terminal, otherwise a plain line every few seconds.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::tally::Tally;
use crate::text;

/// How many columns a terminal has where nobody says.
const COLUMNS: usize = 80;

/// Where progress is shown. Clones show it in the same place.
#[derive(Clone)]
pub(crate) struct Progress {
    live: Option<ProgressBar>,
    /// Writes a line of its own.
    note: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Progress {
    pub(crate) fn on_stderr() -> Self {
        let live = std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr);
        Self::new(live, note)
    }

    /// Live on `target`, if there is one.
    fn new(target: Option<ProgressDrawTarget>, note: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let live = target.map(|target| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        Self { live, note: Arc::new(note) }
    }

    /// How often it is worth showing.
    pub(crate) fn period(&self) -> Duration {
        if self.live.is_some() { Duration::from_millis(100) } else { Duration::from_secs(5) }
    }

    /// Shows how far `tally` has come in the time since the start.
    pub(crate) fn show(&self, tally: &Tally, since_start: Duration) {
        let line = line(tally, since_start, columns(std::io::stderr()));
        match &self.live {
            Some(live) => {
                live.set_message(line);
                live.tick();
            }
            // The first tick comes at once, and there is nothing to say yet.
            None if since_start < self.period() / 2 => {}
            None => (self.note)(&line),
        }
    }

    /// Writes a line of its own, out of the way of the live one.
    pub(crate) fn say(&self, line: &str) {
        match &self.live {
            Some(live) => live.suspend(|| (self.note)(line)),
            None => (self.note)(line),
        }
    }

    /// Takes the live line away.
    pub(crate) fn clear(&self) {
        if let Some(live) = &self.live {
            live.finish_and_clear();
        }
    }
}

/// A line on standard error; where nobody reads that, there is nobody to tell.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn line(tally: &Tally, since_start: Duration, columns: usize) -> String {
    let sums = tally.sums();
    let seconds = since_start.as_secs_f64();
    let rate = if seconds > 0.0 { (sums.files + sums.directories) as f64 / seconds } else { 0.0 };
    let mut line = format!(
        "{}, {}, {}/s, {:.1} s",
        text::counted(sums.files, "file", "files"),
        text::size(sums.bytes),
        text::count(rate as u64),
        seconds,
    );
    if tally.failures() > 0 {
        line += &format!(", {} unreadable", text::count(tally.failures()));
    }
    if let Some(place) = tally.place() {
        // The spinner and the gaps take the rest.
        let room = columns.saturating_sub(line.len() + 5).max(24);
        line += "  ";
        line += &text::tail(&text::printable(&place.path()), room);
    }
    line
}

/// How many columns `terminal` has.
pub(crate) fn columns(terminal: impl AsFd) -> usize {
    rustix::termios::tcgetwinsize(terminal)
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|&columns| columns > 0)
        .unwrap_or(COLUMNS)
}

#[cfg(test)]
pub(crate) mod tests;
