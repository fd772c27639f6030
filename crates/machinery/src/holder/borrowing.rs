//! Tasks that borrow: polled where they are run, in the frame that holds them.
//!
//! # Invariants
//!
//! 1. `running` is there unless somebody runs the tasks; whoever takes it out puts it back when it is dropped.
//! 2. `pending` counts the tasks that are not over: in `items` of `added`, or in `running`. It goes down after the task
//!    has settled.
//! 3. No user code runs under a lock: tasks are polled and dropped by whoever has taken `running` out.
//!
//! Lock order: every lock here, and that of a task, is held alone.

mod item;
mod ready;

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

pub use item::BorrowingTask;

use super::refused::Reason;
use crate::ctx::{Busy, Done};
use crate::sync::Mutex;
use crate::task::Outcome;
use crate::task::error::Cut;
use crate::{Ctx, CtxGuard, Name, Report};
use item::{Item, Work};
use ready::{Link, Ready};

/// A holder of tasks that may borrow from the frame that it stands in, such as the body of a
/// [`task_holder`](crate::task_holder).
///
/// The tasks are not spawned: they are polled in turns with a body, in [`run`](Self::run), and until all are over, in
/// [`finish`](Self::finish). That is what lets safe Rust give them borrows, and it has its limits:
///
/// - They may borrow what was declared before the holder, and is dropped after it.
/// - They run concurrently and not in parallel: one that computes without awaiting holds up the others and the body.
/// - They make progress only inside `run` and `finish`, and only while those are polled. Outside they rest.
/// - What they return does not borrow: it outlives them, in the [`BorrowingTask`].
/// - They are plain futures. When they have to stop they are dropped at once, where they await.
///
/// A failing task is reported and stops no other. The holder lives on a child context of its own; when that completes,
/// the tasks are dropped at the next turn.
///
/// # Fairness
///
/// At each turn the body is polled, and then each task that was woken, once.
///
/// # Drop
///
/// Drops the tasks where they await. If there were any, it says so.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, holder::BorrowingTasks};
///
/// let root = Ctx::beginning("app");
/// let words = vec!["a".to_owned(), "bc".to_owned()];
///
/// let tasks = BorrowingTasks::new(&root);
/// let lengths: Vec<_> = words.iter().map(|word| tasks.add(word, async move { word.len() })).collect();
/// let longest = tasks
///     .run(async {
///         let mut longest = 0;
///         for length in lengths {
///             longest = longest.max(length.await.unwrap());
///         }
///         longest
///     })
///     .await;
/// assert_eq!(longest, 2);
/// # }
/// ```
pub struct BorrowingTasks<'env> {
    // Dropped first, so that the tasks are gone before their context ends and counts as idle.
    shared: Shared<'env>,
    guard: CtxGuard,
    _busy: Busy,
}

struct Shared<'env> {
    ready: Arc<Ready>,
    added: Mutex<Added<'env>>,
    /// Not there while somebody runs them.
    running: Mutex<Option<Running<'env>>>,
}

/// The lock is innermost, and no user code runs under it.
struct Added<'env> {
    items: Vec<Item<'env>>,
    /// How many there are, those included that were taken up.
    pending: usize,
}

impl<'env> BorrowingTasks<'env> {
    /// A holder below `ctx`, with the name `task_holder`.
    #[track_caller]
    #[must_use]
    pub fn new(ctx: &Ctx) -> Self {
        Self::named(ctx, "task_holder")
    }

    /// A holder below `ctx`, with a name.
    #[track_caller]
    #[must_use]
    pub fn named(ctx: &Ctx, name: impl Into<Name>) -> Self {
        let guard = ctx.child(name);
        let running = Running { items: Vec::new(), free: Vec::new(), done: guard.done() };
        let shared = Shared {
            ready: Ready::new(),
            added: Mutex::new(Added { items: Vec::new(), pending: 0 }),
            running: Mutex::new(Some(running)),
        };
        let busy = guard.busy();
        Self { shared, guard, _busy: busy }
    }

    /// Adds a future as a task, to be polled by [`run`](Self::run) and [`finish`](Self::finish).
    ///
    /// Where the context is done, the future is dropped, which is reported, and the task is cancelled from the start.
    #[track_caller]
    pub fn add<F>(&self, name: impl Into<Name>, future: F) -> BorrowingTask<<F::Output as Outcome>::Value>
    where
        F: Future + Send + 'env,
        F::Output: Outcome,
    {
        let Shared { ready, added, .. } = &self.shared;
        let (name, location) = (name.into(), Location::caller());
        let link = Link::new(ready);
        let (work, task) = Work::new(&self.guard, name, location, future, Arc::clone(&link));
        let mut item = Item { work: Box::pin(work), link };
        match self.guard.completion() {
            None => {
                let mut added = added.lock();
                added.items.push(item);
                added.pending += 1;
                drop(added);
                ready.wake();
            }
            Some(completion) => {
                let reason = Reason::Done(completion.let_go()).into_error();
                let report = Report::new(&self.guard, "a task was refused").task(task.name()).at(location);
                report.error(&reason).send();
                item.work.as_mut().cut(Cut::Refused(reason));
            }
        }
        task
    }

