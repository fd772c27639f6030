//! Work with a time limit.

mod error;
mod limited;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

pub use error::TimeoutError;
pub use limited::{Limited, Plainly, Told};

use crate::contain::contain;
use crate::ctx::{CompletionKind, Done, NamedBusy};
use crate::task::error::is_echo;
use crate::task::graced::Grace;
use crate::task::{Failure, Outcome};
use crate::{Completion, Ctx, CtxGuard, Event, Name, Report, SharedError, time};
use error::Why;

/// How long work may take where no timeout is given.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a future until it ends, its timeout has passed, or the context completes, whichever is first.
///
/// The timeout is 10 s unless [`timeout`](WithTimeout::timeout) says otherwise, and counts from the first poll. The
/// future runs in place, so that it may borrow; when its time is over it is dropped where it awaits.
///
/// What comes of it is a `Result`: the value; or a [`TimeoutError`] that tells apart the work's own error, the timeout
/// (with the error that the caller [supplied](WithTimeout::timeout_error), if any), and the context's completion.
///
/// # Cancel safety
///
/// A drop drops the future where it awaits.
///
/// # Panics
///
/// If the work does, before its time is over.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use machinery::{Ctx, async_with_timeout};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let answer = async_with_timeout(&root, "ask", async { 42 }).await;
/// assert_eq!(answer.unwrap(), 42);
///
/// let slow = async_with_timeout(&root, "slow", std::future::pending::<()>()).timeout(Duration::from_secs(3)).await;
/// let error = slow.unwrap_err();
/// assert!(error.is_timeout());
/// assert_eq!(error.to_string(), "`slow` of `app` was not done within 3s");
/// # }
/// ```
#[track_caller]
pub fn async_with_timeout<F>(ctx: &Ctx, name: impl Into<Name>, future: F) -> WithTimeout<Plainly<F::IntoFuture>>
where
    F: IntoFuture,
    F::Output: Outcome,
{
    WithTimeout::new(ctx, name.into(), Location::caller(), Plainly::new(future.into_future()))
}

/// Runs work that is given a context until it ends; when its timeout passes or `ctx` completes it is told through that
/// context, and may clean up.
///
/// Like [`async_with_timeout`] in everything else. It returns only once the work has cleaned up, however long that
/// takes; a [`grace`](WithTimeout::grace) bounds it. Work that ends well after its timeout is still a timeout; an error
/// that it ends with then is reported, unless it only says that the context has completed.
///
/// # Cancel safety
///
/// A drop drops the work where it awaits, without its clean-up, which is reported.
///
/// # Panics
///
/// If the work does, before its time is over.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use machinery::{Ctx, async_with_timeout_with};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let mut hung_up = false;
/// let call = async_with_timeout_with(&root, "call", async |ctx| {
///     ctx.done().await;
///     hung_up = true;
/// });
/// assert!(call.timeout(Duration::from_secs(3)).await.unwrap_err().is_timeout());
/// assert!(hung_up);
/// # }
/// ```
#[track_caller]
pub fn async_with_timeout_with<C, F>(ctx: &Ctx, name: impl Into<Name>, work: C) -> WithTimeout<Told<C, F>>
where
    C: FnOnce(Ctx) -> F,
    F: Future,
    F::Output: Outcome,
{
    WithTimeout::new(ctx, name.into(), Location::caller(), Told::new(work))
}

pin_project! {
    /// The future of [`async_with_timeout`] and [`async_with_timeout_with`], whose methods are the options.
    ///
    /// # Cancel safety
    ///
    /// A drop drops the work where it awaits. It says so if that work was given a context, as its clean-up is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use machinery::{Ctx, Event, async_with_timeout};
    /// use std::time::Duration;
    ///
    /// let root = Ctx::beginning("app");
    /// let late = Event::new();
    /// let slow = async_with_timeout(&root, "slow", std::future::pending::<()>())
    ///     .timeout(Duration::from_millis(500))
    ///     .timeout_event(&late)
    ///     .timeout_error("the host did not answer")
    ///     .await;
    /// assert!(late.is_set());
    /// assert_eq!(slow.unwrap_err().to_string(), "the host did not answer");
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct WithTimeout<W: Limited> {
        ctx: Ctx,
        name: Name,
        location: &'static Location<'static>,
        timeout: Duration,
        error: Option<Failure>,
        event: Option<Event>,
        grace: Option<Duration>,
        #[pin]
        work: W,
        running: Option<Running>,
        over: bool,
    }

    impl<W: Limited> PinnedDrop for WithTimeout<W> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.work.as_mut().end();
            if this.running.take().is_some() && W::TOLD {
                let what = "work was dropped before it had ended and cleaned up";
                Report::new(this.ctx, what).task(this.name).at(this.location).send();
            }
        }
    }
}

