//! What a feeder, a streamer and everything that runs for them have in common.
//!
//! Invariants:
//!
//! 1. Whoever puts something into an empty `entries` rings the bell afterwards. The consumer takes `entries` whole, after it
//!    has begun to collect, so that nothing is left in there without a call on its way.
//! 2. Once `closed` is true nothing is put in any more. The consumer makes it true only in the critical section that found
//!    `entries` empty, and after it has read every counter of `live` work as zero; such work is counted before the lock that adds it
//!    is released, and is uncounted after its results have been put in.
//! 3. Code of the user (conversions, clones and drops of values and context values, wakers) runs without any of these locks.
//!
//! Lock order: `Lane::out`, then a cell of the lane; every other lock here is held alone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::bell::Bell;
use super::body::guarded;
use super::feed::{Given, Sub};
use super::going::GoingOn;
use super::lane::Lane;
use super::link::{Link, LinkRef};
use super::node::Owner;
use super::running::Running;
use super::sources::{QueueInput, Sources};
use crate::sync::BriefMutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::{Ctx, Event, Name, NoRuntime, Report, SharedError};

/// What is reported of a source, or of what it has yielded, whose drop panics.
pub(crate) const DROP_PANICKED: &str = "source panicked when it was dropped";
/// What is reported of a source that fails when nobody reads results any more.
pub(crate) const LATE: &str = "source failed after its stream had ended";
/// What is reported where a result is lost since there is no context value for it.
pub(crate) const CLONE_PANICKED: &str = "context value of a source panicked when it was cloned";

pub(crate) struct Shared<T, C> {
    pub(crate) ctx: Ctx,
    pub(crate) bell: Arc<Bell>,
    pub(crate) inbox: BriefMutex<Inbox<T, C>>,
    pub(crate) feeders: AtomicUsize,
    pub(crate) finished: AtomicBool,
    pub(crate) open: OpenLimit,
    pub(crate) running: Running<T, C>,
    pub(crate) lane: Lane<T, C>,
    pub(crate) breaker: Event,
    pub(crate) resumed: Notify,
    pub(crate) depth_first: bool,
    pub(crate) ids: AtomicU64,
    pub(crate) going: Arc<GoingOn>,
}

pub(crate) struct Inbox<T, C> {
    pub(crate) entries: VecDeque<Entry<T, C>>,
    pub(crate) values: VecDeque<(T, C)>,
    pub(crate) fresh: VecDeque<Owner<T, C>>,
    /// How many turns the entries have.
    pub(crate) turns: usize,
    pub(crate) closed: bool,
}

impl<T, C> Default for Inbox<T, C> {
    fn default() -> Self {
        let (entries, values, fresh) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { entries, values, fresh, turns: 0, closed: false }
    }
}

impl<T, C> Inbox<T, C> {
    /// Puts in something that has one turn; says whether it is the first entry.
    pub(crate) fn put(&mut self, entry: Entry<T, C>) -> bool {
        let first = self.entries.is_empty();
        self.entries.push_back(entry);
        self.turns += 1;
        first
    }

    /// Puts in a source that takes its turns where the results are consumed; says whether it is the first entry.
    pub(crate) fn put_source(&mut self, source: Owner<T, C>) -> bool {
        let first = self.entries.is_empty();
        if let Some(Entry::Sources { count }) = self.entries.back_mut() {
            *count += 1;
        } else {
            self.entries.push_back(Entry::Sources { count: 1 });
        }
        self.fresh.push_back(source);
        self.turns += 1;
        first
    }
}

/// Something that takes its turn once: a value, a source to open, or what a future or a task ended with.
pub(crate) enum Entry<T, C> {
    /// So many plain values of one name, which are first in `values`: each has a turn of its own.
    Values {
        name: Name,
        count: usize,
    },
    /// So many sources, which are first in `fresh`: each has a turn of its own.
    Sources {
        count: usize,
    },
    /// A source that takes its steps elsewhere.
    Elsewhere {
        sub: Box<Sub<T>>,
        context: C,
    },
    Arrived {
        link: LinkRef,
        given: Given<T>,
        context: C,
    },
}

impl<T, C> Entry<T, C> {
    pub(crate) const fn turns(&self) -> usize {
        match self {
            Self::Values { count, .. } | Self::Sources { count } => *count,
            Self::Elsewhere { .. } | Self::Arrived { .. } => 1,
        }
    }
}

