//! Results and errors carried between promises.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::protocols::{FutureState, FutureStatus, WithRepr};
use crate::{Promise, SharedError};

/// Several errors as one: each is a different error, in the order in which they were met.
///
/// `Display` lists all of them, and `source()` is the first. To find the group in a [`SharedError`], use
/// [`ErrorGroup::of`].
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::apply::{ErrorGroup, noncancelled_results_from_futs};
///
/// let (a, b) = (Promise::<u32>::new("a"), Promise::<u32>::new("b"));
/// a.set_exception("no route");
/// b.set_exception("disk full");
///
/// let (_, error) = noncancelled_results_from_futs([&a, &b]);
/// let error = error.unwrap();
/// assert_eq!(error.to_string(), "2 errors: no route; disk full");
///
/// let group = ErrorGroup::of(&error).unwrap();
/// assert_eq!(group.iter().map(|error| error.to_string()).collect::<Vec<_>>(), ["no route", "disk full"]);
/// ```
#[derive(Clone, Debug)]
pub struct ErrorGroup {
    errors: Vec<SharedError>,
}

impl ErrorGroup {
    /// The group that `error` is, if it is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::SharedError;
    /// use machinery::apply::ErrorGroup;
    ///
    /// let error: SharedError = std::sync::Arc::new(std::io::Error::other("disk full"));
    /// assert!(ErrorGroup::of(&error).is_none());
    /// ```
    #[must_use]
    pub fn of(error: &SharedError) -> Option<&Self> {
        error.downcast_ref()
    }

    /// `errors` as one error: none, the only one, or a group. The same error seen several times is one, also where it was
    /// seen inside another group.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use machinery::SharedError;
    /// use machinery::apply::ErrorGroup;
    ///
    /// let error: SharedError = Arc::new(std::io::Error::other("disk full"));
    /// let one = ErrorGroup::merge([error.clone(), error.clone()]).unwrap();
    /// assert!(Arc::ptr_eq(&one, &error));
    /// assert!(ErrorGroup::merge([]).is_none());
    /// ```
    #[must_use]
    pub fn merge(errors: impl IntoIterator<Item = SharedError>) -> Option<SharedError> {
        let mut met = Vec::new();
        let mut seen = HashSet::new();
        for error in errors {
            if seen.insert(identity(&error)) {
                met.push(error);
            }
        }
        if met.len() < 2 {
            return met.pop();
        }
        let mut flat = Vec::with_capacity(met.len());
        seen.clear();
        for error in met {
            match Self::of(&error) {
                Some(group) => flat.extend(group.iter().filter(|error| seen.insert(identity(error))).cloned()),
                None if seen.insert(identity(&error)) => flat.push(error),
                None => {}
            }
        }
        // Two groups of the same errors have at least those two.
        Some(Arc::new(Self { errors: flat }))
    }

    /// The errors. There are two at least.
    pub fn iter(&self) -> std::slice::Iter<'_, SharedError> {
        self.errors.iter()
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a group is never empty")]
    pub fn len(&self) -> usize {
        self.errors.len()
    }
}

fn identity(error: &SharedError) -> usize {
    Arc::as_ptr(error).addr()
}

impl<'a> IntoIterator for &'a ErrorGroup {
    type Item = &'a SharedError;
    type IntoIter = std::slice::Iter<'a, SharedError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ErrorGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} errors: ", self.errors.len())?;
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl Error for ErrorGroup {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.errors.first() {
            Some(error) => Some(&**error),
            None => None,
        }
    }
}

/// The results of those of `futs` that are done and were not cancelled, and one error: none, the only one, or an
/// [`ErrorGroup`].
///
/// The results are in the order of `futs`. The same error seen several times is one. Nothing is waited for, and the
/// errors count as read.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::apply::noncancelled_results_from_futs;
///
/// let futs = ["a", "b", "c", "d"].map(Promise::new);
/// futs[0].set_result(1);
/// futs[1].cancel();
/// futs[2].set_exception("no route");
///
/// let (results, error) = noncancelled_results_from_futs(&futs);
/// assert_eq!(results, [1]);
/// assert_eq!(error.unwrap().to_string(), "no route");
/// ```
pub fn noncancelled_results_from_futs<'a, F>(
    futs: impl IntoIterator<Item = &'a F>,
) -> (Vec<F::Value>, Option<SharedError>)
where
    F: FutureStatus + 'a,
{
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for fut in futs {
        if !fut.is_done() || fut.is_cancelled() {
            continue;
        }
        match fut.exception() {
            Some(error) => errors.push(error),
            None => results.extend(fut.result()),
        }
    }
    (results, ErrorGroup::merge(errors))
}

/// Brings `last` and `futs` to one outcome where there is one, and says whether this call changed `last`.
///
/// The first of these that applies decides:
///
/// 1. `last` is cancelled: all of `futs` are cancelled.
/// 2. `last` is settled: its error or its result goes to those of `futs` that are unsettled.
/// 3. There is an error among `futs`, or an [`ErrorGroup`] where there are several: it goes to the unsettled and to `last`.
/// 4. There is a result among `futs`: the first goes to the unsettled and to `last`.
/// 5. One of `futs` is cancelled: `last` is cancelled.
///
/// An error that is passed on is reported by one promise at most, if nobody reads it: by `last`. Where `last` is among
/// `futs` as well, it is left out there.
///
/// # Examples
///
/// ```
/// use machinery::Promise;
/// use machinery::apply::find_and_apply_result;
///
/// let (last, a, b) = (Promise::new("last"), Promise::new("a"), Promise::new("b"));
/// assert!(!find_and_apply_result(&last, [&a, &b]));
///
/// a.set_result(42);
/// assert!(find_and_apply_result(&last, [&a, &b]));
/// assert_eq!((last.value(), b.value()), (Some(&42), Some(&42)));
/// ```
pub fn find_and_apply_result<'a, T>(last: &Promise<T>, futs: impl IntoIterator<Item = &'a Promise<T>>) -> bool
where
    T: Clone + Send + Sync + 'static,
{
    let futs: Vec<&Promise<T>> = futs.into_iter().filter(|fut| !fut.same_as(last)).collect();

    if last.is_done() {
        if last.is_cancelled() {
            for fut in futs {
                fut.cancel();
            }
        } else if let FutureState::Failed { kind, error } = last.repr_state() {
            for fut in futs {
                fut.pass_on(&error, kind);
            }
        } else if let Some(value) = last.value() {
            settle_all(&futs, value);
        }
        return false;
    }

    let mut errors = Vec::new();
    let mut only_kind = None;
    for fut in &futs {
        if let FutureState::Failed { kind, error } = fut.repr_state() {
            only_kind = kind;
            errors.push(error);
        }
    }
    if let Some(error) = ErrorGroup::merge(errors) {
        let kind = match ErrorGroup::of(&error) {
            Some(_) => Some("ErrorGroup"),
            None => only_kind,
        };
        for fut in &futs {
            fut.pass_on(&error, kind);
        }
        let changed = last.fail(&error, kind);
        if changed {
            futs.iter().for_each(|fut| fut.mark_error_read());
        }
        return changed;
    }
    if let Some(value) = futs.iter().find_map(|fut| fut.value()) {
        settle_all(&futs, value);
        return last.set_result(value.clone());
    }
    futs.iter().any(|fut| fut.is_cancelled()) && last.cancel()
}

fn settle_all<T: Clone + Send + Sync + 'static>(futs: &[&Promise<T>], value: &T) {
    for fut in futs {
        if !fut.is_done() {
            fut.set_result(value.clone());
        }
    }
}
