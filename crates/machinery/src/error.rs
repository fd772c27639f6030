//! Errors that are shared by everybody who has to hear of them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error object that many readers hold at once; its `source()` chain survives.
///
/// # Examples
///
/// ```
/// use machinery::SharedError;
///
/// let error: SharedError = std::sync::Arc::new(std::io::Error::other("disk full"));
/// assert_eq!(error.to_string(), "disk full");
/// ```
pub type SharedError = Arc<dyn Error + Send + Sync + 'static>;

/// The error of an operation that needs a Tokio runtime and has none.
///
/// A context knows the runtime that it was made in. One that is made outside any runtime can be given one with
/// [`CtxOptions::runtime`](crate::CtxOptions::runtime).
///
/// # Examples
///
/// ```
/// use machinery::Ctx;
///
/// let root = Ctx::beginning("outside");
/// let refused = root.runtime().unwrap_err();
/// assert!(refused.to_string().contains("outside"));
/// ```
#[derive(Clone, Debug)]
pub struct NoRuntime {
    pub(crate) wanted: &'static str,
    pub(crate) path: Box<str>,
}

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} needs a Tokio runtime and the context `{}` has none: make its root inside a runtime, \
             or give it one with `CtxOptions::runtime`",
            self.wanted, self.path
        )
    }
}

impl Error for NoRuntime {}
