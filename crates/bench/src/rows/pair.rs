//! The same work on two threads at once.

use std::sync::Barrier;

use crate::clock;

/// Runs both at once and answers how long the slower one took.
pub(crate) fn at_once(first: impl FnOnce() + Send, second: impl FnOnce() + Send) -> f64 {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            start.wait();
            clock::wall(second)
        });
        start.wait();
        let mine = clock::wall(first);
        mine.max(other.join().unwrap_or(f64::NAN))
    })
}
