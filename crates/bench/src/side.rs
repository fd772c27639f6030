//! One side of a row, on a thread of its own.
//!
//! A thread has a heap of its own in the system's allocator: what one side leaves behind does not scatter what the other
//! allocates next. Only one side runs at a time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};

/// Does that many units of the work and answers what they cost altogether.
pub(crate) type Work = Box<dyn FnMut(u64) -> f64>;

/// Sets the work up, on the thread on which it is then done.
pub(crate) type Make = Box<dyn FnOnce() -> Work + Send>;

pub(crate) struct Side {
    turns: Option<Sender<u64>>,
    costs: Receiver<f64>,
    thread: Option<JoinHandle<()>>,
}

impl Side {
    pub(crate) fn start(make: Make) -> Self {
        let (turns, taken) = channel();
        let (tell, costs) = channel();
        let thread = spawn(move || {
            let mut work = make();
            for units in taken {
                if tell.send(work(units)).is_err() {
                    return;
                }
            }
        });
        Self { turns: Some(turns), costs, thread: Some(thread) }
    }

    /// Lets the side do that many units, and answers what they cost altogether.
    pub(crate) fn run(&mut self, units: u64) -> f64 {
        let is_sent = self.turns.as_ref().is_some_and(|turns| turns.send(units).is_ok());
        let cost = if is_sent { self.costs.recv().ok() } else { None };
        cost.expect("the side does its work")
    }
}

impl Drop for Side {
    /// Waits until the side has given back what it set up, so that it does not disturb the next row.
    fn drop(&mut self) {
        self.turns = None;
        if let Some(thread) = self.thread.take() {
            // a panic of the work has been said by the thread itself
            let _ = thread.join();
        }
    }
}
