//! A lock for critical sections of a few instructions.

#[cfg(any(machinery_loom, machinery_shuttle))]
pub(crate) use super::{Mutex as BriefMutex, MutexGuard as BriefGuard};
#[cfg(not(any(machinery_loom, machinery_shuttle)))]
pub(crate) use imp::{BriefGuard, BriefMutex};

#[cfg(not(any(machinery_loom, machinery_shuttle)))]
mod imp {
    use std::time::Duration;

    use spin::mutex::{SpinMutex, SpinMutexGuard};

    pub(crate) type BriefGuard<'a, T> = SpinMutexGuard<'a, T>;

    /// How long the slow path spins, yields, and then sleeps between its tries.
    const SPINS: u32 = 40;
    const YIELDS: u32 = 1_000;
    const NAP: Duration = Duration::from_micros(50);

    /// A mutex for sections that only move a few words, and run no code but ours.
    ///
    /// It is let go by a plain store, where the mutex of the standard library needs a second atomic exchange to see
    /// whether somebody sleeps on it: half the price of a lock that is nearly always free. The price is paid by those
    /// who find it taken, and the sections are too short for that to happen often.
    #[derive(Debug)]
    pub(crate) struct BriefMutex<T>(SpinMutex<T>);

    impl<T> BriefMutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(SpinMutex::new(value))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }

        #[inline]
        pub(crate) fn lock(&self) -> SpinMutexGuard<'_, T> {
            match self.0.try_lock() {
                Some(guard) => guard,
                None => self.lock_contended(),
            }
        }

        #[cold]
        #[inline(never)]
        fn lock_contended(&self) -> SpinMutexGuard<'_, T> {
            let mut tries = 0;
            loop {
                if !self.0.is_locked()
                    && let Some(guard) = self.0.try_lock_weak()
                {
                    return guard;
                }
                tries += 1;
                if tries < SPINS {
                    for _ in 0..4 {
                        std::hint::spin_loop();
                    }
                } else if tries < YIELDS {
                    std::thread::yield_now();
                } else {
                    // Whoever holds it was preempted by a thread of a higher priority, which may be this one.
                    std::thread::sleep(NAP);
                }
            }
        }
    }
}
