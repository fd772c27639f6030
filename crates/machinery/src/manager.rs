//! Many sources, one stream of results.
//!
//! [`queue_manager`] gives a pair: a [`QueueFeeder`], which takes values, functions, iterators, futures, tasks and streams, and a [`Streamer`], the one
//! stream of what they yield. What a source yields may itself be a source, to any depth: see [`Feed`]. Every result says where it came
//! from: see [`Sources`].

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::sync::BriefMutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use crate::{Ctx, Event, Name};

mod bell;
mod body;
mod engine;
mod feed;
mod feeder;
mod going;
mod lane;
mod leave;
mod link;
mod node;
mod own;
mod pulse;
mod result;
mod running;
mod shared;
mod sources;
mod streamer;

pub use body::SourcePanicked;
pub use feed::{Feed, IntoFeed};
use feeder::Empty;
pub use feeder::QueueFeeder;
pub use result::{Added, QueueManagerResult};
pub use sources::{QueueInput, Source, Sources};
pub use streamer::{Next, Streamer};

/// Begins a manager of `T`s on `ctx`; [`build`](QueueManagerBuilder::build) gives its two sides.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("managing");
/// let (feeder, mut results) = queue_manager::<String>(&root).build();
/// feeder.add_iter("words", ["one".to_owned(), "two".to_owned()]);
/// feeder.set_as_finished_if_out_of_sources();
/// while let Some(result) = results.next().await {
///     println!("{result:?}");
/// }
/// # });
/// ```
#[doc(alias = "StreamMap")]
#[doc(alias = "SelectAll")]
#[doc(alias = "join_next")]
pub fn queue_manager<T: Send + 'static>(ctx: &Ctx) -> QueueManagerBuilder<T> {
    QueueManagerBuilder {
        ctx: ctx.clone(),
        name: Name::from("queue_manager"),
        empty: Empty::Plain(|| ()),
        max_running: usize::MAX,
        max_open: usize::MAX,
        depth_first: false,
        blocking_threads: cores(),
        blocking_buffer: 1024,
        types: std::marker::PhantomData,
    }
}

/// How many cores there are; asking the system costs as much as a whole small manager.
fn cores() -> usize {
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(2, usize::from))
}

/// The options of a manager.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue_manager};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("options");
/// let (feeder, results) = queue_manager::<u32>(&root)
///     .name("crawl")
///     .max_running(8)
///     .max_open(100)
///     .depth_first()
///     .build();
/// assert_eq!(results.ctx().full_name(), "options-->crawl");
/// # });
/// ```
#[must_use = "a manager is made by `build`"]
pub struct QueueManagerBuilder<T, C = ()> {
    ctx: Ctx,
    name: Name,
    empty: Empty<C>,
    max_running: usize,
    max_open: usize,
    depth_first: bool,
    blocking_threads: usize,
    blocking_buffer: usize,
    types: std::marker::PhantomData<fn() -> T>,
}

impl<T: Send + 'static, C: Clone + Send + 'static> QueueManagerBuilder<T, C> {
    /// Names the manager and its context; `queue_manager` if it is not called.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// Says what context value a source has that is given none; without it the context value is `()`. A panic of `make` is passed on to
    /// whoever adds the source.
    pub fn make_empty_context<D>(self, make: impl Fn() -> D + Send + Sync + 'static) -> QueueManagerBuilder<T, D> {
        QueueManagerBuilder {
            ctx: self.ctx,
            name: self.name,
            empty: Empty::Made(Arc::new(make)),
            max_running: self.max_running,
            max_open: self.max_open,
            depth_first: self.depth_first,
            blocking_threads: self.blocking_threads,
            blocking_buffer: self.blocking_buffer,
            types: self.types,
        }
    }

    /// Limits how many futures and tasks run at once, at any depth, to at least 1; there is no limit if it is not called.
    ///
    /// Those above it wait, and a source that yielded one of them is not asked for more until it runs; a blocking source has been stepped
    /// ahead of that by what the buffer allows. Tasks that are added run already: they count, and futures wait for them.
    pub fn max_running(mut self, limit: usize) -> Self {
        self.max_running = limit.max(1);
        self
    }

    /// Limits how many functions, iterators and streams are open at once, at any depth, to at least 1; there is no limit if it is not
    /// called.
    ///
    /// A source is open from the turn that it is opened in until it has ended. Those above the limit wait unopened; a source that yielded
    /// one of them is not asked for more until it is open, unless no other source is left that could go on. A blocking source goes on
    /// after another blocking one in any case: those wait unopened then.
    pub fn max_open(mut self, limit: usize) -> Self {
        self.max_open = limit.max(1);
        self
    }

    /// Goes into what a source yields before the source itself goes on, so that walking a tree of any width holds few sources open.
    ///
    /// A source is set aside while one that it yielded is open; at the limit of [`max_open`](Self::max_open) it goes on to its end, and
    /// what it yielded follows. Blocking sources are stepped some way before what they have yielded by then is gone into. Without
    /// this, all sources that are open take turns (breadth first).
    pub fn depth_first(mut self) -> Self {
        self.depth_first = true;
        self
    }

    /// Says on how many threads blocking functions and iterators are stepped, at least 1; one for each core if it is not called.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking_threads = threads.max(1);
        self
    }

    /// Says how many items blocking sources may be ahead of the consumer in all, at least 1; 1,024 if it is not called.
    ///
    /// Each thread may be in the middle of one step more.
    pub fn blocking_buffer(mut self, items: usize) -> Self {
        self.blocking_buffer = items.max(1);
        self
    }

    /// Makes the manager, on a child context of its own.
    ///
    /// Futures, tasks, blocking sources and streams in tasks of their own need a runtime; everything else works without one.
    #[must_use]
    #[track_caller]
    pub fn build(self) -> (QueueFeeder<T, C>, Streamer<T, C>) {
        let guard = self.ctx.child(self.name);
        let shared = Arc::new(shared::Shared {
            ctx: guard.ctx(),
            bell: Arc::default(),
            inbox: BriefMutex::new(shared::Inbox::default()),
            feeders: AtomicUsize::new(1),
            finished: AtomicBool::new(false),
            open: shared::OpenLimit::new(self.max_open),
            running: running::Running::new(self.max_running),
            lane: lane::Lane::new(self.blocking_threads.min(1024), self.blocking_buffer),
            breaker: Event::new(),
            resumed: Notify::new(),
            depth_first: self.depth_first,
            ids: AtomicU64::new(0),
            going: Arc::default(),
        });
        let witness: Weak<going::GoingOn> = Arc::downgrade(&shared.going);
        guard.add_witness(witness);
        (QueueFeeder::new(Arc::clone(&shared), self.empty), Streamer::new(shared, guard))
    }
}

impl<T, C> fmt::Debug for QueueManagerBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueManagerBuilder")
            .field("name", &self.name)
            .field("max_running", &self.max_running)
            .field("max_open", &self.max_open)
            .field("depth_first", &self.depth_first)
            .field("blocking_threads", &self.blocking_threads)
            .field("blocking_buffer", &self.blocking_buffer)
            .finish_non_exhaustive()
    }
}