    /// Runs a body, and the tasks in turns with it until the body ends. What is not over then rests until the next
    /// `run` or [`finish`](Self::finish).
    ///
    /// The body may add tasks, and await them.
    ///
    /// # Cancel safety
    ///
    /// A drop drops the body where it awaits; the tasks rest.
    ///
    /// # Panics
    ///
    /// If the tasks are being run already.
    pub async fn run<R>(&self, body: impl Future<Output = R>) -> R {
        let mut turns = Turns::new(self);
        let mut body = pin!(body);
        poll_fn(|cx| {
            // First, so that whatever the body wakes is noticed.
            self.shared.ready.listen(cx.waker().clone());
            let polled = body.as_mut().poll(cx);
            if polled.is_pending() {
                turns.take(cx);
            }
            polled
        })
        .await
    }

    /// Runs the tasks until all of them are over.
    ///
    /// # Cancel safety
    ///
    /// A drop drops the tasks, which is reported.
    ///
    /// # Panics
    ///
    /// If a future of [`run`](Self::run) was leaked instead of dropped, as the tasks are lost with it.
    pub async fn finish(self) {
        let mut turns = Turns::new(&self);
        poll_fn(|cx| {
            self.shared.ready.listen(cx.waker().clone());
            turns.take(cx);
            if self.pending() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Cancels the context of the holder, and with it every task; says whether this call was the one.
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.guard.cancel()
    }

    /// The holder's own context.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.guard
    }

    /// How many tasks are not over yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.added.lock().pending
    }
}

impl fmt::Debug for BorrowingTasks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowingTasks").field("ctx", self.ctx()).field("pending", &self.pending()).finish()
    }
}

impl Drop for BorrowingTasks<'_> {
    fn drop(&mut self) {
        let (left, pending) = {
            let added = self.shared.added.get_mut();
            (std::mem::take(&mut added.items), std::mem::take(&mut added.pending))
        };
        // Each task settles as it is dropped.
        drop((left, self.shared.running.get_mut().take()));
        if pending > 0 {
            let what = match pending {
                1 => "a holder was dropped with 1 task in it, which is dropped".to_owned(),
                many => format!("a holder was dropped with {many} tasks in it, which are dropped"),
            };
            Report::new(&self.guard, &what).at(self.guard.location()).send();
        }
    }
}

/// The tasks that were taken up, at the keys that their links know.
struct Running<'env> {
    items: Vec<Option<Item<'env>>>,
    free: Vec<u32>,
    done: Done,
}

/// The right to run the tasks, which goes back when it is dropped.
struct Turns<'a, 'env> {
    tasks: &'a BorrowingTasks<'env>,
    running: Option<Running<'env>>,
}

impl<'a, 'env> Turns<'a, 'env> {
    fn new(tasks: &'a BorrowingTasks<'env>) -> Self {
        let running = tasks.shared.running.lock().take();
        assert!(running.is_some(), "tasks that borrow are being run already");
        Self { tasks, running }
    }

    fn take(&mut self, cx: &mut Context<'_>) {
        let BorrowingTasks { shared, guard, .. } = self.tasks;
        let Some(running) = &mut self.running else { return };
        running.take_up(shared);
        if Pin::new(&mut running.done).poll(cx).is_ready() {
            running.cut_all(shared, guard);
        } else {
            running.poll_woken(shared);
        }
    }
}

impl Drop for Turns<'_, '_> {
    fn drop(&mut self) {
        *self.tasks.shared.running.lock() = self.running.take();
    }
}

impl<'env> Running<'env> {
    /// Takes up what was added, to be polled in this turn.
    fn take_up(&mut self, shared: &Shared<'env>) {
        let items = std::mem::take(&mut shared.added.lock().items);
        for item in items {
            let key = self.free.pop().unwrap_or_else(|| {
                self.items.push(None);
                u32::try_from(self.items.len() - 1).expect("fewer than 2^32 tasks")
            });
            item.link.stand_at(key);
            self.items[key as usize] = Some(item);
        }
    }

    fn poll_woken(&mut self, shared: &Shared<'env>) {
        for key in shared.ready.woken() {
            // A task that is over may be woken all the same.
            let Some(Some(item)) = self.items.get_mut(key as usize) else { continue };
            let waker = item.link.polled();
            if item.work.as_mut().poll_work(&mut Context::from_waker(&waker)).is_ready() {
                self.items[key as usize] = None;
                self.free.push(key);
                shared.added.lock().pending -= 1;
            }
        }
    }

    fn cut_all(&mut self, shared: &Shared<'env>, ctx: &Ctx) {
        self.free.clear();
        let completion = ctx.completion().map(|completion| completion.let_go());
        for mut item in std::mem::take(&mut self.items).into_iter().flatten() {
            item.work.as_mut().cut(Cut::Context(completion.clone()));
            shared.added.lock().pending -= 1;
        }
        // Whoever was woken is gone.
        drop(shared.ready.woken());
    }
}
