//! Errors that are shared by everybody who has to hear of them.

use std::any::Any;
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

/// What an error comes from, nearest first, without the error itself.
pub(crate) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// An error followed by its sources. One that its predecessor has named already is left out.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        for error in sources(self.0) {
            let says = error.to_string();
            if !said.contains(&says) {
                write!(f, ": {says}")?;
            }
            said = says;
        }
        Ok(())
    }
}

/// What a panic left behind, as an error with its message.
#[derive(Debug)]
pub(crate) struct PanicError(Box<str>);

impl fmt::Display for PanicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl Error for PanicError {}

impl PanicError {
    /// The error of a panic that goes on: its payload stays as it is.
    pub(crate) fn of(payload: &(dyn Any + Send)) -> Self {
        Self(text_of(payload).into())
    }
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "with something that is not text"
    }
}

/// Makes an error one that can be shared. One that is shared already stays the same error.
pub(crate) fn share<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> SharedError {
    match error.into().downcast::<SharedError>() {
        Ok(shared) => *shared,
        Err(error) => error.into(),
    }
}

/// The kind of an `io::Error`, whatever the error says otherwise.
pub(crate) fn io_kind(error: &SharedError) -> std::io::ErrorKind {
    error.downcast_ref::<std::io::Error>().map_or(std::io::ErrorKind::Other, std::io::Error::kind)
}

/// The name of an error's type without its path, where the type says something.
pub(crate) fn kind_of<E>() -> Option<&'static str> {
    let full = std::any::type_name::<E>();
    let opaque = full.contains("dyn ") || full.starts_with('&') || full == std::any::type_name::<String>();
    let path = full.split('<').next().unwrap_or(full);
    (!opaque).then(|| path.rsplit("::").next().unwrap_or(path))
}

/// The message of a panic.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> Box<str> {
    let message = text_of(&*payload).into();
    drop_payload(payload);
    message
}

/// Drops what a panic left behind. It may be anything; its drop is user code and is contained.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
    if let Err(again) = dropped
        && !again.is::<&'static str>()
        && !again.is::<String>()
    {
        // The payload of a drop that panics may do the same, unless it is just a message.
        std::mem::forget(again);
    }
}

pub(crate) fn panic_error(payload: Box<dyn Any + Send>) -> SharedError {
    Arc::new(PanicError(panic_message(payload)))
}

#[cfg(test)]
mod tests {
    use super::{SharedError, kind_of, share};
    use std::sync::Arc;

    #[test]
    fn an_error_that_is_shared_already_stays_the_same_error() {
        let error: SharedError = Arc::new(std::io::Error::other("disk full"));
        assert!(Arc::ptr_eq(&share(error.clone()), &error));
        assert_eq!(share("text").to_string(), "text");
    }

    #[test]
    fn the_kind_is_the_last_part_of_the_type_where_the_type_says_something() {
        struct Of<T>(std::marker::PhantomData<T>);
        assert_eq!(kind_of::<std::num::ParseIntError>(), Some("ParseIntError"));
        assert_eq!(kind_of::<Of<std::io::Error>>(), Some("Of"));
        assert_eq!(kind_of::<SharedError>(), None);
        assert_eq!(kind_of::<Box<dyn std::error::Error>>(), None);
        assert_eq!(kind_of::<&'static str>(), None);
        assert_eq!(kind_of::<String>(), None);
    }
}
