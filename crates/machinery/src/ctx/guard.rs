//! The owner of a context, and those to whom it lends the power to complete it.

#![expect(unsafe_code, reason = "a guard that is dropped takes its handle out")]

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::completion::Cause;
use super::family::NodeRef;
use super::node::HANDED;
use super::{Ctx, Drained};
use crate::Name;
use crate::sync::atomic::Ordering;

/// The owner of a context: the one handle that completes it, and the one whose drop does.
///
/// [`Ctx::beginning`] and [`Ctx::child`] return it. It derefs to [`Ctx`], so that everything a context can do is at
/// hand; give clones of that one away, and keep the guard where the work is owned.
///
/// # Drop
///
/// Cancels the context and everything below it, and runs the callbacks. It waits for nothing;
/// [`close`](Self::close) does.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// let seen = {
///     let request = root.child("request");
///     let seen = request.clone();
///     assert!(!seen.is_done());
///     seen
/// };
/// assert!(seen.is_cancelled());
/// assert!(!root.is_done());
/// ```
#[doc(alias = "DropGuard")]
#[must_use = "dropping the guard cancels the context at once"]
pub struct CtxGuard {
    ctx: ManuallyDrop<Ctx>,
    owns: bool,
}

/// The power to complete a context without owning its lifetime.
///
/// For a signal handler or a supervisor; taken from the guard with [`CtxGuard::canceller`]. Its drop does nothing.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// let stop = root.canceller();
/// std::thread::spawn(move || stop.cancel_because("asked from a thread")).join().unwrap();
/// assert_eq!(root.completion().unwrap().reason(), Some("asked from a thread"));
/// ```
#[derive(Clone)]
pub struct Canceller(NodeRef);

/// How the guard completes its context, and those do to whom it lent the power.
macro_rules! completing_methods {
    () => {
        /// Completes the context as cancelled, with everything below it, and runs the callbacks.
        ///
        /// Answers whether this call was the one that completed it. The line of the call is in the record. From within a
        /// callback, everything below is complete when this returns, and the callbacks run after those under way.
        #[track_caller]
        pub fn cancel(&self) -> bool {
            self.0.complete(Cause::Cancelled(Location::caller()))
        }

        /// Like [`cancel`](Self::cancel), with a reason that everybody below can read.
        #[track_caller]
        pub fn cancel_because(&self, reason: impl Into<Name>) -> bool {
            self.0.complete(Cause::reason(reason.into(), Location::caller()))
        }

        /// Completes the context with an error, with everything below it, and runs the callbacks.
        ///
        /// Answers whether this call was the one that completed it; an error that came too late is dropped with the answer
        /// `false`.
        #[track_caller]
        pub fn set_exception(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> bool {
            self.0.complete(Cause::error(error.into(), Location::caller()))
        }
    };
}

impl CtxGuard {
    pub(super) fn new(node: NodeRef) -> Self {
        Self { ctx: ManuallyDrop::new(Ctx(node)), owns: true }
    }

    completing_methods!();

    /// The power to complete this context, to be given away.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(self.ctx.0.clone())
    }

    /// A handle to the context, to be given away.
    #[must_use]
    pub fn ctx(&self) -> Ctx {
        Ctx::clone(self)
    }

    /// Gives the context's lifetime to its parent: it completes when the parent does, and no guard is left to drop.
    ///
    /// It costs the parent nothing once its last handle is gone; its callbacks are kept until they run. A root has no
    /// parent: it completes by its deadline or by a [`Canceller`], or never.
    #[expect(clippy::must_use_candidate, reason = "the handle may not be needed")]
    pub fn hand_over(mut self) -> Ctx {
        self.owns = false;
        let node = &self.ctx.0;
        let mut links = node.links.lock();
        node.state.fetch_or(HANDED, Ordering::AcqRel);
        if !node.is_closed()
            && let Some(watch) = &mut links.watch
            && watch.callbacks.as_ref().is_some_and(|callbacks| !callbacks.is_empty())
        {
            watch.keep_alive = Some(node.clone());
        }
        drop(links);
        self.ctx()
    }

    /// Cancels the context at once, and returns a future that waits until every task below has finished its clean-up.
    ///
    /// # Cancel safety
    ///
    /// The context is cancelled when this function returns. A drop of the future stops the wait and nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use machinery::Ctx;
    ///
    /// let root = Ctx::beginning("app");
    /// root.close().await;
    /// # }
    /// ```
    #[track_caller]
    pub fn close(self) -> Close {
        self.cancel();
        Close(self.ctx.drained())
    }
}

impl CtxGuard {
    /// Cancels for a reason that the user did not give, as from the line that made the context.
    pub(crate) fn cancel_as_made(&self, reason: &'static str) -> bool {
        self.0.complete(Cause::reason(reason.into(), self.location()))
    }

    /// The guard in one word. Whoever holds it has to [`end`](Canceller::end) the context.
    pub(crate) fn into_canceller(mut self) -> Canceller {
        self.owns = false;
        self.canceller()
    }
}

impl Canceller {
    /// Cancels for a reason, as from another line than the one that calls.
    pub(crate) fn cancel_at(&self, reason: &'static str, location: &'static Location<'static>) -> bool {
        self.0.complete(Cause::reason(reason.into(), location))
    }

    /// Fails with an error, as from another line than the one that calls.
    pub(crate) fn set_exception_at(
        &self,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        location: &'static Location<'static>,
    ) -> bool {
        self.0.complete(Cause::error(error.into(), location))
    }

    /// What the drop of the guard would have done.
    pub(crate) fn end(self) {
        drop(CtxGuard::new(self.0));
    }
}

impl Deref for CtxGuard {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl Drop for CtxGuard {
    fn drop(&mut self) {
        // SAFETY: the guard is being dropped, and nobody uses this field of it afterwards.
        let Ctx(node) = unsafe { ManuallyDrop::take(&mut self.ctx) };
        if !self.owns || node.is_closed() {
            return;
        }
        // The last handle to something that nobody watches and that has nothing below: nobody could ever look.
        if let Some(node) = node.drop_unseen() {
            node.complete(Cause::Dropped);
        }
    }
}

impl fmt::Debug for CtxGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CtxGuard").field(&**self).finish()
    }
}

impl fmt::Display for CtxGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl Canceller {
    completing_methods!();

    /// The context that it can complete.
    #[must_use]
    pub fn ctx(&self) -> Ctx {
        Ctx(self.0.clone())
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Canceller").field(&self.ctx()).finish()
    }
}

/// The future of [`CtxGuard::close`].
///
/// # Cancel safety
///
/// A drop stops the wait; the context has been cancelled before.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let root = machinery::Ctx::beginning("app");
/// let closing = root.close();
/// closing.await;
/// # }
/// ```
#[must_use = "the context is cancelled; only awaiting this waits for the clean-up below it"]
#[derive(Debug)]
pub struct Close(Drained);

impl Future for Close {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}
