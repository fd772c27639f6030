//! Where a result came from.

use std::fmt;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::bell::Bell;
use crate::Name;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The kind of a source.
///
/// # Examples
///
/// ```
/// use machinery::QueueInput;
///
/// assert_eq!(QueueInput::Iterator.to_string(), "iterator");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueInput {
    /// A function that runs once, when its turn comes.
    #[doc(alias = "SYNC_FUNCTION")]
    Function,
    /// An iterator.
    #[doc(alias = "SYNC_ITERATOR")]
    #[doc(alias = "SYNC_GENERATOR")]
    Iterator,
    /// A plain value.
    #[doc(alias = "VALUE")]
    Value,
    /// A future, spawned as soon as it is added.
    #[doc(alias = "COROUTINE")]
    Future,
    /// A task that was running already.
    #[doc(alias = "TASK")]
    Task,
    /// A stream, or an async generator.
    #[doc(alias = "ASYNC_GENERATOR")]
    Stream,
}

impl fmt::Display for QueueInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Function => "function",
            Self::Iterator => "iterator",
            Self::Value => "value",
            Self::Future => "future",
            Self::Task => "task",
            Self::Stream => "stream",
        })
    }
}

/// The chain of sources that a result came from, nearest first.
///
/// A clone is one reference count, however long the chain is, and all results of a source share one chain.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Feed, QueueInput, QueueManagerResult as Fed, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("sources");
/// let (feeder, mut results) = queue_manager::<u32>(&root).build();
/// feeder.add_fn("seed", || Feed::iter([7]).named("inner"));
/// let Some(Fed::Success { sources, value: 7, .. }) = results.next().await else { panic!() };
///
/// assert_eq!(sources.to_string(), "iterator `inner` from function `seed`");
/// assert_eq!(sources.nearest().kind(), QueueInput::Iterator);
/// assert_eq!(sources.iter().count(), 2);
/// # });
/// ```
#[derive(Clone)]
pub struct Sources(Repr);

#[derive(Clone)]
enum Repr {
    // Plain values need no more, and so they cost no allocation.
    Value(Name),
    Linked(Arc<Link>),
}

impl Sources {
    pub(crate) fn value(name: Name) -> Self {
        Self(Repr::Value(name))
    }

    pub(crate) fn link(link: &Arc<Link>) -> Self {
        Self(Repr::Linked(Arc::clone(link)))
    }

    /// The source that gave the result.
    #[must_use]
    pub fn nearest(&self) -> Source<'_> {
        Source(self)
    }

    /// The sources of the chain, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = Source<'_>> {
        std::iter::successors(Some(Source(self)), |source| match &source.0.0 {
            Repr::Value(_) => None,
            Repr::Linked(link) => link.parent.as_ref().map(Source),
        })
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, source) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" from ")?;
            }
            write!(f, "{source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sources({self})")
    }
}

/// One source of a chain.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, QueueInput, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("source");
/// let (feeder, mut results) = queue_manager::<u32>(&root).build();
/// feeder.add_value("answer", 42);
/// let result = results.next().await.unwrap();
/// let source = result.sources().unwrap().nearest();
/// assert_eq!(source.kind(), QueueInput::Value);
/// assert_eq!(source.name().unwrap(), "answer");
/// # });
/// ```
#[derive(Clone, Copy)]
pub struct Source<'a>(&'a Sources);

impl<'a> Source<'a> {
    /// What kind of source it is.
    #[must_use]
    pub fn kind(&self) -> QueueInput {
        match &self.0.0 {
            Repr::Value(_) => QueueInput::Value,
            Repr::Linked(link) => link.kind,
        }
    }

    /// The name that it was added with; a source that another one yielded has one only if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&'a Name> {
        match &self.0.0 {
            Repr::Value(name) => Some(name),
            Repr::Linked(link) => link.name.as_ref(),
        }
    }

    /// A number that no other source of the manager has; plain values have none.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        match &self.0.0 {
            Repr::Value(_) => None,
            Repr::Linked(link) => Some(link.id),
        }
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.id()) {
            (Some(name), _) => write!(f, "{} `{name}`", self.kind()),
            (None, Some(id)) => write!(f, "{} #{id}", self.kind()),
            (None, None) => write!(f, "{}", self.kind()),
        }
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// What is known of a source, and its waker: one allocation for both.
///
/// Invariants:
///
/// 1. `queued` is true while a turn that was asked for has not been begun. The consumer makes it false by a
///    read-modify-write before it polls, so that a wake which found it true is seen by that poll.
/// 2. `key` is written once, by the consumer, before the waker is given to anybody.
// What a wake and a turn touch lies beside the reference counts: with many sources each cache line is a cache miss.
#[repr(C)]
pub(crate) struct Link {
    queued: AtomicBool,
    pub(crate) kind: QueueInput,
    key: AtomicU32,
    bell: Option<Arc<Bell>>,
    id: u64,
    name: Option<Name>,
    parent: Option<Sources>,
}

impl Link {
    pub(crate) fn new(kind: QueueInput, name: Option<Name>, id: u64, parent: Option<Sources>) -> Self {
        Self { kind, queued: AtomicBool::new(false), key: AtomicU32::new(u32::MAX), id, name, parent, bell: None }
    }

    pub(crate) fn with_bell(mut self, bell: &Arc<Bell>) -> Self {
        self.bell = Some(Arc::clone(bell));
        self
    }

    pub(crate) fn set_key(&self, key: u32) {
        self.key.store(key, Ordering::Relaxed);
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Called right before a poll.
    pub(crate) fn begin_turn(&self) {
        if self.queued.load(Ordering::Relaxed) {
            // Acquire: what was made ready before a wake that found the flag set is seen by the poll that follows.
            self.queued.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(bell) = &self.bell
            && !self.queued.swap(true, Ordering::AcqRel)
        {
            bell.ring_for(self.key.load(Ordering::Relaxed));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A chain may be as long as the nesting was deep: it is taken apart link by link, without recursion.
        let mut above = self.parent.take();
        while let Some(Sources(Repr::Linked(link))) = above {
            above = Arc::into_inner(link).and_then(|mut link| link.parent.take());
        }
    }
}
