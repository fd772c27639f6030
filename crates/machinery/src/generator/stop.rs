//! Stopping a generator whatever it does.

use super::core::Resumed;
use super::errors::Kind;
use super::{AsyncGenerator, Items};
use crate::SharedError;

/// Stops `generator`: throws `exception` in at the yield where it stands, then, if it is still alive, sends it
/// `provide`, and finally closes it whatever happened.
///
/// Without an `exception` a cancellation is thrown, for which
/// [`is_cancellation`](super::GeneratorError::is_cancellation) is true. Without `provide` a generator that is still
/// alive is asked for its next item. What it yields meanwhile is dropped.
///
/// A generator that is inside an await of its own is told through its context: that is cancelled, and the exception comes
/// up at its next yield. From then on, as from the exception on, its grace runs, and when that ends it is
/// dropped. A generator without a context that is inside an await of its own is dropped at once, as a plain future
/// that has to stop is, and one without a context that stands at a yield has all the time it wants.
///
/// A generator that is already finished is fine.
///
/// # Cancel safety
///
/// A drop half-way leaves the generator where it is; its own drop, or another stop, has it clean up.
///
/// # Errors
///
/// The error that the generator ends with: the one that was thrown in, if it did not catch it, or one of its clean-up.
/// Where it did not end by itself, a [`GeneratorError`](super::GeneratorError) that says why it was dropped.
///
/// # Panics
///
/// With the panic of the body.
///
/// # Examples
///
/// ```
/// use machinery::generator::{AsyncGenerator, stop_async_generator};
/// use std::time::Duration;
/// use tokio::time::sleep;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let mut lines = AsyncGenerator::new(|mut y| async move {
///     for line in ["first", "second", "third"] {
///         if let Err(thrown) = y.yield_(line).await {
///             sleep(Duration::from_secs(1)).await; // say goodbye
///             return Err(thrown);
///         }
///     }
///     Ok(())
/// });
/// assert_eq!(lines.next().await, Some("first"));
/// let why: machinery::SharedError = std::sync::Arc::new(std::io::Error::other("no more paper"));
/// let ended = stop_async_generator(&mut lines, None, Some(why)).await;
/// assert_eq!(ended.unwrap_err().to_string(), "no more paper");
/// assert_eq!(lines.next().await, None);
/// # }
/// ```
pub async fn stop_async_generator<Y, S, E>(
    generator: &mut AsyncGenerator<Y, S, E>,
    provide: Option<S>,
    exception: Option<SharedError>,
) -> Result<(), SharedError>
where
    Y: Send + 'static,
    S: Send + 'static,
    E: Items,
{
    let core = &mut generator.core;
    if core.is_finished() {
        return core.take_outcome();
    }
    if core.is_exiting() {
        return core.close().await;
    }
    let started = core.is_started();
    if started {
        core.begin_stop();
        if core.is_finished() {
            return Ok(());
        }
    }
    core.throw(exception.unwrap_or_else(|| Kind::Cancelled.into()))?;
    if let Resumed::Ended(result) = core.resumed().await {
        return result;
    }
    if let Some(value) = provide {
        // It has yielded and so stands, unless it has dropped that yield.
        drop(core.answer(value));
    }
    if let Resumed::Ended(result) = core.resumed().await {
        return result;
    }
    core.close().await
}
