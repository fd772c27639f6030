//! What is going on for a manager away from its consumer, by name, for whoever asks what its context waits for.
//!
//! The lock is held alone, and nothing is dropped under it.

use std::sync::Arc;

use super::link::LinkRef;
use super::sources::Sources;
use crate::Ctx;
use crate::ctx::{Busy, UnfinishedWork, Witness};
use crate::slab::Slab;
use crate::sync::Mutex;

#[derive(Default)]
pub(crate) struct GoingOn(Mutex<Slab<LinkRef>>);

/// A source is at work until this is dropped.
pub(crate) struct Going {
    key: u32,
    all: Arc<GoingOn>,
}

/// The same, and counted below the context.
pub(crate) struct Counted {
    // It is not listed any more before it is not counted any more.
    _going: Going,
    _busy: Busy,
}

impl GoingOn {
    pub(crate) fn list(self: &Arc<Self>, link: &LinkRef) -> Going {
        let key = self.0.lock().insert(link.clone());
        Going { key, all: Arc::clone(self) }
    }

    pub(crate) fn count(self: &Arc<Self>, ctx: &Ctx, link: &LinkRef) -> Counted {
        Counted { _busy: ctx.busy(), _going: self.list(link) }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let link = self.all.0.lock().remove(self.key);
        drop(link);
    }
}

impl Witness for GoingOn {
    fn testify(&self) -> (usize, Vec<UnfinishedWork>) {
        let links: Vec<LinkRef> = self.0.lock().iter().map(|(_, link)| link.clone()).collect();
        let work: Vec<_> =
            links.iter().map(|link| UnfinishedWork::new(Sources::link(link).to_string(), None)).collect();
        // A thread for blocking sources is one piece, whatever it has at hand: it is not told apart from these.
        (if work.is_empty() { 0 } else { usize::MAX }, work)
    }
}
