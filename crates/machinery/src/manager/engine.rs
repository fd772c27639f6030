//! The consumer's side: which source takes its turn next, and what becomes of what it yields.
//!
//! Everything in here belongs to the consumer alone. Turns stand in one line, `ready`; a source that is ready again goes to its
//! end, and what others have put in meanwhile is appended once a round, a round being as many turns as stood in line when it began. So
//! between two turns of one source every other source that is ready has at most two.

mod leaving;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::QueueManagerResult as Fed;
use leaving::drop_body;

use super::bell::RESUME;
use super::body::{BoxBody, Ended, Over, Step, guarded};
use super::feed::{Given, Place, Sub};
use super::lane::Batch;
use super::shared::{Entry, Shared};
use super::sources::{Link, QueueInput, Sources};
use super::{own, result, running};
use crate::SharedError;
use crate::slab::Slab;

/// The turns of the entries that are first in `entries`, as many as the first of `runs` says.
const ENTRY: u32 = u32::MAX;
/// Room for so many values is kept.
const KEPT: usize = 4096;
/// The turn of the batch that is first in `batches`.
const BATCH: u32 = u32::MAX - 1;

pub(crate) struct Engine<T, C> {
    slots: Slab<Slot<T, C>>,
    ready: VecDeque<u32>,
    /// How many entries stand in line one behind the other, for each `ENTRY` in `ready`.
    runs: VecDeque<usize>,
    round: usize,
    entries: VecDeque<Entry<T, C>>,
    /// The values of the entries that are runs of them.
    values: VecDeque<(T, C)>,
    batches: VecDeque<Fetched<T, C>>,
    waiting: VecDeque<Waiting<T, C>>,
    /// How many open sources are set aside until a source that they yielded can be opened.
    set_aside: usize,
    /// What was taken out of its place already and is next to be yielded.
    pub(crate) queued: VecDeque<Fed<T, C>>,
    /// Stopping: sources whose items are taken elsewhere, until that is over.
    leaving: Vec<(BoxBody<T>, Arc<Link>, C)>,
    turns: Vec<u32>,
    fetched: VecDeque<Batch<T, C>>,
}

// One cache line: with many sources each one is a cache miss.
#[repr(align(64))]
struct Slot<T, C> {
    body: BoxBody<T>,
    waker: Waker,
    link: Arc<Link>,
    context: C,
    /// Depth first: what goes on once this source has ended, nearest last.
    #[expect(clippy::box_collection, reason = "most slots have none, and a slot is one cache line")]
    below: Option<Box<Vec<Below<T, C>>>>,
    scheduled: bool,
    aside: Aside,
    end_at_first_error: bool,
}

/// Whether a source is set aside until one that it yielded has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aside {
    No,
    /// The other one needs no place that this one could be holding.
    Free,
    /// The other one needs a place: not all that have one may be set aside so.
    Counted,
}

enum Below<T, C> {
    /// A source that was set aside for the one that it yielded.
    Begun { body: BoxBody<T>, waker: Waker, link: Arc<Link>, context: C, end_at_first_error: bool },
    /// A source for which there was no place.
    Fresh { sub: Sub<T>, parent: Sources, context: C },
}

struct Waiting<T, C> {
    sub: Sub<T>,
    parent: Option<Sources>,
    context: C,
    resume: Option<u32>,
}

struct Fetched<T, C> {
    link: Arc<Link>,
    context: C,
    items: std::vec::IntoIter<Given<T>>,
    yielded: usize,
    end: Option<Option<SharedError>>,
}

/// What a turn came to.
pub(crate) enum Turn<T, C> {
    Yield(Fed<T, C>),
    Nothing,
}

