//! The one place that names locks, atomics and threads, so that a model checker can take their place.
//!
//! `--cfg machinery_loom` and `--cfg machinery_shuttle` switch them; `crates/models` builds the library so.

#[cfg(not(any(machinery_loom, machinery_shuttle)))]
mod imp {
    pub(crate) use std::sync::{Mutex as RawMutex, MutexGuard, atomic};
    pub(crate) use std::thread;
    pub(crate) use std::thread_local;
}

#[cfg(machinery_shuttle)]
mod imp {
    pub(crate) use shuttle::sync::{Mutex as RawMutex, MutexGuard, atomic};
    pub(crate) use shuttle::thread;
    pub(crate) use shuttle::thread_local;
}

#[cfg(all(machinery_loom, not(machinery_shuttle)))]
mod imp {
    pub(crate) use loom::sync::{Mutex as RawMutex, MutexGuard, atomic};
    pub(crate) use loom::thread;

    /// As the standard library's; loom's own does not know `const` blocks.
    macro_rules! loom_local {
        ($($(#[$attribute:meta])* static $name:ident: $kind:ty = const $value:block;)*) => {
            loom::thread_local! { $($(#[$attribute])* static $name: $kind = $value;)* }
        };
    }
    pub(crate) use loom_local as thread_local;
}

/// Parks for so long at most. A model has no time that passes.
#[cfg(not(any(machinery_loom, machinery_shuttle)))]
pub(crate) fn park_timeout(timeout: std::time::Duration) {
    std::thread::park_timeout(timeout);
}

#[cfg(any(machinery_loom, machinery_shuttle))]
pub(crate) fn park_timeout(_: std::time::Duration) {
    thread::park();
}

mod brief;

pub(crate) use brief::{BriefGuard, BriefMutex};
pub(crate) use imp::{MutexGuard, atomic, thread, thread_local};

/// Has loom check that every use of `atomic` happens before this call. For memory that is about to be freed by hand.
#[cfg(machinery_loom)]
pub(crate) fn freeing(atomic: &mut atomic::AtomicU32) {
    atomic.with_mut(|_| ());
}

#[cfg(not(machinery_loom))]
pub(crate) const fn freeing(_atomic: &mut atomic::AtomicU32) {}

/// A mutex that a panic does not poison: every critical section of this library leaves valid data at each step.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::RawMutex<T>);

impl<T> Mutex<T> {
    #[cfg(not(machinery_loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(imp::RawMutex::new(value))
    }

    #[cfg(machinery_loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(imp::RawMutex::new(value))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
