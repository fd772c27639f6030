//! The gate: every check there is, one after the other, and a table of what came of them.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::run::{Stopwatch, Tally, is_ci};
use crate::steps::{STEPS, Step, Verdict};

#[derive(Args)]
pub(crate) struct Options {
    /// The steps to run; all of them where none is named.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    steps: Vec<String>,
    /// List the steps and do nothing.
    #[arg(long)]
    list: bool,
}

struct Line {
    step: &'static Step,
    verdict: Result<Verdict>,
    tally: Tally,
    time: Duration,
}

impl Line {
    /// What is missing is a failure where nothing may be left out.
    fn has_failed(&self) -> bool {
        match &self.verdict {
            Ok(Verdict::Passed) => false,
            Ok(Verdict::Missing(_)) => is_ci(),
            Err(_) => true,
        }
    }
}

/// Runs the gate and answers whether all is well.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.list {
        for step in STEPS {
            println!("{:<10} {}", step.name, step.about);
        }
        return Ok(true);
    }
    let mut lines = Vec::new();
    let whole = Stopwatch::start();
    for step in STEPS {
        if !options.steps.is_empty() && !options.steps.iter().any(|name| name == step.name) {
            continue;
        }
        println!("\n== {}: {}", step.name, step.about);
        let watch = Stopwatch::start();
        let mut tally = Tally::default();
        let verdict = (step.run)(&mut tally);
        match &verdict {
            Ok(Verdict::Passed) => {}
            Ok(Verdict::Missing(what)) => eprintln!("{}: left out: {what}", step.name),
            Err(error) => eprintln!("{}: {error:#}", step.name),
        }
        lines.push(Line { step, verdict, tally, time: watch.elapsed() });
    }
    Ok(summary(&lines, whole.elapsed()))
}

/// Prints the table. The closing line counts every test, and each step without tests as one check.
fn summary(lines: &[Line], whole: Duration) -> bool {
    println!("\n{:<10} {:<8} {:>8} {:>8} {:>9}", "step", "", "passed", "failed", "time");
    let mut total = Tally::default();
    for line in lines {
        let word = match (&line.verdict, line.has_failed()) {
            (Ok(Verdict::Missing(_)), false) => "left out",
            (_, false) => "ok",
            (_, true) => "FAILED",
        };
        let Tally { passed, failed } = line.tally;
        println!("{:<10} {word:<8} {passed:>8} {failed:>8} {:>7.1} s", line.step.name, line.time.as_secs_f64());
        let mut counted = line.tally;
        if line.has_failed() {
            counted.failed = counted.failed.max(1);
        } else if matches!(line.verdict, Ok(Verdict::Passed)) {
            counted.passed = counted.passed.max(1);
        }
        total.add(counted);
    }
    println!("{:<37} {:>7.1} s", "", whole.as_secs_f64());
    for line in lines {
        match &line.verdict {
            Ok(Verdict::Passed) => {}
            Ok(Verdict::Missing(what)) => {
                println!("{}: cannot be had here: {what}", line.step.name)
            }
            Err(error) => println!("{}: {error:#}", line.step.name),
        }
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}
