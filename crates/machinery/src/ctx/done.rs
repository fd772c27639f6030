//! The futures that wait on a context.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::family::NodeRef;
use super::node::Links;
use super::wakers::{WaiterKey, WakerSet};
use super::{Completion, Ctx, CtxGuard};

/// Waits for a context to complete, and gives the record of its completion.
///
/// What [`Ctx::done`] returns, and what `ctx.await` awaits. It owns its context, may be moved and polled anywhere, and
/// gives the completion again when it is polled after the end.
///
/// # Cancel safety
///
/// Cancel safe: it can be dropped or made anew at any time, and nothing is missed, as completion lasts.
///
/// # Drop
///
/// A waiter that is dropped leaves nothing behind on the context.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::Ctx;
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// root.cancel_because("enough");
/// tokio::select! {
///     why = root.done() => assert_eq!(why.reason(), Some("enough")),
///     () = tokio::time::sleep(Duration::from_secs(60)) => unreachable!(),
/// }
/// # }
/// ```
#[must_use = "a future does nothing until it is awaited"]
pub struct Done {
    node: NodeRef,
    /// The place among the waiters.
    place: Option<u32>,
}

/// Waits for a context that it borrows to complete: what `(&ctx).await` awaits.
///
/// Like [`Done`] in everything else, and a little cheaper, as it holds no handle of its own.
///
/// # Cancel safety
///
/// Cancel safe: it can be dropped or made anew at any time, and nothing is missed, as completion lasts.
///
/// # Drop
///
/// A waiter that is dropped leaves nothing behind on the context.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::Ctx;
///
/// async fn until_done(ctx: &Ctx) {
///     println!("{}", ctx.await);
/// }
///
/// let root = Ctx::beginning("app");
/// root.cancel();
/// until_done(&root).await;
/// # }
/// ```
#[must_use = "a future does nothing until it is awaited"]
#[derive(Debug)]
pub struct Completing<'a> {
    ctx: &'a Ctx,
    place: Option<u32>,
}

/// Waits until a context is done and every task below it has finished its clean-up.
///
/// What [`Ctx::drained`] returns. [`Ctx::unfinished`] tells what it waits for.
///
/// # Cancel safety
///
/// Cancel safe: a drop forgets the wait and nothing else.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// root.cancel();
/// root.drained().await;
/// # }
/// ```
#[must_use = "a future does nothing until it is awaited"]
pub struct Drained {
    node: NodeRef,
    key: Option<WaiterKey>,
}

impl Links {
    /// Zero is the first, which stands in place; the others are one more than their key in the slab.
    pub(super) fn add_waiter(&mut self, waker: Waker) -> u32 {
        if self.waiter.is_none() {
            self.waiter = Some(waker);
            0
        } else {
            self.watch().waiters.get_or_insert_default().insert(waker) + 1
        }
    }

    fn waiter_mut(&mut self, place: u32) -> Option<&mut Waker> {
        match place {
            0 => self.waiter.as_mut(),
            _ => self.watch.as_mut()?.waiters.as_mut()?.get_mut(place - 1),
        }
    }

    pub(super) fn remove_waiter(&mut self, place: u32) -> Option<Waker> {
        match place {
            0 => self.waiter.take(),
            _ => self.watch.as_mut()?.waiters.as_mut()?.remove(place - 1),
        }
    }
}

impl NodeRef {
    /// Has `waker` woken by the completion, until which nothing is answered.
    #[inline]
    fn poll_done(&self, place: &mut Option<u32>, waker: &Waker) -> Poll<Completion> {
        if !self.is_done() && self.wait(place, waker) {
            return Poll::Pending;
        }
        match self.completion() {
            Some(completion) => Poll::Ready(completion),
            None => Poll::Pending,
        }
    }

    /// Answers false where there is nothing to wait for any more.
    fn wait(&self, place: &mut Option<u32>, waker: &Waker) -> bool {
        if let Some(place) = *place {
            let mut links = self.links.lock();
            if links.waiter_mut(place).is_some_and(|old| old.will_wake(waker)) {
                return true;
            }
        }
        // The clone and the drop of a waker are user code.
        let waker = waker.clone();
        let mut links = self.links.lock();
        if !self.set_watched() {
            drop(links);
            return false;
        }
        let old = match place.and_then(|place| links.waiter_mut(place)) {
            Some(old) => Some(std::mem::replace(old, waker)),
            None => {
                *place = Some(links.add_waiter(waker));
                None
            }
        };
        drop(links);
        drop(old);
        true
    }

