//! Callbacks that run when a context completes.
//!
//! # Invariants
//!
//! 1. A callback stands in its node's queue until it is taken out to be run or to be removed, under the node's lock;
//!    whoever takes it out decides, so that it runs exactly once or never.
//! 2. The queue is in the order of registration.
//! 3. After `DONE` nothing is added; one thread, the one that completed the node, takes them from the front.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::family::NodeRef;
use super::node::HANDED;
use super::notify::wake_all;
use super::wakers::{WaiterKey, WakerSet};
use super::{Completion, Ctx};
use crate::sync::atomic::Ordering;
use crate::tramp::Report;

/// Names one registered callback; what [`Ctx::add_done_callback`] and [`Ctx::add_on_done`] return.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, ctx::Removal};
///
/// let root = Ctx::beginning("app");
/// let id = root.add_done_callback(|why| println!("{why}"));
/// assert!(root.has_direct_done_callback(id));
/// assert_eq!(root.remove_done_callback(id), Removal::Removed);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallbackId {
    /// Which context: zero for a callback that ran before its registration returned.
    registry: u64,
    /// Which of its callbacks.
    order: u64,
}

/// What [`Ctx::remove_done_callback`] found.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, ctx::Removal};
///
/// let root = Ctx::beginning("app");
/// let id = root.add_done_callback(|_| {});
/// root.cancel();
/// assert_eq!(root.remove_done_callback(id), Removal::AlreadyRun);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Removal {
    /// This call prevented the run: the callback never runs.
    Removed,
    /// It is running now. [`Ctx::callback_finished`] waits for its end.
    Running,
    /// There was nothing left to prevent: it has run, or an earlier call removed it.
    AlreadyRun,
}

impl CallbackId {
    /// Of a callback that ran before its registration returned.
    pub(crate) const RUN: Self = Self { registry: 0, order: 0 };

    pub(crate) fn new(registry: u64, order: u64) -> Self {
        Self { registry, order }
    }

    /// Which callback of `registry` it is.
    pub(crate) fn order_in(self, registry: u64) -> Option<u64> {
        (self.registry == registry && registry != 0).then_some(self.order)
    }
}

