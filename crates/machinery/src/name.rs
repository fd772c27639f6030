//! Names of contexts and tasks.

use std::fmt;
use std::sync::Arc;

/// The name of a context, a task, a queue or a source.
///
/// A `&'static str` costs no allocation, and a clone never does. Any characters are allowed. Whatever takes a name takes
/// `impl Into<Name>`: a literal, a `String` or a reference to one, an `Arc<str>`; a `&str` that is not `'static` is given
/// as `text.to_owned()`. Names compare, order and hash as their text does, so that a map with names for keys is asked
/// with a `&str`.
///
/// # Examples
///
/// ```
/// use machinery::Name;
///
/// let fixed = Name::from("poller");
/// let made = Name::from(format!("poller-{}", 7));
/// assert_eq!(fixed.as_str(), "poller");
/// assert_eq!(made, "poller-7");
/// assert!(fixed < made);
///
/// let started = std::collections::HashMap::from([(made, 3)]);
/// assert_eq!(started.get("poller-7"), Some(&3));
/// ```
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    // A thin pointer, so that the whole name is two words.
    Shared(Arc<Box<str>>),
}

impl Name {
    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(text) => text,
            Repr::Shared(text) => text,
        }
    }
}

impl From<&'static str> for Name {
    fn from(text: &'static str) -> Self {
        Self(Repr::Static(text))
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(Repr::Shared(Arc::new(text.into_boxed_str())))
    }
}

impl From<Box<str>> for Name {
    fn from(text: Box<str>) -> Self {
        Self(Repr::Shared(Arc::new(text)))
    }
}

impl From<std::borrow::Cow<'static, str>> for Name {
    fn from(text: std::borrow::Cow<'static, str>) -> Self {
        match text {
            std::borrow::Cow::Borrowed(text) => text.into(),
            std::borrow::Cow::Owned(text) => text.into(),
        }
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl From<Arc<str>> for Name {
    fn from(text: Arc<str>) -> Self {
        Box::<str>::from(&*text).into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<T: AsRef<str> + ?Sized> PartialEq<T> for Name {
    fn eq(&self, other: &T) -> bool {
        self.as_str() == other.as_ref()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Name {
    /// The text.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_is_two_words() {
        assert_eq!(size_of::<Name>(), 2 * size_of::<usize>());
    }
}
