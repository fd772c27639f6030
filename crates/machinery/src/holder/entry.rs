//! What is kept of one task.

use std::any::Any;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use super::order::Order;
use super::shared::Shared;
use crate::Name;
use crate::ctx::Canceller;
use crate::ctx::wakers::WakerSet;
use crate::task::TaskError;

/// What every task has. A task that ends at its first poll touches nothing else, so this is half a cache line.
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) location: &'static Location<'static>,
    /// When it was first pending, as [`stamp`] writes it; zero before.
    pub(super) since: u32,
    handles: u16,
    pub(super) order: Order,
    pub(super) flags: u8,
}

/// Bits of `Entry::flags`.
pub(super) const SETTLED: u8 = 1;
/// Its error waits for whoever awaits it.
pub(super) const SILENT: u8 = 2;
/// Its error has not been read.
pub(super) const UNREAD: u8 = 4;
/// There is something in `more`.
pub(super) const MORE: u8 = 8;
/// Its failure is reported or collected where it came from.
pub(super) const TOLD: u8 = 16;

/// What a task has that was pending, has a context of its own, or is looked at.
#[derive(Default)]
pub(super) struct More {
    /// Of the Tokio task, once it has been pending.
    pub(super) waker: Option<Waker>,
    pub(super) guard: Option<Canceller>,
    pub(super) extra: Option<Box<Extra>>,
}

/// What only a task has that somebody looks at.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) settled: Settled,
    /// Of whoever awaits the handle.
    pub(super) awaiting: Option<Waker>,
    pub(super) wakers: WakerSet,
    pub(super) callbacks: std::collections::VecDeque<(u64, Callback)>,
    pub(super) registry: u64,
    pub(super) next_id: u64,
    pub(super) callback_running: Option<u64>,
}

/// Is given the place of the task that is done; the typed handle is made of it.
pub(crate) type Callback = Box<dyn FnOnce(&Arc<Shared>, u32) + Send>;

#[derive(Default)]
pub(super) enum Settled {
    #[default]
    Not,
    Value(Box<dyn Any + Send>),
    Error(TaskError),
    Taken,
    /// The value is being cloned by this thread.
    Lent(std::thread::ThreadId),
}

impl More {
    /// There is nobody to tell, and nothing to end.
    pub(super) fn is_plain(&self) -> bool {
        self.guard.is_none() && self.extra.is_none()
    }
}

impl Entry {
    /// A task with one handle.
    pub(super) fn new(name: Name, location: &'static Location<'static>, silent: bool) -> Self {
        let flags = if silent { SILENT } else { 0 };
        Self { name, location, since: 0, handles: 1, order: Order::Run, flags }
    }

    pub(super) fn has_handles(&self) -> bool {
        self.handles > 0
    }

    /// Counts one more handle: only callbacks keep more than one.
    pub(super) fn retain(&mut self) {
        self.handles = self.handles.checked_add(1).expect("fewer than 2^16 handles to one task");
    }

    /// Counts one handle less; says whether any is left.
    pub(super) fn release(&mut self) -> bool {
        self.handles -= 1;
        self.handles > 0
    }

    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is(SETTLED)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is(SILENT)
    }

    pub(super) fn mark_told(&mut self) {
        self.flags |= TOLD;
    }

    /// Its error, if it has one, is known to somebody.
    pub(super) fn mark_read(&mut self) {
        self.flags &= !UNREAD;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::holder) fn entry(name: usize) -> Entry {
        Entry::new(name.to_string().into(), Location::caller(), false)
    }
}
