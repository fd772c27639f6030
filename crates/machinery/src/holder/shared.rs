//! What a holder shares with its tasks and their handles: one slab of tasks under one lock.
//!
//! # Invariants
//!
//! 1. `running` counts the entries that are not settled. It goes down after the task's own context is done, its
//!    watchers are told, its callbacks have run and what nobody reads is dropped: whoever sees zero sees every task settled.
//! 2. An entry leaves the slab when it is settled and no handle to it is left, so that nothing is kept of what has
//!    finished.
//! 3. Whoever adds looks at `closed` under the lock that counts the task; who closes does so under the lock in which
//!    `running` is zero. So a task is waited for or refused.
//! 4. Orders only rise. An order is written before the wakers are collected under the lock, and a task looks at the
//!    orders under the lock that takes in its waker. So every order is seen by each task.
//! 5. `busy` is held until the holder is stopped or closed and nothing runs. While it is let go of, `ending` says so, and
//!    whoever waits for the holder waits for that too: where `finish` has returned, the context counts no work of the holder.
//! 6. No user code runs under the lock. The wakers of entries are those of Tokio tasks that this library spawned.
//!
//! Lock order: this lock is innermost, nothing else is locked under it.

use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::age::{stamp, unstamp};
use super::core::{Abort, Core};
use super::entry::{Callback, Entry, MORE, SETTLED, SILENT, Settled, TOLD, UNREAD};
use super::order::{Order, TO_ALL, TO_SOME};
use super::refused::Reason;
use crate::contain::{contain, wake_all};
use crate::ctx::Canceller;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::task::TaskError;
use crate::task::error::{Cut, Why, is_echo};
use crate::task::work::End;
use crate::{Completion, Ctx, CtxGuard, Name, Report, time};

/// What becomes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Report,
    Collect,
    StopAll,
}

pub(crate) struct Shared {
    pub(crate) ctx: Ctx,
    path: OnceLock<Arc<str>>,
    completion: OnceLock<Completion>,
    canceller: Option<Canceller>,
    runtime: Option<Handle>,
    on_failure: OnFailure,
    /// Read at every poll of every task, written hardly ever.
    orders: AtomicU8,
    /// What ages count from.
    made: Instant,
    pub(super) core: Mutex<Core>,
}

impl Shared {
    /// What tasks of `ctx` share. `canceller` is for the policy that stops all.
    pub(crate) fn new(ctx: &Ctx, canceller: Option<Canceller>, on_failure: OnFailure) -> Arc<Self> {
        let shared = Arc::new(Self {
            ctx: ctx.clone(),
            path: OnceLock::new(),
            completion: OnceLock::new(),
            canceller,
            runtime: ctx.runtime().ok(),
            on_failure,
            orders: AtomicU8::new(0),
            made: time::now(),
            core: Mutex::new(Core::new()),
        });
        let witness: Weak<Self> = Arc::downgrade(&shared);
        let busy = ctx.busy_as(witness);
        shared.core.lock().busy = Some(busy);
        shared
    }

    /// Stops everything when the context completes.
    pub(crate) fn follow(self: &Arc<Self>) {
        let shared = Arc::downgrade(self);
        let id = self.ctx.add_done_callback(move |_| {
            if let Some(shared) = shared.upgrade() {
                shared.stop(Order::Stop);
            }
        });
        self.core.lock().followed = Some(id);
    }

    /// The full name of the context, put together once.
    pub(crate) fn path(&self) -> Arc<str> {
        Arc::clone(self.path.get_or_init(|| self.ctx.full_name().into()))
    }

    pub(crate) fn runtime(&self) -> Result<Handle, crate::NoRuntime> {
        match &self.runtime {
            Some(runtime) => Ok(runtime.clone()),
            None => self.ctx.runtime(),
        }
    }

