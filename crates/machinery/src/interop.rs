//! Contexts and tokio-util's [`CancellationToken`], each following the other at once.
//!
//! Behind the feature `tokio-util`. A token that is cancelled completes the contexts that follow it before its
//! `cancel` returns, and a context that completes cancels its token before its own completing call returns; no
//! task stands between them.
//!
//! # Invariants
//!
//! 1. The canceller is taken out once: by the poll that finds the token cancelled, or by the end of the context.
//! 2. The wait is polled and dropped outside its lock, as both lock the token's tree. It is put back only while the
//!    canceller is there. Who stops it takes the canceller first, so that no wait is left behind.
//!
//! Lock order: `waiting`, then `canceller`; no user code and no token is touched under either.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::ctx::{CallbackId, Canceller};
use crate::sync::Mutex;
use crate::{Ctx, CtxGuard, Name};

type Waiting = Pin<Box<WaitForCancellationFutureOwned>>;

/// Waits on a token, and completes a context from within the token's `cancel`.
struct Follower {
    /// Taken out while it is polled, and for good when there is nothing more to wait for.
    waiting: Mutex<Option<Waiting>>,
    canceller: Mutex<Option<Canceller>>,
}

impl Follower {
    fn look(self: &Arc<Self>) {
        let Some(mut waiting) = self.waiting.lock().take() else { return };
        let waker = Waker::from(Arc::clone(self));
        match waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                let mut slot = self.waiting.lock();
                // Whoever stopped it meanwhile has taken the canceller, and found nothing here.
                if self.canceller.lock().is_some() {
                    *slot = Some(waiting);
                }
            }
            Poll::Ready(()) => {
                let canceller = self.canceller.lock().take();
                if let Some(canceller) = canceller {
                    canceller.cancel_because("the token that it follows was cancelled");
                }
            }
        }
    }

    fn stop(&self) {
        let canceller = self.canceller.lock().take();
        let waiting = self.waiting.lock().take();
        drop((canceller, waiting));
    }
}

impl Wake for Follower {
    fn wake(self: Arc<Self>) {
        self.look();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.look();
    }
}

/// A token that is cancelled when a context completes. What [`Ctx::token`] returns.
///
/// It derefs to the [`CancellationToken`]. Give clones of that one away, or children of it.
///
/// # Drop
///
/// The token no longer follows the context, and neither do its clones. [`into_token`](Self::into_token) keeps them
/// together until the context completes.
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("app");
/// let token = root.token();
/// let given_away = token.clone();
/// root.cancel();
/// assert!(given_away.is_cancelled());
/// ```
#[must_use = "a drop ends the link between the context and the token"]
pub struct LinkedToken {
    token: CancellationToken,
    link: Option<(Ctx, CallbackId)>,
}

impl LinkedToken {
    /// The token by itself, which follows the context until that completes.
    #[must_use]
    pub fn into_token(mut self) -> CancellationToken {
        self.link = None;
        self.token.clone()
    }
}

impl Deref for LinkedToken {
    type Target = CancellationToken;

    fn deref(&self) -> &CancellationToken {
        &self.token
    }
}

impl fmt::Debug for LinkedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkedToken").field("token", &self.token).field("link", &self.link).finish()
    }
}

impl Drop for LinkedToken {
    fn drop(&mut self) {
        if let Some((ctx, id)) = self.link.take() {
            ctx.remove_done_callback(id);
        }
    }
}

impl Ctx {
    /// Makes a child that is also cancelled when `token` is, before the token's `cancel` returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Ctx;
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let root = Ctx::beginning("app");
    /// let request = root.child_of_token("request", &token);
    /// token.cancel();
    /// assert!(request.is_cancelled());
    /// assert!(!root.is_done());
    /// ```
    #[track_caller]
    pub fn child_of_token(&self, name: impl Into<Name>, token: &CancellationToken) -> CtxGuard {
        let guard = self.child(name);
        if guard.is_done() {
            return guard;
        }
        let follower = Arc::new(Follower {
            waiting: Mutex::new(Some(Box::pin(token.clone().cancelled_owned()))),
            canceller: Mutex::new(Some(guard.canceller())),
        });
        follower.look();
        guard.add_done_callback(move |_| follower.stop());
        guard
    }

    /// A token that is cancelled when this context completes, before the completing call returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use machinery::Ctx;
    ///
    /// let root = Ctx::beginning("app");
    /// let token = root.token();
    /// root.cancel();
    /// token.cancelled().await;
    /// # }
    /// ```
    pub fn token(&self) -> LinkedToken {
        let token = CancellationToken::new();
        let cancelled = token.clone();
        let id = self.add_done_callback(move |_| cancelled.cancel());
        LinkedToken { token, link: Some((self.clone(), id)) }
    }
}
