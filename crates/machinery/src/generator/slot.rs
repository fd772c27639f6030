//! Where a generator and its yielder meet.
//!
//! # Invariants
//!
//! 1. A generator keeps its slot between polls, and puts it into `CURRENT` for as long as it polls its body. So
//!    each thread's `CURRENT` holds the slot of the innermost generator that is being polled on it.
//! 2. Whoever puts a slot in takes it out again and restores the one before, also when the body panics.
//! 3. A yielder finds its slot by the identity of their `Link`. In any other place it finds none.
//! 4. Only the generator and its body change the state of a link, and never at the same time, as the one runs inside
//!    a poll by the other: whatever moves a generator to another thread orders what they do. So its loads and stores
//!    are relaxed, and plain moves to the processor; no item costs an atomic operation that is more than that.
//! 5. `answer` holds something if, and only if, the state is `ANSWERED`.

use std::any::Any;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::Waker;

use super::Thrown;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, thread_local};

// Without a destructor the thread's local needs no registration, and it is there also while others are destroyed.
// Nothing is forgotten in it, by the second invariant.
type Current = Option<ManuallyDrop<Box<dyn Any + Send>>>;

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new(None) };
}

/// The body does not wait at a yield.
pub(super) const ELSEWHERE: u8 = 0;
/// It does, and the consumer has not come back.
pub(super) const STANDS: u8 = 1;
/// It does, and is asked for the next item.
pub(super) const NEXT: u8 = 2;
/// What the consumer says lies in `answer`: to the yield where the body stands, or, if it is an error, to the next.
pub(super) const ANSWERED: u8 = 3;

/// What the consumer answers to a yield.
pub(super) enum Answer<S> {
    Sent(S),
    Thrown(Thrown),
}

/// What a generator and its yielder share.
pub(super) struct Link<S> {
    state: AtomicU8,
    answer: Mutex<Option<Answer<S>>>,
}

impl<S> Link<S> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(ELSEWHERE), answer: Mutex::new(None) })
    }

    #[inline(always)]
    pub(super) fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn set_state(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }

    pub(super) fn answer(&self, answer: Answer<S>) {
        let old = self.answer.lock().replace(answer);
        self.set_state(ANSWERED);
        drop(old);
    }

    /// Takes the answer, and leaves the yield that it is for.
    pub(super) fn take_answer(&self) -> Option<Answer<S>> {
        self.set_state(ELSEWHERE);
        self.answer.lock().take()
    }

    pub(super) fn is_throw_pending(&self) -> bool {
        self.state() == ANSWERED && matches!(*self.answer.lock(), Some(Answer::Thrown(_)))
    }
}

/// What the body hands to the generator.
pub(super) struct Slot<Y, S> {
    link: Arc<Link<S>>,
    /// On its way to the consumer.
    pub(super) item: Option<Y>,
    /// Where the waker lies that the body is being polled with.
    outer: usize,
    /// The waker that the `yield_` was polled with, where that is another one: something between it and the body
    /// polls it only when it was woken.
    inner: Option<Waker>,
}

#[inline(always)]
fn address(waker: &Waker) -> usize {
    std::ptr::from_ref(waker) as usize
}

impl<Y, S> Slot<Y, S> {
    pub(super) fn new(link: Arc<Link<S>>) -> Self {
        Self { link, item: None, outer: 0, inner: None }
    }

    /// Before the body is polled: a `yield_` that has no answer yet is asked for the next item.
    #[inline(always)]
    pub(super) fn resume(&mut self, waker: &Waker) {
        self.outer = address(waker);
        if self.link.state() == STANDS {
            self.link.set_state(NEXT);
        }
        if self.inner.is_some() {
            self.wake_inner();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_inner(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.wake();
        }
    }

    #[inline(always)]
    pub(super) fn remember(&mut self, waker: &Waker) {
        if self.outer != address(waker) {
            self.remember_inner(waker);
        }
    }

    #[cold]
    #[inline(never)]
    fn remember_inner(&mut self, waker: &Waker) {
        self.inner = Some(waker.clone());
    }
}

/// A slot that lies in `CURRENT`.
pub(super) struct Entered {
    before: Current,
}

impl Entered {
    #[inline(always)]
    pub(super) fn enter<Y, S>(slot: Box<Slot<Y, S>>) -> Self
    where
        Y: Send + 'static,
        S: Send + 'static,
    {
        Self { before: CURRENT.with(|current| current.replace(Some(ManuallyDrop::new(slot)))) }
    }

    /// Gives back what [`enter`](Self::enter) took, unless it was lost in a panic that somebody caught.
    #[inline(always)]
    pub(super) fn leave<Y: 'static, S: 'static>(self) -> Option<Box<Slot<Y, S>>> {
        let mut this = ManuallyDrop::new(self);
        let slot = CURRENT.with(|current| current.replace(this.before.take()))?;
        ManuallyDrop::into_inner(slot).downcast().ok()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.with(|current| current.replace(self.before.take())).map(ManuallyDrop::into_inner));
    }
}

/// Uses the slot of the generator that is being polled, if that is the one with this link.
#[inline(always)]
pub(super) fn with_current<Y, S, R>(link: &Arc<Link<S>>, f: impl FnOnce(&mut Slot<Y, S>) -> R) -> Option<R>
where
    Y: 'static,
    S: 'static,
{
    let mut slot = CURRENT.with(Cell::take)?;
    let own = slot.downcast_mut::<Slot<Y, S>>().filter(|slot| Arc::ptr_eq(&slot.link, link));
    let answer = own.map(f);
    CURRENT.with(|current| current.set(Some(slot)));
    answer
}
