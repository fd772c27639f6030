//! How awaiting a promise fails.

use std::error::Error;
use std::fmt;

use crate::{Name, SharedError};

/// Why a promise gave no value: it was cancelled, or settled with an error.
///
/// It reads as a sentence with the promise's name; the error itself is its `source()`.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
///
/// let promise = Promise::<u32>::new("answer");
/// promise.set_exception("no idea");
///
/// let error = promise.outcome().unwrap().unwrap_err();
/// assert!(!error.is_cancelled());
/// assert_eq!(error.to_string(), "promise `answer` failed: no idea");
/// assert_eq!(error.error().unwrap().to_string(), "no idea");
/// ```
#[derive(Clone, Debug)]
pub struct PromiseError {
    name: Name,
    error: Option<SharedError>,
}

impl PromiseError {
    pub(super) fn new(name: Name, error: Option<SharedError>) -> Self {
        Self { name, error }
    }

    /// Whether the promise was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.error.is_none()
    }

    /// The error that the promise was settled with.
    #[must_use]
    pub fn error(&self) -> Option<&SharedError> {
        self.error.as_ref()
    }

    /// The name of the promise.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl fmt::Display for PromiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            None => write!(f, "promise `{}` was cancelled", self.name),
            Some(error) => write!(f, "promise `{}` failed: {error}", self.name),
        }
    }
}

impl Error for PromiseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.error {
            Some(error) => Some(&**error),
            None => None,
        }
    }
}
