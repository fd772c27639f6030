//! What work may return, and how it is told whether that is a failure.

use std::error::Error;
use std::fmt;

use crate::error::{kind_of, share};
use crate::{Name, SharedError};

/// What a task may return: nothing, a plain value, or a `Result` whose error is one.
///
/// A task that returns `Err` has failed: its error reaches whoever awaits it, or is reported. Anything else is its
/// value. The usual types of the standard library are plain values, and what never returns is fine too. A value of any
/// other type, of your own or of another crate, is wrapped in [`Plain`], or in `Ok`: the compiler lets no other crate
/// implement this trait beside the implementation for work that never returns.
///
/// # Examples
///
/// ```
/// use machinery::task::Outcome;
///
/// assert_eq!(7.into_outcome().unwrap(), 7);
/// assert_eq!(Ok::<_, std::io::Error>(7).into_outcome().unwrap(), 7);
/// let failure = Err::<u32, _>("no route").into_outcome().unwrap_err();
/// assert_eq!(failure.to_string(), "no route");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something that a task can return",
    label = "the work returns this",
    note = "return nothing, a plain value, or a `Result` whose error converts into `Box<dyn Error + Send + Sync>`",
    note = "a value of another type is wrapped: `async {{ machinery::task::Plain(future.await) }}`, or in `Ok`"
)]
pub trait Outcome {
    /// What comes out of it when it is no failure.
    type Value: Send + 'static;

    /// The value, or the failure.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that the work ended with.
    fn into_outcome(self) -> Result<Self::Value, Failure>;
}

/// What the body of a scope may return: anything that can be asked whether it is a failure.
///
/// A `Result` is one when it is `Err`; everything else never is. A value of a type of your own is wrapped in
/// [`Plain`], as for [`Outcome`].
///
/// # Examples
///
/// ```
/// use machinery::task::{Fallible, Plain};
///
/// struct Summary;
///
/// assert!(!Plain(Summary).has_failed());
/// assert!(Err::<(), _>("no route").has_failed());
/// ```
#[diagnostic::on_unimplemented(
    message = "a scope cannot tell whether `{Self}` is a failure",
    label = "the body returns this",
    note = "return nothing, a plain value or a `Result`; wrap another type as `machinery::task::Plain(value)`"
)]
pub trait Fallible {
    /// Whether it is a failure, so that what belongs to it is stopped.
    fn has_failed(&self) -> bool {
        false
    }
}

/// A value of any type, said to be no failure.
///
/// # Examples
///
/// ```
/// use machinery::task::{Outcome, Plain};
///
/// struct Summary(u32);
/// assert_eq!(Plain(Summary(7)).into_outcome().unwrap().0, 7);
/// ```
///
/// A task whose future is somebody else's:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # struct Response(u16);
/// # async fn ask() -> Response { Response(200) }
/// use machinery::{Ctx, async_as_background, task::Plain};
///
/// let root = Ctx::beginning("app");
/// let answer = async_as_background(&root, "ask", async { Plain(ask().await) });
/// assert_eq!(answer.await.unwrap().0, 200);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plain<T>(pub T);

/// The error that work ended with, and the name of its type where that is known.
///
/// # Examples
///
/// ```
/// use machinery::task::Failure;
///
/// let failure = Failure::new(std::io::Error::other("disk full"));
/// assert_eq!(failure.to_string(), "disk full");
/// assert_eq!(failure.kind(), Some("Error"));
/// ```
#[derive(Clone, Debug)]
pub struct Failure {
    pub(crate) error: SharedError,
    pub(crate) kind: Option<&'static str>,
}

impl Failure {
    /// The failure of this error.
    #[must_use]
    pub fn new<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Self {
        Self { kind: kind_of::<E>(), error: share(error) }
    }

    /// The error.
    #[must_use]
    pub fn error(&self) -> &SharedError {
        &self.error
    }

    /// The name of the error's type, where the type says something.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T: Send + 'static, E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<T, E> {
    type Value = T;

    fn into_outcome(self) -> Result<T, Failure> {
        self.map_err(Failure::new)
    }
}

impl<T, E> Fallible for Result<T, E> {
    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

impl<T: Send + 'static> Outcome for Plain<T> {
    type Value = T;

    fn into_outcome(self) -> Result<T, Failure> {
        Ok(self.0)
    }
}

impl<T> Fallible for Plain<T> {}

/// What a function returns, by which the type `!` can be named.
#[doc(hidden)]
#[expect(unnameable_types, reason = "names what is a public type elsewhere")]
pub trait Returns {
    type Output;
}

impl<R> Returns for fn() -> R {
    type Output = R;
}

/// What work returns that never does: an endless loop, or a panic.
type Never = <fn() -> ! as Returns>::Output;

impl Outcome for Never {
    type Value = Self;

    fn into_outcome(self) -> Result<Self, Failure> {
        self
    }
}

impl Fallible for Never {}

macro_rules! plain {
    ($([$($param:ident),*] $type:ty),* $(,)?) => {$(
        impl<$($param: Send + 'static),*> Outcome for $type
        where
            $type: Send + 'static,
        {
            type Value = Self;

            fn into_outcome(self) -> Result<Self, Failure> {
                Ok(self)
            }
        }

        impl<$($param),*> Fallible for $type {}
    )*};
}

plain!(
    [] (), [] bool, [] char, [] &'static str, [] String, [] Box<str>, [] std::sync::Arc<str>, [] Name,
    [] u8, [] u16, [] u32, [] u64, [] u128, [] usize, [] i8, [] i16, [] i32, [] i64, [] i128, [] isize,
    [] f32, [] f64,
    [] std::time::Duration, [] std::time::Instant, [] std::time::SystemTime, [] tokio::time::Instant,
    [] std::path::PathBuf, [] std::ffi::OsString, [] std::cmp::Ordering,
    [] crate::Completion, [] crate::Tick,
    [] std::net::SocketAddr, [] std::net::IpAddr, [] std::process::ExitStatus, [] std::process::Output,
    [T] Option<T>, [T] Vec<T>, [T] Box<T>, [T] std::sync::Arc<T>, [T] Box<[T]>, [T] std::collections::VecDeque<T>,
    [T] std::collections::BTreeSet<T>, [T] std::collections::BinaryHeap<T>, [T] std::ops::Range<T>,
    [T] std::ops::ControlFlow<T>, [T, S] std::collections::HashSet<T, S>,
    [K, V] std::collections::BTreeMap<K, V>, [K, V, S] std::collections::HashMap<K, V, S>,
    [A, B] (A, B), [A, B, C] (A, B, C), [A, B, C, D] (A, B, C, D), [A, B, C, D, E] (A, B, C, D, E),
    [A, B, C, D, E, F] (A, B, C, D, E, F),
);

impl<T: Send + 'static, const N: usize> Outcome for [T; N] {
    type Value = Self;

    fn into_outcome(self) -> Result<Self, Failure> {
        Ok(self)
    }
}

impl<T, const N: usize> Fallible for [T; N] {}
