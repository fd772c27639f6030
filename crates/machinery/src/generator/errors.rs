//! What is thrown into generators, and what goes wrong with them.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::SharedError;
use crate::error::share;

/// What this module itself throws into a generator, or ends one with.
///
/// It is found in a [`SharedError`] with `downcast_ref`.
///
/// # Examples
///
/// ```
/// use machinery::generator::{AsyncGenerator, GeneratorError, stop_async_generator};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut numbers = AsyncGenerator::new(|mut y| async move {
///     loop {
///         y.yield_(1).await?;
///     }
/// });
/// numbers.next().await;
/// let ended = stop_async_generator(&mut numbers, None, None).await.unwrap_err();
/// assert!(ended.downcast_ref::<GeneratorError>().unwrap().is_cancellation());
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratorError(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Closed,
    Cancelled,
    WentOn,
    Grace,
    Misused,
}

impl GeneratorError {
    /// It was thrown in by [`close`](super::AsyncGenerator::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0 == Kind::Closed
    }

    /// It was thrown in by [`stop_async_generator`](super::stop_async_generator), where no other error was given.
    #[must_use]
    pub fn is_cancellation(&self) -> bool {
        self.0 == Kind::Cancelled
    }

    /// The generator yielded again after it had been closed, and was dropped.
    #[must_use]
    pub fn is_went_on(&self) -> bool {
        self.0 == Kind::WentOn
    }

    /// The generator had not ended when its grace did, and was dropped.
    #[must_use]
    pub fn is_grace_over(&self) -> bool {
        self.0 == Kind::Grace
    }

    /// A yielder was used where its own generator was not the one that ran.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        self.0 == Kind::Misused
    }
}

impl From<Kind> for SharedError {
    fn from(kind: Kind) -> Self {
        Arc::new(GeneratorError(kind))
    }
}

impl fmt::Display for GeneratorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Closed => "the generator is closed",
            Kind::Cancelled => "the generator is cancelled",
            Kind::WentOn => "the generator yielded again after it was closed, and was dropped",
            Kind::Grace => "the generator had not ended when its grace did, and was dropped",
            Kind::Misused => "a yielder was used outside of its generator",
        })
    }
}

impl Error for GeneratorError {}

/// The error that a `yield_` ends with: one that was thrown into the generator at that place.
///
/// It shows itself as the error inside. A body that passes it on with `?` ends with that very error. Nothing converts into
/// it: a body with a `?` on errors of its own is that of a [`fallible`](super::AsyncGenerator::fallible) generator.
///
/// # Examples
///
/// ```
/// use machinery::generator::AsyncGenerator;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut numbers = AsyncGenerator::new(|mut y| async move {
///     if let Err(thrown) = y.yield_(1).await {
///         assert_eq!(thrown.error().to_string(), "no more of it");
///         y.yield_(2).await?;
///     }
///     Ok(())
/// });
/// assert_eq!(numbers.next().await, Some(1));
/// assert_eq!(numbers.throw("no more of it").await.unwrap(), Some(2));
/// # }
/// ```
#[derive(Clone)]
pub struct Thrown {
    /// Not there for a misuse, so that a yield makes no error: nothing is called where it is polled.
    error: Option<SharedError>,
}

static MISUSED: LazyLock<SharedError> = LazyLock::new(|| Kind::Misused.into());

impl Thrown {
    pub(super) fn new(error: SharedError) -> Self {
        Self { error: Some(error) }
    }

    /// A yielder was used outside of its generator.
    #[inline(always)]
    pub(super) fn misused() -> Self {
        Self { error: None }
    }

    /// The error that was thrown.
    #[must_use]
    pub fn error(&self) -> &SharedError {
        self.error.as_ref().unwrap_or_else(|| &MISUSED)
    }

    /// The error that was thrown.
    #[must_use]
    pub fn into_error(self) -> SharedError {
        self.error.unwrap_or_else(|| MISUSED.clone())
    }

    /// Whether the generator is being closed: it is to clean up and end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.error().downcast_ref().is_some_and(GeneratorError::is_closed)
    }
}

impl fmt::Debug for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Thrown").field(self.error()).finish()
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl Error for Thrown {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().source()
    }
}

/// The error that a body ended with, out of whatever `?` has put around it.
pub(super) fn unwrapped(error: Box<dyn Error + Send + Sync>) -> SharedError {
    match error.downcast::<Thrown>() {
        Ok(thrown) => thrown.into_error(),
        Err(error) => share(error),
    }
}

/// A generator did not take the value that was sent, which is given back.
///
/// # Examples
///
/// ```
/// use machinery::generator::GeneratorBuilder;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut echo = GeneratorBuilder::new().receiving::<String>().plain(|mut y| async move {
///     let sent = y.yield_(0).await?;
///     assert_eq!(sent.as_deref(), Some("hello"));
///     Ok(())
/// });
/// let early = echo.send("too early".to_owned()).await.unwrap_err();
/// assert_eq!(early.into_value(), "too early");
/// echo.next().await;
/// assert_eq!(echo.send("hello".to_owned()).await.unwrap(), None);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<S> {
    value: S,
    finished: bool,
}

impl<S> SendError<S> {
    pub(super) fn new(value: S, finished: bool) -> Self {
        Self { value, finished }
    }

    /// The value that was not taken.
    pub fn into_value(self) -> S {
        self.value
    }

    /// Whether the generator is finished, and not merely somewhere else than at a yield.
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}

impl<S> fmt::Display for SendError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.finished { "the generator is finished" } else { "the generator does not stand at a yield" })
    }
}

impl<S> fmt::Debug for SendError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl<S> Error for SendError<S> {}