impl<T, C> Shared<T, C> {
    /// Puts something in for the consumer, or gives it back if the stream has ended.
    pub(crate) fn put(&self, entry: Entry<T, C>) -> Result<(), Entry<T, C>> {
        let first = {
            let mut inbox = self.inbox.lock();
            if inbox.closed {
                return Err(entry);
            }
            inbox.put(entry)
        };
        if first {
            self.bell.ring();
        }
        Ok(())
    }

    /// Puts in the error that a future or a task ended with, which is reported if nobody will read it.
    pub(crate) fn arrive_failed(&self, link: &LinkRef, error: SharedError, context: C) {
        let entry = Entry::Arrived { link: link.clone(), given: Given::Error(Arc::clone(&error)), context };
        if let Err(refused) = self.put(entry) {
            self.report(LATE, &Sources::link(link), Some(&error));
            self.dispose(link.name.as_ref(), refused);
            self.dispose(link.name.as_ref(), error);
        }
    }

    /// The record of a source that is stepped elsewhere.
    pub(crate) fn link(&self, sub: &mut Sub<T>, parent: Option<Sources>) -> LinkRef {
        LinkRef::alone(self.new_link(sub.kind, sub.name.take(), parent))
    }

    pub(crate) fn new_link(&self, kind: QueueInput, name: Option<Name>, parent: Option<Sources>) -> Link {
        Link::new(kind, name, self.next_id(), parent.and_then(Sources::into_link))
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn runtime(&self) -> Result<Handle, NoRuntime> {
        self.ctx.runtime()
    }

    pub(crate) fn report(&self, what: &str, sources: &Sources, error: Option<&SharedError>) {
        let nearest = sources.nearest();
        self.report_named(what, nearest.name(), error);
    }

    /// Drops what belongs to the source `name`; a panic of that is reported, and goes no further.
    pub(crate) fn dispose<D>(&self, name: Option<&Name>, what: D) {
        if let Err(panic) = guarded(move || drop(what)) {
            self.report_named(DROP_PANICKED, name, Some(&panic));
        }
    }

    pub(crate) fn report_named(&self, what: &str, name: Option<&Name>, error: Option<&SharedError>) {
        let mut report = Report::new(&self.ctx, what);
        if let Some(name) = name {
            report = report.task(name);
        }
        if let Some(error) = error {
            report = report.error(error);
        }
        report.send();
    }

    /// What keeps the stream from its end.
    pub(crate) fn describe(&self, shown: &mut fmt::DebugStruct<'_, '_>) {
        shown
            .field("ctx", &self.ctx)
            .field("feeders", &self.feeders.load(Ordering::Acquire))
            .field("finishes_when_out_of_sources", &self.finished.load(Ordering::Acquire))
            .field("futures", &self.running.live())
            .field("blocking", &self.lane.live());
    }

    /// Whether no source will come any more, apart from those that sources yield.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire) || self.feeders.load(Ordering::Acquire) == 0
    }
}

/// Who is not asked for more until a source has begun that it yielded.
#[derive(Clone)]
pub(crate) enum Resume {
    /// A source in the consumer's hands.
    Turn(LinkRef),
    /// The blocking source of this number.
    Lane(u64),
}

/// How many sources are open at once.
///
/// `used` counts them, those of the consumer and those of the lane together. Who is refused leaves its flag and tries once more, so
/// that a place given back in between is not missed.
pub(crate) struct OpenLimit {
    max: usize,
    used: AtomicUsize,
    inline_waits: AtomicBool,
    lane_waits: AtomicBool,
}

impl OpenLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            used: AtomicUsize::new(0),
            inline_waits: AtomicBool::new(false),
            lane_waits: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.max == usize::MAX
    }

    fn try_take(&self) -> bool {
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| (used < self.max).then_some(used + 1)).is_ok()
    }

    fn take(&self, waits: &AtomicBool) -> bool {
        if self.max == usize::MAX || self.try_take() {
            return true;
        }
        waits.store(true, Ordering::SeqCst);
        self.try_take()
    }

    pub(crate) fn take_inline(&self) -> bool {
        self.take(&self.inline_waits)
    }

    pub(crate) fn take_in_lane(&self) -> bool {
        self.take(&self.lane_waits)
    }

    /// Gives a place back; says whether the consumer, and the lane, want to hear of it.
    pub(crate) fn give_back(&self) -> (bool, bool) {
        if self.max == usize::MAX {
            return (false, false);
        }
        self.used.fetch_sub(1, Ordering::SeqCst);
        (self.inline_waits.swap(false, Ordering::SeqCst), self.lane_waits.swap(false, Ordering::SeqCst))
    }
}
