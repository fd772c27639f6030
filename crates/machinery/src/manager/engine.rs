//! The consumer's side: which source takes its turn next, and what becomes of what it yields.
//!
//! Everything in here belongs to the consumer alone. Turns stand in one line, `ready`; a source that is ready again goes to its
//! end, and what others have put in meanwhile is appended once a round, a round being as many turns as stood in line when it began. So
//! between two turns of one source every other source that is ready has at most two.

#![expect(unsafe_code, reason = "the sources of this engine are reached through the handles that stand in line")]

mod failing;
mod leaving;

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::QueueManagerResult as Fed;
use leaving::drop_body;
pub(crate) use leaving::{leave_entry, leave_source};

use super::body::{BoxBody, IterBody, Step, cloned, guarded};
use super::feed::{Feed, Given, Place, Sub};
use super::lane::{Batch, Ended};
use super::link::LinkRef;
use super::node::{Aside, Owner};
use super::shared::{CLONE_PANICKED, Entry, Resume, Shared};
use super::sources::{QueueInput, Sources};
use super::{leave, own, result, running};
use crate::SharedError;
use crate::slab::Slab;

/// Room for so many values is kept.
const KEPT: usize = 4096;
/// Among `runs`: the turn of the batch that is first in `batches`.
const BATCH: usize = 0;

pub(crate) struct Engine<T, C> {
    /// The sources that are open, apart from those that are set aside below another one.
    slots: Slab<Owner<T, C>>,
    /// The turns; `None` is that of the first of `runs`.
    ready: VecDeque<Option<LinkRef>>,
    /// How many entries stand in line one behind the other, or `BATCH`, for each `None` in `ready`.
    runs: VecDeque<usize>,
    round: usize,
    entries: VecDeque<Entry<T, C>>,
    /// The values of the entries that are runs of them.
    values: VecDeque<(T, C)>,
    /// The sources of the entries that are runs of them.
    fresh: VecDeque<Owner<T, C>>,
    batches: VecDeque<Fetched<T, C>>,
    waiting: VecDeque<Waiting<T, C>>,
    /// How many open sources are set aside until a source that they yielded can be opened.
    set_aside: usize,
    /// How many of `waiting` hold a blocking source.
    holding: usize,
    /// Some open source may have something that it has not given on.
    may_hold: bool,
    /// What was taken out of its place already and is next to be yielded.
    pub(crate) queued: VecDeque<Fed<T, C>>,
    /// Stopping: sources whose items are taken elsewhere, until that is over.
    leaving: Vec<Owner<T, C>>,
    turns: Vec<LinkRef>,
    resumed: Vec<Resume>,
    fetched: VecDeque<Batch<T, C>>,
}

/// Depth first: what waits below a source until that has ended.
pub(crate) enum Below<T, C> {
    /// A source that was set aside for the one that it yielded.
    Begun(Owner<T, C>),
    /// A source for which there was no place.
    Fresh(Fresh<T, C>),
}

/// A source that is to be opened.
pub(crate) enum Fresh<T, C> {
    InTurn(Owner<T, C>),
    InOwnTask { sub: Sub<T>, parent: Option<Sources>, context: C },
}

struct Waiting<T, C> {
    fresh: Fresh<T, C>,
    resume: Option<Resume>,
}

/// Who yielded a source, and may have to wait until that has begun.
#[derive(Clone, Copy)]
enum From<'a> {
    /// Somebody who yields no more, or who was not asked.
    Nobody,
    Source(&'a LinkRef),
    /// The blocking source of this number.
    Lane(u64),
}

struct Fetched<T, C> {
    link: LinkRef,
    items: std::vec::IntoIter<(Given<T>, C)>,
    yielded: usize,
    end: Option<Ended<C>>,
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
            fresh: VecDeque::new(),
            batches: VecDeque::new(),
            waiting: VecDeque::new(),
            set_aside: 0,
            holding: 0,
            may_hold: false,
            queued: VecDeque::new(),
            leaving: Vec::new(),
            turns: Vec::new(),
            resumed: Vec::new(),
            fetched: VecDeque::new(),
        }
    }

    /// How many sources are open that are stepped where the results are consumed.
    pub(crate) fn how_many_open(&self) -> usize {
        self.slots.len() + self.set_aside
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

impl From<'_> {
    fn resume(self) -> Option<Resume> {
        match self {
            Self::Nobody => None,
            Self::Source(link) => Some(Resume::Turn(link.clone())),
            Self::Lane(id) => Some(Resume::Lane(id)),
        }
    }
}

