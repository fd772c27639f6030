//! What travels with contexts: logging, and the names of futures.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use crate::contain::contain;
use crate::error::{Chain, PanicError};
use crate::protocols::{FutureState, WithRepr};
use crate::{Ctx, Name, SharedError};

/// What a context logs through, and what names and shows its promises and tasks.
///
/// It is given to a context with [`CtxOptions::tramp`](crate::CtxOptions::tramp) and inherited by everything below. Every method has a default, so
/// that an own tramp says only what it does differently; the default writes to `tracing`, with the context's path and
/// the task's name as fields. [`Ctx::tramp`] finds the one in force, and [`Ctx::tramp_as`] an own one by its type.
///
/// Its methods run on whichever thread has something to say, with no lock of this library held. A panic in one of them
/// that the library called is contained, and what was to be said goes to `tracing`.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, CtxOptions, Report, Tramp};
/// use std::sync::Mutex;
///
/// /// Keeps what it is told.
/// #[derive(Default)]
/// struct Kept(Mutex<Vec<String>>);
///
/// impl Tramp for Kept {
///     fn log_exception(&self, report: &Report<'_>) {
///         self.0.lock().unwrap().push(format!("{report:#}"));
///     }
/// }
///
/// # fn main() -> Result<(), machinery::NoRuntime> {
/// let root = Ctx::beginning_with("app", CtxOptions::new().tramp(Kept::default()))?;
/// let server = root.child("server");
/// server.add_done_callback(|_| panic!("a mistake"));
/// server.cancel();
///
/// let kept = server.tramp_as::<Kept>().unwrap();
/// assert_eq!(*kept.0.lock().unwrap(), ["app-->server: a callback panicked: a mistake"]);
/// # Ok(())
/// # }
/// ```
pub trait Tramp: Any + Send + Sync {
    /// Logs something worth knowing.
    fn log_info(&self, ctx: &Ctx, message: &str) {
        tracing::info!(ctx = %ctx.full_name(), "{message}");
    }

    /// Logs an error that reaches nobody else.
    fn log_exception(&self, report: &Report<'_>) {
        tracing::error!(
            ctx = %report.ctx().full_name(),
            task = report.task_name(),
            at = report.location().map(tracing::field::display),
            "{report}",
        );
    }

    /// Gives a promise, a task or the like another name; says whether it takes one.
    fn set_future_name(&self, future: &dyn WithRepr, name: Name) -> bool {
        future.set_repr_name(name)
    }

    /// The name of a promise, a task or the like.
    fn get_future_name(&self, future: &dyn WithRepr) -> Option<Name> {
        future.repr_name()
    }

    /// Shows a promise, a task or the like: `<Future#name(pending)>`, and in place of `pending` one of `cancelled`,
    /// `exception:Kind:message` and `result`. Without the name it is `(pending)` alone.
    ///
    /// `Kind` is the name of the error's type where a typed call knew it, and `Error` where none did. Showing an
    /// error does not count as having read it.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, Promise};
    ///
    /// let ctx = Ctx::beginning("app");
    /// let port = Promise::on(&ctx, "port");
    /// assert_eq!(ctx.tramp().fut_to_string(&port, true), "<Future#port(pending)>");
    ///
    /// port.set_exception("eighty".parse::<u16>().unwrap_err());
    /// assert_eq!(
    ///     ctx.tramp().fut_to_string(&port, false),
    ///     "(exception:ParseIntError:invalid digit found in string)",
    /// );
    /// # let _: Option<&u16> = port.value();
    /// # port.exception();
    /// ```
    fn fut_to_string(&self, future: &dyn WithRepr, with_name: bool) -> String {
        let state = future.repr_state();
        if !with_name {
            return format!("({state})");
        }
        match self.get_future_name(future) {
            Some(name) => format!("<Future#{name}({state})>"),
            None => format!("<Future({state})>"),
        }
    }

    /// Logs the error that something has ended with, if it has, and never a cancellation; says whether it ended well.
    ///
    /// The error has been dealt with then, and is not reported as unread. [`reporter`] makes a done callback of it.
    fn reporter(&self, ctx: &Ctx, future: &dyn WithRepr) -> bool {
        if let FutureState::Failed { error, .. } = future.repr_state() {
            let name = self.get_future_name(future);
            let report = Report::new(ctx, "ended with an error").error(&error);
            self.log_exception(&match &name {
                Some(name) => report.task(name),
                None => report,
            });
        }
        self.silent_reporter(ctx, future)
    }

    /// Looks at how something has ended and logs nothing; says whether it ended well.
    ///
    /// An error has been dealt with then, and is not reported as unread. [`silent_reporter`] makes a done callback of it.
    fn silent_reporter(&self, ctx: &Ctx, future: &dyn WithRepr) -> bool {
        let _ = ctx;
        match future.repr_state() {
            FutureState::Result => true,
            FutureState::Failed { .. } => {
                future.mark_error_read();
                false
            }
            FutureState::Pending | FutureState::Cancelled => false,
        }
    }
}

