//! What workers leave for the consumer.

use std::sync::Arc;

use super::super::body::cloned;
use super::super::feed::Given;
use super::super::leave;
use super::super::link::LinkRef;
use super::super::shared::{CLONE_PANICKED, Shared};
use crate::SharedError;

/// Items of one source, in their order.
pub(crate) struct Batch<T, C> {
    pub(crate) link: LinkRef,
    /// Each has its context value already: where one cannot be cloned the worker can still end the source.
    pub(crate) items: Vec<Item<T, C>>,
    pub(crate) end: Option<Ended<C>>,
}

/// What a source gave, and the context value of that.
pub(crate) type Item<T, C> = (Given<T>, C);

/// What an iterator has ended with, and its context value.
pub(crate) type Ended<C> = (Option<SharedError>, C);

/// What a source ends with; its own context value goes to the very last.
pub(super) fn last_results<T, C>(
    shared: &Arc<Shared<T, C>>,
    link: &LinkRef,
    given: Option<Given<T>>,
    stop: Option<Option<SharedError>>,
    context: C,
) -> (Option<Item<T, C>>, Option<Ended<C>>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    match (given, stop) {
        (None, None) => {
            shared.dispose(link.name.as_ref(), context);
            (None, None)
        }
        (Some(given), None) => (Some((given, context)), None),
        (None, Some(exception)) => (None, Some((exception, context))),
        (Some(given), Some(exception)) => match cloned(&context) {
            Ok(copy) => (Some((given, copy)), Some((exception, context))),
            Err(_) => {
                leave::given(shared, link, given, None, CLONE_PANICKED);
                (None, Some((exception, context)))
            }
        },
    }
}
