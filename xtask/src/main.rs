//! The commands that people and CI run: `cargo xtask test`, `cargo xtask bench` and `cargo xtask plots`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod compare_du;
mod gate;
mod run;
mod steps;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The commands of the machinery workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check there is, or the named ones; installs what it needs.
    Test(gate::Options),
    /// Measure against the peers and print a table; the report goes to target/bench/report.json.
    Bench(bench::Options),
    /// Measure cost curves and draw them as SVG files for the documentation.
    Plots(bench::PlotOptions),
    /// Measure the example `disk_usage` against `du` on one tree.
    CompareDu(compare_du::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(options) => gate::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Plots(options) => bench::plots(&options),
        Command::CompareDu(options) => compare_du::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
