//! What a holder holds at a moment.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::shared::Shared;
use crate::ctx::{UnfinishedWork, Witness};
use crate::time::Rounded;
use crate::{Name, time};

impl Shared {
    /// Every task that is not over yet.
    pub(super) fn held(&self) -> Vec<HeldTask> {
        let now = time::now();
        let core = self.core.lock();
        let running = core.tasks.iter().filter(|entry| !entry.is_settled());
        running.map(|entry| HeldTask::new(entry.name.clone(), entry.location, self.age(entry, now))).collect()
    }
}

/// All of them are one piece of the context's work, which lasts until the holder is stopped or closed, too.
impl Witness for Shared {
    fn testify(&self) -> (usize, Vec<UnfinishedWork>) {
        let held = self.held();
        let (telling, over) = {
            let core = self.core.lock();
            (core.telling, core.closed || core.stopped_at.is_some())
        };
        let tasks = held.into_iter().map(|HeldTask { name, location, age }| {
            UnfinishedWork::new(format!("task `{name}`"), Some(location)).running_for_so_long(age)
        });
        let mut work: Vec<_> = tasks.collect();
        if telling > 0 {
            let tasks =
                if telling == 1 { "task that is over, but for its" } else { "tasks that are over, but for their" };
            work.push(UnfinishedWork::new(format!("{telling} {tasks} callbacks and drops"), None));
        }
        if work.is_empty() {
            let state = if over { "is ending" } else { "is neither stopped nor finished" };
            work.push(UnfinishedWork::new(format!("a holder of tasks, which {state}"), None));
        }
        (1, work)
    }
}

/// One task that a holder holds, as [`Tasks::held`](crate::Tasks::held) found it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use machinery::{Ctx, TaskHolder};
/// use std::time::Duration;
///
/// let root = Ctx::beginning("app");
/// let tasks = TaskHolder::new(&root);
/// tasks.add("poll", std::future::pending::<()>());
/// assert_eq!(tasks.held()[0].running_for(), None); // it has not begun
/// tokio::time::sleep(Duration::from_secs(3)).await;
/// assert!(tasks.held()[0].running_for() >= Some(Duration::from_secs(3)));
/// tasks.stop().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HeldTask {
    name: Name,
    location: &'static Location<'static>,
    age: Option<Duration>,
}

impl HeldTask {
    fn new(name: Name, location: &'static Location<'static>, age: Option<Duration>) -> Self {
        Self { name, location, age }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The line that spawned it.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// For how long it has been running, on Tokio's clock, within a millisecond; counted from its first wait.
    ///
    /// `None` for a task that has not begun or that has not waited for anything so far.
    #[must_use]
    pub fn running_for(&self) -> Option<Duration> {
        self.age
    }
}

/// The name, the line and the age.
impl fmt::Display for HeldTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` from {}", self.name, self.location)?;
        match self.age {
            Some(age) => write!(f, ", running for {}", Rounded(age)),
            None => f.write_str(", which has not waited for anything so far"),
        }
    }
}
