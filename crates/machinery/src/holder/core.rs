//! The tasks of a holder and what it knows of them all; under its lock.

use std::task::Waker;

use tokio::time::Instant;

use super::entry::{Entry, Extra, MORE, More};
use super::rack::Rack;
use crate::Ctx;
use crate::contain::wake_all;
use crate::ctx::{Busy, CallbackId};
use crate::sync::Mutex;
use crate::task::TaskError;

pub(super) struct Core {
    pub(super) tasks: Rack,
    pub(super) running: usize,
    /// How many of the running are settled and tell so.
    pub(super) telling: usize,
    /// How many of the running have an order of their own.
    pub(super) singled: usize,
    pub(super) closed: bool,
    pub(super) stopped_at: Option<Instant>,
    /// Why everything was told to end where it stands.
    pub(super) abort: Option<Abort>,
    pub(super) busy: Option<Busy>,
    /// The callback by which the context stops everything.
    pub(super) followed: Option<CallbackId>,
    /// Nothing runs, and what counted as busy is being let go of.
    pub(super) ending: bool,
    pub(super) waiter: Option<Waker>,
    /// Collected, until the end of the holder takes them.
    pub(super) failures: Vec<TaskError>,
    /// Nobody takes failures any more.
    pub(super) abandoned: bool,
    /// How many tasks the stop has cut.
    pub(super) cut: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Abort {
    Grace,
    HolderDropped,
}

/// What is to be done once the lock is open.
#[must_use]
#[derive(Default)]
pub(super) struct After {
    waiter: Option<Waker>,
    over: Option<(Busy, Option<CallbackId>)>,
}

impl After {
    pub(super) fn run(self, ctx: &Ctx, core: &Mutex<Core>) {
        wake_all(self.waiter);
        if let Some((busy, followed)) = self.over {
            if let Some(id) = followed {
                ctx.remove_done_callback(id);
            }
            drop(busy);
            let waiter = {
                let mut core = core.lock();
                core.ending = false;
                core.waiter.take()
            };
            wake_all(waiter);
        }
    }
}

impl Core {
    pub(super) fn new() -> Self {
        Self {
            tasks: Rack::new(),
            running: 0,
            telling: 0,
            singled: 0,
            closed: false,
            stopped_at: None,
            abort: None,
            busy: None,
            followed: None,
            ending: false,
            waiter: None,
            failures: Vec::new(),
            abandoned: false,
            cut: 0,
        }
    }

    pub(super) fn after(&mut self) -> After {
        if self.running > 0 {
            return After::default();
        }
        let over = self.closed || self.stopped_at.is_some();
        match self.busy.take_if(|_| over) {
            Some(busy) => {
                self.ending = true;
                After { waiter: None, over: Some((busy, self.followed.take())) }
            }
            None if self.ending => After::default(),
            None => After { waiter: self.waiter.take(), over: None },
        }
    }

    /// The entry of a task that runs or has a handle, which is what keeps it there.
    pub(super) fn entry(&mut self, key: u32) -> &mut Entry {
        self.tasks.get_mut(key).expect("an entry lives as long as its task and its handles")
    }

    /// What else there is of it, if there is anything.
    pub(super) fn more(&mut self, key: u32) -> Option<&mut More> {
        if self.entry(key).is(MORE) { self.tasks.more(key) } else { None }
    }

    pub(super) fn make_more(&mut self, key: u32) -> &mut More {
        self.entry(key).flags |= MORE;
        self.tasks.make_more(key)
    }

    pub(super) fn extra(&mut self, key: u32) -> Option<&mut Extra> {
        self.more(key)?.extra.as_deref_mut()
    }

    pub(super) fn make_extra(&mut self, key: u32) -> &mut Extra {
        self.make_more(key).extra.get_or_insert_default()
    }

    /// Takes a settled task out, to be dropped once the lock is open.
    pub(super) fn remove(&mut self, key: u32) -> (Option<Entry>, Option<More>) {
        let more = self.more(key).map(std::mem::take);
        (self.tasks.remove(key), more)
    }
}