impl<T, C> Engine<T, C> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Slab::new(),
            ready: VecDeque::new(),
            runs: VecDeque::new(),
            round: 0,
            entries: VecDeque::new(),
            values: VecDeque::new(),
            batches: VecDeque::new(),
            waiting: VecDeque::new(),
            set_aside: 0,
            queued: VecDeque::new(),
            leaving: Vec::new(),
            turns: Vec::new(),
            fetched: VecDeque::new(),
        }
    }

    /// Whether no source is left that the consumer would have to step.
    pub(crate) fn is_out(&self) -> bool {
        self.slots.is_empty()
            && self.ready.is_empty()
            && self.waiting.is_empty()
            && self.entries.is_empty()
            && self.batches.is_empty()
            && self.queued.is_empty()
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Engine<T, C> {
    /// Appends what others have put in since the last time.
    pub(crate) fn collect(&mut self, shared: &Arc<Shared<T, C>>) {
        if !shared.bell.has_news() {
            return;
        }
        let more = shared.bell.collect(&mut self.turns);
        let mut turns = std::mem::take(&mut self.turns);
        for key in turns.drain(..) {
            // It may be a turn of a source that has ended since, or that stands in line already.
            if key & RESUME == 0 {
                self.schedule(key);
            } else {
                self.resume(key & !RESUME);
            }
        }
        self.turns = turns;
        if more {
            self.collect_entries(shared);
        }
    }

    fn collect_entries(&mut self, shared: &Arc<Shared<T, C>>) {
        if self.values.is_empty() && self.values.capacity() > KEPT {
            // What a burst needed is given back.
            self.values = VecDeque::new();
        }
        let added = {
            let mut inbox = shared.inbox.lock();
            if self.entries.is_empty() {
                std::mem::swap(&mut self.entries, &mut inbox.entries);
                std::mem::swap(&mut self.values, &mut inbox.values);
            } else {
                self.entries.append(&mut inbox.entries);
                self.values.append(&mut inbox.values);
            }
            std::mem::take(&mut inbox.turns)
        };
        self.line_up_entries(added);
        let added = shared.lane.fetch(&mut self.fetched);
        self.ready.extend(std::iter::repeat_n(BATCH, added));
        self.batches.extend(self.fetched.drain(..).map(|batch| Fetched {
            link: batch.link,
            context: batch.context,
            items: batch.items.into_iter(),
            yielded: 0,
            end: batch.end,
        }));
        if !self.waiting.is_empty() {
            self.open_waiting(shared);
        }
    }

    fn line_up_entries(&mut self, count: usize) {
        if count > 0 {
            self.ready.push_back(ENTRY);
            self.runs.push_back(count);
        }
    }

    /// Takes the next turn, or says that nobody has one.
    #[inline]
    pub(crate) fn turn(&mut self, shared: &Arc<Shared<T, C>>) -> Option<Turn<T, C>> {
        if self.round == 0 {
            self.collect(shared);
            self.round = self.ready.len();
        }
        let turn = *self.ready.front()?;
        if turn == ENTRY
            && let Some(left) = self.runs.front_mut()
            && *left > 1
        {
            *left -= 1;
            return Some(self.entry_turn(shared));
        }
        self.ready.pop_front();
        self.round = self.round.saturating_sub(1);
        Some(match turn {
            ENTRY => {
                self.runs.pop_front();
                self.entry_turn(shared)
            }
            BATCH => self.batch_turn(shared),
            key => self.source_turn(shared, key),
        })
    }

    #[inline]
    fn entry_turn(&mut self, shared: &Arc<Shared<T, C>>) -> Turn<T, C> {
        if let Some(Entry::Values { name, count }) = self.entries.front_mut() {
            let Some((value, context)) = self.values.pop_front() else { return Turn::Nothing };
            let sources = Sources::value(name.clone());
            *count -= 1;
            if *count == 0 {
                self.entries.pop_front();
            }
            return Turn::Yield(Fed::Success { sources, value, context });
        }
        self.rare_entry_turn(shared)
    }

    #[inline(never)]
    fn rare_entry_turn(&mut self, shared: &Arc<Shared<T, C>>) -> Turn<T, C> {
        match self.entries.pop_front() {
            None | Some(Entry::Values { .. }) => Turn::Nothing,
            Some(Entry::Source { body, link, place, end_at_first_error, context }) => {
                let kind = link.kind;
                let sub = Sub { body, name: None, link: Some(link), kind, place, end_at_first_error };
                if sub.place == Place::Turn && self.waiting.is_empty() && shared.open.take_inline() {
                    // This is its turn already.
                    let key = self.open_slot(shared, sub, None, context);
                    return self.source_turn(shared, key);
                }
                self.place(shared, sub, None, context, None).0
            }
            Some(Entry::Arrived { link, given, context }) => {
                self.given(shared, Sources::link(&link), given, context, None).0
            }
        }
    }

    fn batch_turn(&mut self, shared: &Arc<Shared<T, C>>) -> Turn<T, C> {
        let Some(batch) = self.batches.front_mut() else { return Turn::Nothing };
        let sources = Sources::link(&batch.link);
        if let Some(given) = batch.items.next() {
            batch.yielded += 1;
            let context = if batch.items.len() == 0 && batch.end.is_none() {
                let Some(batch) = self.batches.pop_front() else { return Turn::Nothing };
                shared.lane.yielded(shared, batch.yielded);
                batch.context
            } else {
                let context = batch.context.clone();
                if batch.yielded >= 32 {
                    shared.lane.yielded(shared, std::mem::take(&mut batch.yielded));
                }
                self.ready.push_back(BATCH);
                context
            };
            return self.given(shared, sources, given, context, None).0;
        }
        let Some(batch) = self.batches.pop_front() else { return Turn::Nothing };
        shared.lane.yielded(shared, batch.yielded);
        match batch.end {
            Some(exception) => Turn::Yield(Fed::IterationStop { sources, exception, context: batch.context }),
            None => Turn::Nothing,
        }
    }

    fn source_turn(&mut self, shared: &Arc<Shared<T, C>>, key: u32) -> Turn<T, C> {
        let Some(slot) = self.slots.get_mut(key) else { return Turn::Nothing };
        slot.scheduled = false;
        slot.link.begin_turn();
        let step = {
            let body = slot.body.as_mut();
            let mut cx = Context::from_waker(&slot.waker);
            guarded(|| body.step(&mut cx))
        };
        match step {
            Ok(Poll::Pending) => Turn::Nothing,
            Ok(Poll::Ready(Step::Item(given))) => {
                if let Given::Error(error) = &given
                    && slot.end_at_first_error
                {
                    let ended: BoxBody<T> = Box::pin(Ended(Some(Arc::clone(error))));
                    let body = std::mem::replace(&mut slot.body, ended);
                    drop_body(shared, body, &slot.link, &slot.context);
                }
                let sources = Sources::link(&slot.link);
                let context = slot.context.clone();
                let goes_on = match given {
                    Given::Value(value) => {
                        slot.scheduled = true;
                        self.ready.push_back(key);
                        return Turn::Yield(Fed::Success { sources, value, context });
                    }
                    given => self.given(shared, sources, given, context, Some(key)),
                };
                if goes_on.1 {
                    self.schedule(key);
                }
                goes_on.0
            }
            Ok(Poll::Ready(Step::Only(Given::Source(sub)))) if shared.depth_first && sub.place == Place::Turn => {
                // It takes the place of the function that yielded it.
                let (parent, context) = (Sources::link(&slot.link), slot.context.clone());
                slot.below.get_or_insert_default().push(Below::Fresh { sub: *sub, parent, context });
                drop(self.end(shared, key));
                Turn::Nothing
            }
            Ok(Poll::Ready(Step::Only(given))) => {
                let (sources, context) = self.end(shared, key);
                self.given(shared, sources, given, context, None).0
            }
            Ok(Poll::Ready(Step::End(exception))) => {
                let (sources, context) = self.end(shared, key);
                Turn::Yield(Fed::IterationStop { sources, exception, context })
            }
            Err(panic) => {
                if slot.link.kind == QueueInput::Function {
                    let (sources, context) = self.end(shared, key);
                    return Turn::Yield(Fed::Failure { sources, exception: panic, context });
                }
                let ended: BoxBody<T> = Box::pin(Ended(Some(Arc::clone(&panic))));
                let body = std::mem::replace(&mut slot.body, ended);
                drop_body(shared, body, &slot.link, &slot.context);
                slot.scheduled = true;
                self.ready.push_back(key);
                Turn::Yield(Fed::Failure {
                    sources: Sources::link(&slot.link),
                    exception: panic,
                    context: slot.context.clone(),
                })
            }
        }
    }

    /// Passes on what a source gave. The second answer is false if the source in slot `from` has to wait before it goes on.
    fn given(
        &mut self,
        shared: &Arc<Shared<T, C>>,
        sources: Sources,
        given: Given<T>,
        context: C,
        from: Option<u32>,
    ) -> (Turn<T, C>, bool) {
        match given {
            Given::Value(value) => (Turn::Yield(Fed::Success { sources, value, context }), true),
            Given::Error(exception) => (Turn::Yield(Fed::Failure { sources, exception, context }), true),
            Given::Source(sub) => self.place(shared, *sub, Some(sources), context, from),
        }
    }

    /// Opens a source where it belongs.
    fn place(
        &mut self,
        shared: &Arc<Shared<T, C>>,
        sub: Sub<T>,
        parent: Option<Sources>,
        context: C,
        from: Option<u32>,
    ) -> (Turn<T, C>, bool) {
        let refused = match sub.place {
            Place::Turn => None,
            Place::Spawned | Place::OwnTask | Place::Lane => shared.runtime().err(),
        };
        if let Some(refused) = refused {
            let mut sub = sub;
            let exception: SharedError = Arc::new(refused);
            let ended: BoxBody<T> = Box::pin(Ended(Some(Arc::clone(&exception))));
            let body = std::mem::replace(&mut sub.body, ended);
            sub.place = Place::Turn;
            let link = shared.link(&mut sub, parent);
            drop_body(shared, body, &link, &context);
            let sources = Sources::link(&link);
            sub.link = Some(link);
            if matches!(sub.kind, QueueInput::Iterator | QueueInput::Stream) {
                // It owes an iteration stop like any other.
                self.place_inline(shared, sub, None, context.clone(), None);
            }
            return (Turn::Yield(Fed::Failure { sources, exception, context }), true);
        }
        match sub.place {
            Place::Spawned => {
                shared.running.count();
                let started = shared.running.start(shared, sub, parent, context, from);
                if let Some(key) = from
                    && !started
                {
                    self.set_aside(key, Aside::Free);
                }
                (Turn::Nothing, started)
            }
            Place::Lane => {
                let unlimited = shared.open.is_unlimited();
                let resume = from.filter(|_| unlimited || self.may_set_aside());
                let waits = shared.lane.add(shared, sub, parent, context, resume);
                if let Some(key) = resume
                    && waits
                {
                    self.set_aside(key, if unlimited { Aside::Free } else { Aside::Counted });
                }
                (Turn::Nothing, !waits)
            }
            Place::Turn | Place::OwnTask => (Turn::Nothing, self.place_inline(shared, sub, parent, context, from)),
        }
    }

    fn place_inline(
        &mut self,
        shared: &Arc<Shared<T, C>>,
        sub: Sub<T>,
        parent: Option<Sources>,
        context: C,
        from: Option<u32>,
    ) -> bool {
        if shared.depth_first
            && let Some(key) = from
            && let Some(sources) = &parent
        {
            if !shared.open.take_inline() {
                // The source that is open goes on, and this one takes its place when it ends.
                if let Some(slot) = self.slots.get_mut(key) {
                    slot.below.get_or_insert_default().push(Below::Fresh { sub, parent: sources.clone(), context });
                }
                return true;
            }
            let opened = open(shared, sub, parent, &context, key);
            if let Some(slot) = self.slots.get_mut(key) {
                let (body, link, end_at_first_error) = opened;
                let below = Below::Begun {
                    waker: std::mem::replace(&mut slot.waker, link.waker()),
                    link: std::mem::replace(&mut slot.link, link),
                    body: std::mem::replace(&mut slot.body, body),
                    context: std::mem::replace(&mut slot.context, context),
                    end_at_first_error: std::mem::replace(&mut slot.end_at_first_error, end_at_first_error),
                };
                slot.below.get_or_insert_default().push(below);
            }
            return true;
        }
        if self.waiting.is_empty() && shared.open.take_inline() {
            let key = self.open_slot(shared, sub, parent, context);
            self.schedule(key);
            return true;
        }
        // Not all that are open may be set aside: the last one goes on, and what it yields waits.
        let resume = from.filter(|_| self.may_set_aside());
        if let Some(key) = resume {
            self.set_aside(key, Aside::Counted);
        }
        self.waiting.push_back(Waiting { sub, parent, context, resume });
        self.open_waiting(shared);
        resume.is_none()
    }

    fn open_slot(&mut self, shared: &Arc<Shared<T, C>>, sub: Sub<T>, parent: Option<Sources>, context: C) -> u32 {
        let (body, link, end_at_first_error) = open(shared, sub, parent, &context, 0);
        let key = self.slots.insert(Slot {
            body,
            waker: link.waker(),
            link,
            context,
            below: None,
            scheduled: false,
            aside: Aside::No,
            end_at_first_error,
        });
        if let Some(slot) = self.slots.get(key) {
            slot.link.set_key(key);
        }
        key
    }

    fn schedule(&mut self, key: u32) {
        if let Some(slot) = self.slots.get_mut(key)
            && !slot.scheduled
            && slot.aside == Aside::No
        {
            slot.scheduled = true;
            self.ready.push_back(key);
        }
    }

    fn set_aside(&mut self, key: u32, aside: Aside) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.aside = aside;
            self.set_aside += usize::from(aside == Aside::Counted);
        }
    }

    /// Lets a source that was set aside go on.
    fn resume(&mut self, key: u32) {
        if let Some(slot) = self.slots.get_mut(key) {
            let aside = std::mem::replace(&mut slot.aside, Aside::No);
            self.set_aside -= usize::from(aside == Aside::Counted);
        }
        self.schedule(key);
    }

    /// Whether one more of the open sources may be set aside for one that needs a place: not the last one.
    fn may_set_aside(&self) -> bool {
        self.set_aside + 1 < self.slots.len()
    }

    /// Opens what waits for a place, as far as there are places.
    fn open_waiting(&mut self, shared: &Arc<Shared<T, C>>) {
        while !self.waiting.is_empty() && shared.open.take_inline() {
            let next = if shared.depth_first { self.waiting.pop_back() } else { self.waiting.pop_front() };
            let Some(next) = next else { return };
            let key = self.open_slot(shared, next.sub, next.parent, next.context);
            self.schedule(key);
            if let Some(key) = next.resume {
                self.resume(key);
            }
        }
    }

    /// Takes the source that has ended out of its slot, and lets what stands below it go on.
    fn end(&mut self, shared: &Arc<Shared<T, C>>, key: u32) -> (Sources, C) {
        let slot = self.slots.get_mut(key).expect("the source that has just taken its turn");
        let (next, place_is_used) = match slot.below.as_mut().and_then(|below| below.pop()) {
            Some(Below::Begun { body, waker, link, context, end_at_first_error }) => {
                ((body, waker, link, context, end_at_first_error), false)
            }
            Some(Below::Fresh { sub, parent, context }) => {
                let (body, link, end_at_first_error) = open(shared, sub, Some(parent), &context, key);
                ((body, link.waker(), link, context, end_at_first_error), true)
            }
            None => {
                let slot = self.slots.remove(key).expect("the source that has just taken its turn");
                drop_body(shared, slot.body, &slot.link, &slot.context);
                self.gave_back(shared);
                return (Sources::link(&slot.link), slot.context);
            }
        };
        let body = std::mem::replace(&mut slot.body, next.0);
        let waker = std::mem::replace(&mut slot.waker, next.1);
        let link = std::mem::replace(&mut slot.link, next.2);
        let context = std::mem::replace(&mut slot.context, next.3);
        slot.end_at_first_error = next.4;
        slot.scheduled = true;
        self.ready.push_back(key);
        drop(waker);
        drop_body(shared, body, &link, &context);
        if !place_is_used {
            self.gave_back(shared);
        }
        (Sources::link(&link), context)
    }

    fn gave_back(&mut self, shared: &Arc<Shared<T, C>>) {
        let (_, lane_waits) = shared.open.give_back();
        if lane_waits {
            shared.lane.kick(shared);
        }
        if !self.waiting.is_empty() {
            self.open_waiting(shared);
        }
    }
}

/// Makes the link of a source, and whatever it needs to be stepped from slot `key`.
fn open<T: Send + 'static, C: Clone + Send + 'static>(
    shared: &Arc<Shared<T, C>>,
    mut sub: Sub<T>,
    parent: Option<Sources>,
    context: &C,
    key: u32,
) -> (BoxBody<T>, Arc<Link>, bool) {
    let link = shared.link(&mut sub, parent);
    link.set_key(key);
    let Sub { body, place, end_at_first_error, .. } = sub;
    let body = if place == Place::OwnTask {
        match own::start(shared, &link, context, body, end_at_first_error) {
            Ok(body) => body,
            Err(no_runtime) => Box::pin(Ended(Some(Arc::new(no_runtime)))),
        }
    } else {
        body
    };
    // A task of its own ends it by itself.
    (body, link, end_at_first_error && place != Place::OwnTask)
}
