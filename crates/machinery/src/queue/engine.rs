//! The store of a queue: who appends meets who takes.
//!
//! Producers append to the inbox. A consumer takes the whole inbox at once as its outbox, so that the two sides seldom
//! meet at one lock. Invariants:
//!
//! 1. The order of the queue is the outbox, then the inbox, then what came late. The late part is only used once the
//!    engine is closed, and the inbox gets nothing from then on.
//! 2. `arrived` changes only under the lock of the inbox, `left` and `outgoing` only under that of the outbox;
//!    `outgoing` is the length of the outbox. The length of the queue is `arrived` less `left`.
//! 3. The outbox is refilled under both locks. So whoever holds the lock of the inbox and sees `outgoing` at zero may
//!    take the front of the inbox: it is the front of the queue, but for priority entries that are just being appended.
//! 4. Who adds an entry takes the wakers of all consumers under the lock of the inbox after the entry can be seen; a
//!    consumer registers under the same lock, after it has seen that there is none. So no wake-up is lost,
//!    and a consumer that is never polled again holds up no other.
//!    `rounds` changes, under that lock, whenever wakers are taken: as long as it stays the same, who registered is
//!    registered still, or is about to be woken.
//! 5. A consumer registers only where no producer stands in line, so that no producer waits for a consumer that waits.
//! 6. Whenever an entry leaves, the next producer in line is called, as long as there is room that nobody has been
//!    called for.
//!
//! Lock order: outbox, inbox. Nothing but moves happens under either: no waker is cloned, woken or dropped, no item
//! dropped, no instruction run.

use std::task::{Poll, Waker};

use crate::contain::{wake, wake_all};
use crate::ctx::wakers::{WaiterKey, WakerSet, Woken};
use crate::sync::BriefMutex;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::backlog::{Backlog, Entry, Instruction};
use super::line::{Line, Place};

/// Keeps what one side writes out of the cache lines of the other.
#[repr(align(128))]
struct Apart<T>(T);

struct Arrivals<T> {
    inbox: BriefMutex<Inbox<T>>,
    // Relaxed, here and below, as the locks order what matters, but for one thing: who asks for a length without
    // them must not see an entry leave that it has not seen arrive, so `left` is published by a release.
    arrived: AtomicUsize,
    rounds: AtomicUsize,
}

struct Inbox<T> {
    backlog: Backlog<T>,
    consumers: WakerSet,
    closed: bool,
    line: Line<T>,
    late: Backlog<T>,
}

struct Departures<T> {
    outbox: BriefMutex<Backlog<T>>,
    outgoing: AtomicUsize,
    left: AtomicUsize,
}

pub(crate) struct Engine<T> {
    arrivals: Apart<Arrivals<T>>,
    departures: Apart<Departures<T>>,
    /// `None` has room for everything.
    capacity: Option<usize>,
}

impl<T> Arrivals<T> {
    /// Takes all consumers, to be woken once the lock is free.
    #[inline]
    fn take_consumers(&self, inbox: &mut Inbox<T>) -> Woken {
        if !inbox.consumers.is_empty() {
            add(&self.rounds, 1);
        }
        inbox.consumers.take_woken()
    }

    /// Registers `waker` in place of what `registration` stands for; gives back the waker that it replaced.
    #[inline(always)]
    fn register(&self, inbox: &mut Inbox<T>, registration: &mut Registration, waker: Waker) -> Option<Waker> {
        registration.round = self.rounds.load(Relaxed);
        registration.data = waker.data().addr();
        registration.vtable = std::ptr::from_ref(waker.vtable()).addr();
        if let Some(slot) = registration.key.and_then(|key| inbox.consumers.get_mut(key)) {
            return Some(std::mem::replace(slot, waker));
        }
        registration.key = Some(inbox.consumers.insert(waker));
        None
    }
}

/// Where a consumer is registered, and with which waker.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    key: Option<WaiterKey>,
    // What `Waker::will_wake` compares. The round stands between the two so that they are not compared in one piece,
    // which would wait for both of their stores.
    data: usize,
    round: usize,
    vtable: usize,
}

