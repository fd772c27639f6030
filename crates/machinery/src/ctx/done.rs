//! The futures that wait on a context.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::family::NodeRef;
use super::node::{Links, Node};
use super::wakers::{WaiterKey, WakerSet};
use super::{Completion, Ctx};

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
    key: Option<WaiterKey>,
}

/// Waits until a context is done and every task below it has finished its clean-up.
///
/// What [`Ctx::drained`] returns.
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

/// Which of a node's waiters a future stands among.
type Waiters = fn(&mut Links) -> &mut WakerSet;

fn done_waiters(links: &mut Links) -> &mut WakerSet {
    &mut links.watch().waiters
}

fn drain_waiters(links: &mut Links) -> &mut WakerSet {
    links.watch().drain_waiters.get_or_insert_default()
}

impl Node {
    fn is_drained(&self, links: &Links) -> bool {
        self.is_done() && links.watch.as_ref().is_none_or(|watch| watch.busy == 0)
    }

    /// Registers `waker`, or answers false where `ready` says that there is nothing left to wait for.
    fn wait(
        &self,
        key: &mut Option<WaiterKey>,
        waker: &Waker,
        waiters: Waiters,
        ready: impl Fn(&Links) -> bool,
    ) -> bool {
        if let Some(key) = *key {
            let mut links = self.links.lock();
            if ready(&links) {
                return false;
            }
            if let Some(old) = waiters(&mut links).get_mut(key)
                && old.will_wake(waker)
            {
                return true;
            }
        }
        // The clone and the drop of a waker are user code.
        let new = waker.clone();
        let mut links = self.links.lock();
        self.set_watched();
        if ready(&links) {
            drop(links);
            return false;
        }
        let waiters = waiters(&mut links);
        let old = match key.and_then(|key| waiters.get_mut(key)) {
            Some(old) => Some(std::mem::replace(old, new)),
            None => {
                *key = Some(waiters.insert(new));
                None
            }
        };
        drop(links);
        drop(old);
        true
    }

    fn forget(&self, key: &mut Option<WaiterKey>, waiters: Waiters) {
        if let Some(key) = key.take() {
            let waker = waiters(&mut self.links.lock()).remove(key);
            drop(waker);
        }
    }
}

impl Done {
    pub(super) fn new(ctx: &Ctx) -> Self {
        Self { node: ctx.0.clone(), key: None }
    }
}

impl Future for Done {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let Self { node, key } = self.get_mut();
        if !node.is_done() && node.wait(key, cx.waker(), done_waiters, |_| node.is_done()) {
            return Poll::Pending;
        }
        match node.record() {
            Some(record) => Poll::Ready(Completion(record)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if self.key.is_some() && !self.node.is_done() {
            self.node.forget(&mut self.key, done_waiters);
        }
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

impl Future for Drained {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { node, key } = self.get_mut();
        if node.wait(key, cx.waker(), drain_waiters, |links| node.is_drained(links)) {
            Poll::Pending
        } else {
            node.forget(key, drain_waiters);
            Poll::Ready(())
        }
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.node.forget(&mut self.key, drain_waiters);
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drained").field(&Ctx(self.node.clone())).finish()
    }
}

impl IntoFuture for Ctx {
    type Output = Completion;
    type IntoFuture = Done;

    fn into_future(self) -> Done {
        self.done()
    }
}

impl IntoFuture for &Ctx {
    type Output = Completion;
    type IntoFuture = Done;

    fn into_future(self) -> Done {
        self.done()
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
        Pin::new(this.done).poll(cx).map(Err)
    }
}
