//! Contexts: the tree on which everything hangs.

mod busy;
pub(crate) mod callbacks;
mod completion;
mod deadline;
mod done;
mod family;
mod guard;
mod node;
mod notify;
mod options;
mod protocols;
mod sweep;
mod tree;
mod unfinished;
pub(crate) mod wakers;

use std::any::TypeId;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

pub(crate) use busy::Busy;
pub use callbacks::{CallbackFinished, CallbackId, Removal};
pub use completion::{Completion, CompletionKind};
pub use done::{Completed, Completing, Done, Drained, Run};
pub use guard::{Canceller, Close, CtxGuard};
pub use options::CtxOptions;
pub use tree::Tree;
pub(crate) use unfinished::{NamedBusy, Witness};
pub use unfinished::{Unfinished, UnfinishedWork};

use family::NodeRef;
use options::Above;

use crate::tramp::{DefaultTramp, Tramp};
use crate::{Name, NoRuntime, SharedError};

/// A context: a named place in the tree, which completes at most once and takes everything below it along.
///
/// This is the handle that objects hold. It can be observed, awaited, given callbacks and asked for children; it has
/// no method that completes it, as only whoever made a context does that, through its [`CtxGuard`].
///
/// A clone is another handle to the same context. Two handles are equal if they are of the same context. To ask
/// whether it is done is one atomic load, however deep it stands.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::Ctx;
///
/// async fn serve(ctx: Ctx) -> String {
///     let why = ctx.done().await;
///     format!("{} stopped as {why}", ctx.full_name())
/// }
///
/// let root = Ctx::beginning("app");
/// let server = root.child("server");
/// let serving = serve(server.ctx());
/// root.cancel_because("SIGTERM");
/// assert!(serving.await.starts_with("app-->server stopped as `app` was cancelled"));
/// # }
/// ```
#[doc(alias = "CancellationToken")]
#[doc(alias = "CTX")]
#[derive(Clone)]
pub struct Ctx(pub(crate) NodeRef);

impl Ctx {
    /// Makes a root. It remembers the Tokio runtime in which it is made, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let root = machinery::Ctx::beginning("app");
    /// assert_eq!(root.full_name(), "app");
    /// ```
    #[track_caller]
    pub fn beginning(name: impl Into<Name>) -> CtxGuard {
        options::make_plain(name.into(), Location::caller(), Above::Nobody)
    }

    /// Makes a root with options.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] if a deadline is asked for where there is no Tokio runtime with a clock.
    #[track_caller]
    pub fn beginning_with(name: impl Into<Name>, options: CtxOptions) -> Result<CtxGuard, NoRuntime> {
        options::make(name.into(), Location::caller(), Above::Nobody, options)
    }

    /// Makes a child, which completes when its guard is dropped, or when this context completes.
    ///
    /// The guard has to be kept for as long as the child is to live: `ctx.child("x").ctx()` is a handle to a context that
    /// is cancelled at the end of the statement. [`hand_over`](CtxGuard::hand_over) is for a child that nobody keeps.
    ///
    /// Below a context that is done, the child is done from the start.
    ///
    /// # Examples
    ///
    /// ```
    /// let root = machinery::Ctx::beginning("app");
    /// let server = root.child("server");
    /// assert_eq!(server.full_name(), "app-->server");
    /// ```
    #[doc(alias = "child_token")]
    #[track_caller]
    pub fn child(&self, name: impl Into<Name>) -> CtxGuard {
        options::make_plain(name.into(), Location::caller(), Above::Parent(self))
    }

    /// A child that the library makes for somebody who asked for something at another line.
    pub(crate) fn child_at(&self, name: Name, made_at: &'static Location<'static>) -> CtxGuard {
        options::make_plain(name, made_at, Above::Parent(self))
    }

    /// Like `child_at`, with a limit from the same line.
    pub(crate) fn child_within(
        &self,
        name: Name,
        made_at: &'static Location<'static>,
        timeout: Duration,
    ) -> Result<CtxGuard, NoRuntime> {
        options::make(name, made_at, Above::Parent(self), CtxOptions::within(timeout, made_at))
    }

