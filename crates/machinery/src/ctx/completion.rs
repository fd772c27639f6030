//! Why a context completed.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::family::NodeRef;
use super::node::Node;
use crate::{Name, SharedError, time};

/// The record of one completion: what happened, where it began, which line caused it, and when.
///
/// One completion is one record, shared by the whole subtree that it reached; a clone is a reference to it. It reads
/// as a sentence (`Display`), it is an error whose `source()` is the error that the context failed with, and behind
/// the feature `serde` it can be serialized for machines.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, ctx::CompletionKind};
///
/// let root = Ctx::beginning("app");
/// let below = root.child("server").hand_over().child("connection").hand_over();
/// root.cancel_because("SIGTERM");
///
/// let why = below.completion().unwrap();
/// assert_eq!(why.kind(), CompletionKind::Cancelled);
/// assert_eq!(why.reason(), Some("SIGTERM"));
/// assert_eq!(why.path(), "app");
/// assert!(why.to_string().starts_with("`app` was cancelled at "));
/// ```
#[derive(Clone)]
pub struct Completion(pub(super) Arc<Record>);

pub(super) struct Record {
    pub(super) cause: Cause,
    pub(super) name: Name,
    pub(super) prefix: Option<Name>,
    /// Where the path goes on. Not the node itself: that one holds this record.
    pub(super) parent: Option<NodeRef>,
    pub(super) location: &'static Location<'static>,
    pub(super) at: Instant,
}

/// What settles a context.
pub(super) enum Cause {
    Cancelled(Option<Name>),
    /// The guard was dropped.
    Dropped,
    Failed(SharedError),
    DeadlinePassed,
}

/// What happened to a context that is complete.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, ctx::CompletionKind};
///
/// let root = Ctx::beginning("app");
/// root.set_exception("no route to host");
/// assert_eq!(root.completion().unwrap().kind(), CompletionKind::Failed);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CompletionKind {
    /// It was cancelled, or its guard was dropped.
    Cancelled,
    /// It was completed with an error.
    Failed,
    /// Its deadline, or that of a context above it, passed.
    DeadlinePassed,
}

impl fmt::Display for CompletionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::DeadlinePassed => "deadline passed",
        })
    }
}

impl Record {
    pub(super) fn new(node: &Node, cause: Cause, location: &'static Location<'static>) -> Self {
        Self {
            cause,
            name: node.name.clone(),
            prefix: node.prefix().cloned(),
            parent: node.parent.clone(),
            location,
            at: time::now(),
        }
    }
}

impl Completion {
    /// What happened.
    #[must_use]
    pub fn kind(&self) -> CompletionKind {
        match self.0.cause {
            Cause::Cancelled(_) | Cause::Dropped => CompletionKind::Cancelled,
            Cause::Failed(_) => CompletionKind::Failed,
            Cause::DeadlinePassed => CompletionKind::DeadlinePassed,
        }
    }

    /// Whether it was a cancellation, rather than an error or a deadline.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind() == CompletionKind::Cancelled
    }

    /// The reason that was given to `cancel_because`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.0.cause {
            Cause::Cancelled(reason) => reason.as_ref().map(Name::as_str),
            _ => None,
        }
    }

    /// The error that the context was completed with.
    #[must_use]
    pub fn error(&self) -> Option<&SharedError> {
        match &self.0.cause {
            Cause::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The name of the context where the completion began.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The full name of the context where the completion began. It is put together at each call.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::new();
        if let Some(parent) = &self.0.parent {
            parent.write_path(&mut path);
            path.push_str("-->");
            if let Some(prefix) = &self.0.prefix {
                path.push('[');
                path.push_str(prefix);
                path.push_str("]-->");
            }
        }
        path.push_str(&self.0.name);
        path
    }

    /// The line of the call that caused it; for a dropped guard and for a deadline, the line where the guard was made.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    /// When it happened, on Tokio's clock.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.0.at
    }

    /// How long ago it happened, on Tokio's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        time::now().saturating_duration_since(self.0.at)
    }
}

impl fmt::Display for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, at, ago) = (self.path(), self.0.location, Ago(self.elapsed()));
        match &self.0.cause {
            Cause::Cancelled(None) => write!(f, "`{path}` was cancelled at {at}, {ago}"),
            Cause::Cancelled(Some(reason)) => {
                write!(f, "`{path}` was cancelled at {at}, {ago}: {reason}")
            }
            Cause::Dropped => write!(f, "`{path}` ended with its guard, made at {at}, {ago}"),
            Cause::DeadlinePassed => {
                write!(f, "the deadline of `{path}`, set at {at}, passed {ago}")
            }
            Cause::Failed(error) => {
                write!(f, "`{path}` failed at {at}, {ago}: {error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
        }
    }
}

/// A span of time for people.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms ago", self.0.as_millis()),
            1..60 => write!(f, "{:.1} s ago", self.0.as_secs_f64()),
            60..3600 => write!(f, "{} min {} s ago", seconds / 60, seconds % 60),
            3600..86400 => write!(f, "{} h {} min ago", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h ago", seconds / 86400, seconds / 3600 % 24),
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("kind", &self.kind())
            .field("path", &self.path())
            .field("reason", &self.reason())
            .field("error", &self.error())
            .field("location", &format_args!("{}", self.0.location))
            .field("elapsed", &self.elapsed())
            .finish()
    }
}

impl Error for Completion {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Cause::Failed(error) => Some(&**error as &(dyn Error + 'static)),
            _ => None,
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Completion {
    /// A map of `kind`, `reason`, `error`, `sources`, `name`, `path`, `file`, `line`, `column` and `elapsed_ms`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut sources = Vec::new();
        let mut source = self.error().and_then(|error| error.source());
        while let Some(error) = source {
            sources.push(error.to_string());
            source = error.source();
        }
        let mut map = serializer.serialize_struct("Completion", 10)?;
        map.serialize_field(
            "kind",
            match self.kind() {
                CompletionKind::Cancelled => "cancelled",
                CompletionKind::Failed => "failed",
                CompletionKind::DeadlinePassed => "deadline_passed",
            },
        )?;
        map.serialize_field("reason", &self.reason())?;
        map.serialize_field("error", &self.error().map(ToString::to_string))?;
        map.serialize_field("sources", &sources)?;
        map.serialize_field("name", self.name())?;
        map.serialize_field("path", &self.path())?;
        map.serialize_field("file", self.location().file())?;
        map.serialize_field("line", &self.location().line())?;
        map.serialize_field("column", &self.location().column())?;
        map.serialize_field("elapsed_ms", &u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX))?;
        map.end()
    }
}
