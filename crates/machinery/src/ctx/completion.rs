//! Why a context completed.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::family::NodeRef;
use crate::error::{Chain, share};
use crate::time::Stamp;
use crate::{Name, SharedError, time};

/// The record of one completion: what happened, where it began, which line caused it, and when.
///
/// One completion is one record, shared by the whole subtree that it reached; a clone is a reference to it. It reads
/// as a sentence (`Display`), it is an error whose `source()` is the error that the context failed with, and behind
/// the feature `serde` it can be serialized for machines.
///
/// It keeps the context where it began in memory, and those above it, to read their names. One that came as an error,
/// from [`Ctx::run`](crate::Ctx::run) or as an [`io::Error`], does not: see [`let_go`](Self::let_go).
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
pub struct Completion {
    origin: Origin,
    settlement: Settlement,
    /// The lower half of when; the upper one is in the settlement.
    at_low: u32,
}

/// Where a completion began.
#[derive(Clone)]
enum Origin {
    /// A handle, so that the name and the path can be read as long as anybody asks.
    Node(NodeRef),
    /// What is to be known of it, and no handle.
    LetGo(Arc<Place>),
}

struct Place {
    address: usize,
    name: Name,
    path: String,
    made_at: &'static Location<'static>,
    deadline_set_at: &'static Location<'static>,
}

impl Origin {
    fn address(&self) -> usize {
        match self {
            Self::Node(node) => node.address(),
            Self::LetGo(place) => place.address,
        }
    }
}

/// What settles a context.
pub(super) enum Cause {
    Cancelled(&'static Location<'static>),
    /// The guard was dropped.
    Dropped,
    DeadlinePassed,
    Given(Given),
}

/// What the caller gave to say why, and where.
pub(super) struct Given {
    pub(super) what: What,
    pub(super) location: &'static Location<'static>,
}

pub(super) enum What {
    Reason(Name),
    Error(SharedError),
}

impl Cause {
    pub(super) fn reason(reason: Name, location: &'static Location<'static>) -> Self {
        Self::Given(Given { what: What::Reason(reason), location })
    }

    pub(super) fn error(error: Box<dyn Error + Send + Sync>, location: &'static Location<'static>) -> Self {
        let error = share(error);
        // It may have begun below the context that is to hold it.
        let error = match error.downcast_ref::<Completion>() {
            Some(completion) => Arc::new(completion.let_go()),
            None => error,
        };
        Self::Given(Given { what: What::Error(error), location })
    }

    /// With the upper half of the time at which it happened.
    pub(super) fn settlement(self, at_high: u32) -> Settlement {
        match self {
            Self::Cancelled(location) => Settlement::Cancelled(at_high, location),
            Self::Dropped => Settlement::Dropped(at_high),
            Self::DeadlinePassed => Settlement::DeadlinePassed(at_high),
            Self::Given(given) => Settlement::Given(at_high, Arc::new(given)),
        }
    }
}

/// A cause as a node keeps it: two words, the second of them only where there is something to say.
#[derive(Clone)]
pub(super) enum Settlement {
    Cancelled(u32, &'static Location<'static>),
    Dropped(u32),
    DeadlinePassed(u32),
    Given(u32, Arc<Given>),
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

impl Completion {
    pub(super) fn new(origin: NodeRef, settlement: Settlement, at_low: u32) -> Self {
        Self { origin: Origin::Node(origin), settlement, at_low }
    }

    /// The same record with what is to be known of the context where it began, in place of a hold on it.
    ///
    /// For a completion that becomes part of an error of your own: an error may complete a context, which then holds it, and
    /// if that stands above the one where the completion began, each would keep the other in memory for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::{Completion, Ctx};
    ///
    /// #[derive(Debug)]
    /// enum Failure {
    ///     Stopped(Completion),
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let root = Ctx::beginning("app");
    /// root.cancel_because("enough");
    /// let Failure::Stopped(why) = Failure::Stopped(root.done().await.let_go());
    /// drop(root);
    /// assert_eq!(why.path(), "app");
    /// # }
    /// ```
    #[must_use]
    pub fn let_go(&self) -> Self {
        let origin = match &self.origin {
            Origin::Node(node) => Origin::LetGo(Arc::new(Place {
                address: node.address(),
                name: node.name.clone(),
                path: self.path(),
                made_at: node.made_at,
                deadline_set_at: node.deadline_set_at(),
            })),
            Origin::LetGo(place) => Origin::LetGo(Arc::clone(place)),
        };
        Self { origin, settlement: self.settlement.clone(), at_low: self.at_low }
    }

