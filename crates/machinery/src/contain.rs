//! Running what users gave us so that a panic of theirs stays theirs.
//!
//! Wakers and callbacks belong to whoever registered them. One that panics must neither keep its siblings from
//! running nor unwind through the call that completed something on behalf of everybody.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::task::Waker;

use crate::SharedError;
use crate::error::panic_error;

/// Runs `code`. A panic becomes an error with its message.
pub(crate) fn contain<R>(code: impl FnOnce() -> R) -> Result<R, SharedError> {
    catch_unwind(AssertUnwindSafe(code)).map_err(panic_error)
}

/// Wakes every one of `wakers`, whatever the others do. To be called without a lock.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(wake);
}

/// Wakes one waker. To be called without a lock.
#[inline]
pub(crate) fn wake(waker: Waker) {
    if let Err(panic) = contain(|| waker.wake()) {
        let _ = contain(|| tracing::error!("a waker {panic}"));
    }
}

/// Panics of users are contained before they reach what these share, so that a panic caught elsewhere finds them whole.
macro_rules! whole_after_a_panic {
    ($(($($generic:ident),*) $type:ty;)*) => {
        $(
            impl<$($generic),*> UnwindSafe for $type {}
            impl<$($generic),*> RefUnwindSafe for $type {}
        )*
    };
}

whole_after_a_panic! {
    () crate::Completion;
    () crate::Event;
    () crate::event::EventWait;
    () crate::Tasks;
    (P) crate::TaskHolder<P>;
    (T) crate::Task<T>;
    () crate::TaskError;
    (T) crate::Queue<T>;
    (T) crate::queue::QueueStream<T>;
    (T) crate::SyncQueue<T>;
    (T) crate::sync_queue::SyncIter<T>;
    () crate::Ticker;
    () crate::tick::TickerHandle;
    () crate::tick::Pauser;
    (T, C) crate::QueueFeeder<T, C>;
}

// This one lends its value to everybody.
impl<T: RefUnwindSafe> UnwindSafe for crate::Promise<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for crate::Promise<T> {}

#[cfg(test)]
mod tests {
    use super::contain;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        assert!(contain(|| panic!("plain")).unwrap_err().to_string().contains("plain"));
        assert!(contain(|| panic!("made {}", 7)).unwrap_err().to_string().contains("made 7"));
        assert_eq!(contain(|| 3).unwrap(), 3);
    }

    #[test]
    fn a_payload_whose_drop_panics_stays_contained() {
        let said = contain(|| std::panic::panic_any(Bomb)).unwrap_err().to_string();
        assert!(said.contains("not text"));
    }
}