    pub(crate) fn runtime_ref(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    /// Counts a task with one handle, or says why not. `last` closes behind it.
    pub(crate) fn reserve(
        &self,
        name: Name,
        location: &'static Location<'static>,
        silent: bool,
        guard: Option<CtxGuard>,
        last: bool,
    ) -> Result<u32, (Name, Reason)> {
        let done = self.ctx.is_done();
        let mut core = self.core.lock();
        if core.closed || done || core.stopped_at.is_some() {
            let closed = core.closed;
            drop(core);
            let completion = self.completion().filter(|_| !closed);
            return Err((name, completion.map_or(Reason::Closed, Reason::Done)));
        }
        core.running += 1;
        core.closed = last;
        let key = core.tasks.insert(Entry::new(name, location, silent));
        if let Some(guard) = guard {
            core.make_more(key).guard = Some(guard.into_canceller());
        }
        Ok(key)
    }

    /// What the task has to do. One load where there are no orders.
    pub(crate) fn order_for(&self, key: u32) -> Order {
        // Acquire: what was written before the order, such as why, is seen by the task that follows it.
        let orders = self.orders.load(Ordering::Acquire);
        if orders & TO_SOME == 0 { Order::of(orders) } else { self.order_in(orders, &mut self.core.lock(), key) }
    }

    fn order_in(&self, orders: u8, core: &mut Core, key: u32) -> Order {
        Order::of(orders).max(core.entry(key).order)
    }

    /// Takes in the waker of the Tokio task, and answers with the order that stands.
    pub(crate) fn register(&self, key: u32, waker: Waker) -> Order {
        let now = time::now();
        let mut core = self.core.lock();
        core.make_more(key).waker = Some(waker);
        core.entry(key).since = stamp(now.saturating_duration_since(self.made));
        let orders = self.orders.load(Ordering::Acquire);
        self.order_in(orders, &mut core, key)
    }

    /// Gives the order to every task.
    pub(crate) fn stop(&self, order: Order) {
        let now = time::now();
        // Release: pairs with the load in `order_for`.
        self.orders.fetch_or(order.bits(), Ordering::AcqRel);
        let (wakers, after) = {
            let mut core = self.core.lock();
            core.stopped_at.get_or_insert(now);
            let wakers: Vec<Waker> = core.tasks.iter_more().filter_map(|more| more.waker.clone()).collect();
            (wakers, core.after())
        };
        wake_all(wakers);
        after.run(&self.ctx, &self.core);
    }

    pub(crate) fn abort(&self, why: Abort) {
        self.core.lock().abort.get_or_insert(why);
        self.stop(Order::Abort);
    }

    /// Gives the order to one task; whether it ran and had none so far.
    pub(crate) fn stop_one(&self, key: u32, order: Order, location: &'static Location<'static>) -> bool {
        let (waker, canceller, first) = {
            let mut core = self.core.lock();
            let entry = core.entry(key);
            if entry.is_settled() {
                return false;
            }
            let first = entry.order == Order::Run;
            entry.order = entry.order.max(order);
            let (waker, canceller) = match core.more(key) {
                Some(more) => (more.waker.clone(), more.guard.clone()),
                None => (None, None),
            };
            if first {
                core.singled += 1;
                self.orders.fetch_or(TO_SOME, Ordering::AcqRel);
            }
            (waker, canceller, first)
        };
        if let Some(canceller) = canceller {
            canceller.cancel_at("its task was cancelled", location);
        }
        wake_all(waker);
        first
    }

    /// The task is over.
    pub(crate) fn settle<V: Send + 'static>(self: &Arc<Self>, key: u32, end: End<V>) {
        let mut core = self.core.lock();
        let entry = core.entry(key);
        let plain = !entry.has_handles() && entry.order == Order::Run;
        match end {
            End::Value(value) if plain && core.more(key).is_none_or(|more| more.is_plain()) => {
                if std::mem::needs_drop::<V>() {
                    drop(core);
                    self.drop_unwanted(value);
                    core = self.core.lock();
                }
                core.running -= 1;
                if let Some(more) = core.more(key) {
                    more.waker = None;
                }
                // A name, and a waker of a Tokio task that runs: no user code, and nothing that blocks.
                core.tasks.free(key);
                let after = core.after();
                drop(core);
                after.run(&self.ctx, &self.core);
            }
            end => {
                drop(core);
                self.settle_watched(key, end);
            }
        }
    }

