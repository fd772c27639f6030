//! `du` and the example that counts disk usage, side by side on one tree.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::run::{self, Stopwatch, Tally, cargo, target_dir};

/// The ratio that the example has to reach on a warm cache and two cores.
const GOAL: f64 = 0.75;

#[derive(Args)]
pub(crate) struct Options {
    /// The tree to count.
    #[arg(default_value = "/usr")]
    path: PathBuf,
    /// How many pairs of runs.
    #[arg(long, default_value_t = 21)]
    pairs: usize,
}

/// Measures pairs of runs, one right after the other, and prints the ratio of each pair in its median and spread.
pub(crate) fn run(options: &Options) -> Result<bool> {
    run::run(
        &mut Tally::default(),
        &mut cargo("build --release --quiet --package machinery-examples --example disk_usage"),
    )?;
    let mut du = Command::new("du");
    du.args(["-s", "--block-size=1"]).arg(&options.path);
    let mut ours = Command::new(target_dir().join("release/examples/disk_usage"));
    ours.args(["--json", "--top", "10"]).arg(&options.path);

    // Both read everything once, so that the cache is warm for whoever comes first.
    let (_, du_says) = timed(&mut du)?;
    let (_, ours_says) = timed(&mut ours)?;
    let du_bytes: u64 = du_says.split_whitespace().next().context("du prints a number")?.parse()?;
    let our_bytes: u64 = ours_says
        .lines()
        .find_map(|line| line.strip_prefix("  \"bytes\": "))
        .context("the example prints its total")?
        .trim_end_matches(',')
        .parse()?;
    ensure!(du_bytes == our_bytes, "du counts {du_bytes} bytes, the example {our_bytes}");

    let mut pairs = Vec::new();
    for pair in 0..options.pairs.max(1) {
        // Who goes first changes, so that neither gains by it.
        let (a, b) = if pair % 2 == 0 {
            let du = timed(&mut du)?.0;
            (du, timed(&mut ours)?.0)
        } else {
            let ours = timed(&mut ours)?.0;
            (timed(&mut du)?.0, ours)
        };
        pairs.push((a.as_secs_f64(), b.as_secs_f64()));
    }
    let median = |value: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (du_time, ..) = median(|pair| pair.0);
    let (our_time, ..) = median(|pair| pair.1);
    let (ratio, least, most) = median(|pair| pair.1 / pair.0);
    println!(
        "{}: {} bytes by both\ndu -s       {:>7.1} ms\ndisk_usage  {:>7.1} ms\nratio       {ratio:.2} ({least:.2} to \
         {most:.2}, median of {} pairs), goal {GOAL}: {}",
        options.path.display(),
        du_bytes,
        du_time * 1e3,
        our_time * 1e3,
        pairs.len(),
        if ratio <= GOAL { "met" } else { "not met" },
    );
    Ok(true)
}

/// How long the command takes from start to end, and what it prints; what cannot be read is left out by both.
fn timed(command: &mut Command) -> Result<(Duration, String)> {
    let watch = Stopwatch::start();
    let output = command.stderr(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    Ok((watch.elapsed(), String::from_utf8_lossy(&output.stdout).into_owned()))
}
