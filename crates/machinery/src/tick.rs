//! Ticks on a grid.
//!
//! ```
//! use machinery::{Ctx, tick};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let root = Ctx::beginning("app");
//! let mut ticker = tick(Duration::from_secs(10), &root).max_iterations(6).start();
//! while let Some(tick) = ticker.next().await {
//!     println!("{} of 6, next in {:?}", tick.iteration, tick.time_till_next);
//! }
//! # }
//! ```
//!
//! The first tick comes at once. The ticks then keep to the points of a grid of `every` from the start, however long
//! the body takes: a body that takes longer than a period gets one tick as soon as it comes back, whatever number of
//! points it has missed, and then the grid goes on. So a gap of six hours is one tick.
//!
//! # The minimal wait
//!
//! A point of the grid that is nearer to the tick before it than `min_wait`, 100 ms where nothing else is said, is
//! skipped: with a period of 5 s and a minimal wait of 2 s, a tick that comes late at 14 s is followed by the one at
//! 20 s. With [`min_wait(None)`](TickerBuilder::min_wait) every point of the grid counts. A period of zero means ticks
//! that are `min_wait` apart.
//!
//! A tick that the timer brings late, by a few milliseconds at most, counts as on time, so that nothing drifts and no
//! point is skipped for it; so does the first one, if it is asked for that soon after the start. A period below 100 ms
//! needs `min_wait(None)` or a shorter minimal wait, and so does one of 100 ms if no point may be skipped when the body is
//! late.

mod pauser;
mod schedule;
mod signal;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_core::stream::FusedStream;
use tokio::task::coop;
use tokio::time::Instant;

use self::pauser::Seat;
pub use self::pauser::{PauseGuard, Pauser};
use self::schedule::{Schedule, Step};
use self::signal::Signal;
use crate::alarm::Alarm;
use crate::ctx::Done;
use crate::tramp::Report;
use crate::{Ctx, CtxGuard, Name, NoRuntime, SharedError, time};

/// Begins a [`Ticker`] that ticks every `every` on `ctx`.
///
/// Any period will do, from zero to [`Duration::MAX`]. One of 100 ms or less wants a
/// [`min_wait`](TickerBuilder::min_wait) of its own, as [points are skipped](self#the-minimal-wait) without it.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, tick};
/// use std::time::Duration;
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// let start = Instant::now();
/// let mut ticker = tick(Duration::from_secs(3), &root).max_time(Duration::from_secs(20)).start();
/// let mut ticks = 0;
/// while ticker.next().await.is_some() {
///     ticks += 1;
/// }
/// assert_eq!((ticks, start.elapsed()), (7, Duration::from_secs(20)));
/// # }
/// ```
#[doc(alias = "interval")]
#[must_use = "a ticker begins with `start`"]
pub fn tick(every: Duration, ctx: &Ctx) -> TickerBuilder<'_> {
    TickerBuilder {
        ctx,
        every,
        max_iterations: None,
        max_time: None,
        min_wait: Some(Duration::from_millis(100)),
        pauser: None,
        name: Name::from("tick"),
    }
}

/// One tick.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Tick, tick};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// let mut ticker = tick(Duration::from_secs(3), &root).start();
/// let first = Tick { iteration: 1, time_till_next: Duration::from_secs(3) };
/// assert_eq!(ticker.next().await, Some(first));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tick {
    /// The number of this tick, from 1.
    pub iteration: u64,
    /// How long it is from now to the tick after this one, if nothing changes; zero where that one is due already, and
    /// [`Duration::MAX`] where it lies beyond what can be expressed.
    pub time_till_next: Duration,
}

/// The options of a ticker that has not begun; see [`tick`].
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, tick};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// let ticker = tick(Duration::from_millis(20), &root)
///     .min_wait(None)
///     .max_iterations(10)
///     .name("progress")
///     .start();
/// assert_eq!(ticker.ctx().full_name(), "app-->progress");
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a ticker begins with `start`"]
pub struct TickerBuilder<'a> {
    ctx: &'a Ctx,
    every: Duration,
    max_iterations: Option<u64>,
    max_time: Option<Duration>,
    min_wait: Option<Duration>,
    pauser: Option<Pauser>,
    name: Name,
}

