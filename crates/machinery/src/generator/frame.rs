//! Where a generator and its yielder meet: a frame on the stack of whoever polls the body, which the thread knows of.
//!
//! # Invariants
//!
//! 1. The frame lies on the stack for as long as the body is polled, and its thread's `CURRENT` points to it. Whoever enters
//!    one restores the one before, also when the body panics. So each thread's `CURRENT` points to the frame of the
//!    innermost generator that is being polled on it, or to `NOWHERE`.
//! 2. A yield uses a frame only if that has its own id. In any other place it finds none. No two generators have the same
//!    id, and an id says of which types its generator is, so the frame has the type that the yield takes it for.
//! 3. While the body is polled nobody but its yields uses the frame, and what the frame points to; each lets go of it
//!    before it runs code of anybody else.
//!
//! Nothing is shared between threads. The compiler sees a frame being made, used and left in one function, if the body
//! is simple enough, and then keeps little of it.

#![expect(unsafe_code, reason = "a yield finds the frame by a pointer")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::Thrown;
use crate::SharedError;
use crate::sync::thread_local;

thread_local! {
    static CURRENT: Cell<*mut Head> = const { Cell::new((&raw const NOWHERE).cast_mut()) };
}

/// Of no generator, and only read.
static NOWHERE: Head = Head { number: u64::MAX };

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

/// What all frames begin with.
#[repr(C)]
struct Head {
    number: u64,
}

/// What the body and the generator share while the body is polled.
#[repr(C)]
struct Frame<Y, S> {
    head: Head,
    /// The address of the context that the body is polled with, and `ANSWER`; or `FULL` once something is yielded.
    turn: *const (),
    rare: *mut Rare<Y, S>,
    item: MaybeUninit<Y>,
}

/// Beside the address: there is an answer, which is to be taken before anything is yielded.
const ANSWER: usize = 1;
/// There is an item.
const FULL: *const () = ptr::without_provenance(ANSWER);

const _: () = assert!(align_of::<Context<'static>>() > ANSWER, "the address leaves the bit that is used");

impl<Y, S> Drop for Frame<Y, S> {
    #[inline(always)]
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What a stream has no use for.
pub(super) struct Rare<Y, S> {
    /// Zero where the body stands at a yield, and there is nothing to look at before it may go on.
    pub(super) alerts: u8,
    /// To the yield where the body stands, or, if it is an error, to the next.
    pub(super) answer: Option<Answer<S>>,
    /// The waker of a yield that is polled only when it was woken.
    pub(super) inside: Option<Waker>,
    /// How the body has ended, and what it yielded in the same poll.
    pub(super) result: Option<Result<(), SharedError>>,
    pub(super) last: Option<Y>,
}

/// The body does not wait at a yield.
pub(super) const ELSEWHERE: u8 = 1;
/// The yield where the body stood is gone.
pub(super) const GONE: u8 = 2;
/// There is an answer.
pub(super) const ANSWERED: u8 = 4;
/// A yield has left its waker.
pub(super) const INSIDE: u8 = 8;
/// The generator is more than a stream.
pub(super) const WATCHED: u8 = 16;
/// The body has ended, or panicked.
pub(super) const ENDED: u8 = 32;

/// What the consumer answers to a yield.
pub(super) enum Answer<S> {
    Sent(S),
    Thrown(Thrown),
}

/// Where a yield is polled.
pub(super) enum Found<S> {
    /// The body is being polled here, and goes on, with what it is answered.
    Running(Option<Answer<S>>),
    /// The body is being polled here, and has yielded something before.
    Full,
    /// The body is not being polled, or somewhere else.
    Nothing,
}

/// While this is there `CURRENT` points to a frame.
struct Entered {
    before: *mut Head,
}

impl Drop for Entered {
    #[inline(always)]
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.before));
    }
}

#[inline(always)]
fn address(cx: &Context<'_>) -> *const () {
    ptr::from_ref(cx).cast()
}

