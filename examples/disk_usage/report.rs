//! What it all came to, for people and for programs.

use std::io::{self, Write};
use std::time::Duration;

use machinery::Completion;
use serde_json::{Value, json};

use crate::directory::Unreadable;
use crate::node::Totals;
use crate::text;

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) apparent_size: bool,
    pub(crate) roots: Vec<(Vec<u8>, Totals)>,
    pub(crate) largest: Vec<(Vec<u8>, Totals)>,
    /// The first of those that could not be read; each was named on standard error when it was met.
    pub(crate) unreadable: Vec<Unreadable>,
    /// How many could not be read.
    pub(crate) failures: u64,
    pub(crate) took: Duration,
    /// What stopped the run before its end.
    pub(crate) stopped: Option<Completion>,
}

impl Report {
    /// The sum over all roots.
    pub(crate) fn total(&self) -> Totals {
        let mut total = Totals::default();
        for (_, root) in &self.roots {
            total.bytes += root.bytes;
            total.files += root.files;
            total.directories += root.directories;
        }
        total
    }

    /// Writes it for people, `width` columns wide where that can be had.
    pub(crate) fn write_text(&self, out: &mut impl Write, width: usize) -> io::Result<()> {
        let total = self.total();
        let bar_width = (width / 4).clamp(8, 40);
        for (path, totals) in &self.largest {
            writeln!(
                out,
                "{:>8}  {:>4}  {}  {}",
                text::size(totals.bytes),
                share(totals.bytes, total.bytes),
                text::bar(totals.bytes, total.bytes, bar_width),
                text::printable(path),
            )?;
        }
        if !self.largest.is_empty() {
            writeln!(out)?;
        }
        if self.roots.len() > 1 {
            for (path, totals) in &self.roots {
                writeln!(out, "{:>8}  {}  ({})", text::size(totals.bytes), text::printable(path), amounts(*totals))?;
            }
        }
        let what = if self.apparent_size { "apparent size" } else { "on disk" };
        writeln!(
            out,
            "{:>8}  {what}: {} bytes, {}, in {:.2} s",
            text::size(total.bytes),
            text::count(total.bytes),
            amounts(total),
            self.took.as_secs_f64(),
        )?;
        if self.failures > 0 {
            writeln!(out, "{} could not be read", text::count(self.failures))?;
        }
        if let Some(stopped) = &self.stopped {
            writeln!(out, "partial: it was stopped before the end\n{stopped}")?;
        }
        Ok(())
    }

    /// Writes it for programs: one object.
    ///
    /// `bytes`, `files` and `directories` are the sums over all `roots`; those and the `largest` directories have the
    /// same three, and a `path`. Each of the `errors` has a `path`, the system's `error` and its `errno`; only the first
    /// few thousand are listed, and `error_count` counts all. Where a path is not UTF-8, `path_bytes` has it in full.
    /// `partial` says that the run was stopped, and `stopped_by` where, from which `context`, and for what `reason`.
    pub(crate) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let total = self.total();
        let all = json!({
            "size": if self.apparent_size { "apparent" } else { "allocated" },
            "bytes": total.bytes,
            "files": total.files,
            "directories": total.directories,
            "roots": self.roots.iter().map(described).collect::<Vec<_>>(),
            "largest": self.largest.iter().map(described).collect::<Vec<_>>(),
            "errors": self.unreadable.iter().map(|unreadable| {
                let mut error = json!({ "error": unreadable.reason(), "errno": unreadable.code() });
                name(&mut error, &unreadable.path);
                error
            }).collect::<Vec<_>>(),
            "error_count": self.failures,
            "seconds": self.took.as_secs_f64(),
            "partial": self.stopped.is_some(),
            "stopped_by": self.stopped.as_ref().map(|stopped| json!({
                "context": stopped.path(),
                "reason": stopped.reason().map(ToString::to_string),
                "at": stopped.location().to_string(),
            })),
        });
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)
    }
}

fn described((path, totals): &(Vec<u8>, Totals)) -> Value {
    let mut value = json!({ "bytes": totals.bytes, "files": totals.files, "directories": totals.directories });
    name(&mut value, path);
    value
}

/// A path is text where it is UTF-8; where it is not, the bytes come with it.
fn name(value: &mut Value, path: &[u8]) {
    value["path"] = String::from_utf8_lossy(path).into();
    if std::str::from_utf8(path).is_err() {
        value["path_bytes"] = path.into();
    }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0%".to_owned();
    }
    format!("{:.0}%", part as f64 * 100.0 / whole as f64)
}

fn amounts(totals: Totals) -> String {
    format!(
        "{}, {}",
        text::counted(totals.files, "file", "files"),
        text::counted(totals.directories, "directory", "directories"),
    )
}