    /// Drops what nobody has a handle to.
    #[inline(never)]
    fn drop_unwanted<V>(&self, value: V) {
        if let Err(panic) = contain(|| drop(value)) {
            Report::new(&self.ctx, "the drop of what a task returned panicked").error(&panic).send();
        }
    }

    #[cold]
    fn settle_watched<V: Send + 'static>(self: &Arc<Self>, key: u32, end: End<V>) {
        let (name, location, silent, told, guard, order, abort) = {
            let mut core = self.core.lock();
            let abort = core.abort;
            // The waker keeps what Tokio has allocated for the task.
            let (guard, _waker) = match core.more(key) {
                Some(more) => (more.guard.take(), more.waker.take()),
                None => (None, None),
            };
            let entry = core.entry(key);
            (entry.name.clone(), entry.location, entry.is(SILENT), entry.is(TOLD), guard, entry.order, abort)
        };
        let own_done = guard.as_ref().is_some_and(|guard| guard.ctx().is_done());
        // Everything below the task is done before the task is.
        if let Some(guard) = guard {
            guard.end();
        }

        let stopped = own_done || order != Order::Run || self.orders.load(Ordering::Acquire) & TO_ALL != 0;
        let why = match end {
            End::Value(value) => Ok(value),
            End::Failed(failure) if stopped && is_echo(&failure.error, &|| self.completion()) => {
                Err(Why::Cancelled(self.cut(order, None)))
            }
            End::Failed(failure) => Err(Why::Failed(failure)),
            End::Panicked(error) => Err(Why::Panicked(error)),
            End::Cut(cut) => Err(Why::Cancelled(cut)),
            End::Stopped => Err(Why::Cancelled(self.cut(order, abort))),
        };
        let settled: Result<V, TaskError> = why.map_err(|why| TaskError::new(why, name, self.path(), location));
        let failure = settled.as_ref().err().filter(|error| !error.is_cancelled()).cloned();
        let mut unread = false;
        let mut stop_all = None;
        match (&failure, self.on_failure) {
            (Some(_), _) if silent => unread = !told,
            (Some(_), OnFailure::Report) if told => {}
            (Some(error), OnFailure::Report) => self.report(error),
            (Some(error), OnFailure::Collect) => self.collect(error),
            (Some(error), OnFailure::StopAll) => {
                self.collect(error);
                stop_all = Some(error.clone());
            }
            (None, _) => {}
        }
        let cut = settled.as_ref().is_err_and(TaskError::is_cancelled) && order == Order::Run && stopped;

