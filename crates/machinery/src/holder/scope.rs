//! The scope: a body with tasks, all of which are over when it returns.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;
use std::thread;

use super::failures::{OnFailurePolicy, Policy};
use super::{HolderBuilder, TaskHolder, Tasks, wait};
use crate::contain::contain;
use crate::error::panic_error;
use crate::task::Fallible;
use crate::task::graced::Grace;
use crate::{Ctx, Report};

/// Runs a body that adds tasks, waits until all of them are over, and returns what the body returned.
///
/// The body may borrow from its surroundings. It is given the [`Tasks`] to add to; more may be added during the last
/// wait, by the tasks too.
///
/// - A failing task is reported and does not stop its siblings; [`TaskHolder::builder`] has the other policies.
/// - If the context completes, the tasks are cancelled at once and waited for. The body is not dropped under its feet:
///   what may wait for long in it, as a loop that accepts connections, goes through `tasks.ctx().run(…)`, or the scope never ends.
/// - If the body fails, which is to return an `Err`, or panics, the tasks are cancelled and waited for, and then the
///   failure is returned, or the panic goes on.
///
/// # Cancel safety
///
/// A drop of the future drops the body where it stands and aborts the tasks, which is reported. It waits for nothing:
/// the context above does. A panic of the body that was to go on once the tasks are over is reported too.
///
/// # Panics
///
/// If the body does, after the tasks are over.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, task_holder};
///
/// let root = Ctx::beginning("app");
/// let hosts = ["a", "b", "c"];
/// let answers = task_holder(&root, async |tasks| {
///     let asked = hosts.map(|host| tasks.add(host, async move { host.len() }));
///     let mut answers = 0;
///     for task in asked {
///         answers += task.await?;
///     }
///     Ok::<_, machinery::TaskError>(answers)
/// })
/// .await;
/// assert_eq!(answers.unwrap(), 3);
/// # }
/// ```
///
/// A body that adds tasks for as long as its context lives:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # async fn serve(_: machinery::Ctx, _: tokio::net::TcpStream) -> std::io::Result<()> { Ok(()) }
/// use machinery::{Ctx, task_holder};
///
/// let root = Ctx::beginning("server");
/// # root.cancel();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// task_holder(&root, async |tasks| {
///     while let Ok(accepted) = tasks.ctx().run(listener.accept()).await {
///         let (stream, peer) = accepted?;
///         tasks.add_with(peer.to_string(), |ctx| serve(ctx, stream));
///     }
///     std::io::Result::Ok(())
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "JoinSet")]
#[doc(alias = "TaskTracker")]
#[track_caller]
pub fn task_holder<B, R>(ctx: &Ctx, body: B) -> impl Future<Output = R> + use<B, R>
where
    B: AsyncFnOnce(&Tasks) -> R,
    R: Fallible,
{
    run(HolderBuilder::new(ctx).build(), body)
}

impl<P: OnFailurePolicy> HolderBuilder<'_, P> {
    /// Runs a body that adds tasks, and waits until all of them are over. See [`task_holder`].
    ///
    /// Returns what the body returned, or a `Result` of it under the policies that collect.
    ///
    /// # Cancel safety
    ///
    /// A drop of the future drops the body where it stands and aborts the tasks, which is reported. So is a panic of the
    /// body that was to go on once the tasks are over, and, under the policies that collect, its error.
    ///
    /// # Panics
    ///
    /// If the body does, after the tasks are over.
    #[track_caller]
    pub fn scope<B, R>(self, body: B) -> impl Future<Output = P::Output> + use<B, R, P>
    where
        B: AsyncFnOnce(&Tasks) -> R,
        P: Policy<R>,
    {
        run(self.build(), body)
    }
}

async fn run<B, R, P>(mut holder: TaskHolder<P>, body: B) -> P::Output
where
    B: AsyncFnOnce(&Tasks) -> R,
    P: Policy<R>,
{
    let tasks = holder.handle();
    let returned = match catch_unwind(AssertUnwindSafe(|| body(&tasks))) {
        Ok(body) => run_body(&holder, body).await,
        Err(panic) => Err(panic),
    };
    let mut kept = Kept::<P, R> { returned: Some(returned), ctx: holder.ctx().clone(), policy: PhantomData };
    match kept.returned.as_ref().expect("taken at the end") {
        Ok(returned) if !P::has_failed(returned) => {}
        Ok(_) => holder.cancel_because("the body of the scope failed"),
        Err(_) => holder.cancel_because("the body of the scope panicked"),
    }
    holder.wait().await;
    match kept.returned.take().expect("taken here and by the drop alone") {
        Ok(returned) => holder.close(returned),
        Err(panic) => {
            holder.tasks.shared.abandon_failures();
            resume_unwind(panic)
        }
    }
}

/// What the body returned, or its panic, while the tasks are waited for. What went wrong is reported if it is dropped.
struct Kept<P: Policy<R>, R> {
    returned: Option<thread::Result<R>>,
    ctx: Ctx,
    policy: PhantomData<P>,
}

impl<P: Policy<R>, R> Drop for Kept<P, R> {
    fn drop(&mut self) {
        let error = match self.returned.take() {
            Some(Ok(returned)) => contain(|| P::error_of(returned)).unwrap_or_else(Some),
            Some(Err(panic)) => Some(panic_error(panic)),
            None => None,
        };
        if let Some(error) = error {
            let what = "a scope was dropped half-way, with an error of its body that nobody read";
            Report::new(&self.ctx, what).error(&error).send();
        }
    }
}

/// Polls the body to its end and drops it. Of two panics the first is returned, and the other reported.
async fn run_body<F: Future, P>(holder: &TaskHolder<P>, body: F) -> thread::Result<F::Output> {
    let shared = &*holder.tasks.shared;
    let mut grace = holder.grace.map(|length| Grace::after(&shared.ctx, length));
    let mut body = pin!(Some(body));
    let returned = poll_fn(|cx| {
        let Some(running) = body.as_mut().as_pin_mut() else { return Poll::Pending };
        match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Ready(returned)) => Poll::Ready(Ok(returned)),
            Err(panic) => Poll::Ready(Err(panic)),
            Ok(Poll::Pending) => {
                // The tasks have no more time when the body takes its own.
                if let Some(grace) = wait::keep_grace(&mut grace, shared, cx) {
                    let what =
                        format!("the body of a scope has not returned within its grace of {grace:?}: it is waited for");
                    Report::new(&shared.ctx, &what).at(shared.ctx.location()).send();
                }
                Poll::Pending
            }
        }
    })
    .await;
    let dropped = catch_unwind(AssertUnwindSafe(|| body.set(None)));
    let (first, second) = match (returned, dropped) {
        (returned, Ok(())) => return returned,
        (Err(first), Err(second)) => (first, Err(panic_error(second))),
        (Ok(returned), Err(first)) => (first, contain(|| drop(returned))),
    };
    if let Err(second) = second {
        Report::new(&shared.ctx, "the drop of the body of a scope panicked").error(&second).send();
    }
    Err(first)
}
