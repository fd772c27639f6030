//! A thing with an asynchronous start and finish.

mod run;

use std::error::Error;
use std::fmt;
use std::future::Future;

use crate::{Ctx, Name, SharedError};

use run::{Finishing, Guarded, caught};

/// A thing that is started and finished asynchronously, for [`ensure_aexit`].
///
/// # Examples
///
/// ```
/// use machinery::aexit::{AsyncExit, Ended};
///
/// struct Connection;
///
/// impl AsyncExit for Connection {
///     type Error = std::io::Error;
///
///     async fn start(&mut self) -> Result<(), std::io::Error> {
///         Ok(()) // say hello
///     }
///
///     async fn finish(self, ended: Ended) -> Result<(), std::io::Error> {
///         if let Some(error) = ended.error() {
///             eprintln!("closing after: {error}");
///         }
///         Ok(()) // say goodbye
///     }
/// }
/// ```
pub trait AsyncExit: Send + Sized + 'static {
    /// What start and finish fail with.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Starts the thing. Whatever comes of it, and also if it is dropped half-way, [`finish`](Self::finish) runs.
    ///
    /// # Errors
    ///
    /// What kept it from starting.
    fn start(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Finishes the thing. It runs once, to its end, and is told how what came before ended.
    ///
    /// # Errors
    ///
    /// What went wrong while finishing.
    fn finish(self, ended: Ended) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// How that ended which [`AsyncExit::finish`] cleans up after.
///
/// # Examples
///
/// ```
/// use machinery::aexit::Ended;
///
/// fn describe(ended: &Ended) -> String {
///     match ended {
///         Ended::Well => "all went well".into(),
///         Ended::StartFailed(error) => format!("never started: {error}"),
///         Ended::Failed(error) => format!("failed: {error}"),
///         _ => "cut short".into(),
///     }
/// }
/// assert_eq!(describe(&Ended::Dropped), "cut short");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// It started, and the body was successful.
    Well,
    /// It did not start: this is the error of the start, or its panic.
    StartFailed(SharedError),
    /// It started, and the body ended with this error, or this panic.
    Failed(SharedError),
    /// The whole was dropped before the body was over.
    Dropped,
}

impl Ended {
    /// The error that it ended with.
    #[must_use]
    pub fn error(&self) -> Option<&SharedError> {
        match self {
            Self::StartFailed(error) | Self::Failed(error) => Some(error),
            Self::Well | Self::Dropped => None,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("ended well"),
            Self::StartFailed(error) => write!(f, "failed to start: {error}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Dropped => f.write_str("was dropped half-way"),
        }
    }
}

/// Starts `thing`, runs `body` with it, and makes certain that it is finished, once and to the end.
///
/// - If the start fails, finish runs with the start's error, and that error is returned.
/// - If the body fails, finish runs with the body's error, and that error is returned.
/// - If both go well, finish runs, and its error, if there is one, is returned.
/// - A panic of the start or of the body goes on once finish is over.
///
/// An error of finish that is not returned is reported through the [`Tramp`](crate::Tramp) of `ctx`. The context's
/// completion does not cut any of this short; the body may look at `ctx`.
///
/// # Cancel safety
///
/// When this is dropped half-way, what is left of finish is handed to the context and runs as a task on its runtime; the
/// context is [`drained`](Ctx::drained) only once it is over. Where the context has no runtime, or that runtime is
/// shut down, finish does not run, and that is reported. An error or a panic of the start or of the body that was to be
/// returned after finish is reported too. A future that was never polled has started nothing, and finishes nothing.
///
/// # Errors
///
/// The error of the start, of the body or of finish, whichever was first.
///
/// # Panics
///
/// With the panic of the start, of the body or of finish, whichever was first.
///
/// # Examples
///
/// ```
/// use machinery::aexit::{AsyncExit, Ended, ensure_aexit};
/// use machinery::Ctx;
///
/// struct Connection(Vec<&'static str>);
///
/// impl AsyncExit for Connection {
///     type Error = std::io::Error;
///
///     async fn start(&mut self) -> Result<(), std::io::Error> {
///         self.0.push("hello");
///         Ok(())
///     }
///
///     async fn finish(mut self, _: Ended) -> Result<(), std::io::Error> {
///         self.0.push("goodbye");
///         assert_eq!(self.0, ["hello", "how are you", "goodbye"]);
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let ctx = Ctx::beginning("root");
/// let said = ensure_aexit(&ctx, "connection", Connection(vec![]), async |connection| {
///     connection.0.push("how are you");
///     Ok::<_, std::io::Error>(connection.0.len())
/// })
/// .await;
/// assert_eq!(said.unwrap(), 2);
/// # });
/// ```
pub async fn ensure_aexit<R, T, E, B>(ctx: &Ctx, name: impl Into<Name>, thing: R, body: B) -> Result<T, SharedError>
where
    R: AsyncExit,
    B: AsyncFnOnce(&mut R) -> Result<T, E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut guarded = Guarded::new(ctx, name.into(), thing);

    // Inside the future, so that a panic of the call itself is caught as well.
    match caught(async { guarded.thing().start().await }).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = crate::error::share(error);
            guarded.finish(Ended::StartFailed(error.clone())).unreturned(error.clone()).await;
            return Err(error);
        }
        Err(panic) => {
            guarded.finish(Ended::StartFailed(panic.error())).unreturned(panic.error()).await;
            panic.resume();
        }
    }

    match caught(async { body(guarded.thing()).await }).await {
        Ok(Ok(value)) => {
            let finishing: Finishing = guarded.finish(Ended::Well);
            finishing.await.map(|()| value)
        }
        Ok(Err(error)) => {
            let error = crate::error::share(error);
            guarded.finish(Ended::Failed(error.clone())).unreturned(error.clone()).await;
            Err(error)
        }
        Err(panic) => {
            guarded.finish(Ended::Failed(panic.error())).unreturned(panic.error()).await;
            panic.resume()
        }
    }
}
