//! The threads that step sources that block.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use super::super::feed::Given;
use super::super::running::RuntimeGone;
use super::super::shared::Shared;
use super::super::sources::QueueInput;
use super::batch::{Batch, last_results};
use super::{Job, State};
use crate::SharedError;
use crate::ctx::Busy;
use crate::sync::atomic::Ordering;

/// For how long a worker that has nothing to do waits for more before it leaves.
const LINGER: Duration = Duration::from_millis(1);

/// Somebody who was called to work.
#[must_use]
pub(super) enum Called {
    Nobody,
    Parked(Thread),
    Absent(usize),
}

impl Called {
    pub(super) fn go<T: Send + 'static, C: Clone + Send + 'static>(self, shared: &Arc<Shared<T, C>>) {
        match self {
            Self::Nobody => {}
            Self::Parked(thread) => thread.unpark(),
            Self::Absent(cell) => {
                let worker = Worker { _busy: shared.ctx.busy(), shared: Arc::clone(shared), cell, began: false };
                // Without a runtime, or on one that is gone, the worker is dropped, and its drop says so.
                if let Ok(handle) = shared.runtime() {
                    drop(handle.spawn_blocking(move || worker.work()));
                }
            }
        }
    }
}

struct Worker<T: Send + 'static, C: Clone + Send + 'static> {
    shared: Arc<Shared<T, C>>,
    cell: usize,
    began: bool,
    /// It counts until all that it lets go of does.
    _busy: Busy,
}

impl<T: Send + 'static, C: Clone + Send + 'static> Worker<T, C> {
    fn work(mut self) {
        self.began = true;
        let shared = Arc::clone(&self.shared);
        let lane = &shared.lane;
        let mut children = Vec::new();
        let mut lingered = false;
        loop {
            if shared.ctx.is_done() {
                // Whoever brings something once the context is done takes it away again, as the consumer may have looked before.
                for job in children.drain(..) {
                    lane.drop_job(&shared, job);
                }
                lane.drop_waiting(&shared);
            }
            let job = {
                let mut state = lane.state.lock();
                match lane.pick(&shared, &mut state) {
                    Some(job) => Some(job),
                    None if !lingered && state.workers > 1 && !shared.ctx.is_done() => {
                        state.parked.push(std::thread::current());
                        lane.note_wanting(&state);
                        None
                    }
                    None => {
                        self.left(&mut state);
                        break;
                    }
                }
            };
            if let Some(job) = job {
                lingered = false;
                let going = shared.going.list(&job.link);
                lane.run(&shared, self.cell, job, &mut children);
                drop(going);
            } else {
                lane.pulse.call(&shared.bell);
                std::thread::park_timeout(LINGER);
                let me = std::thread::current().id();
                let mut state = lane.state.lock();
                state.parked.retain(|thread| thread.id() != me);
                lane.note_wanting(&state);
                drop(state);
                lingered = true;
            }
        }
        lane.pulse.call(&shared.bell);
        // What was starved before this worker had left is not missed: the consumer may have come to half the buffer meanwhile.
        if lane.starved.load(Ordering::SeqCst)
            && lane.buffered.load(Ordering::Acquire) <= lane.buffer / 2
            && !shared.breaker.is_set()
        {
            lane.kick(&shared);
        }
    }

    fn left(&mut self, state: &mut State<T, C>) {
        state.workers -= 1;
        state.free_cells.push(self.cell);
        self.shared.lane.note_wanting(state);
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Drop for Worker<T, C> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        if !self.began {
            self.give_up(&shared);
        }
        if shared.inbox.lock().closed {
            shared.lane.discard(&shared);
        }
    }
}

impl<T: Send + 'static, C: Clone + Send + 'static> Worker<T, C> {
    /// The runtime is gone: so are the sources.
    fn give_up(&mut self, shared: &Arc<Shared<T, C>>) {
        let jobs = {
            let mut state = shared.lane.state.lock();
            self.left(&mut state);
            state.take_all()
        };
        for job in jobs {
            let Job { sub, link, context, resume, is_open, .. } = job;
            if let Some(resume) = resume {
                shared.lane.resume(shared, resume);
            }
            let gone: SharedError = Arc::new(RuntimeGone);
            let stop = (sub.kind != QueueInput::Function).then(|| Some(Arc::clone(&gone)));
            shared.dispose(link.name.as_ref(), sub);
            if shared.ctx.is_done() {
                shared.dispose(link.name.as_ref(), context);
            } else {
                let (item, end) = last_results(shared, &link, Some(Given::Error(gone)), stop, context);
                if item.is_some() {
                    shared.lane.buffered.fetch_add(1, Ordering::AcqRel);
                }
                let batch = Batch { link, items: item.into_iter().collect(), end };
                shared.lane.out.lock().push(batch);
                shared.lane.pulse.left(shared, true);
            }
            if is_open && shared.open.give_back().0 {
                shared.bell.ring();
            }
            shared.lane.uncount(shared);
        }
    }
}