    /// Makes a child with options.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] if a deadline is asked for where there is no Tokio runtime with a clock.
    #[track_caller]
    pub fn child_with(&self, name: impl Into<Name>, options: CtxOptions) -> Result<CtxGuard, NoRuntime> {
        options::make(name.into(), Location::caller(), Above::Parent(self), options)
    }

    /// Makes a context with several parents, which completes when the first of them does.
    ///
    /// Name, tramp, values and runtime come from this context, the first parent; its deadline is the earliest of all.
    /// It unlinks itself from every parent when it is dropped.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] if a deadline is asked for where there is no Tokio runtime with a clock.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), machinery::NoRuntime> {
    /// use machinery::{Ctx, CtxOptions};
    ///
    /// let (server, connection) = (Ctx::beginning("server"), Ctx::beginning("connection"));
    /// let request = server.linked_with("request", [&*connection], CtxOptions::new())?;
    /// connection.cancel_because("hung up");
    /// assert_eq!(request.completion().unwrap().reason(), Some("hung up"));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn linked_with<'a>(
        &self,
        name: impl Into<Name>,
        others: impl IntoIterator<Item = &'a Ctx>,
        options: CtxOptions,
    ) -> Result<CtxGuard, NoRuntime> {
        let more = options::others(self, others);
        options::make(name.into(), Location::caller(), Above::Linked(self, more), options)
    }

    /// Makes a context with several parents and no options. See [`linked_with`](Self::linked_with).
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::Ctx;
    ///
    /// let (server, connection) = (Ctx::beginning("server"), Ctx::beginning("connection"));
    /// let request = server.linked("request", [&*connection]);
    /// drop(server);
    /// assert!(request.is_done());
    /// ```
    #[track_caller]
    pub fn linked<'a>(&self, name: impl Into<Name>, others: impl IntoIterator<Item = &'a Ctx>) -> CtxGuard {
        let more = options::others(self, others);
        options::make_plain(name.into(), Location::caller(), Above::Linked(self, more))
    }

    /// Makes a context that keeps the name, tramp, values and runtime of this one, and neither its completion nor its
    /// deadline: for clean-up work that has to go on.
    ///
    /// # Examples
    ///
    /// ```
    /// let root = machinery::Ctx::beginning("app");
    /// let flush = root.detached("flush");
    /// root.cancel();
    /// assert!(!flush.is_done());
    /// assert_eq!(flush.full_name(), "app-->flush");
    /// ```
    #[doc(alias = "WithoutCancel")]
    #[track_caller]
    pub fn detached(&self, name: impl Into<Name>) -> CtxGuard {
        options::make_plain(name.into(), Location::caller(), Above::Detached(self))
    }

    /// Makes a detached context with options; a deadline among them is its own.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] if a deadline is asked for where there is no Tokio runtime with a clock.
    #[track_caller]
    pub fn detached_with(&self, name: impl Into<Name>, options: CtxOptions) -> Result<CtxGuard, NoRuntime> {
        options::make(name.into(), Location::caller(), Above::Detached(self), options)
    }

    /// The name that the context was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The names from the root to here, joined by `-->`, with prefixes in brackets. It is put together at each call.
    #[must_use]
    pub fn full_name(&self) -> String {
        let mut path = String::new();
        self.0.write_path(&mut path);
        path
    }

    /// The context above, or the first of those above; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Ctx> {
        self.0.parent.clone().map(Ctx)
    }

    /// The line that made the context.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.0.made_at
    }

    /// Whether the context is complete, and with it everything below. One atomic load.
    #[doc(alias = "done")]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Whether the context was cancelled, as opposed to pending, failed, or past its deadline.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.completion().is_some_and(|completion| completion.is_cancelled())
    }

    /// The error that the context was completed with.
    #[must_use]
    pub fn exception(&self) -> Option<SharedError> {
        self.completion()?.error().cloned()
    }

    /// Why the context completed; `None` while it is pending.
    #[must_use]
    pub fn completion(&self) -> Option<Completion> {
        self.0.completion()
    }

    /// The instant at which the context completes at the latest, if it has a deadline or one above it has.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    /// A future that waits for the completion, for use in `select!`. `ctx.await` is the same.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; see [`Done`].
    #[doc(alias = "cancelled")]
    pub fn done(&self) -> Done {
        Done::new(self)
    }

    /// Waits for the completion and gives nothing: it fits `with_graceful_shutdown` of axum and its like of hyper and
    /// tonic as it stands.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; see [`Done`].
    ///
    /// # Examples
    ///
    /// ```
    /// # mod axum {
    /// #     pub struct Serve;
    /// #     impl Serve {
    /// #         pub fn with_graceful_shutdown(self, _: impl Future<Output = ()> + Send + 'static) {}
    /// #     }
    /// #     pub fn serve(_: (), _: ()) -> Serve { Serve }
    /// # }
    /// # let (listener, router) = ((), ());
    /// let root = machinery::Ctx::beginning("app");
    /// let serving = axum::serve(listener, router).with_graceful_shutdown(root.completed());
    /// ```
    pub fn completed(&self) -> Completed {
        Completed::new(self)
    }

    /// Waits until the context is done and every task below it has finished its clean-up.
    ///
    /// Work below a [detached](Self::detached) context is not waited for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; see [`Drained`].
    pub fn drained(&self) -> Drained {
        Drained::new(self)
    }

    /// Runs a future until it finishes or the context completes, whichever is first.
    ///
    /// Where the context is done, the future is not polled.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `future` itself.
    ///
    /// # Errors
    ///
    /// The context's [`Completion`], when that came first; the future is dropped with the [`Run`] then.
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
    /// root.cancel_because("enough");
    /// assert_eq!(root.run(async { 7 }).await.unwrap_err().reason(), Some("enough"));
    /// # }
    /// ```
    #[doc(alias = "run_until_cancelled")]
    pub fn run<F: IntoFuture>(&self, future: F) -> Run<F::IntoFuture> {
        Run::new(self, future.into_future())
    }

    /// The [`Tramp`] that this context uses: its own, or the nearest above it, or the one that writes to `tracing`.
    #[must_use]
    pub fn tramp(&self) -> Arc<dyn Tramp> {
        self.0.inherited().find_map(|fixed| fixed.tramp.clone()).unwrap_or_else(DefaultTramp::shared)
    }

    /// The nearest value of this type, from here upwards, that a context was made with.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), machinery::NoRuntime> {
    /// use machinery::{Ctx, CtxOptions};
    ///
    /// struct RequestId(u64);
    ///
    /// let root = Ctx::beginning("app");
    /// let request = root.child_with("request", CtxOptions::new().value(RequestId(7)))?;
    /// let query = request.child("query");
    /// assert_eq!(query.value::<RequestId>().unwrap().0, 7);
    /// assert!(root.value::<RequestId>().is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn value<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let wanted = TypeId::of::<T>();
        self.0
            .inherited()
            .flat_map(|fixed| fixed.values.iter().rev())
            .find(|value| value.0 == wanted)
            .and_then(|value| Arc::clone(&value.1).downcast().ok())
    }

    /// The runtime that work below this context is spawned on: the one given to it or to the nearest above it, or else
    /// the one that its root was made in, or else the one that is current at this call.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] where there is none of these.
    pub fn runtime(&self) -> Result<Handle, NoRuntime> {
        self.0
            .home()
            .map(|home| home.handle.clone())
            .or_else(|| Handle::try_current().ok())
            .ok_or_else(|| NoRuntime { wanted: "spawning", path: self.full_name().into_boxed_str() })
    }

    /// Drops the handle for somebody who has others to see to: if it is the last, and the drop of what the user gave to
    /// the context panics, that is reported.
    pub(crate) fn let_go(self) {
        notify::let_go_of_last(self.0);
    }
}

impl PartialEq for Ctx {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ctx {}

impl Hash for Ctx {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.address().hash(state);
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Ctx {self}>")
    }
}