impl TickerBuilder<'_> {
    /// Ends the stream at once after so many ticks, without waiting another period.
    pub fn max_iterations(mut self, ticks: u64) -> Self {
        self.max_iterations = Some(ticks);
        self
    }

    /// Ends the stream when so much time has passed since its start, also while it is held by its pauser.
    ///
    /// A tick that would fall on that very instant is not given.
    pub fn max_time(mut self, time: Duration) -> Self {
        self.max_time = Some(time);
        self
    }

    /// Skips points of the grid that are nearer than this to the tick before them; 100 ms where nothing is said.
    ///
    /// `None` follows the grid strictly.
    pub fn min_wait(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.min_wait = wait.into();
        self
    }

    /// Gives no ticks while `pauser` is held.
    pub fn pauser(mut self, pauser: &Pauser) -> Self {
        self.pauser = Some(pauser.clone());
        self
    }

    /// Names the ticker's own context; `tick` where nothing is said.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// Begins: the grid and `max_time` count from now.
    ///
    /// A ticker keeps time on the runtime that polls it, or else, also where that one was built without a clock, on the one
    /// that its context knows. Where there is neither, it gives the ticks that need no waiting, then reports the lack through
    /// the context's `Tramp` and ends;
    /// [`try_start`](Self::try_start) says so beforehand.
    #[track_caller]
    pub fn start(self) -> Ticker {
        let guard = self.ctx.child(self.name);
        let signal = Arc::new(Signal::new(guard.ctx()));
        Ticker {
            schedule: Schedule::new(self.every, self.min_wait, self.max_iterations, self.max_time),
            seat: self.pauser.map(|pauser| pauser.sit(&signal)),
            started: time::now(),
            alarm: Alarm::default(),
            done: guard.done(),
            waker: None,
            stored: false,
            ended: false,
            signal,
            guard,
        }
    }

    /// Like [`start`](Self::start), where there is a runtime to keep time on.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside a Tokio runtime, where the context does not know one either.
    #[track_caller]
    pub fn try_start(self) -> Result<Ticker, NoRuntime> {
        if tokio::runtime::Handle::try_current().is_err() {
            self.ctx.runtime()?;
        }
        Ok(self.start())
    }
}

/// A [`Stream`] of [`Tick`]s, and [`next`](Self::next) for those who need no other part of streams.
///
/// Made by [`tick`]. It lives on a child context of its own, and ends when that context does, also while it is held by
/// its pauser; when `max_iterations` have been given; and when `max_time` has passed. Once it has ended its own context
/// is done, and it stays ended.
///
/// # Drop
///
/// Its context is completed and its timer taken out; nothing is waited for.
///
/// # Examples
///
/// As a stream, with the adapters of any crate:
///
/// ```
/// use machinery::{Ctx, tick};
/// use std::time::Duration;
/// use tokio_stream::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// let ticker = tick(Duration::from_secs(1), &root).max_iterations(3).start();
/// let numbers: Vec<_> = ticker.map(|tick| tick.iteration).collect().await;
/// assert_eq!(numbers, [1, 2, 3]);
/// # }
/// ```
#[must_use = "a ticker does nothing until it is polled"]
pub struct Ticker {
    schedule: Schedule,
    started: Instant,
    alarm: Alarm,
    done: Done,
    /// The waker that `done` has, and `signal` where `stored` says so.
    waker: Option<Waker>,
    stored: bool,
    ended: bool,
    // Dropped before the guard: nobody is told of a completion that nobody waits for any more.
    seat: Option<Seat>,
    signal: Arc<Signal>,
    guard: CtxGuard,
}

impl Ticker {
    /// Waits for the next tick; `None` when there are no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a drop half-way loses no tick and leaves the grid as it is.
    pub async fn next(&mut self) -> Option<Tick> {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// The context that the ticker lives on: a child of the one that it was given.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.guard
    }