/// What there is between the first poll and the end.
struct Running {
    guard: CtxGuard,
    done: Done,
    /// `None` for a time that never comes.
    deadline: Option<Instant>,
    /// Set once its time is over.
    verdict: Option<TimeoutError>,
    grace: Option<Grace>,
    _busy: NamedBusy,
}

impl<W: Limited> WithTimeout<W> {
    fn new(ctx: &Ctx, name: Name, location: &'static Location<'static>, work: W) -> Self {
        Self {
            ctx: ctx.clone(),
            name,
            location,
            timeout: TIMEOUT,
            error: None,
            event: None,
            grace: None,
            work,
            running: None,
            over: false,
        }
    }

    /// How long the work may take. Zero lets it do what it can do at its first poll; the longest durations mean no
    /// limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The error that a timeout gives instead of its own.
    pub fn timeout_error<E: Into<Box<dyn Error + Send + Sync>>>(mut self, error: E) -> Self {
        self.error = Some(Failure::new(error));
        self
    }

    /// An event that is set when the timeout passes before the work is done, ahead of its clean-up, and never
    /// otherwise.
    pub fn timeout_event(mut self, event: &Event) -> Self {
        self.event = Some(event.clone());
        self
    }

    /// How long work that is given a context may clean up once its time is over. If it has not ended then it is
    /// dropped where it awaits, which is reported.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

impl<W: Limited> Future for WithTimeout<W> {
    type Output = Result<<W::Output as Outcome>::Value, TimeoutError>;

    /// Panics when it is polled again after its end.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.over, "work with a timeout was polled after its end");
        let polled = match self.as_mut().start() {
            Ok(first) => catch_unwind(AssertUnwindSafe(|| self.as_mut().poll_running(first, cx))),
            Err(error) => Ok(Poll::Ready(Err(error))),
        };
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                self.as_mut().end();
                Poll::Ready(result)
            }
            Err(panic) => {
                self.as_mut().end();
                resume_unwind(panic)
            }
        }
    }
}

