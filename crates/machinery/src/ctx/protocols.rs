//! What a context has in common with promises, tasks and events.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::Waker;

use super::{CompletionKind, Ctx, CtxGuard};
use crate::protocols::{FutureState, FutureStatus, WaitByCallback, WaiterId, WithRepr};
use crate::{Name, SharedError, Tramp};

impl Ctx {
    /// The nearest [`Tramp`] of type `T`, from here upwards, that a context was made with.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), machinery::NoRuntime> {
    /// use machinery::{Ctx, CtxOptions, Tramp};
    ///
    /// struct Mine(u32);
    /// impl Tramp for Mine {}
    ///
    /// let root = Ctx::beginning_with("app", CtxOptions::new().tramp(Mine(7)))?;
    /// assert_eq!(root.child("server").tramp_as::<Mine>().unwrap().0, 7);
    /// assert!(Ctx::beginning("other").tramp_as::<Mine>().is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tramp_as<T: Tramp>(&self) -> Option<Arc<T>> {
        self.0.inherited().find_map(|fixed| {
            let tramp: Arc<dyn Any + Send + Sync> = Arc::clone(fixed.tramp.as_ref()?) as _;
            tramp.downcast().ok()
        })
    }
}

/// A context never has a result. A deadline that has passed is neither a cancellation nor an exception.
impl FutureStatus for Ctx {
    type Value = Infallible;

    fn is_done(&self) -> bool {
        self.is_done()
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn exception(&self) -> Option<SharedError> {
        self.exception()
    }

    fn result(&self) -> Option<Infallible> {
        None
    }
}

impl WaitByCallback for Ctx {
    fn is_complete(&self) -> bool {
        self.is_done()
    }

    fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
        if self.is_done() {
            return None;
        }
        let mut links = self.0.links.lock();
        if !self.0.set_watched() {
            drop(links);
            return None;
        }
        Some(WaiterId::new(links.add_waiter(waker), 0))
    }

    fn remove_waiter(&self, id: WaiterId) {
        let removed = self.0.links.lock().remove_waiter(id.key());
        drop(removed);
    }
}

/// Shows a deadline that has passed as an exception of the kind `DeadlinePassed`.
impl WithRepr for Ctx {
    fn repr_name(&self) -> Option<Name> {
        Some(self.0.name.clone())
    }

    fn repr_state(&self) -> FutureState {
        let Some(completion) = self.completion() else {
            return FutureState::Pending;
        };
        match completion.kind() {
            CompletionKind::Cancelled => FutureState::Cancelled,
            CompletionKind::Failed => FutureState::Failed {
                kind: None,
                error: completion.error().cloned().unwrap_or_else(|| Arc::new(completion)),
            },
            CompletionKind::DeadlinePassed => {
                FutureState::Failed { kind: Some("DeadlinePassed"), error: Arc::new(completion) }
            }
        }
    }
}

impl FutureStatus for CtxGuard {
    type Value = Infallible;

    fn is_done(&self) -> bool {
        (**self).is_done()
    }

    fn is_cancelled(&self) -> bool {
        (**self).is_cancelled()
    }

    fn exception(&self) -> Option<SharedError> {
        (**self).exception()
    }

    fn result(&self) -> Option<Infallible> {
        None
    }
}

impl WaitByCallback for CtxGuard {
    fn is_complete(&self) -> bool {
        self.is_done()
    }

    fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
        (**self).add_waiter(waker)
    }

    fn remove_waiter(&self, id: WaiterId) {
        (**self).remove_waiter(id);
    }
}

impl WithRepr for CtxGuard {
    fn repr_name(&self) -> Option<Name> {
        (**self).repr_name()
    }

    fn repr_state(&self) -> FutureState {
        (**self).repr_state()
    }
}
