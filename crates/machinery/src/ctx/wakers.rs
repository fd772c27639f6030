//! The wakers of those who wait on one thing: the first in place, the others in a slab.

use std::task::Waker;

use crate::contain::{wake, wake_all};
use crate::protocols::WaiterId;
use crate::slab::Slab;

#[derive(Default)]
pub(crate) struct WakerSet {
    /// Counts how often everything was taken, so that an old key never finds a newer waiter.
    generation: u32,
    first: Option<Waker>,
    more: Option<Box<Slab<Waker>>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WaiterKey {
    generation: u32,
    /// Zero is the first; the others are one more than their key in the slab.
    place: u32,
}

impl WakerSet {
    #[inline]
    pub(crate) fn insert(&mut self, waker: Waker) -> WaiterKey {
        let place = if self.first.is_none() {
            self.first = Some(waker);
            0
        } else {
            self.insert_more(waker)
        };
        WaiterKey { generation: self.generation, place }
    }

    #[cold]
    #[inline(never)]
    fn insert_more(&mut self, waker: Waker) -> u32 {
        self.more.get_or_insert_default().insert(waker) + 1
    }

    /// The waker at `key`, if it still waits.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: WaiterKey) -> Option<&mut Waker> {
        if key.generation != self.generation {
            None
        } else if key.place == 0 {
            self.first.as_mut()
        } else {
            self.more.as_mut()?.get_mut(key.place - 1)
        }
    }

    /// Takes the waker out, to be dropped by the caller once no lock is held.
    pub(crate) fn remove(&mut self, key: WaiterKey) -> Option<Waker> {
        if key.generation != self.generation {
            None
        } else if key.place == 0 {
            self.first.take()
        } else {
            self.more.as_mut()?.remove(key.place - 1)
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.as_ref().is_none_or(|more| more.is_empty())
    }

    /// Takes every waker, to be woken by the caller once no lock is held.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.generation = self.generation.wrapping_add(1);
        let first = self.first.take();
        let more = self.more.take().map(|more| more.into_values());
        first.into_iter().chain(more.into_iter().flatten())
    }

    /// Takes every waker in a form of few words, which costs next to nothing where there is none.
    #[inline]
    pub(crate) fn take_woken(&mut self) -> Woken {
        if self.is_empty() {
            return Woken { first: None, more: None };
        }
        self.generation = self.generation.wrapping_add(1);
        Woken { first: self.first.take(), more: self.more.take() }
    }

    /// Moves every waker to `out`.
    pub(crate) fn take_all(&mut self, out: &mut impl Extend<Waker>) {
        self.generation = self.generation.wrapping_add(1);
        out.extend(self.first.take());
        if let Some(mut more) = self.more.take() {
            out.extend(more.drain_all());
        }
    }
}

/// Wakers on their way to be woken.
#[must_use]
pub(crate) struct Woken {
    first: Option<Waker>,
    more: Option<Box<Slab<Waker>>>,
}

impl Woken {
    /// To be called without a lock. A waker that panics keeps no other from being woken.
    #[inline]
    pub(crate) fn wake(self) {
        let Self { first, more } = self;
        if let Some(waker) = first {
            wake(waker);
        }
        if let Some(more) = more {
            wake_many(*more);
        }
    }
}

#[cold]
#[inline(never)]
fn wake_many(wakers: Slab<Waker>) {
    wake_all(wakers.into_values());
}

impl From<WaiterKey> for WaiterId {
    fn from(key: WaiterKey) -> Self {
        Self::new(key.place, key.generation.into())
    }
}

impl From<WaiterId> for WaiterKey {
    /// An id that is not of a `WakerSet` becomes a key that finds nobody.
    fn from(id: WaiterId) -> Self {
        match u32::try_from(id.stamp()) {
            Ok(generation) => Self { generation, place: id.key() },
            Err(_) => Self { generation: 0, place: u32::MAX },
        }
    }
}
