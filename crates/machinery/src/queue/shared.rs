//! What all handles of one queue share: its store, its context, its breaker and what runs after each item.
//!
//! Invariant: `after` only grows, and `has_after` is set after its first entry was made. What runs after an item is a
//! copy of the list, as it is user code and runs without the lock, which is innermost.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop::{RestoreOnPending, poll_proceed};

use crate::contain::contain;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{Ctx, CtxGuard, Event, Name, Report, SharedError};

use super::backlog::{Entry, Instruction};
use super::engine::{Engine, Offer, Refusal, Registration, Wait};
use super::limited::LimitedQueue;

pub(crate) type AfterYielded<T> = Arc<dyn Fn(&LimitedQueue<'_, T>) + Send + Sync>;

pub(crate) struct Options {
    pub(crate) name: Name,
    pub(crate) capacity: Option<usize>,
    pub(crate) empty_on_finished: bool,
}

pub(crate) struct Shared<T> {
    pub(crate) engine: Engine<T>,
    pub(crate) breaker: Event,
    empty_on_finished: bool,
    /// Whether `after` holds anything.
    has_after: AtomicBool,
    after: Mutex<Arc<[AfterYielded<T>]>>,
    guard: CtxGuard,
}

impl<T: Send + 'static> Shared<T> {
    #[track_caller]
    pub(crate) fn new(parent: &Ctx, options: Options) -> Arc<Self> {
        let guard = parent.child(options.name);
        let shared = Arc::new_cyclic(|weak: &std::sync::Weak<Self>| {
            let weak = weak.clone();
            Self {
                engine: Engine::new(options.capacity),
                breaker: Event::hooked("breaker", move || {
                    if let Some(shared) = weak.upgrade() {
                        shared.engine.wake_consumers();
                    }
                }),
                empty_on_finished: options.empty_on_finished,
                has_after: AtomicBool::new(false),
                after: Mutex::new(Arc::from([])),
                guard,
            }
        });
        let weak = Arc::downgrade(&shared);
        shared.guard.add_done_callback(move |_| {
            if let Some(shared) = weak.upgrade() {
                shared.engine.close();
            }
        });
        shared
    }
}

impl<T> Shared<T> {
    pub(crate) fn ctx(&self) -> &Ctx {
        &self.guard
    }

    /// Sees to it that what is appended after the completion is late, also before the queue's own callback has run.
    #[inline]
    fn notice_completion(&self) {
        if self.ctx().is_done() {
            self.engine.close();
        }
    }

    #[inline]
    pub(crate) fn append(&self, item: T) {
        self.notice_completion();
        self.engine.push(Entry::Item(item));
    }

    pub(crate) fn append_priority(&self, item: T) {
        self.notice_completion();
        self.engine.push_front(Entry::Item(item));
    }

    pub(crate) fn append_instruction(&self, instruction: Instruction) {
        self.notice_completion();
        self.engine.push(Entry::Instruction(instruction));
    }

    pub(crate) fn append_instruction_priority(&self, instruction: Instruction) {
        self.notice_completion();
        self.engine.push_front(Entry::Instruction(instruction));
    }

    pub(crate) fn try_append(&self, item: T) -> Result<(), (T, Refusal)> {
        self.notice_completion();
        self.engine.try_push(item)
    }

    pub(crate) fn poll_append(&self, offer: &mut Offer<T>, cx: &mut Context<'_>) -> Poll<Result<(), T>> {
        self.notice_completion();
        self.engine.poll_offer(offer, cx.waker())
    }

    pub(crate) fn process_after_yielded(&self, f: AfterYielded<T>) {
        let before = {
            let mut after = self.after.lock();
            let more: Arc<[AfterYielded<T>]> = after.iter().cloned().chain([f]).collect();
            std::mem::replace(&mut *after, more)
        };
        self.has_after.store(true, Ordering::Release);
        drop(before);
    }

    /// The next item of what is left, without waiting.
    pub(crate) fn next_remaining(&self) -> Option<T> {
        loop {
            match self.engine.pop_any() {
                Some(Entry::Item(item)) => return Some(item),
                Some(Entry::Instruction(instruction)) => self.run(instruction),
                None => {
                    let item = self.engine.pop_line();
                    // A producer that had been called may have come between the two looks.
                    if item.is_some() || !self.engine.has_any() {
                        return item;
                    }
                }
            }
        }
    }

