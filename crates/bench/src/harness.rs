//! A row of the table: the same work done by the library and by a peer, in turns, and the ratio of each pair.

use crate::clock;
use crate::machine::Watch;
use crate::side::{Make, Side};

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
}

pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) work: String,
    pub(crate) peer: String,
    pub(crate) goal: Option<f64>,
    pub(crate) unit: Unit,
    needs_quiet: bool,
    units: u64,
    quick_units: u64,
    ours: Option<Make>,
    theirs: Option<Make>,
}

impl Row {
    pub(crate) fn new(id: impl Into<String>, work: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            work: work.into(),
            peer: String::new(),
            goal: None,
            unit: Unit::Nanoseconds,
            needs_quiet: false,
            units: 1,
            quick_units: 1,
            ours: None,
            theirs: None,
        }
    }

    /// The ratio that has to be reached; without one the row is only shown.
    pub(crate) fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// The goal where there is one.
    pub(crate) fn goal_if(mut self, goal: Option<f64>) -> Self {
        self.goal = goal;
        self
    }

    pub(crate) fn bytes(mut self) -> Self {
        self.unit = Unit::Bytes;
        self
    }

    /// Two threads at once: the row needs both cores to itself.
    pub(crate) fn two_threads(mut self) -> Self {
        self.needs_quiet = true;
        self
    }

    /// In real time: the row needs a core whenever it asks for one.
    pub(crate) fn undisturbed(mut self) -> Self {
        self.needs_quiet = true;
        self
    }

    /// How many units make one half of a pair, in a whole run and in a quick one.
    pub(crate) fn units(mut self, units: u64, quick: u64) -> Self {
        self.units = units;
        self.quick_units = quick;
        self
    }

    pub(crate) fn ours<F: FnMut(u64) -> f64 + 'static>(mut self, make: impl FnOnce() -> F + Send + 'static) -> Self {
        self.ours = Some(Box::new(move || Box::new(make())));
        self
    }

    pub(crate) fn peer<F: FnMut(u64) -> f64 + 'static>(
        mut self,
        name: impl Into<String>,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Self {
        self.peer = name.into();
        self.theirs = Some(Box::new(move || Box::new(make())));
        self
    }

    /// Does a little of the work of both sides, to see that they still do it.
    #[cfg(test)]
    pub(crate) fn try_out(self) -> (f64, f64) {
        let little = |make: Option<Make>| make.map_or(f64::NAN, |make| Side::start(make).run(20));
        (little(self.ours), little(self.theirs))
    }

    /// Measures: warms both sides up, then takes them in turns.
    pub(crate) fn measure(self, quick: bool) -> Measured {
        let units = if quick { self.quick_units } else { self.units };
        let side = |make: Option<Make>| Side::start(make.unwrap_or_else(|| Box::new(|| Box::new(|_| f64::NAN))));
        let mut ours = side(self.ours);
        let mut theirs = side(self.theirs);
        let one = |side: &mut Side| side.run(units) / units as f64;

        let start = clock::now();
        one(&mut ours);
        one(&mut theirs);
        let watch = Watch::start();
        let mut pairs = Vec::new();
        let (least, most, budget) =
            if quick { (LEAST_PAIRS, LEAST_PAIRS, 0.0) } else { (LEAST_PAIRS, MOST_PAIRS, BUDGET) };
        while pairs.len() < least || (pairs.len() < most && clock::now() - start < budget) {
            pairs.push((one(&mut ours), one(&mut theirs)));
        }
        let complaint = if self.needs_quiet { watch.complaint() } else { None };
        Measured { id: self.id, work: self.work, peer: self.peer, goal: self.goal, unit: self.unit, pairs, complaint }
    }
}

const LEAST_PAIRS: usize = 7;
const MOST_PAIRS: usize = 31;
const BUDGET: f64 = 2.5e9;

/// A row with its pairs of costs, ours first, for one unit of its work.
pub(crate) struct Measured {
    pub(crate) id: String,
    pub(crate) work: String,
    pub(crate) peer: String,
    pub(crate) goal: Option<f64>,
    pub(crate) unit: Unit,
    pub(crate) pairs: Vec<(f64, f64)>,
    /// Why the figures prove nothing, where that is so.
    pub(crate) complaint: Option<String>,
}

impl Measured {
    pub(crate) fn ours(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.0))
    }

    pub(crate) fn theirs(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.1))
    }

    fn ratios(&self) -> impl Iterator<Item = f64> {
        self.pairs.iter().map(|pair| pair.0 / pair.1)
    }

    /// The median of the paired ratios: what the goal is held against.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    pub(crate) fn least_ratio(&self) -> f64 {
        self.ratios().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn greatest_ratio(&self) -> f64 {
        self.ratios().fold(0.0, f64::max)
    }

    /// Our quickest run over the peer's quickest.
    pub(crate) fn ratio_of_minima(&self) -> f64 {
        let (ours, theirs) = self
            .pairs
            .iter()
            .fold((f64::INFINITY, f64::INFINITY), |least, pair| (least.0.min(pair.0), least.1.min(pair.1)));
        ours / theirs
    }

    /// Whether the goal is met; nothing where there is none, or where the figures prove nothing.
    pub(crate) fn is_met(&self) -> Option<bool> {
        if self.complaint.is_some() {
            return None;
        }
        self.goal.map(|goal| self.ratio() <= goal)
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Unit, median};

    fn measured(pairs: &[(f64, f64)], goal: Option<f64>) -> Measured {
        let text = String::new;
        let (id, work, peer) = (text(), text(), text());
        Measured { id, work, peer, goal, unit: Unit::Nanoseconds, pairs: pairs.to_vec(), complaint: None }
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
    }

    #[test]
    fn a_goal_is_held_against_the_median_of_the_paired_ratios() {
        let row = measured(&[(1.0, 2.0), (3.0, 4.0), (9.0, 1.0)], Some(0.8));
        assert_eq!(row.ratio(), 0.75);
        assert_eq!((row.least_ratio(), row.greatest_ratio()), (0.5, 9.0));
        assert_eq!(row.is_met(), Some(true));
    }

    #[test]
    fn a_row_that_was_disturbed_or_has_no_goal_claims_nothing() {
        assert_eq!(measured(&[(1.0, 2.0)], None).is_met(), None);
        let mut row = measured(&[(1.0, 2.0)], Some(1.0));
        row.complaint = Some("others kept a core busy".into());
        assert_eq!(row.is_met(), None);
    }
}
