//! A task as the small interfaces see it.

use std::task::Waker;

use super::{Place, Task};
use crate::protocols::{FutureState, FutureStatus, WaitByCallback, WaiterId, WithRepr};
use crate::{Name, SharedError};

impl<T: Clone + Send + 'static> FutureStatus for Task<T> {
    type Value = T;

    fn is_done(&self) -> bool {
        self.is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn exception(&self) -> Option<SharedError> {
        self.error()?.error().cloned()
    }

    fn result(&self) -> Option<T> {
        match self.place() {
            Place::Held { shared, key } => shared.clone_value(*key),
            Place::Refused(..) => None,
        }
    }
}

impl<T> WaitByCallback for Task<T> {
    fn is_complete(&self) -> bool {
        self.is_done()
    }

    fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
        match self.place() {
            Place::Held { shared, key } => shared.add_waiter(*key, waker),
            Place::Refused(..) => None,
        }
    }

    fn remove_waiter(&self, id: WaiterId) {
        if let Place::Held { shared, key } = self.place() {
            shared.remove_waiter(*key, id);
        }
    }
}

impl<T> WithRepr for Task<T> {
    fn repr_name(&self) -> Option<Name> {
        Some(self.name())
    }

    fn repr_state(&self) -> FutureState {
        match self.look_at_error() {
            Some(error) => match error.error() {
                Some(own) => FutureState::Failed { kind: error.kind(), error: own.clone() },
                None => FutureState::Cancelled,
            },
            None if self.is_done() => FutureState::Result,
            None => FutureState::Pending,
        }
    }

    fn set_repr_name(&self, name: Name) -> bool {
        match self.place() {
            Place::Held { shared, key } => {
                shared.rename(*key, name);
                true
            }
            Place::Refused(..) => false,
        }
    }

    fn mark_error_read(&self) {
        self.mark_read();
    }
}
