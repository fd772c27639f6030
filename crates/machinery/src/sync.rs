//! The one place that names locks and atomics, so that a model checker can take their place.
//!
//! `--cfg machinery_loom` and `--cfg machinery_shuttle` switch them; `crates/models` builds the library so.

#[cfg(not(any(machinery_loom, machinery_shuttle)))]
mod imp {
    pub(crate) use std::sync::MutexGuard;
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread_local;
}

pub(crate) use imp::{MutexGuard, atomic, thread_local};

/// A mutex that a panic does not poison: every critical section of this library leaves valid data at each step.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
