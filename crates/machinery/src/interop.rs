//! Contexts and tokio-util's [`CancellationToken`], each following the other at once.
//!
//! Behind the feature `tokio-util`. A token that is cancelled completes the contexts that follow it before its
//! `cancel` returns, and a context that completes cancels its token before its own completing call returns; no
//! task stands between them.
//!
//! # Invariants
//!
//! 1. The wait is polled and dropped outside the lock, as both lock the token's tree. While it is out, `Out` stands in
//!    its place, and whoever wakes it or stops it writes that down there; whoever took it out finds that when he puts
//!    it back. So no wake-up is lost, and no wait is left behind.
//! 2. `Over` is for good. The canceller is taken out once, with it.
//!
//! The lock is a leaf; no user code runs and no token is touched under it.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use tokio_util::sync::CancellationToken;

use crate::ctx::{CallbackId, Canceller};
use crate::sync::Mutex;
use crate::{Ctx, CtxGuard, Name};

/// Waits on a token, and completes a context from within the token's `cancel`.
struct Follower<W> {
    state: Mutex<State<W>>,
    location: &'static Location<'static>,
}

enum State<W> {
    Waiting(Pin<Box<W>>, Canceller),
    /// Somebody polls the wait.
    Out {
        canceller: Canceller,
        /// It has been woken since.
        woken: bool,
    },
    Over,
}

impl<W: Future<Output = ()> + Send + 'static> Follower<W> {
    fn new(waiting: W, canceller: Canceller, location: &'static Location<'static>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Waiting(Box::pin(waiting), canceller)), location })
    }

    fn look(self: &Arc<Self>) {
        let Some(mut waiting) = self.take_out() else { return };
        let waker = Waker::from(Arc::clone(self));
        loop {
            if waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                if let State::Waiting(_, canceller) | State::Out { canceller, .. } = self.end() {
                    canceller.cancel_at("the token that it follows was cancelled", self.location);
                }
                return;
            }
            match self.put_back(waiting) {
                Some(again) => waiting = again,
                None => return,
            }
        }
    }

    fn take_out(&self) -> Option<Pin<Box<W>>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Waiting(waiting, canceller) => {
                *state = State::Out { canceller, woken: false };
                Some(waiting)
            }
            State::Out { canceller, .. } => {
                *state = State::Out { canceller, woken: true };
                None
            }
            State::Over => None,
        }
    }

    /// Gives the wait again where it was woken meanwhile, and drops it where it was stopped.
    fn put_back(&self, waiting: Pin<Box<W>>) -> Option<Pin<Box<W>>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Out { canceller, woken: true } => {
                *state = State::Out { canceller, woken: false };
                Some(waiting)
            }
            State::Out { canceller, woken: false } => {
                *state = State::Waiting(waiting, canceller);
                None
            }
            State::Waiting(..) | State::Over => {
                drop(state);
                drop(waiting);
                None
            }
        }
    }

    /// Answers with what there was, to be dropped without the lock.
    fn end(&self) -> State<W> {
        std::mem::replace(&mut *self.state.lock(), State::Over)
    }
}

impl<W: Future<Output = ()> + Send + 'static> Wake for Follower<W> {
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
    ///
    /// The context keeps a clone of it until then, also when nobody else has one any more. For tokens that come and go on
    /// a context that lives long, keep the `LinkedToken`, or make [children](CancellationToken::child_token) of one.
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
    /// The record of such a completion has the line of this call, as a token does not say who cancelled it.
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
        let waiting = token.clone().cancelled_owned();
        let follower = Follower::new(waiting, guard.canceller(), Location::caller());
        follower.look();
        guard.add_done_callback(move |_| drop(follower.end()));
        guard
    }

    /// A token that is cancelled when this context completes, before the completing call returns.
    ///
    /// It follows the context for as long as the [`LinkedToken`] is kept: `ctx.token().clone()` alone is a token that nobody
    /// cancels. [`into_token`](LinkedToken::into_token) is for one that is given away.
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
    ///
    /// let given_away = root.token().into_token().child_token();
    /// assert!(given_away.is_cancelled());
    /// # }
    /// ```
    pub fn token(&self) -> LinkedToken {
        let token = CancellationToken::new();
        let cancelled = token.clone();
        let id = self.add_done_callback(move |_| cancelled.cancel());
        LinkedToken { token, link: Some((self.clone(), id)) }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// Is woken while it is polled for the first time, as a token may be that another thread cancels.
    struct WokenMeanwhile(bool);

    impl Future for WokenMeanwhile {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    #[test]
    fn a_token_that_is_cancelled_while_the_wait_is_polled_is_followed() {
        let root = Ctx::beginning("root");
        let follower = Follower::new(WokenMeanwhile(false), root.canceller(), Location::caller());
        follower.look();
        assert!(root.is_done(), "the wake-up was lost");
    }

    /// Is stopped while it is polled, as by a context that another thread completes.
    struct StoppedMeanwhile {
        guard: CtxGuard,
        _witness: Arc<()>,
    }

    impl Future for StoppedMeanwhile {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            self.guard.cancel();
            Poll::Pending
        }
    }

    #[test]
    fn a_wait_that_is_stopped_while_it_is_polled_is_dropped() {
        let (root, witness) = (Ctx::beginning("root"), Arc::new(()));
        let (canceller, ctx) = (root.canceller(), root.ctx());
        let waiting = StoppedMeanwhile { guard: root, _witness: Arc::clone(&witness) };
        let follower = Follower::new(waiting, canceller, Location::caller());
        let callback = Arc::clone(&follower);
        ctx.add_done_callback(move |_| drop(callback.end()));
        follower.look();
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}
