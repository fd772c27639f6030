//! What becomes of failures: the policies, and what they return.

use std::error::Error;
use std::fmt;

use super::shared::{OnFailure, Shared};
use crate::task::{Failure, Fallible, Outcome, TaskError};
use crate::{Completion, Ctx, SharedError};

/// What a holder does about failing tasks, and what its end returns for it.
///
/// Chosen at the [`HolderBuilder`](super::HolderBuilder): [`GoOn`], [`FailFast`] or [`CollectAll`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder, holder::{CollectAll, Failures}};
///
/// let root = Ctx::beginning("app");
/// let tasks: TaskHolder<CollectAll> = TaskHolder::builder(&root).collect_all().build();
/// let done: Result<(), Failures> = tasks.finish().await;
/// assert!(done.is_ok());
/// # }
/// ```
pub trait Policy<R>: OnFailurePolicy {
    /// What the end of the holder returns, for a body that returned `R`.
    type Output;

    #[doc(hidden)]
    fn conclude(&self, body: R, failures: Failures) -> Self::Output;

    #[doc(hidden)]
    fn has_failed(body: &R) -> bool;

    /// The error that a body has returned in vain, where the policy knows what it is.
    #[doc(hidden)]
    fn error_of(body: R) -> Option<SharedError>;
}

#[doc(hidden)]
#[expect(unnameable_types, reason = "seals the policies")]
pub trait OnFailurePolicy {
    #[expect(private_interfaces, reason = "seals the policies")]
    const ON_FAILURE: OnFailure;
}

/// A failing task is reported and does not stop its siblings; the scope returns what its body returned.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let root = machinery::Ctx::beginning("app");
/// let seven = machinery::task_holder(&root, async |tasks| {
///     tasks.add("bad", async { Err::<(), _>("no route") }); // goes to the log
///     7
/// })
/// .await;
/// assert_eq!(seven, 7);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GoOn;

/// The first failure stops the other tasks and completes the holder's context, and the end is a `Result`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
///
/// let root = Ctx::beginning("app");
/// let failures = TaskHolder::builder(&root)
///     .fail_fast()
///     .scope(async |tasks| {
///         tasks.add("forever", std::future::pending::<()>());
///         tasks.add("bad", async { Err::<(), _>("no route") });
///     })
///     .await
///     .unwrap_err();
/// assert_eq!(failures.first().unwrap().name(), "bad");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FailFast;

/// Every failure is collected with its name instead of reported, and the end is a `Result`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
///
/// let root = Ctx::beginning("app");
/// let failures = TaskHolder::builder(&root)
///     .collect_all()
///     .scope(async |tasks| {
///         tasks.add("bad", async { Err::<(), _>("no route") });
///         tasks.add("worse", async { panic!("a mistake") });
///     })
///     .await
///     .unwrap_err();
/// assert_eq!(failures.len(), 2);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CollectAll;

#[expect(private_interfaces, reason = "seals the policies")]
impl OnFailurePolicy for GoOn {
    const ON_FAILURE: OnFailure = OnFailure::Report;
}

#[expect(private_interfaces, reason = "seals the policies")]
impl OnFailurePolicy for FailFast {
    const ON_FAILURE: OnFailure = OnFailure::StopAll;
}

#[expect(private_interfaces, reason = "seals the policies")]
impl OnFailurePolicy for CollectAll {
    const ON_FAILURE: OnFailure = OnFailure::Collect;
}

impl<R: Fallible> Policy<R> for GoOn {
    type Output = R;

    fn conclude(&self, body: R, _: Failures) -> R {
        body
    }

    fn has_failed(body: &R) -> bool {
        body.has_failed()
    }

    fn error_of(_: R) -> Option<SharedError> {
        None
    }
}

macro_rules! returns_result {
    ($($policy:ident),*) => {$(
        impl<R: Outcome + Fallible> Policy<R> for $policy {
            type Output = Result<R::Value, Failures>;

            fn conclude(&self, body: R, failures: Failures) -> Self::Output {
                failures.with_body(body.into_outcome())
            }

            fn has_failed(body: &R) -> bool {
                body.has_failed()
            }

            fn error_of(body: R) -> Option<SharedError> {
                body.into_outcome().err().map(|failure| failure.error)
            }
        }
    )*};
}

returns_result!(FailFast, CollectAll);

impl Shared {
    /// Keeps a failure for the end of the holder. One that comes after a drop of the holder is reported.
    pub(super) fn collect(&self, error: &TaskError) {
        {
            let mut core = self.core.lock();
            if !core.abandoned {
                core.failures.push(error.clone());
                return;
            }
        }
        self.report(error);
    }

    /// The failures that were collected, and how many tasks the stop has cut.
    pub(super) fn take_failures(&self) -> (Vec<TaskError>, usize) {
        let mut core = self.core.lock();
        (std::mem::take(&mut core.failures), core.cut)
    }

