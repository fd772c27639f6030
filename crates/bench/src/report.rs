//! The table on the terminal, and the same as a file.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::clock;
use crate::harness::{Measured, Row, Unit};

/// A row of the file. A goal that is absent, or that could not be judged, is `null`.
#[derive(Serialize)]
struct Entry {
    id: String,
    work: String,
    ours_ns: f64,
    peer: String,
    peer_ns: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    goal: Option<f64>,
    met: Option<bool>,
    /// Our quickest run over the peer's quickest.
    ratio_of_minima: f64,
    /// What `ours_ns` and `peer_ns` count: nanoseconds, or bytes in the rows about memory.
    unit: &'static str,
    pairs: usize,
    /// Why the figures prove nothing, where that is so.
    note: Option<String>,
}

impl From<&Measured> for Entry {
    fn from(row: &Measured) -> Self {
        Self {
            id: row.id.clone(),
            work: row.work.clone(),
            ours_ns: round(row.ours()),
            peer: row.peer.clone(),
            peer_ns: round(row.theirs()),
            ratio: round(row.ratio()),
            ratio_min: round(row.least_ratio()),
            ratio_max: round(row.greatest_ratio()),
            goal: row.goal,
            met: row.is_met(),
            ratio_of_minima: round(row.ratio_of_minima()),
            unit: unit(row.unit),
            pairs: row.pairs.len(),
            note: row.complaint.clone(),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Nanoseconds => "ns",
        Unit::Bytes => "bytes",
    }
}

/// Measures each row, prints it as soon as it is known, and writes the report.
pub(crate) fn table(rows: impl Iterator<Item = Row>, quick: bool, path: &Path) -> Result<()> {
    let start = clock::now();
    let rows: Vec<Row> = rows.collect();
    let widths = Widths::of(&rows);
    println!(
        "{}  {:>11} {:>11} {:>7} {:<17} {:>6}",
        widths.line("id", "work", "peer"),
        "ours",
        "peer",
        "ratio",
        "(spread)",
        "goal"
    );
    let mut entries = Vec::new();
    for row in rows {
        let measured = row.measure(quick);
        print(&measured, &widths);
        std::io::stdout().flush()?;
        entries.push(Entry::from(&measured));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let text = serde_json::to_string_pretty(&entries)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let count = |met| entries.iter().filter(|entry| entry.goal.is_some() && entry.met == met).count();
    println!(
        "{} goals met, {} missed, {} could not be judged; {:.0} s; {}{}",
        count(Some(true)),
        count(Some(false)),
        count(None),
        (clock::now() - start) / 1e9,
        path.display(),
        if quick { "; a quick run, only an indication" } else { "" }
    );
    Ok(())
}

/// The columns that are as wide as the widest text in them.
struct Widths {
    id: usize,
    work: usize,
    peer: usize,
}

impl Widths {
    fn of(rows: &[Row]) -> Self {
        let widest = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).len()).max().unwrap_or(0);
        Self { id: widest(|row| &row.id), work: widest(|row| &row.work), peer: widest(|row| &row.peer) }
    }

    fn line(&self, id: &str, work: &str, peer: &str) -> String {
        format!("{id:<0$} {work:<1$} {peer:<2$}", self.id, self.work, self.peer)
    }
}

fn print(row: &Measured, widths: &Widths) {
    let goal = row.goal.map_or_else(String::new, |goal| format!("{goal}"));
    let met = match (row.is_met(), &row.complaint) {
        (_, Some(complaint)) => complaint.as_str(),
        (Some(true), _) => "met",
        (Some(false), _) => "MISSED",
        (None, _) => "shown",
    };
    let spread = format!("({} - {})", figure(row.least_ratio()), figure(row.greatest_ratio()));
    println!(
        "{}  {:>11} {:>11} {:>7} {spread:<17} {goal:>6} {met}",
        widths.line(&row.id, &row.work, &row.peer),
        cost(row.ours(), row.unit),
        cost(row.theirs(), row.unit),
        figure(row.ratio()),
    );
}

/// Ratios from a ten-thousandth to a thousand, each with what can be told apart.
fn figure(ratio: f64) -> String {
    match ratio {
        small if small < 0.01 => format!("{small:.5}"),
        large if large >= 100.0 => format!("{large:.0}"),
        usual => format!("{usual:.2}"),
    }
}

fn cost(cost: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{cost:.0} bytes"),
        Unit::Nanoseconds if cost < 100.0 => format!("{cost:.1} ns"),
        Unit::Nanoseconds => format!("{cost:.0} ns"),
    }
}