    /// A handle to change the ticker with from other tasks, and from the body.
    #[must_use]
    pub fn handle(&self) -> TickerHandle {
        TickerHandle(Arc::clone(&self.signal))
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Option<Tick>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(change) = self.signal.take() {
                change.apply(&mut self.schedule);
                self.stored = false;
            }
            let held = self.seat.as_ref().is_some_and(Seat::is_held);
            let clock = time::now();
            // Looked at after all that makes a tick due, so that what comes after the completion makes none.
            if self.guard.is_done() {
                self.end("");
                continue;
            }
            // One unit of the budget for each tick, so that ticks which are always due do not starve the neighbours.
            let budget = ready!(coop::poll_proceed(cx));
            let now = clock.saturating_duration_since(self.started);
            match self.schedule.step(now, held) {
                Step::Tick(tick) => {
                    budget.made_progress();
                    return Poll::Ready(Some(tick));
                }
                Step::Wait(until) => {
                    drop(budget);
                    ready!(self.poll_wait(cx, clock, until));
                }
                Step::End if self.schedule.is_spent() => self.end("all its ticks are given"),
                Step::End => self.end("its time has passed"),
            }
        }
    }

    /// Ready when something has happened; pending when all who can make it happen have the waker.
    fn poll_wait(&mut self, cx: &mut Context<'_>, now: Instant, until: Option<Duration>) -> Poll<()> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            if Pin::new(&mut self.done).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.alarm.follow(&self.guard);
            self.waker = Some(cx.waker().clone());
            self.stored = false;
        }
        if !self.stored {
            self.stored = self.signal.store(cx.waker().clone());
            if !self.stored {
                return Poll::Ready(());
            }
        }
        let Some(until) = until.and_then(|until| self.started.checked_add(until)) else {
            return Poll::Pending;
        };
        if let Err(error) = ready!(self.alarm.poll(cx, now, until, &self.guard)) {
            self.fail(&error);
        }
        Poll::Ready(())
    }

    fn end(&mut self, reason: &'static str) {
        self.ended = true;
        self.alarm = Alarm::default();
        self.seat = None;
        self.waker = None;
        self.signal.clear();
        self.guard.cancel_as_made(reason);
    }

    fn fail(&mut self, error: &SharedError) {
        Report::new(&self.guard, "the ticker cannot keep time").error(error).send();
        self.end("no runtime to keep time on");
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // Handles may live on, and must not keep the task of the consumer alive.
        self.signal.clear();
    }
}

impl Stream for Ticker {
    type Item = Tick;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Tick>> {
        self.get_mut().poll_tick(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.is_terminated() {
            (0, Some(0))
        } else {
            let left = self.schedule.left().map(|left| usize::try_from(left).unwrap_or(usize::MAX));
            (0, left)
        }
    }
}

impl FusedStream for Ticker {
    fn is_terminated(&self) -> bool {
        self.ended || self.guard.is_done() || self.schedule.is_spent()
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker")
            .field("ctx", &*self.guard)
            .field("iteration", &self.schedule.iteration())
            .field("ended", &self.is_terminated())
            .finish_non_exhaustive()
    }
}

/// Changes a [`Ticker`] from anywhere, also while it waits.
///
/// From [`Ticker::handle`]. Where several changes come between two polls of the ticker, they take effect in their
/// order. A change to a ticker that has ended does nothing.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, tick};
/// use std::time::Duration;
/// use tokio::time::{Instant, sleep};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let root = Ctx::beginning("app");
/// let start = Instant::now();
/// let mut ticker = tick(Duration::from_secs(3600), &root).start();
/// let handle = ticker.handle();
/// ticker.next().await;
/// tokio::spawn(async move {
///     sleep(Duration::from_secs(2)).await;
///     handle.change_after(Duration::from_secs(5));
/// });
/// ticker.next().await;
/// assert_eq!(start.elapsed(), Duration::from_secs(5));
/// # }
/// ```
#[derive(Clone)]
pub struct TickerHandle(Arc<Signal>);

impl TickerHandle {
    /// Moves the next tick to `every` after the last one that was given, and keeps `every` as the period from there.
    ///
    /// Where that time has passed the tick comes at once. Before the first tick the grid still counts from the start.
    pub fn change_after(&self, every: Duration) {
        self.0.change_after(every);
    }

    /// Moves only the next tick to `every` after the last one that was given, and leaves the grid as it was.
    ///
    /// Where that time has passed the tick comes at once, so zero asks for a tick now. Before the first tick it is the
    /// second one that is moved.
    #[doc(alias = "set_new_every")]
    pub fn change_after_once(&self, every: Duration) {
        self.0.change_after_once(every);
    }
}

impl fmt::Debug for TickerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TickerHandle").finish_non_exhaustive()
    }
}