    /// Reports the failures that no caller will get: those collected so far, and those to come.
    pub(super) fn abandon_failures(&self) {
        let failures = {
            let mut core = self.core.lock();
            core.abandoned = true;
            std::mem::take(&mut core.failures)
        };
        for error in failures {
            self.report_as("a task failed", &error);
        }
    }
}

/// What went wrong in a holder whose failures are collected: every failed task by name, the body's own error, and the
/// completion from outside that cut tasks, if one did. At least one of these is there.
///
/// A shutdown from above that cuts tasks gives this without a failure: where that is no error of the program, match on
/// [`is_empty`](Self::is_empty) and [`body`](Self::body), or let the tasks end by themselves, which cuts none.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
///
/// let root = Ctx::beginning("app");
/// let tasks = TaskHolder::builder(&root).name("work").collect_all().build();
/// tasks.add("bad", async { Err::<(), _>("no route") });
/// let failures = tasks.finish().await.unwrap_err();
/// assert_eq!(failures.len(), 1);
/// assert_eq!(failures.to_string(), "1 failure in `app-->work`: task `bad` of `app-->work` failed: no route");
/// # }
/// ```
pub struct Failures(Box<Inner>);

struct Inner {
    /// Not the context itself: these may end up as the cause of a completion above, which they would keep alive.
    path: Box<str>,
    tasks: Vec<TaskError>,
    body: Option<Failure>,
    completion: Option<Completion>,
}

impl Failures {
    /// `completion` counts if it has cut anything.
    pub(super) fn new(ctx: &Ctx, tasks: Vec<TaskError>, completion: Option<Completion>, cut: usize) -> Self {
        // The failure that stopped the others is among the tasks, and is not from outside.
        let outside = completion.filter(|completion| {
            cut > 0
                && !completion
                    .error()
                    .and_then(|error| error.downcast_ref::<TaskError>())
                    .is_some_and(|error| tasks.iter().any(|own| own.is_same(error)))
        });
        let completion = outside.map(|completion| completion.let_go());
        Self(Box::new(Inner { path: ctx.full_name().into_boxed_str(), tasks, body: None, completion }))
    }

    fn with_body<T>(mut self, body: Result<T, Failure>) -> Result<T, Self> {
        match body {
            Ok(value) if self.0.tasks.is_empty() && self.0.completion.is_none() => Ok(value),
            Ok(_) => Err(self),
            Err(failure) => {
                self.0.body = Some(failure);
                Err(self)
            }
        }
    }

    /// The failed tasks, in the order in which they failed.
    pub fn tasks(&self) -> std::slice::Iter<'_, TaskError> {
        self.0.tasks.iter()
    }

    /// The task that failed first.
    #[must_use]
    pub fn first(&self) -> Option<&TaskError> {
        self.0.tasks.first()
    }

    /// The error that the body returned.
    #[must_use]
    pub fn body(&self) -> Option<&Failure> {
        self.0.body.as_ref()
    }

    /// The completion of the context above that cut tasks which had not finished.
    #[must_use]
    pub fn completion(&self) -> Option<&Completion> {
        self.0.completion.as_ref()
    }

    /// How many tasks have failed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.tasks.len()
    }

    /// Whether no task has failed, so that it is about the body or the context only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.tasks.is_empty()
    }

    /// The failed tasks, in the order in which they failed.
    #[must_use]
    pub fn into_tasks(self) -> Vec<TaskError> {
        self.0.tasks
    }
}

impl<'a> IntoIterator for &'a Failures {
    type Item = &'a TaskError;
    type IntoIter = std::slice::Iter<'a, TaskError>;

    fn into_iter(self) -> Self::IntoIter {
        self.tasks()
    }
}

impl IntoIterator for Failures {
    type Item = TaskError;
    type IntoIter = std::vec::IntoIter<TaskError>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_tasks().into_iter()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { path, tasks, body, completion } = &*self.0;
        let count = tasks.len() + usize::from(body.is_some());
        if let (0, Some(completion)) = (count, completion) {
            return write!(f, "tasks in `{path}` were cut: {completion}");
        }
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} failure{plural} in `{path}`")?;
        let mut mark = ": ";
        if let Some(body) = body {
            write!(f, "{mark}the body failed: {body}")?;
            mark = "; ";
        }
        for task in tasks {
            write!(f, "{mark}{task}")?;
            mark = "; ";
        }
        if let Some(completion) = completion {
            write!(f, "{mark}tasks were cut: {completion}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { path, tasks, body, completion } = &*self.0;
        f.debug_struct("Failures")
            .field("path", path)
            .field("tasks", tasks)
            .field("body", body)
            .field("completion", completion)
            .finish()
    }
}

impl Error for Failures {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let Inner { tasks, body, completion, .. } = &*self.0;
        if let Some(body) = body {
            return Some(&*body.error);
        }
        if let Some(task) = tasks.first() {
            return Some(task);
        }
        completion.as_ref().map(|completion| completion as &(dyn Error + 'static))
    }
}
