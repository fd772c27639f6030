//! Doing one thing after another where doing them one inside the other would overflow the stack.
//!
//! A callback that settles the next promise, whose callback settles the next, and so on, is a loop here and not a recursion;
//! and so is the drop of a promise whose callbacks hold the next.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::contain::contain;
use crate::sync::thread::LocalKey;
use crate::sync::thread_local;

/// What is to be done, in its order; `None` while nothing is under way on this thread.
type Later = RefCell<Option<VecDeque<Box<dyn FnOnce()>>>>;

thread_local! {
    static CALLBACKS: Later = const { RefCell::new(None) };
    static DROPS: Later = const { RefCell::new(None) };
}

/// Runs the callbacks of a promise; from within those of another, after those under way.
pub(super) fn callbacks(run: impl FnOnce() + 'static) {
    one_after_another(&CALLBACKS, run);
}

/// Drops what a promise held; from within such a drop, after it.
pub(super) fn drops(held: impl Sized + 'static) {
    one_after_another(&DROPS, move || drop(held));
}

fn one_after_another(queue: &'static LocalKey<Later>, job: impl FnOnce() + 'static) {
    let mut job = Some(job);
    // In the destructors of a thread's locals there is no later, and everything is done straight away.
    let outermost = queue.try_with(|later| match &mut *later.borrow_mut() {
        Some(queue) => {
            if let Some(job) = job.take() {
                queue.push_back(Box::new(job));
            }
            false
        }
        none => {
            *none = Some(VecDeque::new());
            true
        }
    });
    if let Some(job) = job {
        contained(job);
    }
    if !matches!(outermost, Ok(true)) {
        return;
    }
    while let Ok(Some(next)) = queue.try_with(|later| {
        let mut later = later.borrow_mut();
        let next = later.as_mut().and_then(VecDeque::pop_front);
        if next.is_none() {
            *later = None;
        }
        next
    }) {
        contained(next);
    }
}

/// A panic here is of the drop of something that the user gave: those after it go on.
fn contained(job: impl FnOnce()) {
    if let Err(panic) = contain(job) {
        let _ = contain(|| tracing::error!("the drop of a callback {panic}"));
    }
}
