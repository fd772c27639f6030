//! What the handles of a promise share.
//!
//! Invariants:
//!
//! 1. `settled` is written once, by whoever wins, who then calls [`tell`]; nobody else does.
//! 2. Who registers looks at `settled` under the lock of `waiting`; the winner locks it after having written
//!    `settled`. So each waker and callback is either seen by the winner or sees that it has come too late.
//! 3. A callback is taken out of the map before it runs, one at a time and by the winner alone, so it runs once, and
//!    one that has not begun can still be removed.
//! 4. No user code runs under the lock: wakers are cloned, woken and dropped outside it, and so are callbacks.
//!
//! Lock order: the lock of `waiting` is innermost.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::task::Waker;

use super::{Promise, flat};
use crate::contain::{contain, wake_all};
use crate::ctx::callbacks::new_registry;
use crate::ctx::wakers::{WaiterKey, WakerSet};
use crate::ctx::{CallbackId, Removal};
use crate::protocols::WaiterId;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::tramp::report_somewhere;
use crate::{Ctx, Name, SharedError};

/// Is given its promise, which only the code that knows its type can name: so a promise that is dropped can leave its
/// callbacks to whoever drops them, whatever its type.
pub(super) type Callback = Box<dyn FnOnce(&dyn Any) + Send>;

pub(super) struct Inner<T> {
    pub(super) settled: OnceLock<Settlement<T>>,
    pub(super) ctx: Option<Ctx>,
    read: AtomicBool,
    waiting: Mutex<Waiting>,
}

pub(super) enum Settlement<T> {
    Result(T),
    Failed { error: SharedError, kind: Option<&'static str> },
    Cancelled,
}

struct Waiting {
    name: Name,
    wakers: WakerSet,
    callbacks: BTreeMap<u64, Callback>,
    /// Tells this promise's ids from those of others; zero until there are any.
    registry: u64,
    next_id: u64,
    running: Option<u64>,
}

impl<T> Inner<T> {
    pub(super) fn new(name: Name, ctx: Option<Ctx>) -> Self {
        Self {
            settled: OnceLock::new(),
            ctx,
            read: AtomicBool::new(false),
            waiting: Mutex::new(Waiting {
                name,
                wakers: WakerSet::default(),
                callbacks: BTreeMap::new(),
                registry: 0,
                next_id: 0,
                running: None,
            }),
        }
    }

    pub(super) fn name(&self) -> Name {
        self.waiting.lock().name.clone()
    }

    pub(super) fn set_name(&self, name: Name) {
        let before = std::mem::replace(&mut self.waiting.lock().name, name);
        drop(before);
    }

    /// The error is not reported on drop any more.
    pub(super) fn mark_read(&self) {
        // Relaxed: only the drop of the last handle looks, which comes after everything else by the count of handles.
        self.read.store(true, Ordering::Relaxed);
    }

    /// Takes in a waker unless the promise is settled.
    pub(super) fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
        let mut waiting = self.waiting.lock();
        if self.settled.get().is_some() {
            drop(waiting);
            return None;
        }
        Some(waiting.wakers.insert(waker).into())
    }

    pub(super) fn remove_waiter(&self, id: WaiterId) {
        let removed = self.waiting.lock().wakers.remove(WaiterKey::from(id));
        drop(removed);
    }

    /// Whether the waker at `id` is there and wakes the same task as `waker`.
    pub(super) fn has_waiter(&self, id: WaiterId, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.wakers.get_mut(WaiterKey::from(id)).is_some_and(|stored| stored.will_wake(waker))
    }

    /// Takes in a callback; gives it back where the promise is settled, to be run at once.
    pub(super) fn add_callback(&self, callback: Callback) -> Result<CallbackId, Callback> {
        let mut waiting = self.waiting.lock();
        if self.settled.get().is_some() {
            drop(waiting);
            return Err(callback);
        }
        if waiting.registry == 0 {
            waiting.registry = new_registry();
        }
        let order = waiting.next_id;
        waiting.next_id += 1;
        waiting.callbacks.insert(order, callback);
        Ok(CallbackId::new(waiting.registry, order))
    }

    pub(super) fn has_callback(&self, id: CallbackId) -> bool {
        let waiting = self.waiting.lock();
        id.order_in(waiting.registry).is_some_and(|order| waiting.callbacks.contains_key(&order))
    }

    pub(super) fn remove_callback(&self, id: CallbackId) -> Removal {
        let (removed, running) = {
            let mut waiting = self.waiting.lock();
            match id.order_in(waiting.registry) {
                Some(order) => (waiting.callbacks.remove(&order), waiting.running == Some(order)),
                None => (None, false),
            }
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
}

impl<T: 'static> Promise<T> {
    pub(super) fn run(&self, callback: Callback) {
        if let Err(error) = contain(|| callback(self)) {
            report_somewhere(self.ctx(), "a callback panicked", &self.name(), &error);
        }
    }

    fn run_callbacks(&self) {
        let waiting = &self.inner.waiting;
        loop {
            let callback = {
                let mut waiting = waiting.lock();
                match waiting.callbacks.pop_first() {
                    Some((id, callback)) => {
                        waiting.running = Some(id);
                        callback
                    }
                    None => {
                        waiting.running = None;
                        return;
                    }
                }
            };
            self.run(callback);
        }
    }
}

/// Wakes those who wait for a promise that has just been settled, and runs its callbacks.
pub(super) fn tell<T: Send + Sync + 'static>(promise: &Promise<T>) {
    let (wakers, has_callbacks) = {
        let mut waiting = promise.inner.waiting.lock();
        (waiting.wakers.take(), !waiting.callbacks.is_empty())
    };
    wake_all(wakers);
    if has_callbacks {
        let promise = promise.clone();
        flat::callbacks(move || promise.run_callbacks());
    }
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        let read = self.read.load(Ordering::Relaxed);
        if let Some(Settlement::Failed { error, .. }) = self.settled.get()
            && !read
        {
            report_somewhere(self.ctx.as_ref(), "an error that nobody read", &self.name(), error);
        }
        let callbacks = std::mem::take(&mut self.waiting.get_mut().callbacks);
        if !callbacks.is_empty() {
            flat::drops(callbacks);
        }
    }
}
