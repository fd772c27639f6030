//! Counting work, so that a context can be waited for until everything below it has cleaned up.
//!
//! # Invariants
//!
//! 1. A node's count is the number of its own tasks plus the number of its children that have a count above zero.
//! 2. A parent's count goes up before its child's leaves zero, and goes down after it is zero again. So nobody sees
//!    an idle parent above a busy child.
//!
//! A task on a context that is busy already costs one lock; a context without tasks pays nothing.

use super::Ctx;
use super::family::NodeRef;
use super::notify::wake_all;

/// One piece of work below a context; `drained()` of that context and of all above waits until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Ctx);

impl Ctx {
    /// Counts one more piece of work on this context until the answer is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.0.acquire();
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.release();
    }
}

enum Step {
    Enter(NodeRef),
    Commit(NodeRef),
}

impl NodeRef {
    fn acquire(&self) {
        if self.join_if_busy() {
            return;
        }
        let mut steps = vec![Step::Enter(self.clone())];
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(node) => {
                    if !node.join_if_busy() {
                        steps.push(Step::Commit(node.clone()));
                        steps.extend(node.parents().map(|parent| Step::Enter(parent.clone())));
                    }
                }
                Step::Commit(node) => {
                    let was_busy = {
                        let mut links = node.links.lock();
                        let watch = links.watch();
                        watch.busy += 1;
                        watch.busy > 1
                    };
                    if was_busy {
                        // Somebody else came first and holds the parents already.
                        for parent in node.parents() {
                            parent.release();
                        }
                    }
                }
            }
        }
    }

    fn join_if_busy(&self) -> bool {
        let mut links = self.links.lock();
        match &mut links.watch {
            Some(watch) if watch.busy > 0 => {
                watch.busy += 1;
                true
            }
            _ => false,
        }
    }

    fn release(&self) {
        let mut idle = vec![self.clone()];
        let mut wakers = Vec::new();
        while let Some(node) = idle.pop() {
            {
                let mut links = node.links.lock();
                let watch = links.watch();
                watch.busy -= 1;
                if watch.busy > 0 {
                    continue;
                }
                if node.is_done()
                    && let Some(waiters) = &mut watch.drain_waiters
                {
                    waiters.take_all(&mut wakers);
                }
            }
            idle.extend(node.parents().cloned());
        }
        if !wakers.is_empty() {
            wake_all(self, wakers);
        }
    }
}
