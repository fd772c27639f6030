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

/// What a panic left behind, as an error with its message.
#[derive(Debug)]
pub(crate) struct PanicError(Box<str>);

impl fmt::Display for PanicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl Error for PanicError {}

/// The message of a panic. The payload may be anything; its drop is user code and is contained.
pub(crate) fn panic_message(payload: Box<dyn std::any::Any + Send>) -> Box<str> {
    let message = match payload.downcast::<String>() {
        Ok(text) => return text.into_boxed_str(),
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => return (*text).into(),
            Err(payload) => {
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
                if let Err(again) = dropped {
                    // A payload whose drop panics is left alone, as its second payload may do the same.
                    std::mem::forget(again);
                }
                "with something that is not text"
            }
        },
    };
    message.into()
}

pub(crate) fn panic_error(payload: Box<dyn std::any::Any + Send>) -> SharedError {
    Arc::new(PanicError(panic_message(payload)))
}