    fn run(&self, instruction: Instruction) {
        if let Err(panic) = contain(instruction) {
            self.report("an instruction of a queue panicked", &panic);
        }
    }

    fn run_after_yielded(&self) {
        let after = Arc::clone(&*self.after.lock());
        let limited = LimitedQueue::new(self);
        for f in after.iter() {
            if let Err(panic) = contain(|| f(&limited)) {
                self.report("a function between the items of a queue panicked", &panic);
            }
        }
    }

    #[cold]
    fn report(&self, what: &str, panic: &SharedError) {
        Report::new(self.ctx(), what).error(panic).send();
    }
}

impl<T> Drop for Shared<T> {
    /// Drops what is left one by one: where two of a collection panic in their drop, the process aborts.
    fn drop(&mut self) {
        if !self.engine.drops_of_users() {
            return;
        }
        while let Some(left) = self.engine.pop_any() {
            if let Err(panic) = contain(move || drop(left)) {
                self.report("the drop of what was left in a queue panicked", &panic);
            }
        }
    }
}

/// One item in so many costs a unit of Tokio's cooperative budget, which has 128. Giving way costs as much as fifty
/// items where it wakes another worker, so that one for each item would be half of what an item costs.
const DEAR: u8 = 8;

/// One consumer's state: that of a stream, or of a blocking iterator.
#[derive(Debug)]
pub(crate) struct Consumer {
    registration: Registration,
    /// How often the breaker had been set when this consumer started.
    breaks: u64,
    yielded: bool,
    /// Whether the last poll was pending for want of an entry.
    waited: bool,
    /// How many entries were taken; wraps.
    taken: u8,
    /// How many entries are still to come out, once the end has been noticed.
    left: Option<usize>,
    over: bool,
}

