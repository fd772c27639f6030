//! What the tests of the manager share.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use machinery::{Ctx, QueueManagerResult as Fed, Report, Streamer, Tramp};

/// What a result says, without its context value.
pub(crate) fn told<T: Debug, C>(result: &Fed<T, C>) -> String {
    match result {
        Fed::Success { sources, value, .. } => format!("{sources}: {value:?}"),
        Fed::Failure { sources, exception, .. } => format!("{sources}: failed: {exception}"),
        Fed::IterationStop { sources, exception: None, .. } => format!("{sources}: end"),
        Fed::IterationStop { sources, exception: Some(exception), .. } => format!("{sources}: end: {exception}"),
        Fed::Stopped { exception: None } => "stopped".to_owned(),
        Fed::Stopped { exception: Some(_) } => "stopped by the context".to_owned(),
    }
}

/// Everything that the stream still yields.
pub(crate) async fn all<T, C>(results: &mut Streamer<T, C>) -> Vec<String>
where
    T: Debug + Send + 'static,
    C: Clone + Send + 'static,
{
    let mut said = Vec::new();
    while let Some(result) = results.next().await {
        said.push(told(&result));
    }
    said
}

/// The values among the results that the stream still yields.
pub(crate) async fn values<T: Send + 'static, C: Clone + Send + 'static>(results: &mut Streamer<T, C>) -> Vec<T> {
    let mut values = Vec::new();
    while let Some(result) = results.next().await {
        values.extend(result.into_value());
    }
    values
}

/// The next result, if there is one without waiting.
pub(crate) fn now<T: Send + 'static, C: Clone + Send + 'static>(
    results: &mut Streamer<T, C>,
) -> Option<Option<Fed<T, C>>> {
    results.next().now_or_never()
}

/// Counts one.
pub(crate) fn note(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}

/// A tramp that remembers its reports.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub(crate) fn reports(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Tramp for Heard {
    fn log_info(&self, _: &Ctx, _: &str) {}

    fn log_exception(&self, report: &Report<'_>) {
        let cause = report.cause().map(ToString::to_string).unwrap_or_default();
        self.0.lock().unwrap().push(format!(
            "{}: {}: {}: {cause}",
            report.ctx().full_name(),
            report.task_name().unwrap_or("-"),
            report.what()
        ));
    }
}

/// Counts its living clones.
#[derive(Debug, Default)]
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::SeqCst);
        One(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
pub(crate) struct One(Arc<AtomicUsize>);

impl One {
    /// Zero, for a closure that has to hold it.
    pub(crate) fn nothing(&self) -> u32 {
        0
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
