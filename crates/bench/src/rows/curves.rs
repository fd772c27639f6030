//! What the plots show: the work of some rows, over a range of sizes.

use futures_buffered::MergeUnbounded;
use futures_util::stream::SelectAll;

use super::fan::Managed;
use super::source::{Doorbell, PendingOnce};
use super::{fanin, task};
use crate::harness::median;
use crate::side::{Side, Work};

/// Makes the side for a size; it then does that many units and answers their cost.
type MakeFor = fn(u64) -> Work;

pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    pub(crate) sizes: &'static [u64],
    pub(crate) sides: Vec<(&'static str, MakeFor)>,
}

pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

const SOURCES: &[u64] = &[10, 100, 1_000, 10_000, 100_000];
const TASKS: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];

pub(crate) fn plots() -> Vec<Plot> {
    vec![
        Plot {
            file: "fanin-one-ready.svg",
            title: "Fan-in: one of many sources is ready",
            across: "number of sources",
            up: "nanoseconds an item",
            sizes: SOURCES,
            sides: vec![
                ("queue manager", |size| fanin::serving::<Doorbell, Managed>(size)),
                ("SelectAll", |size| fanin::serving::<Doorbell, SelectAll<Doorbell>>(size)),
                ("futures-buffered", |size| fanin::serving::<Doorbell, MergeUnbounded<Doorbell>>(size)),
            ],
        },
        Plot {
            file: "fanin-pending.svg",
            title: "Fan-in: every source is pending once per item",
            across: "number of sources",
            up: "nanoseconds an item",
            sizes: SOURCES,
            sides: vec![
                ("queue manager", |size| fanin::draining::<PendingOnce, Managed>(size)),
                ("SelectAll", |size| fanin::draining::<PendingOnce, SelectAll<PendingOnce>>(size)),
                ("futures-buffered", |size| fanin::draining::<PendingOnce, MergeUnbounded<PendingOnce>>(size)),
            ],
        },
        Plot {
            file: "tasks-held.svg",
            title: "Tasks: spawn, finish and reap, current thread",
            across: "number of tasks held",
            up: "nanoseconds a task",
            sizes: TASKS,
            sides: vec![
                ("task holder", |size| task::holding(size, task::held)),
                ("JoinSet", |size| task::holding(size, task::joined)),
                ("TaskTracker", |size| task::holding(size, task::tracked)),
            ],
        },
    ]
}

/// Takes the sides in turns at each size, as the rows do, and keeps the medians.
pub(crate) fn measure(plot: &Plot, quick: bool) -> Vec<Curve> {
    let mut curves: Vec<Curve> = plot.sides.iter().map(|(name, _)| Curve { name, points: Vec::new() }).collect();
    let rounds = if quick { 3 } else { 9 };
    for &size in plot.sizes {
        let units = (size * fanin::ITEMS).clamp(50_000, 1_000_000);
        let mut sides: Vec<_> =
            plot.sides.iter().map(|&(_, make)| (Side::start(Box::new(move || make(size))), Vec::new())).collect();
        for round in 0..=rounds {
            for (side, costs) in &mut sides {
                let cost = side.run(units) / units as f64;
                // the first round is there to warm up
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        for (curve, (_, costs)) in curves.iter_mut().zip(sides) {
            curve.points.push((size as f64, median(costs.into_iter())));
        }
    }
    curves
}
