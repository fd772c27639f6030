//! Where a result came from.

use std::fmt;

use super::link::{Link, LinkRef};
use crate::Name;

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
/// It keeps nothing of a source that has ended but the memory that it lay in.
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
    Linked(LinkRef),
}

impl Sources {
    pub(crate) fn value(name: Name) -> Self {
        Self(Repr::Value(name))
    }

    pub(crate) fn link(link: &LinkRef) -> Self {
        Self::of(link.clone())
    }

    pub(crate) fn of(link: LinkRef) -> Self {
        Self(Repr::Linked(link))
    }

    pub(crate) fn into_link(self) -> Option<LinkRef> {
        match self.0 {
            Repr::Value(_) => None,
            Repr::Linked(link) => Some(link),
        }
    }

    /// The source that gave the result.
    #[must_use]
    pub fn nearest(&self) -> Source<'_> {
        match &self.0 {
            Repr::Value(name) => Source(Seen::Value(name)),
            Repr::Linked(link) => Source(Seen::Linked(link)),
        }
    }

    /// The sources of the chain, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = Source<'_>> {
        std::iter::successors(Some(self.nearest()), |source| match source.0 {
            Seen::Value(_) => None,
            Seen::Linked(link) => link.parent.as_deref().map(|above| Source(Seen::Linked(above))),
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
pub struct Source<'a>(Seen<'a>);

#[derive(Clone, Copy)]
enum Seen<'a> {
    Value(&'a Name),
    Linked(&'a Link),
}

impl<'a> Source<'a> {
    /// What kind of source it is.
    #[must_use]
    pub fn kind(&self) -> QueueInput {
        match self.0 {
            Seen::Value(_) => QueueInput::Value,
            Seen::Linked(link) => link.kind,
        }
    }

    /// The name that it was added with; a source that another one yielded has one only if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&'a Name> {
        match self.0 {
            Seen::Value(name) => Some(name),
            Seen::Linked(link) => link.name.as_ref(),
        }
    }

    /// A number that no other source of the manager has; plain values have none.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        match self.0 {
            Seen::Value(_) => None,
            Seen::Linked(link) => Some(link.id),
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
