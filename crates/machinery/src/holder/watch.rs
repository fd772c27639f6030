//! What the handles of a task ask of its entry.

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::entry::{Callback, Settled};
use super::shared::Shared;
use crate::Name;
use crate::ctx::callbacks::new_registry;
use crate::ctx::{CallbackId, Removal};
use crate::protocols::WaiterId;
use crate::task::TaskError;

impl Shared {
    pub(crate) fn name_of(&self, key: u32) -> Name {
        self.core.lock().entry(key).name.clone()
    }

    pub(crate) fn rename(&self, key: u32, name: Name) {
        let before = std::mem::replace(&mut self.core.lock().entry(key).name, name);
        drop(before);
    }

    pub(crate) fn location_of(&self, key: u32) -> &'static Location<'static> {
        self.core.lock().entry(key).location
    }

    pub(crate) fn is_settled(&self, key: u32) -> bool {
        self.core.lock().entry(key).is_settled()
    }

    pub(crate) fn is_silent(&self, key: u32) -> bool {
        self.core.lock().entry(key).is_silent()
    }

    pub(crate) fn error_of(&self, key: u32) -> Option<TaskError> {
        match &self.core.lock().extra(key)?.settled {
            Settled::Error(error) => Some(error.clone()),
            _ => None,
        }
    }

    pub(crate) fn mark_told(&self, key: u32) {
        self.core.lock().entry(key).mark_told();
    }

    /// The error of a task that is over is read.
    pub(crate) fn mark_read(&self, key: u32) {
        self.core.lock().entry(key).mark_read();
    }

    pub(crate) fn poll_result<T: Send + 'static>(&self, key: u32, cx: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        let mut new: Option<Waker> = None;
        loop {
            let mut core = self.core.lock();
            let entry = core.entry(key);
            if entry.is_settled() {
                entry.mark_read();
                let extra = core.make_extra(key);
                if matches!(&extra.settled, Settled::Lent(thread) if *thread != std::thread::current().id()) {
                    // A callback on another thread clones it at this moment.
                    drop(core);
                    std::thread::yield_now();
                    continue;
                }
                let taken = match &extra.settled {
                    Settled::Error(error) => Settled::Error(error.clone()),
                    _ => std::mem::replace(&mut extra.settled, Settled::Taken),
                };
                drop(core);
                drop(new);
                return match taken {
                    Settled::Error(error) => Poll::Ready(Err(error)),
                    Settled::Value(value) => match value.downcast() {
                        Ok(value) => Poll::Ready(Ok(*value)),
                        Err(_) => unreachable!("a handle has the type of its task"),
                    },
                    Settled::Not | Settled::Taken | Settled::Lent(_) => {
                        panic!("a task was polled after it gave its result")
                    }
                };
            }
            let awaiting = &mut core.make_extra(key).awaiting;
            if awaiting.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(new) = new.take() {
                let old = awaiting.replace(new);
                drop(core);
                drop(old);
                return Poll::Pending;
            }
            // The clone of a waker is user code.
            drop(core);
            new = Some(cx.waker().clone());
        }
    }

    /// A clone of the value, which stays. It is out of its place meanwhile, as a clone is user code.
    pub(crate) fn clone_value<T: Clone + Send + 'static>(&self, key: u32) -> Option<T> {
        let me = std::thread::current().id();
        let lent = loop {
            let mut core = self.core.lock();
            let extra = core.extra(key)?;
            match &extra.settled {
                Settled::Value(_) => break std::mem::replace(&mut extra.settled, Settled::Lent(me)),
                Settled::Lent(thread) if *thread != me => {
                    // Another thread clones it at this moment.
                    drop(core);
                    std::thread::yield_now();
                }
                _ => return None,
            }
        };
        let back = Back { shared: self, key, lent: Some(lent) };
        match &back.lent {
            Some(Settled::Value(value)) => value.downcast_ref::<T>().cloned(),
            _ => None,
        }
    }

    pub(crate) fn add_waiter(&self, key: u32, waker: Waker) -> Option<WaiterId> {
        let mut core = self.core.lock();
        if core.entry(key).is_settled() {
            drop(core);
            drop(waker);
            return None;
        }
        Some(core.make_extra(key).wakers.insert(waker).into())
    }

    pub(crate) fn remove_waiter(&self, key: u32, id: WaiterId) {
        let removed = {
            let mut core = self.core.lock();
            core.extra(key).and_then(|extra| extra.wakers.remove(id.into()))
        };
        drop(removed);
    }

    pub(crate) fn add_callback(self: &Arc<Self>, key: u32, callback: Callback) -> CallbackId {
        let mut core = self.core.lock();
        if core.entry(key).is_settled() {
            drop(core);
            self.call(key, callback);
            return CallbackId::RUN;
        }
        let extra = core.make_extra(key);
        if extra.registry == 0 {
            extra.registry = new_registry();
        }
        let order = extra.next_id;
        extra.next_id += 1;
        extra.callbacks.push_back((order, callback));
        CallbackId::new(extra.registry, order)
    }

    pub(crate) fn remove_callback(&self, key: u32, id: CallbackId) -> Removal {
        let (removed, running) = {
            let mut core = self.core.lock();
            let Some(extra) = core.extra(key) else {
                return Removal::AlreadyRun;
            };
            let Some(order) = id.order_in(extra.registry) else {
                return Removal::AlreadyRun;
            };
            let at = extra.callbacks.iter().position(|callback| callback.0 == order);
            (at.and_then(|at| extra.callbacks.remove(at)), extra.callback_running == Some(order))
        };
        match removed {
            Some(callback) => {
                drop(callback);
                Removal::Removed
            }
            None if running => Removal::Running,
            None => Removal::AlreadyRun,
        }
    }

    pub(crate) fn has_callback(&self, key: u32, id: CallbackId) -> bool {
        let mut core = self.core.lock();
        let Some(extra) = core.extra(key) else { return false };
        id.order_in(extra.registry).is_some_and(|order| extra.callbacks.iter().any(|callback| callback.0 == order))
    }
}

/// Puts a lent value back, also when its clone panics.
struct Back<'a> {
    shared: &'a Shared,
    key: u32,
    lent: Option<Settled>,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.shared.core.lock().make_extra(self.key).settled = lent;
        }
    }
}
