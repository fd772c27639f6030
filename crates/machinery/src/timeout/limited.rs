//! The two kinds of work that can have a time limit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::Ctx;
use crate::task::Outcome;

/// Work with a time limit: a future ([`Plainly`]) or a closure that is given a context ([`Told`]).
///
/// # Examples
///
/// ```
/// use machinery::timeout::{Limited, WithTimeout};
///
/// async fn outcome<W: Limited<Output = u32>>(work: WithTimeout<W>) -> Option<u32> {
///     work.await.ok()
/// }
/// ```
pub trait Limited: sealed::Sealed {
    /// What the work returns.
    type Output: Outcome;

    #[doc(hidden)]
    const TOLD: bool;

    #[doc(hidden)]
    fn start(self: Pin<&mut Self>, ctx: Ctx);

    #[doc(hidden)]
    fn poll_work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output>;

    #[doc(hidden)]
    fn end(self: Pin<&mut Self>);
}

#[expect(unnameable_types, reason = "seals the trait")]
mod sealed {
    pub trait Sealed {}
    impl<F> Sealed for super::Plainly<F> {}
    impl<C, F> Sealed for super::Told<C, F> {}
}

pin_project! {
    /// A future with a time limit, after which it is dropped where it awaits.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, async_with_timeout, timeout::{Plainly, WithTimeout}};
    /// use std::future::Ready;
    ///
    /// fn ask(ctx: &Ctx) -> WithTimeout<Plainly<Ready<u32>>> {
    ///     async_with_timeout(ctx, "ask", std::future::ready(42))
    /// }
    /// ```
    pub struct Plainly<F> {
        #[pin]
        future: Option<F>,
    }
}

pin_project! {
    /// Work with a time limit that is given a context, by which it is told that its time is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, async_with_timeout_with, ctx::Done, timeout::{Told, WithTimeout}};
    /// use std::future::{Ready, ready};
    ///
    /// fn ask(ctx: &Ctx) -> WithTimeout<Told<fn(Ctx) -> Ready<u32>, Ready<u32>>> {
    ///     async_with_timeout_with(ctx, "ask", |_| ready(42))
    /// }
    /// ```
    pub struct Told<C, F> {
        work: Option<C>,
        #[pin]
        future: Option<F>,
    }
}

impl<F> Plainly<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Some(future) }
    }
}

impl<C, F> Told<C, F> {
    pub(super) fn new(work: C) -> Self {
        Self { work: Some(work), future: None }
    }
}

impl<F> Limited for Plainly<F>
where
    F: Future,
    F::Output: Outcome,
{
    type Output = F::Output;

    const TOLD: bool = false;

    fn start(self: Pin<&mut Self>, _: Ctx) {}

    fn poll_work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.project().future.as_pin_mut().expect("work is not polled after its end");
        future.poll(cx)
    }

    fn end(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }
}

impl<C, F> Limited for Told<C, F>
where
    C: FnOnce(Ctx) -> F,
    F: Future,
    F::Output: Outcome,
{
    type Output = F::Output;

    const TOLD: bool = true;

    fn start(self: Pin<&mut Self>, ctx: Ctx) {
        let mut this = self.project();
        if let Some(work) = this.work.take() {
            this.future.set(Some(work(ctx)));
        }
    }

    fn poll_work(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.project().future.as_pin_mut().expect("work is not polled after its end");
        future.poll(cx)
    }

    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.future.set(None);
        drop(this.work.take());
    }
}

impl<F> fmt::Debug for Plainly<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plainly").finish_non_exhaustive()
    }
}

impl<C, F> fmt::Debug for Told<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}
