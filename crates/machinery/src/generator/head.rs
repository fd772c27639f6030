//! Where a generator and its yielder meet: a head beside the body, which the thread knows of while the body is polled.
//!
//! # Invariants
//!
//! 1. While a body is polled its thread's `CURRENT` points to its head. Whoever enters one restores the one before, also
//!    when the body panics. So each thread's `CURRENT` points to the head of the innermost generator that is being polled on
//!    it, which lives and stays where it is meanwhile, or to `NOWHERE`.
//! 2. A yield uses a head only if that has its own id. In any other place it finds none. No two generators have the same
//!    id, and an id says of which types its generator is, so the head has the type that the yield takes it for.
//! 3. While the body is polled nobody but its yields uses the head; each lets go of it before it runs code of anybody else.
//!
//! Nothing is shared between threads. What happens for each item is all in sight of the compiler, without a call after
//! which the body would go on in the same poll: with one it keeps more in registers, and saves those each time.

#![expect(unsafe_code, reason = "a yield finds the head by a pointer")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::Thrown;
use crate::SharedError;
use crate::contain::wake;
use crate::sync::thread_local;

thread_local! {
    static CURRENT: Cell<*mut Mark> = const { Cell::new((&raw const NOWHERE).cast_mut()) };
}

/// Of no generator, and only read.
static NOWHERE: Mark = Mark { simply: NOBODY, number: NOBODY };

/// No generator has this number.
const NOBODY: u64 = 0;
/// Nor this one, which a yield has that is over.
const OVER: u64 = u64::MAX;

/// Says which generator, and of which types.
pub(super) struct Id<Y, S> {
    number: u64,
    yielded: PhantomData<fn(Y) -> Y>,
    sent: PhantomData<fn(S) -> S>,
}

impl<Y, S> Clone for Id<Y, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Y, S> Copy for Id<Y, S> {}

/// What all heads begin with.
#[repr(C)]
struct Mark {
    /// The number too, or `NOBODY` where there is an answer, so that yields take a look at it.
    simply: u64,
    number: u64,
}

/// What the body and the generator share.
#[repr(C)]
pub(super) struct Head<Y, S> {
    mark: Mark,
    /// The address of the context that the body is polled with; or `FULL` once something is yielded, and as long as the
    /// body stands there.
    turn: usize,
    /// There while the turn is `FULL` and the body is polled.
    item: MaybeUninit<Y>,
    /// Why the generator cannot simply let the body go on.
    alerts: u8,
    /// To the yield where the body stands, or, if it is an error, to the next.
    answer: Option<Answer<S>>,
    /// The answer, which is an error then, is for the next yield, and not for the one where the body stands.
    for_next: bool,
    /// The waker of a yield that is polled only when it was woken.
    inside: Option<Waker>,
    /// How the body has ended, and what it yielded in the same poll.
    result: Option<Result<(), SharedError>>,
    last: Option<Y>,
}

/// The body has not begun.
const NEW: usize = 0;
/// There is an item.
const FULL: usize = 1;
/// The body has begun, and ended.
const STARTED: usize = 2;

const _: () = assert!(align_of::<Context<'static>>() > STARTED, "an address is none of them");

/// The yield where the body stood is gone.
const GONE: u8 = 1;
/// A yield has left its waker.
const INSIDE: u8 = 2;
/// The body has ended, or panicked.
const ENDED: u8 = 4;
/// The body has never been polled.
const FRESH: u8 = 8;

/// What the consumer answers to a yield.
enum Answer<S> {
    Sent(S),
    Thrown(Thrown),
}

/// How a body ended.
pub(super) struct End<Y> {
    pub(super) result: Result<(), SharedError>,
    /// What it yielded before, in the same poll.
    pub(super) last: Option<Y>,
}

impl<Y, S> Id<Y, S> {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), yielded: PhantomData, sent: PhantomData }
    }
}

/// For the generator, while the body is not being polled.
impl<Y, S> Head<Y, S> {
    pub(super) fn new(id: Id<Y, S>) -> Self {
        Self {
            mark: Mark { simply: id.number, number: id.number },
            turn: NEW,
            item: MaybeUninit::uninit(),
            alerts: FRESH,
            answer: None,
            for_next: false,
            inside: None,
            result: None,
            last: None,
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.turn != NEW
    }

    pub(super) fn is_ended(&self) -> bool {
        self.alerts & ENDED != 0
    }

    /// Whether the body may simply go on from wherever it is.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.alerts == 0
    }