    #[inline]
    fn stop_waiting(&self, place: Option<u32>) {
        // Completion takes all waiters, and nobody comes after it.
        if let Some(place) = place
            && !self.is_done()
        {
            let waker = self.links.lock().remove_waiter(place);
            drop(waker);
        }
    }
}

impl Done {
    pub(super) fn new(ctx: &Ctx) -> Self {
        Self { node: ctx.0.clone(), place: None }
    }
}

impl Future for Done {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let Self { node, place } = self.get_mut();
        node.poll_done(place, cx.waker())
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.node.stop_waiting(self.place);
    }
}

impl Future for Completing<'_> {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let Self { ctx, place } = self.get_mut();
        ctx.0.poll_done(place, cx.waker())
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        self.ctx.0.stop_waiting(self.place);
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Done").field(&Ctx(self.node.clone())).finish()
    }
}

impl Drained {
    pub(super) fn new(ctx: &Ctx) -> Self {
        Self { node: ctx.0.clone(), key: None }
    }
}

impl Drained {
    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = drain_waiters(&mut self.node.links.lock()).remove(key);
            drop(waker);
        }
    }
}

fn drain_waiters(links: &mut Links) -> &mut WakerSet {
    links.watch().drain_waiters.get_or_insert_default()
}

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        let waker = cx.waker().clone();
        let this = &mut *self;
        let mut links = this.node.links.lock();
        this.node.set_watched();
        let busy = links.watch.as_ref().is_some_and(|watch| watch.busy > 0);
        if this.node.is_done() && !busy {
            drop(links);
            drop(waker);
            return Poll::Ready(());
        }
        this.key = Some(drain_waiters(&mut links).insert(waker));
        Poll::Pending
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drained").field(&Ctx(self.node.clone())).finish()
    }
}

/// Waits for a context to complete, and gives nothing: the signal that servers ask for.
///
/// What [`Ctx::completed`] returns.
///
/// # Cancel safety
///
/// Cancel safe, as [`Done`] is.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// let signal = root.completed();
/// root.cancel();
/// signal.await;
/// # }
/// ```
#[must_use = "a future does nothing until it is awaited"]
#[derive(Debug)]
pub struct Completed(Done);

impl Completed {
    pub(super) fn new(ctx: &Ctx) -> Self {
        Self(Done::new(ctx))
    }
}

impl Future for Completed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl IntoFuture for Ctx {
    type Output = Completion;
    type IntoFuture = Done;

    fn into_future(self) -> Done {
        self.done()
    }
}

impl<'a> IntoFuture for &'a Ctx {
    type Output = Completion;
    type IntoFuture = Completing<'a>;

    fn into_future(self) -> Completing<'a> {
        Completing { ctx: self, place: None }
    }
}

impl<'a> IntoFuture for &'a CtxGuard {
    type Output = Completion;
    type IntoFuture = Completing<'a>;

    fn into_future(self) -> Completing<'a> {
        self.deref().into_future()
    }
}

pin_project! {
    /// The future of [`Ctx::run`].
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as the future that it runs: a drop drops that one.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use machinery::Ctx;
    ///
    /// let root = Ctx::beginning("app");
    /// assert_eq!(root.run(async { 7 }).await.unwrap(), 7);
    /// # }
    /// ```
    #[must_use = "a future does nothing until it is awaited"]
    #[derive(Debug)]
    pub struct Run<F> {
        #[pin]
        future: F,
        done: Done,
    }
}

impl<F> Run<F> {
    pub(super) fn new(ctx: &Ctx, future: F) -> Self {
        Self { future, done: Done::new(ctx) }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Completion>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Completion first, so that nothing is begun below a context that is done.
        if !this.done.node.is_done()
            && let Poll::Ready(output) = this.future.poll(cx)
        {
            return Poll::Ready(Ok(output));
        }
        // As an error it may come to stand above the context where it began.
        Pin::new(this.done).poll(cx).map(|completion| Err(completion.let_go()))
    }
}