        // Nobody looks at the value of a task without handles and callbacks.
        let mut unwanted = None;
        let boxed = match settled {
            Ok(value) => {
                let watched = {
                    let mut core = self.core.lock();
                    core.entry(key).has_handles() || core.extra(key).is_some_and(|extra| !extra.callbacks.is_empty())
                };
                if watched {
                    Settled::Value(Box::new(value))
                } else {
                    unwanted = Some(value);
                    Settled::Taken
                }
            }
            Err(error) => Settled::Error(error),
        };
        let (wakers, awaiting, callbacks, old) = {
            let mut core = self.core.lock();
            core.cut += usize::from(cut);
            core.telling += 1;
            let entry = core.entry(key);
            entry.flags |= SETTLED | if unread { UNREAD } else { 0 };
            // The callbacks' own view.
            entry.retain();
            if entry.order != Order::Run {
                core.singled -= 1;
                if core.singled == 0 {
                    self.orders.fetch_and(!TO_SOME, Ordering::AcqRel);
                }
            }
            let extra = core.make_extra(key);
            let old = std::mem::replace(&mut extra.settled, boxed);
            (extra.wakers.take(), extra.awaiting.take(), !extra.callbacks.is_empty(), old)
        };
        drop(old);
        if let Some(value) = unwanted {
            self.drop_unwanted(value);
        }
        wake_all(wakers.chain(awaiting));
        if callbacks {
            self.run_callbacks(key);
        }
        if let (Some(canceller), Some(error)) = (&self.canceller, stop_all) {
            canceller.set_exception_at(error, location);
        }
        if let Err(panic) = contain(|| self.release(key)) {
            Report::new(&self.ctx, "the drop of what a task returned panicked").error(&panic).send();
        }
        let after = {
            let mut core = self.core.lock();
            core.running -= 1;
            core.telling -= 1;
            core.after()
        };
        after.run(&self.ctx, &self.core);
    }

    fn cut(&self, order: Order, abort: Option<Abort>) -> Cut {
        match abort {
            _ if order != Order::Run => Cut::Asked,
            Some(Abort::Grace) => Cut::Grace,
            Some(Abort::HolderDropped) => Cut::HolderDropped,
            None => Cut::Context(self.completion()),
        }
    }

    /// Why the context is done, once it is; without a handle to it, as this goes into errors.
    fn completion(&self) -> Option<Completion> {
        match self.completion.get() {
            Some(why) => Some(why.clone()),
            None => self.ctx.completion().map(|why| self.completion.get_or_init(|| why.let_go()).clone()),
        }
    }

    fn run_callbacks(self: &Arc<Self>, key: u32) {
        loop {
            let callback = {
                let mut core = self.core.lock();
                let extra = core.make_extra(key);
                let next = extra.callbacks.pop_front();
                extra.callback_running = next.as_ref().map(|next| next.0);
                next
            };
            let Some((_, callback)) = callback else { return };
            self.call(key, callback);
        }
    }

    pub(super) fn call(self: &Arc<Self>, key: u32, callback: Callback) {
        if let Err(panic) = contain(|| callback(self, key)) {
            let name = self.core.lock().entry(key).name.clone();
            Report::new(&self.ctx, "a callback panicked").task(&name).error(&panic).send();
        }
    }

    /// One more handle to a task that has one.
    pub(crate) fn retain(&self, key: u32) {
        self.core.lock().entry(key).retain();
    }

    /// One handle less. With the last, what is left of a settled task goes, and an error that nobody read is told.
    pub(crate) fn release(&self, key: u32) {
        let (left, awaiting) = {
            let mut core = self.core.lock();
            let entry = core.entry(key);
            if entry.release() {
                return;
            }
            if entry.is_settled() {
                (Some(core.remove(key)), None)
            } else if entry.is(MORE) {
                (None, core.extra(key).and_then(|extra| extra.awaiting.take()))
            } else {
                return;
            }
        };
        drop(awaiting);
        if let Some((Some(entry), Some(more))) = left
            && entry.is(UNREAD)
            && let Some(extra) = more.extra
            && let Settled::Error(error) = &extra.settled
        {
            self.report_as("a task failed and nobody read its error", error);
        }
    }

    pub(super) fn report(&self, error: &TaskError) {
        self.report_as(if error.is_panic() { "a task panicked" } else { "a task failed" }, error);
    }

    pub(super) fn report_as(&self, what: &str, error: &TaskError) {
        let report = Report::new(&self.ctx, what).task(error.name()).at(error.location());
        match error.error() {
            Some(error) => report.error(error).send(),
            None => report.send(),
        }
    }

    /// How long the task has been running, once it has been pending.
    pub(super) fn age(&self, entry: &Entry, now: Instant) -> Option<Duration> {
        let since = unstamp(entry.since)?;
        Some(now.saturating_duration_since(self.made).saturating_sub(since))
    }

    /// Nothing may be added any more.
    pub(crate) fn close(&self) {
        let after = {
            let mut core = self.core.lock();
            core.closed = true;
            core.after()
        };
        after.run(&self.ctx, &self.core);
    }
}