/// A number that no other list of callbacks has.
pub(crate) fn new_registry() -> u64 {
    static REGISTRIES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    REGISTRIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

type OnCompletion = Box<dyn FnOnce(&Completion) + Send>;
type OnCtxCompletion = Box<dyn FnOnce(&Ctx, &Completion) + Send>;

pub(super) enum Callback {
    Done(OnCompletion),
    OnDone(OnCtxCompletion),
}

impl Callback {
    fn run(self, ctx: &Ctx, completion: &Completion) {
        let ran = crate::contain::contain(move || match self {
            Self::Done(run) => run(completion),
            Self::OnDone(run) => run(ctx, completion),
        });
        if let Err(error) = ran {
            Report::new(ctx, "a callback panicked").error(&error).send();
        }
    }
}

/// The callbacks of one node.
pub(super) struct Callbacks {
    registry: u64,
    next: u64,
    live: usize,
    queue: VecDeque<(u64, Option<Callback>)>,
    running: Option<u64>,
    finish_waiters: WakerSet,
}

impl Callbacks {
    fn new() -> Self {
        Self {
            registry: new_registry(),
            next: 0,
            live: 0,
            queue: VecDeque::new(),
            running: None,
            finish_waiters: WakerSet::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    fn push(&mut self, callback: Callback) -> CallbackId {
        let order = self.next;
        self.next += 1;
        self.live += 1;
        self.queue.push_back((order, Some(callback)));
        CallbackId { registry: self.registry, order }
    }

    fn place(&self, id: CallbackId) -> Option<usize> {
        if id.registry != self.registry {
            return None;
        }
        let place = self.queue.binary_search_by_key(&id.order, |entry| entry.0).ok()?;
        self.queue[place].1.is_some().then_some(place)
    }

    fn remove(&mut self, id: CallbackId) -> Option<Callback> {
        let place = self.place(id)?;
        let callback = self.queue[place].1.take();
        self.live -= 1;
        while self.queue.back().is_some_and(|entry| entry.1.is_none()) {
            self.queue.pop_back();
        }
        if self.queue.len() > 16 && self.live < self.queue.len() / 2 {
            self.queue.retain(|entry| entry.1.is_some());
        }
        callback
    }

    fn pop(&mut self) -> Option<Callback> {
        while let Some((order, callback)) = self.queue.pop_front() {
            if callback.is_some() {
                self.live -= 1;
                self.running = Some(order);
                return callback;
            }
        }
        None
    }

    /// Whether the callback is neither waiting nor running.
    fn is_over(&self, id: CallbackId) -> bool {
        id.registry != self.registry || (self.running != Some(id.order) && self.place(id).is_none())
    }
}

impl NodeRef {
    fn add_callback(&self, callback: Callback) -> CallbackId {
        if !self.is_done() {
            let mut links = self.links.lock();
            if self.set_watched() {
                let watch = links.watch();
                let id = watch.callbacks.get_or_insert_with(|| Box::new(Callbacks::new())).push(callback);
                if self.state.load(Ordering::Relaxed) & HANDED != 0 && watch.keep_alive.is_none() {
                    watch.keep_alive = Some(self.clone());
                }
                return id;
            }
        }
        let ctx = Ctx(self.clone());
        if let Some(completion) = ctx.completion() {
            callback.run(&ctx, &completion);
        }
        CallbackId { registry: 0, order: 0 }
    }

    pub(super) fn run_callbacks(&self) {
        let ctx = Ctx(self.clone());
        let Some(completion) = ctx.completion() else {
            return;
        };
        loop {
            let callback = {
                let mut links = self.links.lock();
                links.watch().callbacks.as_mut().and_then(|callbacks| callbacks.pop())
            };
            let Some(callback) = callback else { break };
            callback.run(&ctx, &completion);
            self.end_of_callback(|callbacks| callbacks.running = None);
        }
    }

    fn end_of_callback(&self, change: impl FnOnce(&mut Callbacks)) {
        let mut wakers = Vec::new();
        {
            let mut links = self.links.lock();
            if let Some(callbacks) = links.watch().callbacks.as_mut() {
                change(callbacks);
                callbacks.finish_waiters.take_all(&mut wakers);
            }
        }
        wake_all(self, wakers);
    }
}

impl Ctx {
    /// Has `f` called with the completion when this context completes.
    ///
    /// It runs exactly once, on the thread that completes the context, with no lock of this library held: it may do
    /// anything with any context. Where the context is done already, it runs before this call returns. The callbacks
    /// of a parent run before those of its children, and those of one context in the order of registration.
    ///
    /// # Panics
    ///
    /// Never. A panic in `f` is reported through the context's [`Tramp`](crate::Tramp), and the other callbacks run.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Ctx;
    /// use std::sync::mpsc;
    ///
    /// let (send, receive) = mpsc::channel();
    /// let root = Ctx::beginning("app");
    /// root.add_done_callback(move |why| send.send(why.reason().map(str::to_owned)).unwrap());
    /// root.cancel_because("enough");
    /// assert_eq!(receive.recv().unwrap().as_deref(), Some("enough"));
    /// ```
    pub fn add_done_callback(&self, f: impl FnOnce(&Completion) + Send + 'static) -> CallbackId {
        self.0.add_callback(Callback::Done(Box::new(f)))
    }

    /// Has `f` called with this context and the completion when this context completes.
    ///
    /// Like [`add_done_callback`](Self::add_done_callback) in everything else.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Ctx;
    ///
    /// let root = Ctx::beginning("app");
    /// root.add_on_done(|ctx, why| eprintln!("{ctx}: {why}"));
    /// ```
    pub fn add_on_done(&self, f: impl FnOnce(&Ctx, &Completion) + Send + 'static) -> CallbackId {
        self.0.add_callback(Callback::OnDone(Box::new(f)))
    }

    /// Takes a callback back, and answers whether that prevented its run.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, ctx::Removal};
    ///
    /// let root = Ctx::beginning("app");
    /// let id = root.add_done_callback(|_| unreachable!());
    /// assert_eq!(root.remove_done_callback(id), Removal::Removed);
    /// root.cancel();
    /// ```
    #[expect(clippy::must_use_candidate, reason = "it acts; whether it came in time is by the way")]
    pub fn remove_done_callback(&self, id: CallbackId) -> Removal {
        let mut wakers = Vec::new();
        let (removed, running) = {
            let mut links = self.0.links.lock();
            let Some(watch) = &mut links.watch else {
                return Removal::AlreadyRun;
            };
            let Some(callbacks) = &mut watch.callbacks else {
                return Removal::AlreadyRun;
            };
            let removed = callbacks.remove(id);
            let running = callbacks.registry == id.registry && callbacks.running == Some(id.order);
            if removed.is_some() {
                callbacks.finish_waiters.take_all(&mut wakers);
            }
            let keep_alive = if callbacks.is_empty() { watch.keep_alive.take() } else { None };
            ((removed, keep_alive), running)
        };
        wake_all(&self.0, wakers);
        match removed {
            (Some(_), _) => Removal::Removed,
            (None, _) if running => Removal::Running,
            (None, _) => Removal::AlreadyRun,
        }
    }

    /// Whether the callback waits on this very context: not on one above or below, not run, not removed.
    #[must_use]
    pub fn has_direct_done_callback(&self, id: CallbackId) -> bool {
        let links = self.0.links.lock();
        links
            .watch
            .as_ref()
            .and_then(|watch| watch.callbacks.as_ref())
            .is_some_and(|callbacks| callbacks.place(id).is_some())
    }

    /// Waits until a callback is over: it has run to its end, or was removed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a drop forgets the wait and leaves nothing behind.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use machinery::Ctx;
    ///
    /// let root = Ctx::beginning("app");
    /// let id = root.add_done_callback(|_| {});
    /// root.cancel();
    /// root.callback_finished(id).await;
    /// # }
    /// ```
    pub fn callback_finished(&self, id: CallbackId) -> CallbackFinished {
        CallbackFinished { ctx: self.clone(), id, key: None }
    }
}

/// The future of [`Ctx::callback_finished`].
///
/// # Cancel safety
///
/// Cancel safe: a drop forgets the wait and leaves nothing behind.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, ctx::CallbackFinished};
///
/// let root = Ctx::beginning("app");
/// let id = root.add_done_callback(|_| {});
/// root.cancel();
/// let finished: CallbackFinished = root.callback_finished(id);
/// finished.await;
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing until it is awaited"]
pub struct CallbackFinished {
    ctx: Ctx,
    id: CallbackId,
    key: Option<WaiterKey>,
}

impl CallbackFinished {
    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = {
                let mut links = self.ctx.0.links.lock();
                links.watch().callbacks.as_mut().and_then(|callbacks| callbacks.finish_waiters.remove(key))
            };
            drop(waker);
        }
    }
}

impl Future for CallbackFinished {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        let waker = cx.waker().clone();
        let id = self.id;
        let key = {
            let mut links = self.ctx.0.links.lock();
            match links.watch.as_mut().and_then(|watch| watch.callbacks.as_mut()) {
                Some(callbacks) if !callbacks.is_over(id) => Ok(callbacks.finish_waiters.insert(waker)),
                _ => Err(waker),
            }
        };
        match key {
            Ok(key) => {
                self.key = Some(key);
                Poll::Pending
            }
            Err(_) => Poll::Ready(()),
        }
    }
}

impl Drop for CallbackFinished {
    fn drop(&mut self) {
        self.forget();
    }
}