impl Registration {
    /// Whether `waker` is registered in this round.
    #[inline]
    fn stands(&self, round: usize, waker: &Waker) -> bool {
        self.key.is_some()
            && self.round == round
            && self.data == waker.data().addr()
            && self.vtable == std::ptr::from_ref(waker.vtable()).addr()
    }
}

/// What became of a wish to wait for an entry.
pub(crate) enum Wait<T> {
    /// Something may be there again.
    Retry,
    /// A producer that stood in line gave its item.
    Item(T),
    /// The waker is registered.
    Registered,
    /// Nothing will come any more.
    Closed,
}

/// An item on its way into the queue.
#[derive(Debug)]
pub(crate) enum Offer<T> {
    Holding(T),
    InLine(u64),
    Over,
}

/// Why an item was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

impl<T> Engine<T> {
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        Self {
            arrivals: Apart(Arrivals {
                inbox: BriefMutex::new(Inbox {
                    backlog: Backlog::new(),
                    consumers: WakerSet::default(),
                    closed: false,
                    line: Line::new(),
                    late: Backlog::new(),
                }),
                arrived: AtomicUsize::new(0),
                rounds: AtomicUsize::new(0),
            }),
            departures: Apart(Departures {
                outbox: BriefMutex::new(Backlog::new()),
                outgoing: AtomicUsize::new(0),
                left: AtomicUsize::new(0),
            }),
            capacity,
        }
    }

    /// How many entries there are, late ones included.
    pub(crate) fn len(&self) -> usize {
        // In this order an entry that moves meanwhile is counted rather than missed.
        let left = self.departures.0.left.load(Acquire);
        self.arrivals.0.arrived.load(Relaxed).wrapping_sub(left)
    }

    /// Whether there is anything, late or not. While the outbox lasts, that touches nothing that producers write.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.departures.0.outgoing.load(Relaxed) != 0 || self.len() != 0
    }

    /// Whether what is left has a drop that may do anything.
    pub(crate) fn drops_of_users(&self) -> bool {
        let outbox = self.departures.0.outbox.lock();
        let inbox = self.arrivals.0.inbox.lock();
        outbox.drops_of_users() || inbox.backlog.drops_of_users() || inbox.late.drops_of_users()
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// How many entries a consumer that drains now has before it.
    pub(crate) fn len_in_time(&self) -> usize {
        let outbox = self.departures.0.outbox.lock();
        let inbox = self.arrivals.0.inbox.lock();
        outbox.len() + inbox.backlog.len()
    }

    /// Appends at the back.
    #[inline]
    pub(crate) fn push(&self, entry: Entry<T>) {
        let arrivals = &self.arrivals.0;
        let woken = {
            let mut inbox = arrivals.inbox.lock();
            let inbox = &mut *inbox;
            if inbox.closed { &mut inbox.late } else { &mut inbox.backlog }.push_back(entry);
            add(&arrivals.arrived, 1);
            arrivals.take_consumers(inbox)
        };
        woken.wake();
    }

    /// Appends in front of everything.
    pub(crate) fn push_front(&self, entry: Entry<T>) {
        let departures = &self.departures.0;
        let woken = {
            let mut outbox = departures.outbox.lock();
            let mut inbox = self.arrivals.0.inbox.lock();
            if inbox.closed {
                inbox.late.push_front(entry);
                add(&self.arrivals.0.arrived, 1);
            } else {
                outbox.push_front(entry);
                departures.outgoing.store(outbox.len(), Relaxed);
                add(&departures.left, 1_usize.wrapping_neg());
            }
            self.arrivals.0.take_consumers(&mut inbox)
        };
        woken.wake();
    }

    /// Takes what is at the front, if that is an item and did not come late.
    #[inline]
    pub(crate) fn pop_item(&self) -> Option<T> {
        let item = self.pop_item_quietly()?;
        if self.capacity.is_some() {
            self.call_producers();
        }
        Some(item)
    }

    #[inline]
    fn pop_item_quietly(&self) -> Option<T> {
        let arrivals = &self.arrivals.0;
        if self.departures.0.outgoing.load(Relaxed) == 0 {
            let mut inbox = arrivals.inbox.lock();
            // Moving a single entry to the outbox first would cost another lock.
            if self.is_next(&inbox) && inbox.backlog.len() <= 1 {
                let item = inbox.backlog.pop_item()?;
                add(&arrivals.arrived, 1_usize.wrapping_neg());
                return Some(item);
            }
        }
        self.pop_outbox(Backlog::pop_item)
    }

    /// Takes what is at the front, if that is an instruction and did not come late.
    pub(crate) fn pop_instruction(&self) -> Option<Instruction> {
        let instruction = self.pop_outbox(Backlog::pop_instruction)?;
        if self.capacity.is_some() {
            self.call_producers();
        }
        Some(instruction)
    }

    #[inline]
    fn pop_outbox<R>(&self, pop: impl FnOnce(&mut Backlog<T>) -> Option<R>) -> Option<R> {
        let departures = &self.departures.0;
        let mut outbox = departures.outbox.lock();
        if outbox.is_empty() {
            let mut inbox = self.arrivals.0.inbox.lock();
            std::mem::swap(&mut *outbox, &mut inbox.backlog);
            departures.outgoing.store(outbox.len(), Relaxed);
        }
        let popped = pop(&mut outbox)?;
        departures.outgoing.store(outbox.len(), Relaxed);
        add(&departures.left, 1);
        Some(popped)
    }

    /// Whether the front of the inbox is the front of the queue.
    #[inline]
    fn is_next(&self, _: &Inbox<T>) -> bool {
        self.departures.0.outgoing.load(Relaxed) == 0
    }

    /// Takes an item as [`pop_item`](Self::pop_item) does, and if that was the last entry, registers the consumer for
    /// the next one under the same lock: one that had to wait for this item will most likely have to wait again.
    #[inline]
    pub(crate) fn pop_item_and_wait(&self, registration: &mut Registration, waker: &Waker) -> Option<T> {
        if self.capacity.is_some() || self.len() != 1 {
            return self.pop_item();
        }
        let arrivals = &self.arrivals.0;
        let waker = waker.clone();
        let mut inbox = arrivals.inbox.lock();
        if self.is_next(&inbox)
            && inbox.backlog.len() == 1
            && !inbox.closed
            && let Some(item) = inbox.backlog.pop_item()
        {
            add(&arrivals.arrived, 1_usize.wrapping_neg());
            let replaced = arrivals.register(&mut inbox, registration, waker);
            drop(inbox);
            drop(replaced);
            return Some(item);
        }
        drop(inbox);
        drop(waker);
        self.pop_item()
    }

    /// Takes what is at the front, what came late included.
    pub(crate) fn pop_any(&self) -> Option<Entry<T>> {
        // Another consumer may come between two of these, hence the length.
        while self.len() != 0 {
            if let Some(item) = self.pop_item() {
                return Some(Entry::Item(item));
            }
            if let Some(instruction) = self.pop_instruction() {
                return Some(Entry::Instruction(instruction));
            }
            let mut inbox = self.arrivals.0.inbox.lock();
            let late = match inbox.late.pop_item() {
                Some(item) => Some(Entry::Item(item)),
                None => inbox.late.pop_instruction().map(Entry::Instruction),
            };
            if late.is_some() {
                add(&self.arrivals.0.arrived, 1_usize.wrapping_neg());
                return late;
            }
        }
        None
    }

    /// Whether `waker` is registered: what changes from now on is followed by a wake-up, and what changed before was
    /// seen by whoever looked before.
    #[inline]
    pub(crate) fn waits(&self, registration: &Registration, waker: &Waker) -> bool {
        registration.stands(self.arrivals.0.rounds.load(Relaxed), waker)
    }

    /// Registers a consumer, unless something is there.
    #[inline]
    pub(crate) fn wait(&self, registration: &mut Registration, waker: &Waker) -> Wait<T> {
        if self.waits(registration, waker) {
            return Wait::Registered;
        }
        let arrivals = &self.arrivals.0;
        let waker = waker.clone();
        let mut inbox = arrivals.inbox.lock();
        if inbox.backlog.is_empty() && self.is_next(&inbox) && inbox.line.is_empty() && !inbox.closed {
            let replaced = arrivals.register(&mut inbox, registration, waker);
            drop(inbox);
            drop(replaced);
            return Wait::Registered;
        }
        drop(inbox);
        drop(waker);
        self.serve_line()
    }

    /// Takes the item of the first producer in line, if there is nothing else, for one who does not wait until it comes.
    pub(crate) fn pop_line(&self) -> Option<T> {
        self.capacity?;
        match self.serve_line() {
            Wait::Item(item) => Some(item),
            Wait::Registered | Wait::Retry | Wait::Closed => None,
        }
    }

    /// Takes the item of the first producer in line, if there is nothing else.
    #[cold]
    fn serve_line(&self) -> Wait<T> {
        let mut inbox = self.arrivals.0.inbox.lock();
        if !inbox.backlog.is_empty() || !self.is_next(&inbox) {
            return Wait::Retry;
        }
        if inbox.closed {
            return Wait::Closed;
        }
        let Some((item, producer)) = inbox.line.serve_first() else {
            return Wait::Retry;
        };
        drop(inbox);
        if let Some(producer) = producer {
            wake(producer);
        }
        // A producer that had been called leaves its room to the next one.
        self.call_producers();
        Wait::Item(item)
    }

    /// Takes a consumer's registration back.
    pub(crate) fn stop_waiting(&self, registration: &mut Registration) {
        if let Some(key) = registration.key.take() {
            let waker = self.arrivals.0.inbox.lock().consumers.remove(key);
            drop(waker);
        }
    }

    /// Wakes all consumers, who have something other than an entry to look at.
    pub(crate) fn wake_consumers(&self) {
        let woken = self.arrivals.0.take_consumers(&mut self.arrivals.0.inbox.lock());
        woken.wake();
    }

    /// From now on whatever is appended is late, and who stands in line gets its item back.
    pub(crate) fn close(&self) {
        let (consumers, producers) = {
            let mut inbox = self.arrivals.0.inbox.lock();
            if inbox.closed {
                return;
            }
            inbox.closed = true;
            (self.arrivals.0.take_consumers(&mut inbox), inbox.line.call_all())
        };
        consumers.wake();
        wake_all(producers);
    }

    /// Appends if there is room that nobody waits for; with no room at all, if a consumer waits.
    pub(crate) fn try_push(&self, item: T) -> Result<(), (T, Refusal)> {
        self.push_if(item, |inbox, room| inbox.line.lets_in(room) || self.is_awaited(inbox))
    }

    /// Whether a consumer waits for an item of a queue with no room at all.
    fn is_awaited(&self, inbox: &Inbox<T>) -> bool {
        self.capacity == Some(0) && self.len() == 0 && inbox.line.is_empty() && !inbox.consumers.is_empty()
    }

    fn push_if(&self, item: T, may: impl FnOnce(&Inbox<T>, usize) -> bool) -> Result<(), (T, Refusal)> {
        let woken = {
            let mut inbox = self.arrivals.0.inbox.lock();
            if inbox.closed {
                return Err((item, Refusal::Closed));
            }
            if !may(&inbox, self.room()) {
                return Err((item, Refusal::Full));
            }
            inbox.backlog.push_back(Entry::Item(item));
            add(&self.arrivals.0.arrived, 1);
            self.arrivals.0.take_consumers(&mut inbox)
        };
        woken.wake();
        Ok(())
    }

    /// Appends once there is room, in the order of the first polls; gives the item back once the engine is closed.
    pub(crate) fn poll_offer(&self, offer: &mut Offer<T>, waker: &Waker) -> Poll<Result<(), T>> {
        match std::mem::replace(offer, Offer::Over) {
            Offer::Holding(item) => match self.push_if(item, |inbox, room| inbox.line.lets_in(room)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err((item, Refusal::Closed)) => Poll::Ready(Err(item)),
                Err((item, Refusal::Full)) => self.join(offer, item, waker.clone()),
            },
            Offer::InLine(place) => self.come(offer, place, waker.clone()),
            Offer::Over => Poll::Ready(Ok(())),
        }
    }

    fn join(&self, offer: &mut Offer<T>, item: T, waker: Waker) -> Poll<Result<(), T>> {
        let mut unused = None;
        let arrivals = &self.arrivals.0;
        let mut inbox = arrivals.inbox.lock();
        let polled = if inbox.closed {
            unused = Some(waker);
            Poll::Ready(Err(item))
        } else if inbox.line.lets_in(self.room()) {
            unused = Some(waker);
            inbox.backlog.push_back(Entry::Item(item));
            add(&arrivals.arrived, 1);
            Poll::Ready(Ok(()))
        } else {
            *offer = Offer::InLine(inbox.line.join(item, waker));
            Poll::Pending
        };
        // Also for one who only joins the line: with no room at all, a waiting consumer is the one who can serve it.
        let woken = self.arrivals.0.take_consumers(&mut inbox);
        drop(inbox);
        drop(unused);
        woken.wake();
        polled
    }

    fn come(&self, offer: &mut Offer<T>, place: u64, waker: Waker) -> Poll<Result<(), T>> {
        let mut waker = Some(waker);
        let arrivals = &self.arrivals.0;
        let mut inbox = arrivals.inbox.lock();
        let room = self.room();
        let polled = match inbox.line.come(place, &mut waker) {
            Place::Served => Poll::Ready(Ok(())),
            Place::Called(item) if inbox.closed => Poll::Ready(Err(item)),
            Place::Called(item) if room > 0 => {
                inbox.backlog.push_back(Entry::Item(item));
                add(&arrivals.arrived, 1);
                Poll::Ready(Ok(()))
            }
            Place::Called(item) => {
                if let Some(waker) = waker.take() {
                    inbox.line.wait_on(place, item, waker);
                }
                *offer = Offer::InLine(place);
                Poll::Pending
            }
            Place::Waiting => {
                *offer = Offer::InLine(place);
                Poll::Pending
            }
        };
        let woken = self.arrivals.0.take_consumers(&mut inbox);
        drop(inbox);
        drop(waker);
        woken.wake();
        polled
    }

    /// Gives an item up that was not appended; says what it was.
    pub(crate) fn withdraw(&self, offer: &mut Offer<T>) -> Option<T> {
        match std::mem::replace(offer, Offer::Over) {
            Offer::Holding(item) => Some(item),
            Offer::Over => None,
            Offer::InLine(place) => {
                let mut inbox = self.arrivals.0.inbox.lock();
                let left = inbox.line.leave(place);
                drop(inbox);
                // The room that it was called for is for the next one.
                self.call_producers();
                left.map(|(item, _)| item)
            }
        }
    }

    fn call_producers(&self) {
        loop {
            let called = {
                let mut inbox = self.arrivals.0.inbox.lock();
                let room = self.room();
                inbox.line.call(room)
            };
            match called {
                Some(producer) => wake(producer),
                None => return,
            }
        }
    }

    /// How many entries may still come. To be asked under the lock of the inbox: it only grows meanwhile, unless a
    /// priority entry comes, and whoever makes it grow calls the producers next.
    fn room(&self) -> usize {
        match self.capacity {
            None => usize::MAX,
            Some(capacity) => capacity.saturating_sub(self.len()),
        }
    }
}

/// Adds to a counter of which the caller holds the lock.
#[inline]
fn add(counter: &AtomicUsize, by: usize) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Release);
}
