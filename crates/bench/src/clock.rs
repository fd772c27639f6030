//! The two clocks: a thread's own CPU time, which a busy neighbour does not disturb, and the wall's.

use rustix::time::{ClockId, clock_gettime};

fn nanoseconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What `work` costs this thread, in nanoseconds of its own CPU time.
pub(crate) fn cpu<T>(work: impl FnOnce() -> T) -> f64 {
    let start = cpu_now();
    let result = work();
    let time = cpu_now() - start;
    drop(result);
    time
}

/// This thread's own CPU time, in nanoseconds.
pub(crate) fn cpu_now() -> f64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// How long `work` takes, in nanoseconds.
pub(crate) fn wall<T>(work: impl FnOnce() -> T) -> f64 {
    let start = now();
    let result = work();
    let time = now() - start;
    drop(result);
    time
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn now() -> f64 {
    nanoseconds(ClockId::Monotonic)
}

/// The CPU time of all threads of this process, in nanoseconds.
pub(crate) fn process() -> f64 {
    nanoseconds(ClockId::ProcessCPUTime)
}
