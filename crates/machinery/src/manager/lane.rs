//! Functions and iterators that block: a few long-lived workers on the runtime's blocking pool.
//!
//! A worker takes a source, steps it some way, and leaves what it yields in a cell of its own, from where the consumer fetches it. Sources
//! that block in their turn go straight to the workers.
//!
//! Invariants:
//!
//! 1. A source is in `fresh` (never stepped), in `begun`, in `cut` (begun, and cut short by a full buffer), in `held` (it waits until what it has
//!    yielded has begun), or in the hands of one worker. What a worker's cell holds of a source is
//!    moved to `out` before the source leaves its hands, and the consumer fetches `out` and all cells in one critical section of
//!    `out`, in that order: so the items of one source stay in order.
//! 2. `live` counts the sources that have not ended; it goes down after the last item is in a cell, and whoever takes it to zero
//!    rings the bell.
//! 3. `buffered` counts the items that the consumer has not yielded. Workers leave once it reaches the buffer's size,
//!    and `starved` says that they left work behind; the consumer calls them back at half that size. So no worker ever waits for the consumer,
//!    and a runtime that shuts down waits for no worker.
//! 4. Whatever a worker leaves in its cell it announces to the pulse, after it has left it.
//!
//! Lock order: `out`, then a cell. `state` is held alone.

mod batch;
mod held;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use super::body::{Step, cloned, guarded};
use super::feed::{Given, Place, Sub};
use super::leave;
use super::link::LinkRef;
use super::pulse::Pulse;
use super::shared::{CLONE_PANICKED, Resume, Shared};
use super::sources::{QueueInput, Sources};
use super::streamer::UNREAD;
use crate::SharedError;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use batch::last_results;
pub(crate) use batch::{Batch, Ended};
use held::Held;
use worker::Called;

/// How many steps a worker takes with one source before it looks for another one.
const RUN: usize = 128;

/// How many steps are taken between two looks at whether the source is held.
const HELD_AFTER: usize = 16;

/// How many items are worth a call to the consumer, at most.
const MUCH: usize = 256;

pub(crate) struct Lane<T, C> {
    max: usize,
    buffer: usize,
    /// So many items are worth a call.
    much: usize,
    live: AtomicUsize,
    buffered: AtomicUsize,
    /// How many workers could be put to work, including those that are not there.
    wanting: AtomicUsize,
    starved: AtomicBool,
    /// How many sources are held, as `state` has it.
    held: AtomicUsize,
    pulse: Pulse,
    state: Mutex<State<T, C>>,
    out: Mutex<Vec<Batch<T, C>>>,
    cells: Box<[Cell<T, C>]>,
}

type Cell<T, C> = Mutex<Vec<Batch<T, C>>>;

struct State<T, C> {
    fresh: VecDeque<Job<T, C>>,
    begun: VecDeque<Job<T, C>>,
    cut: Vec<Job<T, C>>,
    held: Held<T, C>,
    free_cells: Vec<usize>,
    workers: usize,
    parked: Vec<Thread>,
    begun_next: bool,
}

impl<T, C> State<T, C> {
    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.begun.is_empty() && self.cut.is_empty()
    }

    fn len(&self) -> usize {
        self.fresh.len() + self.begun.len() + self.cut.len()
    }

    /// Lays a source that has begun where workers look for it.
    fn lay_back(&mut self, job: Job<T, C>) {
        if job.left > 0 {
            self.cut.push(job);
        } else {
            self.begun.push_back(job);
        }
    }

    fn take_all(&mut self) -> VecDeque<Job<T, C>> {
        let mut jobs = std::mem::take(&mut self.fresh);
        jobs.append(&mut self.begun);
        jobs.extend(self.cut.drain(..));
        jobs.extend(self.held.take_all());
        jobs
    }
}

struct Job<T, C> {
    sub: Sub<T>,
    link: LinkRef,
    context: C,
    /// Who waits until this one has begun.
    resume: Option<Resume>,
    /// How many steps are left of its run.
    left: usize,
    /// It has begun, and so has one of the places.
    is_open: bool,
}

