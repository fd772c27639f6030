//! What travels with contexts: logging, and the names of futures.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, OnceLock};

use crate::{Ctx, Name, SharedError};

/// What a context uses to log.
///
/// It is inherited by children. The default writes to `tracing`. A panic in any of its methods is contained.
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
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| tramp.log_exception(self))) {
            drop(crate::error::panic_message(panic));
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(error) = self.error {
            write!(f, ": {error}")?;
            let mut source = error.source();
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
        }
        Ok(())
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
