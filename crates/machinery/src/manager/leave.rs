//! Letting go of what nobody will get: errors are reported, tasks stopped and waited for, and generators that have begun closed.

use std::sync::Arc;

use super::body::{BoxBody, guarded};
use super::feed::{Given, Sub};
use super::link::LinkRef;
use super::running;
use super::shared::{Entry, LATE, Shared};
use super::sources::{QueueInput, Sources};

/// Puts in what a future, a task or a clean-up ended with, or lets go of it if the stream has ended or there is no context value for it.
pub(crate) fn arrive<T, C>(shared: &Arc<Shared<T, C>>, link: &LinkRef, given: Given<T>, context: Option<C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    let Some(context) = context else { return self::given(shared, link, given, None, LATE) };
    if let Err(Entry::Arrived { link, given, context }) =
        shared.put(Entry::Arrived { link: link.clone(), given, context })
    {
        self::given(shared, &link, given, Some(context), LATE);
    }
}

/// Lets go of what a source gave; `what` is said of an error.
pub(crate) fn given<T, C>(shared: &Arc<Shared<T, C>>, link: &LinkRef, given: Given<T>, context: Option<C>, what: &str)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    match given {
        Given::Source(sub) => return self::sub(shared, *sub, Some(Sources::link(link)), context),
        Given::Error(error) => {
            shared.report(what, &Sources::link(link), Some(&error));
            shared.dispose(link.name.as_ref(), error);
        }
        Given::Value(value) => shared.dispose(link.name.as_ref(), value),
    }
    shared.dispose(link.name.as_ref(), context);
}

/// Lets go of a source that was not opened here: it may have begun before it came.
pub(crate) fn sub<T, C>(shared: &Arc<Shared<T, C>>, mut sub: Sub<T>, parent: Option<Sources>, context: Option<C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    if sub.kind == QueueInput::Task {
        if !shared.ctx.is_done() {
            // Otherwise that is what the manager does first.
            let _panic = guarded(|| sub.body.as_mut().stop());
        }
        shared.running.count();
        shared.running.start(shared, sub, parent, context, None);
        return;
    }
    let link = shared.link(&mut sub, parent);
    body(shared, &link, sub.body, context);
}

/// Lets go of a source that has a record already, and is no task.
pub(crate) fn body<T, C>(shared: &Arc<Shared<T, C>>, link: &LinkRef, mut body: BoxBody<T>, context: Option<C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    match guarded(|| body.as_mut().close()) {
        Ok(Some(closing)) => running::close(shared, link, context, closing),
        Ok(None) | Err(_) => shared.dispose(link.name.as_ref(), context),
    }
    shared.dispose(link.name.as_ref(), body);
}