    /// Whether the body stands at a yield, and so can be answered.
    pub(super) fn stands(&self) -> bool {
        self.turn == FULL && self.alerts & (GONE | ENDED) == 0 && !self.is_throw_pending()
    }

    pub(super) fn is_throw_pending(&self) -> bool {
        matches!(self.answer, Some(Answer::Thrown(_)))
    }

    /// Gives the value back where the body does not stand at a yield.
    pub(super) fn send(&mut self, value: S) -> Result<(), S> {
        if !self.stands() {
            return Err(value);
        }
        self.answer(Answer::Sent(value));
        Ok(())
    }

    pub(super) fn throw(&mut self, thrown: Thrown) {
        self.answer(Answer::Thrown(thrown));
    }

    fn take_thrown(&mut self) -> Option<Thrown> {
        match self.answer.take_if(|answer| matches!(answer, Answer::Thrown(_))) {
            Some(Answer::Thrown(thrown)) => Some(thrown),
            _ => None,
        }
    }

    fn answer(&mut self, answer: Answer<S>) {
        // One that comes in the place of another goes where that would have gone.
        if self.answer.is_none() {
            self.for_next = !self.stands();
        }
        self.mark.simply = NOBODY;
        let before = self.answer.replace(answer);
        drop(before);
    }

    /// Before a body that has not ended is polled with this waker: it may go on from wherever it is.
    pub(super) fn begin(&mut self, outside: &Waker) {
        self.alerts = 0;
        if let Some(inside) = self.inside.take()
            && !inside.will_wake(outside)
        {
            wake(inside);
        }
    }

    /// How the body has ended; an error that was thrown in and never came up goes to whoever threw it, or comes next.
    pub(super) fn end(&mut self) -> End<Y> {
        let Some(result) = self.result.take() else {
            // It has panicked, and with it what it had yielded and what was thrown in is lost.
            return End { result: Ok(()), last: None };
        };
        let result = result.and_then(|()| self.take_thrown().map_or(Ok(()), |thrown| Err(thrown.into_error())));
        End { result, last: self.last.take() }
    }

    /// Polls the body, and gives what it yields. Where it ends, `unwrap` makes the error of it, and `None` comes back.
    #[inline(always)]
    pub(super) fn enter<E>(
        &mut self,
        cx: &mut Context<'_>,
        body: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), E>>,
        unwrap: impl FnOnce(E) -> SharedError,
    ) -> Poll<Option<Y>> {
        self.turn = address(cx);
        let head = ptr::from_mut(self);
        let entered = Entered { before: CURRENT.with(|current| current.replace(head.cast())), head };
        let polled = body(cx);
        let before = entered.before;
        mem::forget(entered);
        CURRENT.with(|current| current.set(before));
        // SAFETY: the body is left, and with it the yields are gone that used the head.
        let head = unsafe { &mut *head };
        match polled {
            Poll::Pending if head.turn == FULL => {
                // SAFETY: there is an item, as the body was polled just now, and it is taken only here.
                Poll::Ready(Some(unsafe { head.item.assume_init_read() }))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                head.finish(result, unwrap);
                Poll::Ready(None)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn finish<E>(&mut self, result: Result<(), E>, unwrap: impl FnOnce(E) -> SharedError) {
        self.close();
        self.result = Some(result.map_err(unwrap));
    }

    /// The body was polled just now, and has ended.
    fn close(&mut self) {
        self.alerts |= ENDED;
        if mem::replace(&mut self.turn, STARTED) == FULL {
            // SAFETY: there is an item, as the body was polled just now, and it is taken only here.
            self.last = Some(unsafe { self.item.assume_init_read() });
        }
    }
}

/// While this is there `CURRENT` points to a head. It is dropped only where the body panics.
struct Entered<Y, S> {
    before: *mut Mark,
    head: *mut Head<Y, S>,
}

impl<Y, S> Drop for Entered<Y, S> {
    #[cold]
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.before));
        // SAFETY: the body is left, and with it the yields are gone that used the head.
        unsafe { (*self.head).close() };
    }
}

#[inline(always)]
fn address(cx: &Context<'_>) -> usize {
    ptr::from_ref(cx).addr()
}

