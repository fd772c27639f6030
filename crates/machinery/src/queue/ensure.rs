//! Queues that convert what comes at the door.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Queue, QueueBuilder};

pub(crate) type Ensurer<U, T> = Arc<dyn Fn(U) -> Result<T, U> + Send + Sync>;

/// An item ensurer for untyped values: those that are a `T` are let in, and any other is given back.
///
/// # Errors
///
/// The value itself, if it is not a `T`.
///
/// # Examples
///
/// ```
/// use machinery::queue::{downcast, queue};
/// use machinery::Ctx;
/// use std::any::Any;
///
/// let root = Ctx::beginning("app");
/// let numbers = queue(&root).item_ensurer(downcast::<u32>).build();
/// numbers.append(Box::new(1_u32)).unwrap();
///
/// let refused = numbers.append(Box::new("two")).unwrap_err();
/// let value: Box<dyn Any + Send> = refused.into_inner();
/// assert_eq!(value.downcast_ref(), Some(&"two"));
/// assert_eq!(numbers.remaining().collect::<Vec<_>>(), [1]);
/// ```
pub fn downcast<T: Any>(value: Box<dyn Any + Send>) -> Result<T, Box<dyn Any + Send>> {
    value.downcast().map(|value| *value)
}

/// Options for a queue that converts values of type `U` to its own type at the door.
///
/// It is made with [`QueueBuilder::item_ensurer`].
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let small = queue(&root).name("small").item_ensurer(|n: u64| u8::try_from(n).map_err(|_| n)).build();
/// assert!(small.append(7).is_ok());
/// ```
#[must_use = "nothing is made before `build`"]
pub struct EnsuringBuilder<U, T> {
    plain: QueueBuilder,
    ensurer: Ensurer<U, T>,
}

impl<U, T: Send + 'static> EnsuringBuilder<U, T> {
    pub(super) fn new(plain: QueueBuilder, ensurer: Ensurer<U, T>) -> Self {
        Self { plain, ensurer }
    }

    /// Makes the queue.
    #[track_caller]
    #[must_use]
    pub fn build(self) -> EnsuredQueue<U, T> {
        EnsuredQueue { queue: self.plain.build(), ensurer: self.ensurer }
    }
}

impl<U, T> fmt::Debug for EnsuringBuilder<U, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnsuringBuilder").field("plain", &self.plain).finish_non_exhaustive()
    }
}

/// A [`Queue`] of `T` that takes values of type `U`, converts each at the door and refuses those that it cannot
/// convert.
///
/// It derefs to the queue, for everything but appending; what is appended to the queue itself is of its type already
/// and is not converted.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let ports = queue(&root).item_ensurer(|text: &str| text.parse::<u16>().map_err(|_| text)).build();
/// ports.append("80").unwrap();
///
/// let refused = ports.append("eighty").unwrap_err();
/// assert_eq!(refused.into_inner(), "eighty");
/// assert_eq!(ports.remaining().collect::<Vec<_>>(), [80]);
/// ```
pub struct EnsuredQueue<U, T> {
    queue: Queue<T>,
    ensurer: Ensurer<U, T>,
}

impl<U, T> EnsuredQueue<U, T> {
    /// Converts a value as the queue does at its door, for use with those ways of appending that this type does not
    /// wrap.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value, if the ensurer does not take it.
    pub fn ensure(&self, value: U) -> Result<T, Refused<U>> {
        (self.ensurer)(value).map_err(Refused)
    }

    /// Converts a value and appends it at the back.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value, if the ensurer does not take it.
    pub fn append(&self, value: U) -> Result<(), Refused<U>> {
        self.ensure(value).map(|item| self.queue.append(item))
    }

    /// Converts a value and appends it in front of everything.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the value, if the ensurer does not take it.
    pub fn append_priority(&self, value: U) -> Result<(), Refused<U>> {
        self.ensure(value).map(|item| self.queue.append_priority(item))
    }
}

impl<U, T> Clone for EnsuredQueue<U, T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), ensurer: Arc::clone(&self.ensurer) }
    }
}

impl<U, T> Deref for EnsuredQueue<U, T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<U, T> fmt::Debug for EnsuredQueue<U, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnsuredQueue").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A value that the ensurer of a queue did not take. Holds the value.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, queue};
///
/// let root = Ctx::beginning("app");
/// let even = queue(&root).item_ensurer(|n: u32| if n % 2 == 0 { Ok(n) } else { Err(n) }).build();
/// assert_eq!(even.append(3).unwrap_err().into_inner(), 3);
/// ```
pub struct Refused<U>(U);

impl<U> Refused<U> {
    pub(crate) fn new(value: U) -> Self {
        Self(value)
    }

    /// The value that was refused.
    #[must_use]
    pub fn into_inner(self) -> U {
        self.0
    }
}

impl<U> fmt::Display for Refused<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the queue's item ensurer does not take this value of type `{}`", std::any::type_name::<U>())
    }
}

impl<U> fmt::Debug for Refused<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").finish_non_exhaustive()
    }
}

impl<U> Error for Refused<U> {}
