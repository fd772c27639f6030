//! The benchmark table and the plots: both are programs of `crates/bench`, built with full optimization.

use anyhow::Result;
use clap::Args;

use crate::run::{self, Tally, cargo, root};

#[derive(Args)]
pub(crate) struct Options {
    /// Only the rows whose id contains this text, such as `context` or `queue/drain`.
    filter: Option<String>,
    /// Fewer and smaller runs: an indication within a minute or two, no more.
    #[arg(long)]
    quick: bool,
    /// List the rows and measure nothing.
    #[arg(long)]
    list: bool,
}

#[derive(Args)]
pub(crate) struct PlotOptions {
    /// Fewer and smaller runs.
    #[arg(long)]
    quick: bool,
}

/// The system's allocator gives large pieces back and asks for them again, which costs page faults in some runs and not in
/// others: a row's two modes. A program that runs for long keeps what it has, and so do the measurements.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_TRIM_THRESHOLD_", "1099511627776"),
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// Measures. A goal that is missed is said by the table and the report; it is not a failure of the command.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut command = cargo("run --quiet --profile bench --package machinery-bench -- rows");
    command.envs(ALLOCATOR).args(&options.filter);
    if options.quick {
        command.arg("--quick");
    }
    if options.list {
        command.arg("--list");
    }
    command.arg("--report").arg(root().join("target/bench/report.json"));
    run::run(&mut Tally::default(), &mut command)?;
    Ok(true)
}

/// Measures the curves and draws them.
pub(crate) fn plots(options: &PlotOptions) -> Result<bool> {
    let mut command = cargo("run --quiet --profile bench --package machinery-bench -- plots");
    command.envs(ALLOCATOR);
    if options.quick {
        command.arg("--quick");
    }
    command.arg("--out").arg(root().join("crates/machinery/docs/plots"));
    run::run(&mut Tally::default(), &mut command)?;
    Ok(true)
}