/// For the yields.
impl<Y, S> Id<Y, S> {
    /// Uses the head of the innermost generator whose body is being polled here, if `number` of it is this one.
    #[inline(always)]
    fn with_head_by<R>(self, number: impl FnOnce(&Mark) -> u64, f: impl FnOnce(&mut Head<Y, S>) -> R) -> Option<R> {
        let mark = CURRENT.with(Cell::get);
        // SAFETY: it points to `NOWHERE`, or to the head of a generator whose body is being polled.
        if number(unsafe { &*mark }) != self.number {
            return None;
        }
        // SAFETY: the head has this id, and so this type: either number in it is its own, or nobody's. Nobody else uses it
        // meanwhile: whoever polls the body waits for it to return, and `f`, which is one of those below, runs nobody's code.
        Some(f(unsafe { &mut *mark.cast::<Head<Y, S>>() }))
    }

    /// Uses the head if it is that of this generator.
    #[inline(always)]
    fn with_head<R>(self, f: impl FnOnce(&mut Head<Y, S>) -> R) -> Option<R> {
        self.with_head_by(|mark| mark.number, f)
    }

    /// The same, but only if the yield has nothing to look at beside the turn.
    #[inline(always)]
    fn with_plain_head<R>(self, f: impl FnOnce(&mut Head<Y, S>) -> R) -> Option<R> {
        self.with_head_by(|mark| mark.simply, f)
    }

    /// Whether the body simply goes on from its yield; `None` where there is more to look at.
    #[inline(always)]
    pub(super) fn goes_on(self) -> Option<bool> {
        self.with_plain_head(|head| head.turn != FULL)
    }

    /// Whether the item is now handed over; `None` where there is more to look at.
    #[inline(always)]
    pub(super) fn hand_over(self, item: &mut Option<Y>, cx: &Context<'_>) -> Option<bool> {
        self.with_plain_head(|head| head.turn == address(cx) && head.put(item))
    }

    /// What the body is answered at a yield, which is new or stands there.
    #[inline(always)]
    pub(super) fn take_answer(self, is_new: bool) -> Answered<S> {
        if self.number == OVER {
            return Answered::Sent(None);
        }
        let answered = self.with_head(|head| {
            if is_new && !head.is_throw_pending() {
                // What was sent to a yield that is gone is lost.
                return Answered::Nothing;
            }
            if !is_new && head.for_next {
                return Answered::Sent(None);
            }
            head.mark.simply = head.mark.number;
            match mem::take(&mut head.answer) {
                None => Answered::Sent(None),
                Some(Answer::Sent(value)) => Answered::Sent(Some(value)),
                Some(Answer::Thrown(thrown)) => Answered::Thrown(thrown),
            }
        });
        answered.unwrap_or(Answered::Elsewhere)
    }

    /// Has a yield wait that is polled with another context than the body, or again, or which comes after one that is gone.
    /// An item that it still has is handed over.
    #[cold]
    #[inline(never)]
    pub(super) fn wait(self, item: &mut Option<Y>, waker: &Waker) {
        let lost = self.with_head(|head| {
            head.mark.simply = head.mark.number;
            if head.turn != FULL {
                head.put(item);
            }
            head.answer.take()
        });
        let waker = waker.clone();
        let before = self.with_head(|head| {
            head.alerts |= INSIDE;
            head.inside.replace(waker)
        });
        drop((lost, before));
    }

    /// A yield is dropped that was polled; an answer to it is lost, but for an error.
    #[inline(always)]
    pub(super) fn let_go(self) {
        if self.number != OVER && self.goes_on() != Some(true) {
            self.abandon();
        }
    }

    #[cold]
    #[inline(never)]
    fn abandon(self) {
        let sent = self.with_head(|head| {
            if head.turn == FULL {
                head.alerts |= GONE;
            }
            let sent = head.answer.take_if(|answer| matches!(answer, Answer::Sent(_)));
            head.for_next = true;
            if head.answer.is_none() {
                head.mark.simply = head.mark.number;
            }
            sent
        });
        drop(sent);
    }

    /// Has every poll say that it is over.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        self.number = OVER;
    }
}

impl<Y, S> Head<Y, S> {
    #[inline(always)]
    fn put(&mut self, item: &mut Option<Y>) -> bool {
        let Some(item) = item.take() else {
            return false;
        };
        self.turn = FULL;
        self.item.write(item);
        true
    }
}

/// What there is at a yield beside the turn.
pub(super) enum Answered<S> {
    Sent(Option<S>),
    Thrown(Thrown),
    /// Nothing that is for it, and its item is to be handed over.
    Nothing,
    /// The body is not being polled, or somewhere else.
    Elsewhere,
}