impl<T, C> Lane<T, C> {
    pub(crate) fn new(max: usize, buffer: usize) -> Self {
        Self {
            max,
            buffer,
            much: (buffer / 4).clamp(1, MUCH),
            live: AtomicUsize::new(0),
            buffered: AtomicUsize::new(0),
            wanting: AtomicUsize::new(max),
            starved: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            pulse: Pulse::default(),
            state: Mutex::new(State {
                fresh: VecDeque::new(),
                begun: VecDeque::new(),
                cut: Vec::new(),
                held: Held::new(),
                free_cells: (0..max).collect(),
                workers: 0,
                parked: Vec::new(),
                begun_next: false,
            }),
            out: Mutex::new(Vec::new()),
            cells: (0..max).map(|_| Mutex::new(Vec::new())).collect(),
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Whether so many sources wait for a worker that whoever yields more of them had better wait, too.
    fn is_crowded(&self, state: &State<T, C>) -> bool {
        state.fresh.len() > 2 * self.max
    }

    /// Moves what the workers have left to `batches`.
    pub(crate) fn fetch(&self, batches: &mut VecDeque<Batch<T, C>>) -> usize {
        if !self.pulse.begin_fetch() {
            return 0;
        }
        let before = batches.len();
        let mut out = self.out.lock();
        batches.extend(out.drain(..));
        for cell in &self.cells {
            batches.extend(cell.lock().drain(..));
        }
        batches.len() - before
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    fn note_wanting(&self, state: &State<T, C>) {
        self.wanting.store(self.max - state.workers + state.parked.len(), Ordering::Relaxed);
    }

    fn uncount(&self, shared: &Shared<T, C>) {
        if self.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.bell.ring();
        }
    }

    /// Drops the sources that no worker has in its hands.
    pub(crate) fn drop_waiting(&self, shared: &Shared<T, C>) {
        let jobs = {
            let mut state = self.state.lock();
            state.take_all()
        };
        for job in jobs {
            self.drop_job(shared, job);
        }
    }

    fn drop_job(&self, shared: &Shared<T, C>, job: Job<T, C>) {
        let Job { sub, link, context, .. } = job;
        shared.dispose(link.name.as_ref(), sub);
        shared.dispose(link.name.as_ref(), context);
        self.uncount(shared);
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Lane<T, C> {
    /// Lets go of what nobody will fetch any more.
    pub(crate) fn discard(&self, shared: &Arc<Shared<T, C>>) {
        let mut batches = VecDeque::new();
        self.fetch(&mut batches);
        for batch in batches {
            for (given, context) in batch.items {
                leave::given(shared, &batch.link, given, Some(context), UNREAD);
            }
            if let Some((exception, context)) = batch.end {
                shared.dispose(batch.link.name.as_ref(), exception);
                shared.dispose(batch.link.name.as_ref(), context);
            }
        }
    }

    /// Takes a source; says whether the one in slot `resume` had better wait for its next turn until the new one has begun.
    pub(crate) fn add(
        &self,
        shared: &Arc<Shared<T, C>>,
        sub: Sub<T>,
        parent: Option<Sources>,
        context: C,
        resume: Option<Resume>,
    ) -> bool {
        self.live.fetch_add(1, Ordering::Relaxed);
        let mut job = Job::new(shared, sub, parent, context);
        let (called, waits) = {
            let mut state = self.state.lock();
            let waits = resume.is_some() && self.is_crowded(&state);
            if waits {
                job.resume = resume;
            }
            state.fresh.push_back(job);
            (self.call(&mut state), waits)
        };
        called.go(shared);
        waits
    }

    /// Says that the consumer has yielded `count` items.
    pub(crate) fn yielded(&self, shared: &Arc<Shared<T, C>>, count: usize) {
        let left = self.buffered.fetch_sub(count, Ordering::AcqRel) - count;
        if left <= self.buffer / 2 && self.starved.load(Ordering::Relaxed) {
            self.kick(shared);
        }
    }

    /// Calls the workers back to what they have left behind.
    pub(crate) fn kick(&self, shared: &Arc<Shared<T, C>>) {
        self.starved.store(false, Ordering::Relaxed);
        // Somebody for each source, as long as there is anybody.
        let mut left = self.state.lock().len();
        while left > 0 {
            left -= 1;
            let called = self.call(&mut self.state.lock());
            if matches!(called, Called::Nobody) {
                return;
            }
            called.go(shared);
        }
    }

    /// Finds somebody for the work that lies about.
    fn call(&self, state: &mut State<T, C>) -> Called {
        if state.is_empty() {
            return Called::Nobody;
        }
        if let Some(thread) = state.parked.pop() {
            return Called::Parked(thread);
        }
        if let Some(cell) = state.free_cells.pop() {
            state.workers += 1;
            self.note_wanting(state);
            return Called::Absent(cell);
        }
        Called::Nobody
    }

    /// The next source for a worker; under the lock.
    fn pick(&self, shared: &Shared<T, C>, state: &mut State<T, C>) -> Option<Job<T, C>> {
        if self.buffered.load(Ordering::Acquire) >= self.buffer || shared.breaker.is_set() {
            if !state.is_empty() {
                self.starved.store(true, Ordering::SeqCst);
            }
            return None;
        }
        if let Some(job) = state.cut.pop() {
            return Some(job);
        }
        if shared.depth_first {
            if !state.fresh.is_empty() && shared.open.take_in_lane() {
                return state.fresh.pop_back().map(Self::opened);
            }
            return state.begun.pop_back();
        }
        // Those that have begun and those that have not take turns.
        state.begun_next = !state.begun_next;
        if state.begun_next && !state.begun.is_empty() {
            return state.begun.pop_front();
        }
        if !state.fresh.is_empty() && shared.open.take_in_lane() {
            return state.fresh.pop_front().map(Self::opened);
        }
        state.begun.pop_front()
    }

    fn opened(mut job: Job<T, C>) -> Job<T, C> {
        job.is_open = true;
        job
    }

    /// Holds the source with this number until it is released as often.
    pub(crate) fn hold(&self, id: u64) {
        let mut state = self.state.lock();
        state.held.hold(id);
        self.note_held(&state);
    }

    pub(crate) fn release(&self, shared: &Arc<Shared<T, C>>, id: u64) {
        let called = {
            let mut state = self.state.lock();
            let free = state.held.release(id);
            self.note_held(&state);
            free.map_or(Called::Nobody, |job| {
                state.lay_back(job);
                self.call(&mut state)
            })
        };
        called.go(shared);
    }

    fn note_held(&self, state: &State<T, C>) {
        self.held.store(state.held.len(), Ordering::Relaxed);
    }

    fn resume(&self, shared: &Arc<Shared<T, C>>, resume: Resume) {
        match resume {
            Resume::Lane(id) => self.release(shared, id),
            source @ Resume::Turn(_) => shared.bell.resume(source),
        }
    }

    fn is_held(&self, job: &Job<T, C>) -> bool {
        self.held.load(Ordering::Relaxed) > 0 && self.state.lock().held.holds(job.link.id)
    }

    fn put_back(&self, shared: &Arc<Shared<T, C>>, job: Option<Job<T, C>>, children: &mut Vec<Job<T, C>>) {
        if job.is_none() && children.is_empty() {
            return;
        }
        let called = {
            let mut state = self.state.lock();
            // Breadth first, what has been yielded begins before many more are asked for. Where places are limited, any source may take
            // the one that it would need, for good: there the yielding one goes on.
            if let (Some(job), Some(last)) = (&job, children.last_mut())
                && !shared.depth_first
                && self.is_crowded(&state)
                && shared.open.is_unlimited()
            {
                last.resume = Some(Resume::Lane(job.link.id));
                state.held.hold(job.link.id);
                self.note_held(&state);
            }
            if let Some(job) = job.and_then(|job| state.held.keep(job)) {
                state.lay_back(job);
            }
            let many = children.len() > 1 || !state.is_empty();
            state.fresh.extend(children.drain(..));
            // One source is for the worker that brings it.
            if many { self.call(&mut state) } else { Called::Nobody }
        };
        called.go(shared);
    }

    /// Moves what a cell holds to where it stays in order with what other workers will leave.
    fn flush(&self, cell: usize) {
        let mut out = self.out.lock();
        out.append(&mut self.cells[cell].lock());
    }

    /// Steps one source for a while.
    fn run(&self, shared: &Arc<Shared<T, C>>, cell: usize, mut job: Job<T, C>, children: &mut Vec<Job<T, C>>) {
        if let Some(resume) = job.resume.take() {
            self.resume(shared, resume);
        }
        if job.left == 0 {
            job.left = RUN;
        }
        let mut cx = Context::from_waker(Waker::noop());
        while job.left > 0 {
            if shared.ctx.is_done() {
                self.flush(cell);
                self.drop_job(shared, job);
                return;
            }
            if self.buffered.load(Ordering::Relaxed) >= self.buffer || shared.breaker.is_set() {
                break;
            }
            if job.left.is_multiple_of(HELD_AFTER) && self.is_held(&job) {
                break;
            }
            job.left -= 1;
            let (given, end) = match guarded(|| job.sub.body.as_mut().step(&mut cx)) {
                Ok(Poll::Ready(Step::Item(given))) => (Some(given), None),
                Ok(Poll::Ready(Step::Only(given))) => (Some(given), Some(None)),
                Ok(Poll::Ready(Step::End(exception))) => (None, Some(Some(exception))),
                Ok(Poll::Pending) => break,
                Err(panic) => (
                    Some(Given::Error(Arc::clone(&panic))),
                    Some((job.sub.kind != QueueInput::Function).then_some(Some(panic))),
                ),
            };
            let end = match (&given, end) {
                (Some(Given::Error(error)), None) if job.sub.end_at_first_error => Some(Some(Some(Arc::clone(error)))),
                (_, end) => end,
            };
            match (given, end) {
                (given, Some(stop)) => return self.end(shared, cell, job, given, stop, children),
                (None, None) => {}
                (Some(given), None) => match cloned(&job.context) {
                    Ok(context) => {
                        self.pass_on(shared, cell, &job.link, Some((given, context)), None, children);
                        if !children.is_empty() && self.wanting.load(Ordering::Relaxed) > 0 {
                            self.put_back(shared, None, children);
                        }
                    }
                    Err(panic) => {
                        leave::given(shared, &job.link, given, None, CLONE_PANICKED);
                        let stop = (job.sub.kind != QueueInput::Function).then(|| Some(Arc::clone(&panic)));
                        return self.end(shared, cell, job, Some(Given::Error(panic)), stop, children);
                    }
                },
            }
        }
        self.flush(cell);
        self.put_back(shared, Some(job), children);
    }

    /// Ends a source with what it gave last, and with its iteration stop, if it has one.
    fn end(
        &self,
        shared: &Arc<Shared<T, C>>,
        cell: usize,
        job: Job<T, C>,
        given: Option<Given<T>>,
        stop: Option<Option<SharedError>>,
        children: &mut Vec<Job<T, C>>,
    ) {
        let Job { sub, link, context, .. } = job;
        let (item, end) = last_results(shared, &link, given, stop, context);
        self.pass_on(shared, cell, &link, item, end, children);
        shared.dispose(link.name.as_ref(), sub);
        let (inline_waits, lane_waits) = shared.open.give_back();
        self.put_back(shared, None, children);
        if inline_waits {
            shared.bell.ring();
        }
        if lane_waits {
            self.kick(shared);
        }
        self.uncount(shared);
    }

    /// Keeps a source that blocks for a worker, and leaves everything else for the consumer.
    fn pass_on(
        &self,
        shared: &Arc<Shared<T, C>>,
        cell: usize,
        link: &LinkRef,
        item: Option<(Given<T>, C)>,
        end: Option<Ended<C>>,
        children: &mut Vec<Job<T, C>>,
    ) {
        let item = match item {
            Some((Given::Source(sub), context)) if sub.place == Place::Lane => {
                self.live.fetch_add(1, Ordering::Relaxed);
                children.push(Job::new(shared, *sub, Some(Sources::link(link)), context));
                None
            }
            item => item,
        };
        if item.is_none() && end.is_none() {
            return;
        }
        if item.is_some() {
            self.buffered.fetch_add(1, Ordering::AcqRel);
        }
        {
            let mut cell = self.cells[cell].lock();
            match cell.last_mut() {
                Some(batch) if batch.link == *link => {
                    batch.items.extend(item);
                    batch.end = end;
                }
                _ => cell.push(Batch { link: link.clone(), items: item.into_iter().collect(), end }),
            }
        }
        self.pulse.left(shared, self.buffered.load(Ordering::Relaxed) >= self.much);
    }
}

impl<T, C> Job<T, C> {
    fn new(shared: &Shared<T, C>, mut sub: Sub<T>, parent: Option<Sources>, context: C) -> Self {
        Self { link: shared.link(&mut sub, parent), sub, context, resume: None, left: RUN, is_open: false }
    }
}