impl dyn Tramp {
    /// This tramp as what it is, if it is a `T`.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Ctx, CtxOptions, Tramp};
    ///
    /// struct Mine(u32);
    /// impl Tramp for Mine {}
    ///
    /// # fn main() -> Result<(), machinery::NoRuntime> {
    /// let root = Ctx::beginning_with("app", CtxOptions::new().tramp(Mine(7)))?;
    /// assert_eq!(root.tramp().downcast_ref::<Mine>().unwrap().0, 7);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn downcast_ref<T: Tramp>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// A done callback that logs the error that something ended with, if it did, through the tramp of `ctx`.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Promise, tramp};
///
/// let ctx = Ctx::beginning("app");
/// let port = Promise::<u16>::on(&ctx, "port");
/// port.add_done_callback(tramp::reporter(&ctx));
/// port.set_exception("none is free"); // logged here, and not again when `port` is dropped
/// ```
pub fn reporter<F: WithRepr>(ctx: &Ctx) -> impl FnOnce(&F) + Send + use<F> {
    let ctx = ctx.clone();
    move |future: &F| {
        ctx.tramp().reporter(&ctx, future);
    }
}

/// A done callback that looks at how something ended and logs nothing: its error counts as read.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Promise, tramp};
///
/// let ctx = Ctx::beginning("app");
/// let port = Promise::<u16>::on(&ctx, "port");
/// port.add_done_callback(tramp::silent_reporter(&ctx));
/// port.set_exception("none is free, and nobody minds");
/// ```
pub fn silent_reporter<F: WithRepr>(ctx: &Ctx) -> impl FnOnce(&F) + Send + use<F> {
    let ctx = ctx.clone();
    move |future: &F| {
        ctx.tramp().silent_reporter(&ctx, future);
    }
}

/// Reports an error of something that may belong to no context.
pub(crate) fn report_somewhere(ctx: Option<&Ctx>, what: &str, name: &Name, error: &SharedError) {
    match ctx {
        Some(ctx) => Report::new(ctx, what).task(name).error(error).send(),
        None => {
            // What the user's error displays may panic, and so may a subscriber.
            let _ = contain(|| tracing::error!(task = name.as_str(), "{}", Said(what, error)));
        }
    }
}

/// The tramp that everybody has who chose none.
#[derive(Debug)]
pub(crate) struct DefaultTramp;

impl Tramp for DefaultTramp {}

impl DefaultTramp {
    pub(crate) fn shared() -> Arc<dyn Tramp> {
        static SHARED: OnceLock<Arc<DefaultTramp>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Arc::new(DefaultTramp))) as Arc<dyn Tramp>
    }
}

/// An error or an event that reaches nobody by itself, with where it came from.
///
/// `{}` shows what happened and the error with its sources, and leaves the path, the task and the line to the [`Tramp`], to
/// put them where its log wants them; `{:#}` shows all of it in one line.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Name, Report, SharedError};
/// use std::sync::Arc;
///
/// let ctx = Ctx::beginning("app");
/// let (task, error) = (Name::from("poller"), Arc::new(std::io::Error::other("no route")) as SharedError);
///
/// let report = Report::new(&ctx, "gave up").task(&task).error(&error);
/// assert_eq!(report.to_string(), "gave up: no route");
/// assert_eq!(format!("{report:#}"), "app, task `poller`: gave up: no route");
/// assert_eq!(report.task_name(), Some("poller"));
/// report.send();
/// ```
pub struct Report<'a> {
    ctx: &'a Ctx,
    what: &'a str,
    task: Option<&'a Name>,
    error: Option<&'a SharedError>,
    location: Option<&'static Location<'static>>,
}

impl<'a> Report<'a> {
    /// A report in the name of `ctx`.
    #[must_use]
    pub fn new(ctx: &'a Ctx, what: &'a str) -> Self {
        Self { ctx, what, task: None, error: None, location: None }
    }

    /// Names the task that it is about.
    #[must_use]
    pub fn task(mut self, name: &'a Name) -> Self {
        self.task = Some(name);
        self
    }

    /// Adds the error.
    #[must_use]
    pub fn error(mut self, error: &'a SharedError) -> Self {
        self.error = Some(error);
        self
    }

    /// Adds a line of code.
    #[must_use]
    pub fn at(mut self, location: &'static Location<'static>) -> Self {
        self.location = Some(location);
        self
    }

    /// The context in whose name it is sent.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        self.ctx
    }

    /// What happened.
    #[must_use]
    pub fn what(&self) -> &str {
        self.what
    }

    /// The name of the task that it is about.
    #[must_use]
    pub fn task_name(&self) -> Option<&str> {
        self.task.map(Name::as_str)
    }

    /// The error.
    #[must_use]
    pub fn cause(&self) -> Option<&SharedError> {
        self.error
    }

    /// Where the task was spawned, or the thing was made.
    #[must_use]
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.location
    }

    /// Hands it to the context's tramp. Never panics, whatever the tramp does.
    pub fn send(&self) {
        let tramp = self.ctx.tramp();
        if let Err(panic) = contain(|| tramp.log_exception(self)) {
            let _ = contain(|| {
                tracing::error!(ctx = %self.ctx.full_name(), "the tramp {panic}");
                DefaultTramp.log_exception(self);
            });
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "{}", self.ctx.full_name())?;
            if let Some(task) = self.task {
                write!(f, ", task `{task}`")?;
            }
            if let Some(location) = self.location {
                write!(f, " from {location}")?;
            }
            f.write_str(": ")?;
        }
        match self.error {
            Some(error) => fmt::Display::fmt(&Said(self.what, error), f),
            None => f.write_str(self.what),
        }
    }
}

/// What happened, and the error.
struct Said<'a>(&'a str, &'a SharedError);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(what, error) = self;
        // The error of a panic says itself that it is one.
        match what.strip_suffix(" panicked").filter(|_| error.is::<PanicError>()) {
            Some(who) => write!(f, "{who} {error}"),
            None => write!(f, "{what}: {}", Chain(&***error)),
        }
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("ctx", self.ctx)
            .field("task", &self.task)
            .field("what", &self.what)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