impl<Y, S> Id<Y, S> {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), yielded: PhantomData, sent: PhantomData }
    }

    /// Polls the body in a frame, and gives what it yields. Where it ends, `finish` is given the result and what the same
    /// poll has yielded, and `None` comes back.
    #[inline(always)]
    pub(super) fn enter<R>(
        self,
        answered: bool,
        rare: &mut Rare<Y, S>,
        cx: &mut Context<'_>,
        body: impl FnOnce(&mut Context<'_>) -> Poll<R>,
        finish: impl FnOnce(&mut Rare<Y, S>, R, Option<Y>),
    ) -> Poll<Option<Y>> {
        let mut frame = Frame {
            head: Head { number: self.number },
            turn: address(cx).map_addr(|address| address | if answered { ANSWER } else { 0 }),
            rare: ptr::from_mut(rare),
            item: MaybeUninit::uninit(),
        };
        let head = (&raw mut frame).cast::<Head>();
        let entered = Entered { before: CURRENT.with(|current| current.replace(head)) };
        let polled = body(cx);
        drop(entered);
        if polled.is_pending()
            && let Some(item) = frame.take()
        {
            return Poll::Ready(Some(item));
        }
        let item = frame.take();
        match polled {
            Poll::Pending => {
                let answered = frame.turn.addr() & ANSWER != 0;
                frame.rare().alerts |= if answered { ELSEWHERE | ANSWERED } else { ELSEWHERE };
                Poll::Pending
            }
            Poll::Ready(result) => {
                finish(frame.rare(), result, item);
                Poll::Ready(None)
            }
        }
    }

    /// Uses the frame of the body, if that is being polled here.
    #[inline(always)]
    fn with_frame<R>(self, f: impl FnOnce(&mut Frame<Y, S>) -> R) -> Option<R> {
        let head = CURRENT.with(Cell::get);
        // SAFETY: it points to `NOWHERE`, or to the frame of a call that is under way on this thread, further down its stack.
        if unsafe { (*head).number } != self.number {
            return None;
        }
        // SAFETY: the frame has this id, and so this type. Nobody else uses it meanwhile: that call waits for the body to
        // return, and `f`, which is one of those below, runs nobody's code.
        Some(f(unsafe { &mut *head.cast::<Frame<Y, S>>() }))
    }

    /// Puts an item into the frame, or gives it back where there is more to look at.
    #[inline(always)]
    pub(super) fn hand_over(self, item: Y, cx: &Context<'_>) -> Result<(), Y> {
        let mut item = Some(item);
        self.with_frame(|frame| {
            if frame.turn == address(cx)
                && let Some(item) = item.take()
            {
                frame.put(item);
            }
        });
        item.map_or(Ok(()), Err)
    }

    /// Whether the body simply goes on from its yield; that is not answered, and was not handed over by this very poll.
    #[inline(always)]
    pub(super) fn goes_on(self) -> bool {
        self.with_frame(|frame| frame.turn.addr() & ANSWER == 0) == Some(true)
    }

    /// What the body is answered where it goes on from its yield, unless that is an error.
    #[inline(always)]
    pub(super) fn take_sent(self) -> Option<Option<S>> {
        self.with_frame(|frame| {
            if frame.turn == FULL || matches!(frame.rare().answer, Some(Answer::Thrown(_))) {
                return None;
            }
            frame.turn = frame.turn.map_addr(|address| address & !ANSWER);
            match frame.rare().answer.take() {
                Some(Answer::Sent(value)) => Some(Some(value)),
                _ => Some(None),
            }
        })
        .flatten()
    }

    /// Where a yield is polled, and what it is answered.
    pub(super) fn find(self) -> Found<S> {
        self.with_frame(|frame| {
            if frame.turn == FULL {
                return Found::Full;
            }
            frame.turn = frame.turn.map_addr(|address| address & !ANSWER);
            Found::Running(frame.rare().answer.take())
        })
        .unwrap_or(Found::Nothing)
    }

    /// Puts an item into the frame, for a yield that is polled with any context.
    pub(super) fn hand_over_inside(self, item: Y) {
        let before = self.with_frame(|frame| {
            let before = frame.take();
            frame.put(item);
            before
        });
        drop(before);
    }

    /// Has the waker woken before the body is polled again.
    #[cold]
    #[inline(never)]
    pub(super) fn remember(self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.with_frame(|frame| {
            let rare = frame.rare();
            rare.alerts |= INSIDE;
            rare.inside.replace(waker)
        });
        drop(before);
    }

    /// A yield is dropped at which the body stands; an answer to it is lost, but for an error.
    #[cold]
    #[inline(never)]
    pub(super) fn abandon(self) {
        let sent = self.with_frame(|frame| {
            if frame.turn == FULL {
                frame.rare().alerts |= GONE;
            }
            frame.rare().answer.take_if(|answer| matches!(answer, Answer::Sent(_)))
        });
        drop(sent);
    }
}

impl<Y, S> Frame<Y, S> {
    #[inline(always)]
    fn put(&mut self, item: Y) {
        self.item.write(item);
        self.turn = FULL;
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Y> {
        if self.turn != FULL {
            return None;
        }
        self.turn = ptr::null();
        // SAFETY: `turn` said that there is an item, and says so no more.
        Some(unsafe { self.item.assume_init_read() })
    }

    #[inline(always)]
    fn rare(&mut self) -> &mut Rare<Y, S> {
        // SAFETY: the frame was made with a reference to it, which nobody uses while the body is polled.
        unsafe { &mut *self.rare }
    }
}