impl Consumer {
    /// Starts a consumer, which clears the breaker.
    pub(crate) fn start<T>(shared: &Shared<T>) -> Self {
        // Asked for before the breaker is cleared: one that is set in between stops this consumer.
        let breaks = shared.breaker.times_set();
        shared.breaker.clear();
        Self {
            registration: Registration::default(),
            breaks,
            waited: false,
            taken: 0,
            yielded: false,
            left: None,
            over: false,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The next item if there is one, also with a producer that waits for room.
    pub(crate) fn try_next<T>(&mut self, shared: &Shared<T>) -> Option<T> {
        loop {
            if let Poll::Ready(item) = self.poll_next::<T, false>(shared, None) {
                return item;
            }
            let item = shared.engine.pop_line();
            // A producer that had been called may have come between the two looks.
            if item.is_some() || !shared.engine.has_any() {
                self.yielded = item.is_some();
                return item;
            }
        }
    }

    /// The next item. With no `cx` it does not wait: then pending means that there is none yet. `COOP` is for
    /// consumers that are tasks.
    #[inline]
    pub(crate) fn poll_next<T, const COOP: bool>(
        &mut self,
        shared: &Shared<T>,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Option<T>> {
        match self.poll_plainly::<T, COOP>(shared, cx.as_deref_mut()) {
            Some(polled) => polled,
            None => self.poll_with_care::<T, COOP>(shared, cx),
        }
    }

    /// What nearly every poll finds: an item that costs no budget, or nothing while the waker is registered already.
    #[inline(always)]
    fn poll_plainly<T, const COOP: bool>(
        &mut self,
        shared: &Shared<T>,
        cx: Option<&mut Context<'_>>,
    ) -> Option<Poll<Option<T>>> {
        if self.over || self.left.is_some() || self.is_stopped(shared) {
            return None;
        }
        if self.yielded && shared.has_after.load(Ordering::Acquire) {
            return None;
        }
        self.yielded = false;
        if !shared.engine.has_any() {
            // Who sets the breaker from now on wakes whoever is registered.
            self.waited = shared.engine.waits(&self.registration, cx?.waker());
            return self.waited.then_some(Poll::Pending);
        }
        let taken = self.taken.wrapping_add(1);
        if COOP && taken.is_multiple_of(DEAR) {
            return None;
        }
        let item = match cx {
            Some(cx) if COOP && self.waited => shared.engine.pop_item_and_wait(&mut self.registration, cx.waker()),
            _ => shared.engine.pop_item(),
        }?;
        self.taken = taken;
        self.waited = false;
        self.yielded = true;
        Some(Poll::Ready(Some(item)))
    }

    #[inline(never)]
    fn poll_with_care<T, const COOP: bool>(
        &mut self,
        shared: &Shared<T>,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Option<T>> {
        if std::mem::take(&mut self.yielded) && shared.has_after.load(Ordering::Acquire) {
            shared.run_after_yielded();
        }
        loop {
            if self.has_ended(shared) {
                return self.end(shared);
            }
            if shared.engine.has_any() {
                let share = match &mut cx {
                    Some(cx) if COOP && self.has_to_pay() => Some(ready!(self.pay(cx))),
                    _ => None,
                };
                let item = match &cx {
                    Some(cx) if COOP && std::mem::take(&mut self.waited) && self.left.is_none() => {
                        shared.engine.pop_item_and_wait(&mut self.registration, cx.waker())
                    }
                    _ => shared.engine.pop_item(),
                };
                let instruction = if item.is_none() { shared.engine.pop_instruction() } else { None };
                if item.is_some() || instruction.is_some() {
                    if let Some(share) = share {
                        share.made_progress();
                    }
                    if let Some(left) = &mut self.left {
                        *left -= 1;
                    }
                }
                if item.is_some() {
                    self.yielded = true;
                    return Poll::Ready(item);
                }
                if let Some(instruction) = instruction {
                    shared.run(instruction);
                    // It may have done a lot, so the next entry pays.
                    self.taken |= DEAR - 1;
                    continue;
                }
            }
            if self.left.is_some() {
                // Others took what was left, or it came late.
                return self.end(shared);
            }
            let Some(cx) = &mut cx else {
                return Poll::Pending;
            };
            // Where a capacity is, this may find an item with a producer.
            let share = if COOP && shared.engine.capacity().is_some() && self.has_to_pay() {
                Some(ready!(self.pay(cx)))
            } else {
                None
            };
            match shared.engine.wait(&mut self.registration, cx.waker()) {
                Wait::Item(item) => {
                    if let Some(share) = share {
                        share.made_progress();
                    }
                    self.yielded = true;
                    return Poll::Ready(Some(item));
                }
                Wait::Registered => {
                    // The breaker wakes whoever is registered after it has been set; who registers after that sees it.
                    if shared.breaker.times_set() == self.breaks {
                        self.waited = true;
                        return Poll::Pending;
                    }
                }
                Wait::Retry | Wait::Closed => {}
            }
        }
    }

    /// Whether the next entry costs a unit of the task's budget.
    #[inline]
    fn has_to_pay(&mut self) -> bool {
        self.taken = self.taken.wrapping_add(1);
        self.taken.is_multiple_of(DEAR)
    }

    fn pay(&mut self, cx: &mut Context<'_>) -> Poll<RestoreOnPending> {
        let paid = poll_proceed(cx);
        if paid.is_pending() {
            // It is still due at the next poll.
            self.taken = self.taken.wrapping_sub(1);
        }
        paid
    }

    /// Whether this consumer is to stop now.
    #[inline]
    fn has_ended<T>(&mut self, shared: &Shared<T>) -> bool {
        if self.over {
            return true;
        }
        match self.left {
            Some(left) => left == 0,
            None => self.is_stopped(shared) && self.notice_end(shared),
        }
    }

    #[inline]
    fn is_stopped<T>(&self, shared: &Shared<T>) -> bool {
        shared.ctx().is_done() || shared.breaker.times_set() != self.breaks
    }

    #[cold]
    fn notice_end<T>(&mut self, shared: &Shared<T>) -> bool {
        if !shared.empty_on_finished {
            return true;
        }
        shared.notice_completion();
        let left = shared.engine.len_in_time();
        self.left = Some(left);
        left == 0
    }

    #[cold]
    fn end<T, R>(&mut self, shared: &Shared<T>) -> Poll<Option<R>> {
        self.over = true;
        self.stop(shared);
        Poll::Ready(None)
    }

    /// Leaves nothing registered.
    pub(crate) fn stop<T>(&mut self, shared: &Shared<T>) {
        shared.engine.stop_waiting(&mut self.registration);
    }
}