/// Puts a source into the line, unless it stands there already, has been set aside, or has ended.
fn line_up<T, C>(ready: &mut VecDeque<Option<LinkRef>>, link: LinkRef) {
    if let Some(mut source) = opened::<T, C>(&link) {
        if source.scheduled || source.aside != Aside::No {
            source.take_back(link);
        } else {
            source.scheduled = true;
            ready.push_back(Some(link));
        }
    }
}

/// The owner of a source that called the engine or stands in its line, unless that has ended.
///
/// For the engine alone, which has the owner in one of its places and does not use that place as long as it has this.
fn opened<T, C>(link: &LinkRef) -> Option<ManuallyDrop<Owner<T, C>>> {
    // SAFETY: handles come to the engine of a manager from its own bell, which only nodes of the manager's own types ring, and
    // from their owners. These have been in the engine since they were first polled, so that it alone uses them.
    unsafe { Owner::of(link) }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Engine<T, C> {
    /// Appends what others have put in since the last time.
    pub(crate) fn collect(&mut self, shared: &Arc<Shared<T, C>>) {
        if !shared.bell.has_news() {
            return;
        }
        let more = shared.bell.collect(&mut self.turns, &mut self.resumed);
        for link in self.turns.drain(..) {
            // It may have ended since, or stand in line already.
            line_up::<T, C>(&mut self.ready, link);
        }
        for resume in std::mem::take(&mut self.resumed) {
            self.resume(shared, resume);
        }
        if more {
            self.collect_entries(shared);
        }
    }

    fn collect_entries(&mut self, shared: &Arc<Shared<T, C>>) {
        if self.values.is_empty() && self.values.capacity() > KEPT {
            // What a burst needed is given back.
            self.values = VecDeque::new();
        }
        if self.fresh.is_empty() && self.fresh.capacity() > KEPT {
            self.fresh = VecDeque::new();
        }
        let added = {
            let mut inbox = shared.inbox.lock();
            if self.entries.is_empty() {
                std::mem::swap(&mut self.entries, &mut inbox.entries);
                std::mem::swap(&mut self.values, &mut inbox.values);
                std::mem::swap(&mut self.fresh, &mut inbox.fresh);
            } else {
                self.entries.append(&mut inbox.entries);
                self.values.append(&mut inbox.values);
                self.fresh.append(&mut inbox.fresh);
            }
            std::mem::take(&mut inbox.turns)
        };
        self.line_up_entries(added);
        let added = shared.lane.fetch(&mut self.fetched);
        self.ready.extend(std::iter::repeat_with(|| None).take(added));
        self.runs.extend(std::iter::repeat_n(BATCH, added));
        self.batches.extend(self.fetched.drain(..).map(|batch| Fetched {
            link: batch.link,
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
            self.ready.push_back(None);
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
        if self.ready.front()?.is_none()
            && let Some(left) = self.runs.front_mut()
            && *left > 1
        {
            *left -= 1;
            return Some(self.entry_turn(shared));
        }
        let turn = self.ready.pop_front()?;
        self.round = self.round.saturating_sub(1);
        Some(match turn {
            Some(link) => self.source_turn(shared, link),
            None if self.runs.pop_front() == Some(BATCH) => self.batch_turn(shared),
            None => self.entry_turn(shared),
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

    // Out of the way of the values, which take no more than a few instructions.
    #[inline(never)]
    fn rare_entry_turn(&mut self, shared: &Arc<Shared<T, C>>) -> Turn<T, C> {
        if let Some(Entry::Sources { count }) = self.entries.front_mut() {
            *count -= 1;
            if *count == 0 {
                self.entries.pop_front();
            }
            let Some(source) = self.fresh.pop_front() else { return Turn::Nothing };
            if self.waiting.is_empty() && shared.open.take_inline() {
                // This is its turn already.
                let link = self.enter(source);
                return self.source_turn(shared, link);
            }
            self.place_inline(shared, Fresh::InTurn(source), From::Nobody);
            return Turn::Nothing;
        }
        match self.entries.pop_front() {
            None | Some(Entry::Values { .. } | Entry::Sources { .. }) => Turn::Nothing,
            Some(Entry::Elsewhere { sub, context }) => self.place(shared, *sub, None, context, From::Nobody).0,
            Some(Entry::Arrived { link, given, context }) => {
                self.given(shared, Sources::of(link), given, context, From::Nobody).0
            }
        }
    }

    fn batch_turn(&mut self, shared: &Arc<Shared<T, C>>) -> Turn<T, C> {
        let Some(batch) = self.batches.front_mut() else { return Turn::Nothing };
        let (sources, id) = (Sources::link(&batch.link), batch.link.id);
        if let Some((given, context)) = batch.items.next() {
            batch.yielded += 1;
            if batch.items.len() == 0 && batch.end.is_none() {
                shared.lane.yielded(shared, batch.yielded);
                self.batches.pop_front();
            } else {
                if batch.yielded >= 32 {
                    shared.lane.yielded(shared, std::mem::take(&mut batch.yielded));
                }
                self.ready.push_back(None);
                self.runs.push_back(BATCH);
            }
            return self.given(shared, sources, given, context, From::Lane(id)).0;
        }
        let Some(batch) = self.batches.pop_front() else { return Turn::Nothing };
        shared.lane.yielded(shared, batch.yielded);
        match batch.end {
            Some((exception, context)) => Turn::Yield(Fed::IterationStop { sources, exception, context }),
            None => Turn::Nothing,
        }
    }

    fn source_turn(&mut self, shared: &Arc<Shared<T, C>>, link: LinkRef) -> Turn<T, C> {
        let Some(mut source) = opened::<T, C>(&link) else { return Turn::Nothing };
        source.scheduled = false;
        let step = guarded(|| link.with_waker(|waker| source.step(&mut Context::from_waker(waker))));
        match step {
            Ok(Poll::Pending) => {
                source.take_back(link);
                Turn::Nothing
            }
            Ok(Poll::Ready(Step::Item(Given::Value(value)))) => {
                let context = match cloned(source.context()) {
                    Ok(context) => context,
                    Err(panic) => return self.lost(shared, link, Given::Value(value), panic),
                };
                let sources = source.sources();
                source.scheduled = true;
                self.ready.push_back(Some(link));
                Turn::Yield(Fed::Success { sources, value, context })
            }
            Ok(Poll::Ready(Step::Item(given))) => {
                if let Given::Error(error) = &given
                    && source.end_at_first_error
                {
                    self.fail(shared, &mut source, error);
                }
                let context = match cloned(source.context()) {
                    Ok(context) => context,
                    Err(panic) => return self.lost(shared, link, given, panic),
                };
                let sources = source.sources();
                let (turn, goes_on) = self.given(shared, sources, given, context, From::Source(&link));
                if goes_on {
                    line_up::<T, C>(&mut self.ready, link);
                }
                turn
            }
            Ok(Poll::Ready(Step::Only(Given::Source(sub)))) if shared.depth_first && sub.place == Place::Turn => {
                // It takes the place of the function that yielded it.
                let context = match cloned(source.context()) {
                    Ok(context) => context,
                    Err(panic) => return self.lost(shared, link, Given::Source(sub), panic),
                };
                let fresh = Self::fresh(shared, *sub, Some(source.sources()), context);
                source.below().push(Below::Fresh(fresh));
                let (sources, context) = self.end(shared, link);
                shared.dispose(sources.nearest().name(), context);
                Turn::Nothing
            }
            Ok(Poll::Ready(Step::Only(given))) => {
                let (sources, context) = self.end(shared, link);
                self.given(shared, sources, given, context, From::Nobody).0
            }
            Ok(Poll::Ready(Step::End(exception))) => {
                let (sources, context) = self.end(shared, link);
                Turn::Yield(Fed::IterationStop { sources, exception, context })
            }
            Err(exception) => self.panicked(shared, link, exception),
        }
    }

    /// Passes on what a source gave. The second answer is false if the source `from` has to wait before it goes on.
    fn given(
        &mut self,
        shared: &Arc<Shared<T, C>>,
        sources: Sources,
        given: Given<T>,
        context: C,
        from: From<'_>,
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
        from: From<'_>,
    ) -> (Turn<T, C>, bool) {
        let refused = match sub.place {
            Place::Turn => None,
            Place::Spawned | Place::OwnTask | Place::Lane => shared.runtime().err(),
        };
        if let Some(refused) = refused {
            let mut sub = sub;
            let exception: SharedError = Arc::new(refused);
            // A task may be on a runtime of its own.
            let _panic = guarded(|| sub.body.as_mut().stop());
            sub.place = Place::Turn;
            let is_iteration = matches!(sub.kind, QueueInput::Iterator | QueueInput::Stream);
            let Fresh::InTurn(mut source) = Self::fresh(shared, sub, parent, context) else {
                return (Turn::Nothing, true);
            };
            drop_body(shared, &mut source);
            if !is_iteration {
                let link = source.give();
                let (sources, context) = source.finish(link);
                return (Turn::Yield(Fed::Failure { sources, exception, context }), true);
            }
            // It owes an iteration stop like any other.
            let (sources, context) = (source.sources(), cloned(source.context()));
            source.fail(Arc::clone(&exception));
            self.may_hold = true;
            self.place_inline(shared, Fresh::InTurn(source), From::Nobody);
            return match context {
                Ok(context) => (Turn::Yield(Fed::Failure { sources, exception, context }), true),
                Err(_) => {
                    shared.report(CLONE_PANICKED, &sources, Some(&exception));
                    (Turn::Nothing, true)
                }
            };
        }
        match sub.place {
            Place::Spawned => {
                shared.running.count();
                let started = shared.running.start(shared, sub, parent, Some(context), from.resume());
                match from {
                    From::Source(link) if !started => self.set_aside(link, Aside::Free),
                    From::Lane(id) if !started => shared.lane.hold(id),
                    _ => {}
                }
                (Turn::Nothing, started)
            }
            Place::Lane => {
                let unlimited = shared.open.is_unlimited();
                let may_wait = unlimited || self.may_set_aside();
                let resume = if may_wait { from.resume() } else { None };
                let waits = shared.lane.add(shared, sub, parent, context, resume);
                if let From::Source(link) = from
                    && waits
                {
                    self.set_aside(link, if unlimited { Aside::Free } else { Aside::Counted });
                }
                (Turn::Nothing, !waits)
            }
            Place::Turn | Place::OwnTask => {
                let fresh = Self::fresh(shared, sub, parent, context);
                (Turn::Nothing, self.place_inline(shared, fresh, from))
            }
        }
    }

    /// Makes what a source that was yielded is until it is opened.
    fn fresh(shared: &Arc<Shared<T, C>>, mut sub: Sub<T>, parent: Option<Sources>, context: C) -> Fresh<T, C> {
        if sub.place == Place::OwnTask {
            return Fresh::InOwnTask { sub, parent, context };
        }
        let link = shared.new_link(sub.kind, sub.name.take(), parent);
        Fresh::InTurn(Owner::new(link, &shared.bell, context, sub.body, sub.end_at_first_error))
    }

    /// Says whether the source `from` goes on.
    fn place_inline(&mut self, shared: &Arc<Shared<T, C>>, fresh: Fresh<T, C>, from: From<'_>) -> bool {
        if shared.depth_first
            && let From::Source(from) = from
        {
            let Some(mut yielding) = opened::<T, C>(from) else { return false };
            if !shared.open.take_inline() {
                // The source that is open goes on, and this one takes its place when it ends.
                yielding.below().push(Below::Fresh(fresh));
                return true;
            }
            let key = yielding.key;
            let mut below = std::mem::take(yielding.below());
            yielding.aside = Aside::Below;
            let mut source = self.begin(shared, fresh);
            if let Some(place) = self.slots.get_mut(key) {
                source.key = key;
                source.scheduled = true;
                self.ready.push_back(Some(source.give()));
                below.push(Below::Begun(std::mem::replace(place, source)));
                *place.below() = below;
            }
            return false;
        }
        if self.waiting.is_empty() && shared.open.take_inline() {
            let link = self.open(shared, fresh);
            line_up::<T, C>(&mut self.ready, link);
            return true;
        }
        // Not all that are open may be set aside: the last one goes on, and what it yields waits.
        let waits = match from {
            From::Source(link) if self.may_set_aside() => {
                self.set_aside(link, Aside::Counted);
                true
            }
            From::Lane(id) if self.one_goes_on() => {
                shared.lane.hold(id);
                self.holding += 1;
                true
            }
            _ => false,
        };
        self.waiting.push_back(Waiting { fresh, resume: if waits { from.resume() } else { None } });
        self.open_waiting(shared);
        !waits
    }

    /// Makes whatever a source needs to be stepped.
    fn begin(&mut self, shared: &Arc<Shared<T, C>>, fresh: Fresh<T, C>) -> Owner<T, C> {
        let (mut sub, parent, context) = match fresh {
            Fresh::InTurn(source) => return source,
            Fresh::InOwnTask { sub, parent, context } => (sub, parent, context),
        };
        self.may_hold = true;
        let link = shared.link(&mut sub, parent);
        let ready = match shared.runtime() {
            Ok(_) => cloned(&context),
            Err(no_runtime) => Err(Arc::new(no_runtime) as SharedError),
        };
        let (body, strict): (BoxBody<T>, _) = match ready {
            // The task ends it at its first error by itself.
            Ok(copy) => (own::start(shared, &link, copy, sub.body, sub.end_at_first_error), false),
            Err(error) => {
                leave::body(shared, &link, sub.body, None);
                (Box::pin(IterBody::Fresh(Some([Feed::<T>(Given::Error(error))]))), true)
            }
        };
        Owner::new(link.twin(), &shared.bell, context, body, strict)
    }

    fn open(&mut self, shared: &Arc<Shared<T, C>>, fresh: Fresh<T, C>) -> LinkRef {
        let source = self.begin(shared, fresh);
        self.enter(source)
    }

    /// Gives a source its place.
    fn enter(&mut self, mut source: Owner<T, C>) -> LinkRef {
        let link = source.give();
        source.key = self.slots.next_key();
        self.slots.insert(source);
        link
    }

    fn set_aside(&mut self, link: &LinkRef, aside: Aside) {
        if let Some(mut source) = opened::<T, C>(link) {
            source.aside = aside;
            self.set_aside += usize::from(aside == Aside::Counted);
        }
    }

    /// Lets a source that was set aside go on.
    fn resume(&mut self, shared: &Arc<Shared<T, C>>, resume: Resume) {
        let link = match resume {
            Resume::Turn(link) => link,
            Resume::Lane(id) => return shared.lane.release(shared, id),
        };
        if let Some(mut source) = opened::<T, C>(&link)
            && source.aside != Aside::Below
        {
            let aside = std::mem::replace(&mut source.aside, Aside::No);
            self.set_aside -= usize::from(aside == Aside::Counted);
        }
        line_up::<T, C>(&mut self.ready, link);
    }

    /// Whether one more of the open sources may be set aside for one that needs a place: not the last one.
    fn may_set_aside(&self) -> bool {
        self.set_aside + 1 < self.slots.len()
    }

    /// Whether there is an open source that is not set aside for one that needs a place, so that a place will be free.
    fn one_goes_on(&self) -> bool {
        self.set_aside < self.slots.len()
    }

    /// Lets blocking sources go on that wait for what waits for a place, if only they could make one free.
    fn release_lane(&mut self, shared: &Arc<Shared<T, C>>) {
        if self.holding == 0 || self.one_goes_on() {
            return;
        }
        self.holding = 0;
        for waiting in &mut self.waiting {
            if let Some(Resume::Lane(id)) = waiting.resume {
                waiting.resume = None;
                shared.lane.release(shared, id);
            }
        }
    }

    /// Opens what waits for a place, as far as there are places.
    fn open_waiting(&mut self, shared: &Arc<Shared<T, C>>) {
        while !self.waiting.is_empty() && shared.open.take_inline() {
            let next = if shared.depth_first { self.waiting.pop_back() } else { self.waiting.pop_front() };
            let Some(next) = next else { return };
            let link = self.open(shared, next.fresh);
            line_up::<T, C>(&mut self.ready, link);
            if let Some(resume) = next.resume {
                self.holding -= usize::from(matches!(resume, Resume::Lane(_)));
                self.resume(shared, resume);
            }
        }
    }

    /// Takes the source that has ended out of its place, and lets what stands below it go on.
    fn end(&mut self, shared: &Arc<Shared<T, C>>, link: LinkRef) -> (Sources, C) {
        let mut source = opened::<T, C>(&link).expect("the source that has just taken its turn");
        let key = source.key;
        // It may have been set aside, and its end is among what remains.
        self.set_aside -= usize::from(std::mem::replace(&mut source.aside, Aside::No) == Aside::Counted);
        if !source.has_below() {
            let mut source = self.slots.remove(key).expect("the source that has just taken its turn");
            drop_body(shared, &mut source);
            self.gave_back(shared);
            return source.finish(link);
        }
        let mut below = std::mem::take(source.below());
        let (mut next, place_is_used) = match below.pop().expect("there is something below") {
            Below::Begun(source) => (source, false),
            Below::Fresh(fresh) => (self.begin(shared, fresh), true),
        };
        next.key = key;
        next.aside = Aside::No;
        next.scheduled = true;
        if !below.is_empty() {
            *next.below() = below;
        }
        self.ready.push_back(Some(next.give()));
        let place = self.slots.get_mut(key).expect("the source that has just taken its turn");
        let mut source = std::mem::replace(place, next);
        drop_body(shared, &mut source);
        if !place_is_used {
            self.gave_back(shared);
        }
        source.finish(link)
    }

    fn gave_back(&mut self, shared: &Arc<Shared<T, C>>) {
        let (_, lane_waits) = shared.open.give_back();
        if lane_waits {
            shared.lane.kick(shared);
        }
        if !self.waiting.is_empty() {
            self.open_waiting(shared);
            self.release_lane(shared);
        }
    }
}
