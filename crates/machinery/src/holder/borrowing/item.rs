//! One task of a scope, and the handle to it.
//!
//! # Invariants
//!
//! 1. `state` leaves `Running` once, by the work, which takes the waker of whoever awaits in the same critical section.
//! 2. Who awaits looks at `state` under the lock in which it leaves its waker. So no wake-up is lost.
//! 3. Wakers are cloned, woken and dropped, and values dropped, without the lock, which is innermost.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::ready::Link;
use crate::contain::{contain, wake_all};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::task::error::{Cut, Why};
use crate::task::{Outcome, TaskError};
use crate::{Ctx, Name, Report};

pub(super) struct Item<'env> {
    pub(super) work: Pin<Box<dyn Run + Send + 'env>>,
    pub(super) link: Arc<Link>,
}

/// Work of any type.
pub(super) trait Run {
    /// Polls it; it settles itself at its end.
    fn poll_work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops it where it awaits.
    fn cut(self: Pin<&mut Self>, cut: Cut);
}

struct Cell<V> {
    name: Name,
    ctx: Ctx,
    location: &'static Location<'static>,
    link: Arc<Link>,
    state: Mutex<State<V>>,
}

enum State<V> {
    Running(Option<Waker>),
    Value(V),
    Error(TaskError),
    Taken,
}

pin_project! {
    pub(super) struct Work<F: Future>
    where
        F::Output: Outcome,
    {
        #[pin]
        future: Option<F>,
        cell: Arc<Cell<<F::Output as Outcome>::Value>>,
    }

    impl<F: Future> PinnedDrop for Work<F>
    where
        F::Output: Outcome,
    {
        fn drop(this: Pin<&mut Self>) {
            this.cut(Cut::HolderDropped);
        }
    }
}

impl<F: Future> Work<F>
where
    F::Output: Outcome,
{
    pub(super) fn new(
        ctx: &Ctx,
        name: Name,
        location: &'static Location<'static>,
        future: F,
        link: Arc<Link>,
    ) -> (Self, BorrowingTask<<F::Output as Outcome>::Value>) {
        let state = Mutex::new(State::Running(None));
        let cell = Arc::new(Cell { name, ctx: ctx.clone(), location, link, state });
        (Self { future: Some(future), cell: Arc::clone(&cell) }, BorrowingTask { cell })
    }

    fn end(self: Pin<&mut Self>, end: Result<<F::Output as Outcome>::Value, Why>) {
        let mut this = self.project();
        let end = match contain(|| this.future.set(None)) {
            Ok(()) => end,
            Err(panic) => match end {
                Err(Why::Failed(_) | Why::Panicked(_)) => {
                    let Cell { name, ctx, location, .. } = &**this.cell;
                    let report =
                        Report::new(ctx, "the drop of a task that had failed panicked").task(name).at(location);
                    report.error(&panic).send();
                    end
                }
                end => {
                    let _ = contain(|| drop(end));
                    Err(Why::Panicked(panic))
                }
            },
        };
        this.cell.settle(end);
    }
}

impl<F: Future> Run for Work<F>
where
    F::Output: Outcome,
{
    fn poll_work(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Ready(()) };
        let end = if this.cell.link.cancelled.load(Ordering::Acquire) {
            Err(Why::Cancelled(Cut::Asked))
        } else {
            match contain(|| future.poll(cx).map(Outcome::into_outcome)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(outcome)) => outcome.map_err(Why::Failed),
                Err(panic) => Err(Why::Panicked(panic)),
            }
        };
        self.end(end);
        Poll::Ready(())
    }

    fn cut(self: Pin<&mut Self>, cut: Cut) {
        if self.future.is_some() {
            self.end(Err(Why::Cancelled(cut)));
        }
    }
}

impl<V> Cell<V> {
    fn settle(&self, end: Result<V, Why>) {
        let end = end.map_err(|why| TaskError::new(why, self.name.clone(), self.ctx.full_name().into(), self.location));
        if let Err(error) = &end
            && let Some(own) = error.error()
        {
            let what = if error.is_panic() { "a task panicked" } else { "a task failed" };
            Report::new(&self.ctx, what).task(&self.name).error(own).at(self.location).send();
        }
        let settled = match end {
            Ok(value) => State::Value(value),
            Err(error) => State::Error(error),
        };
        let before = std::mem::replace(&mut *self.state.lock(), settled);
        if let State::Running(waker) = before {
            wake_all(waker);
        }
    }
}

/// A task of [`BorrowingTasks`](super::BorrowingTasks), to be awaited or cancelled.
///
/// It may be awaited in the body, in another task, or later. Its error is reported whether it is awaited or not.
///
/// # Cancel safety
///
/// Awaiting `&mut task` loses nothing when it is dropped; a later await gives the result.
///
/// # Panics
///
/// Polled again after it gave its value.
///
/// # Drop
///
/// Does nothing to the task.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, holder::BorrowingTasks};
///
/// let root = Ctx::beginning("app");
/// let tasks = BorrowingTasks::new(&root);
/// let forever = tasks.add("forever", std::future::pending::<()>());
/// forever.cancel();
/// tasks.finish().await;
/// assert!(forever.await.unwrap_err().is_cancelled());
/// # }
/// ```
pub struct BorrowingTask<V> {
    cell: Arc<Cell<V>>,
}

impl<V> BorrowingTask<V> {
    /// The name of the task.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.cell.name
    }

    /// The line that added it.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.cell.location
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !matches!(&*self.cell.state.lock(), State::Running(_))
    }

    /// Has the task dropped where it awaits, at the next turn.
    pub fn cancel(&self) {
        self.cell.link.cancelled.store(true, Ordering::Release);
        std::task::Wake::wake_by_ref(&self.cell.link);
    }
}

impl<V> Future for BorrowingTask<V> {
    type Output = Result<V, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The clone and the drop of a waker are user code.
        let new = cx.waker().clone();
        let mut state = self.cell.state.lock();
        match &mut *state {
            State::Running(waker) => {
                let old = waker.replace(new);
                drop(state);
                drop(old);
                Poll::Pending
            }
            State::Error(error) => {
                let error = error.clone();
                drop(state);
                Poll::Ready(Err(error))
            }
            State::Value(_) | State::Taken => {
                let value = std::mem::replace(&mut *state, State::Taken);
                drop(state);
                match value {
                    State::Value(value) => Poll::Ready(Ok(value)),
                    _ => panic!("a task was polled after it gave its result"),
                }
            }
        }
    }
}

// It holds no value that could be pinned.
impl<V> Unpin for BorrowingTask<V> {}

impl<V> fmt::Debug for BorrowingTask<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowingTask").field("name", self.name()).field("done", &self.is_done()).finish()
    }
}