impl<W: Limited> WithTimeout<W> {
    /// Whether this is the first poll, after which it runs.
    fn start(self: Pin<&mut Self>) -> Result<bool, TimeoutError> {
        let this = self.project();
        if this.running.is_some() {
            return Ok(false);
        }
        let fail = |why| Err(TimeoutError::new(why, this.name.clone(), this.ctx.clone()));
        if let Some(completion) = this.ctx.completion() {
            return fail(Why::Completed(completion));
        }
        let now = time::now();
        let deadline = now.checked_add(*this.timeout);
        let guard = match this.ctx.child_within(this.name.clone(), this.location, *this.timeout) {
            Ok(guard) => guard,
            Err(error) => return fail(Why::NoRuntime(error)),
        };
        let busy = this.ctx.busy_named("work with a timeout", this.name, Some(*this.location), now);
        let done = guard.done();
        this.work.start(guard.ctx());
        *this.running = Some(Running { guard, done, deadline, verdict: None, grace: None, _busy: busy });
        Ok(true)
    }

    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.over = true;
        if let Err(panic) = contain(|| this.work.as_mut().end()) {
            late(this.ctx, this.name, this.location, &panic);
        }
        // The work's context ends with it, and what is below that one.
        drop(this.running.take());
    }

    fn poll_running(
        self: Pin<&mut Self>,
        first: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<<W::Output as Outcome>::Value, TimeoutError>> {
        let mut this = self.project();
        let running = this.running.as_mut().expect("it has been started");
        let verdict = |running: &Running, heeded: bool| {
            let passed = running.deadline.is_some_and(|deadline| time::now() > deadline);
            // A completion that came after the timeout is not why, also if both are found at once. That of a deadline
            // is written down when the timer comes round to it.
            let in_time = |why: &Completion| {
                let came = match why.kind() {
                    CompletionKind::DeadlinePassed => this.ctx.deadline().unwrap_or_else(|| why.at()),
                    _ => why.at(),
                };
                !heeded || running.deadline.is_none_or(|deadline| came <= deadline)
            };
            let why = if let Some(completion) = this.ctx.completion().filter(in_time) {
                Why::Completed(completion)
            } else if passed || running.guard.is_done() {
                match &*this.error {
                    Some(failure) => Why::Supplied(failure.clone()),
                    None => Why::Timeout(*this.timeout),
                }
            } else {
                return None;
            };
            if let (Why::Timeout(_) | Why::Supplied(_), Some(event)) = (&why, &*this.event) {
                event.set();
            }
            Some(TimeoutError::new(why, this.name.clone(), this.ctx.clone()))
        };
        // What ends in the instant of its deadline is in time, unless the deadline may be why it ends.
        let too_late = |running: &Running, heeded: bool| {
            let passed = heeded && running.deadline.is_some_and(|deadline| time::now() > deadline);
            this.ctx.is_done() || passed || (W::TOLD && running.guard.is_done())
        };
        // Nothing has taken any time yet; and a timeout of zero allows one poll, however long that takes.
        let (before, after) = (!first, !first || !this.timeout.is_zero());
        loop {
            if running.verdict.is_none() && too_late(running, before) {
                running.verdict = verdict(running, before);
            }
            if running.verdict.is_some() && !W::TOLD {
                break;
            }
            let polled = catch_unwind(AssertUnwindSafe(|| this.work.as_mut().poll_work(cx)));
            if running.verdict.is_none() && !matches!(polled, Ok(Poll::Pending)) && too_late(running, after) {
                running.verdict = verdict(running, after);
            }
            match polled {
                Ok(Poll::Ready(output)) => {
                    let outcome = output.into_outcome();
                    let Some(verdict) = running.verdict.take() else {
                        let own =
                            |failure| TimeoutError::new(Why::Failed(failure), this.name.clone(), this.ctx.clone());
                        return Poll::Ready(outcome.map_err(own));
                    };
                    // One that says no more than that it was stopped is what the verdict says.
                    if let Err(failure) = outcome
                        && !is_echo(failure.error(), &|| running.guard.completion())
                    {
                        late(this.ctx, this.name, this.location, failure.error());
                    }
                    return Poll::Ready(Err(verdict));
                }
                Err(panic) => match running.verdict.take() {
                    None => resume_unwind(panic),
                    Some(verdict) => {
                        late(this.ctx, this.name, this.location, &crate::error::panic_error(panic));
                        return Poll::Ready(Err(verdict));
                    }
                },
                Ok(Poll::Pending) if running.verdict.is_none() => {
                    drop(ready!(Pin::new(&mut running.done).poll(cx)));
                    running.verdict = verdict(running, after);
                }
                Ok(Poll::Pending) => {
                    let Some(length) = *this.grace else { return Poll::Pending };
                    let grace = running.grace.get_or_insert_with(|| Grace::after(&running.guard, length));
                    ready!(grace.poll_over(this.ctx, cx));
                    let what = format!("work has not ended within its grace of {length:?}: it is dropped");
                    Report::new(this.ctx, &what).task(this.name).at(this.location).send();
                    break;
                }
            }
        }
        let verdict = running.verdict.take().expect("its time is over");
        Poll::Ready(Err(verdict))
    }
}

/// Tells of an error that nobody gets, as the work was out of time.
fn late(ctx: &Ctx, name: &Name, location: &'static Location<'static>, error: &SharedError) {
    Report::new(ctx, "work failed after its time was over").task(name).error(error).at(location).send();
}

impl<W: Limited> fmt::Debug for WithTimeout<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithTimeout")
            .field("ctx", &self.ctx)
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
