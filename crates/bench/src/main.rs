//! The library measured against its peers, side by side in one run: a table of ratios, and plots.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod alloc;
mod clock;
mod harness;
mod machine;
mod plots;
mod report;
mod rows;
mod side;

#[derive(Parser)]
#[command(about = "The library measured against its peers; `cargo xtask bench` builds and runs it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the rows of the table.
    Rows {
        /// Only the rows whose id contains this text.
        filter: Option<String>,
        /// Fewer and smaller runs.
        #[arg(long)]
        quick: bool,
        /// List the rows and measure nothing.
        #[arg(long)]
        list: bool,
        /// Where the report goes.
        #[arg(long, default_value = "target/bench/report.json")]
        report: PathBuf,
    },
    /// Measure the curves and draw them.
    Plots {
        /// Fewer runs.
        #[arg(long)]
        quick: bool,
        /// The folder that the pictures go into.
        #[arg(long, default_value = "crates/machinery/docs/plots")]
        out: PathBuf,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Rows { filter, quick, list, report } => {
            let rows = rows::all().into_iter().filter(|row| filter.as_deref().is_none_or(|text| row.id.contains(text)));
            if list {
                for row in rows {
                    println!("{:<44} {} / {}", row.id, row.work, row.peer);
                }
                return Ok(());
            }
            report::table(rows, quick, &report)
        }
        Command::Plots { quick, out } => plots::all(&out, quick),
    }
}