    /// Whether it is the record of the same completion as `other`, whose context lives.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same = match (&self.settlement, &other.settlement) {
            (Settlement::Given(_, own), Settlement::Given(_, others)) => Arc::ptr_eq(own, others),
            // There may have been another context at that address before.
            _ => self.kind() == other.kind() && std::ptr::eq(self.location(), other.location()),
        };
        is_same && self.origin.address() == other.origin.address() && self.at() == other.at()
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> CompletionKind {
        match &self.settlement {
            Settlement::Cancelled(..) | Settlement::Dropped(_) => CompletionKind::Cancelled,
            Settlement::DeadlinePassed(_) => CompletionKind::DeadlinePassed,
            Settlement::Given(_, given) => match given.what {
                What::Reason(_) => CompletionKind::Cancelled,
                What::Error(_) => CompletionKind::Failed,
            },
        }
    }

    /// Whether it was a cancellation, rather than an error or a deadline.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind() == CompletionKind::Cancelled
    }

    fn given(&self) -> Option<&What> {
        match &self.settlement {
            Settlement::Given(_, given) => Some(&given.what),
            _ => None,
        }
    }

    /// The reason that was given to `cancel_because`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self.given()? {
            What::Reason(reason) => Some(reason),
            What::Error(_) => None,
        }
    }

    /// The error that the context was completed with.
    #[must_use]
    pub fn error(&self) -> Option<&SharedError> {
        match self.given()? {
            What::Error(error) => Some(error),
            What::Reason(_) => None,
        }
    }

    /// The name of the context where the completion began.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.origin {
            Origin::Node(node) => &node.name,
            Origin::LetGo(place) => &place.name,
        }
    }

    /// The full name of the context where the completion began. It is put together at each call.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.origin {
            Origin::Node(node) => {
                let mut path = String::new();
                node.write_path(&mut path);
                path
            }
            Origin::LetGo(place) => place.path.clone(),
        }
    }

    /// The line of the call that caused it; for a dropped guard and for a deadline, the line where these were made; for
    /// a holder that stops at a failure, the line that spawned the task.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        match &self.settlement {
            Settlement::Cancelled(_, location) => location,
            Settlement::Given(_, given) => given.location,
            Settlement::Dropped(_) => match &self.origin {
                Origin::Node(node) => node.made_at,
                Origin::LetGo(place) => place.made_at,
            },
            Settlement::DeadlinePassed(_) => match &self.origin {
                Origin::Node(node) => node.deadline_set_at(),
                Origin::LetGo(place) => place.deadline_set_at,
            },
        }
    }

    /// When it happened, on Tokio's clock.
    ///
    /// Exact where a root was made while that clock was paused. Where it runs, this is read from the kernel's coarse clock,
    /// which is up to some milliseconds behind, and which knows nothing of a pause that begins after every root was made.
    #[must_use]
    pub fn at(&self) -> Instant {
        let high = match self.settlement {
            Settlement::Cancelled(high, _)
            | Settlement::Dropped(high)
            | Settlement::DeadlinePassed(high)
            | Settlement::Given(high, _) => high,
        };
        Stamp::from_halves(high, self.at_low).instant()
    }

    /// How long ago it happened, on Tokio's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        time::now().saturating_duration_since(self.at())
    }
}

impl fmt::Display for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, at, ago) = (self.path(), self.location(), Ago(self.elapsed()));
        match &self.settlement {
            Settlement::Cancelled(..) => write!(f, "`{path}` was cancelled at {at}, {ago}"),
            Settlement::Dropped(_) => write!(f, "`{path}` ended with its guard, made at {at}, {ago}"),
            Settlement::DeadlinePassed(_) => write!(f, "the deadline of `{path}`, set at {at}, passed {ago}"),
            Settlement::Given(_, given) => match &given.what {
                What::Reason(reason) => write!(f, "`{path}` was cancelled at {at}, {ago}: {reason}"),
                What::Error(error) => write!(f, "`{path}` failed at {at}, {ago}: {}", Chain(&**error)),
            },
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
            .field("location", &format_args!("{}", self.location()))
            .field("elapsed", &self.elapsed())
            .finish()
    }
}

impl Error for Completion {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().map(|error| &**error as &(dyn Error + 'static))
    }
}

impl Completion {
    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match self.kind() {
            CompletionKind::DeadlinePassed => io::ErrorKind::TimedOut,
            CompletionKind::Failed => self.error().map_or(io::ErrorKind::Other, crate::error::io_kind),
            CompletionKind::Cancelled => io::ErrorKind::Other,
        }
    }
}

/// So that `ctx.run(stream.read(&mut buffer)).await??` fits into functions of `io::Result`: of the kind `TimedOut` for a
/// deadline, and of the error's own kind where the context failed with an `io::Error`.
impl From<Completion> for io::Error {
    fn from(completion: Completion) -> Self {
        Self::new(completion.io_kind(), completion.let_go())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Completion {
    /// A map of `kind`, `reason`, `error`, `sources`, `name`, `path`, `file`, `line`, `column` and `elapsed_ms`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        use crate::error;

        let sources: Vec<String> =
            self.error().into_iter().flat_map(|error| error::sources(&**error)).map(ToString::to_string).collect();
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
