//! Queues between threads that convert what comes at the door.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::queue::{Ensurer, Refused};

use super::{SyncQueue, SyncQueueBuilder};

/// Options for a queue between threads that converts values of type `U` to its own type at the door.
///
/// It is made with [`SyncQueueBuilder::item_ensurer`].
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, sync_queue};
///
/// let root = Ctx::beginning("app");
/// let small = sync_queue(&root).name("small").item_ensurer(|n: u64| u8::try_from(n).map_err(|_| n)).build();
/// assert!(small.append(7).is_ok());
/// ```
#[must_use = "nothing is made before `build`"]
pub struct EnsuringSyncBuilder<U, T> {
    plain: SyncQueueBuilder,
    ensurer: Ensurer<U, T>,
}

impl<U, T: Send + 'static> EnsuringSyncBuilder<U, T> {
    pub(super) fn new(plain: SyncQueueBuilder, ensurer: Ensurer<U, T>) -> Self {
        Self { plain, ensurer }
    }

    /// Makes the queue.
    #[track_caller]
    #[must_use]
    pub fn build(self) -> EnsuredSyncQueue<U, T> {
        EnsuredSyncQueue { queue: self.plain.build(), ensurer: self.ensurer }
    }
}

impl<U, T> fmt::Debug for EnsuringSyncBuilder<U, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnsuringSyncBuilder").field("plain", &self.plain).finish_non_exhaustive()
    }
}

/// A [`SyncQueue`] of `T` that takes values of type `U`, converts each at the door and refuses those that it cannot
/// convert.
///
/// It derefs to the queue, for everything but appending; what is appended to the queue itself is of its type already
/// and is not converted.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, sync_queue};
///
/// let root = Ctx::beginning("app");
/// let ports = sync_queue(&root).item_ensurer(|text: &str| text.parse::<u16>().map_err(|_| text)).build();
/// ports.append("80").unwrap();
///
/// let refused = ports.append("eighty").unwrap_err();
/// assert_eq!(refused.into_inner(), "eighty");
/// assert_eq!(ports.remaining().collect::<Vec<_>>(), [80]);
/// ```
pub struct EnsuredSyncQueue<U, T> {
    queue: SyncQueue<T>,
    ensurer: Ensurer<U, T>,
}

impl<U, T> EnsuredSyncQueue<U, T> {
    /// Converts a value as the queue does at its door, for use with those ways of appending that this type does not
    /// wrap.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value, if the ensurer does not take it.
    pub fn ensure(&self, value: U) -> Result<T, Refused<U>> {
        (self.ensurer)(value).map_err(Refused::new)
    }

    /// Converts a value and appends it at the back.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value, if the ensurer does not take it.
    pub fn append(&self, value: U) -> Result<(), Refused<U>> {
        self.ensure(value).map(|item| self.queue.append(item))
    }

    /// Converts a value and appends it in front of everything.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value, if the ensurer does not take it.
    pub fn append_priority(&self, value: U) -> Result<(), Refused<U>> {
        self.ensure(value).map(|item| self.queue.append_priority(item))
    }
}

impl<U, T> Clone for EnsuredSyncQueue<U, T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), ensurer: Arc::clone(&self.ensurer) }
    }
}

impl<U, T> Deref for EnsuredSyncQueue<U, T> {
    type Target = SyncQueue<T>;

    fn deref(&self) -> &SyncQueue<T> {
        &self.queue
    }
}

impl<U, T> fmt::Debug for EnsuredSyncQueue<U, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnsuredSyncQueue").field("queue", &self.queue).finish_non_exhaustive()
    }
}
