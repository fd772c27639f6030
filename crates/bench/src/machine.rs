//! What else the machine is doing.

use crate::clock;

/// Watches how much of the machine others use.
pub(crate) struct Watch {
    wall: f64,
    own: f64,
    all: Option<f64>,
}

/// How much of one core others used, above which a row for two threads says nothing about the library.
const BUSY: f64 = 0.15;

impl Watch {
    pub(crate) fn start() -> Self {
        Self { wall: clock::now(), own: clock::process(), all: busy() }
    }

    /// Says so if others kept a core busy meanwhile, or if there is no second core to begin with.
    pub(crate) fn complaint(&self) -> Option<String> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if cores < 2 {
            return Some("there is only one core".into());
        }
        let (Some(before), Some(after)) = (self.all, busy()) else {
            return None;
        };
        let wall = clock::now() - self.wall;
        let others = ((after - before) - (clock::process() - self.own)) / wall;
        let free = cores as f64 - others;
        (others > BUSY && free < 2.0 - BUSY).then(|| format!("others kept {others:.1} cores busy"))
    }
}

/// The time that all cores have spent on anything at all, in nanoseconds, where the system tells.
fn busy() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.split_whitespace().skip(1).map(str::parse::<f64>);
    let fields: Vec<f64> = fields.collect::<Result<_, _>>().ok()?;
    // user, nice, system, idle, waiting, interrupts, soft interrupts, stolen
    let ticks: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| fields.get(field)).sum();
    Some(ticks * 1e9 / rustix::param::clock_ticks_per_second() as f64)
}
