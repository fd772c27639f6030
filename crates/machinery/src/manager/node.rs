//! A source in the consumer's hands: its record, its state, its context value and the source itself in one piece of memory.
//!
//! Of the memory the record (see `link`) is shared, and all the rest belongs to the [`Owner`], of which there is one. Results and wakers
//! may keep the memory longer; the source and the context value are dropped where they are when the owner says so.
//!
//! Invariants:
//!
//! 1. Each node has one owner from its making until `finish`, or the owner's drop. The owner belongs to whoever holds it: the feeder, the
//!    inbox, and from then on the engine. Nobody but the owner touches what follows the record.
//! 2. `body` and `context` are there while `life` is `Open`, the context alone while it is `Empty` or `Failed`, and neither once it is
//!    `Gone`. A node without an owner is `Gone`.
//! 3. The owner has one handle and `credit` more, which it gives away without counting them again: a result of a source
//!    costs no atomic operation.

#![expect(unsafe_code, reason = "a source that lies behind a counted record, in memory that the record's handles keep")]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::bell::Bell;
use super::body::{Body, BoxBody, Closing, Step};
use super::link::{Link, LinkRef, release, release_to_one, retain};
use super::sources::Sources;
use crate::SharedError;

/// So many handles are counted at once.
const CREDIT: u32 = 64;

/// The one that a source belongs to.
pub(crate) struct Owner<T, C>(NonNull<Core<T, C>>, PhantomData<(BoxBody<T>, C)>);

// SAFETY: it owns a body, which is `Send`, and a context value, and shares a record, which is `Sync`.
unsafe impl<T, C: Send> Send for Owner<T, C> {}

#[repr(C)]
struct Node<T, C, B> {
    core: Core<T, C>,
    body: ManuallyDrop<B>,
}

#[repr(C)]
struct Core<T, C> {
    link: Link,
    hand: Hand<T, C>,
    context: ManuallyDrop<C>,
}

/// What the consumer keeps about a source.
pub(crate) struct Hand<T, C> {
    /// It points into the node itself.
    body: NonNull<dyn Body<T>>,
    credit: u32,
    life: Life,
    /// It stands in line.
    pub(crate) scheduled: bool,
    pub(crate) aside: Aside,
    pub(crate) end_at_first_error: bool,
    pub(crate) key: u32,
    /// What few sources have.
    extra: Option<Box<Extra<T, C>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// The source is dropped.
    Empty,
    /// The source is dropped, and its end is due.
    Failed,
    Gone,
}

/// Whether a source is set aside until one that it yielded has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aside {
    No,
    /// The other one needs no place that this one could be holding.
    Free,
    /// The other one needs a place: not all that have one may be set aside so.
    Counted,
    /// Depth first: it goes on when the other one has ended.
    Below,
}

struct Extra<T, C> {
    ended: Option<SharedError>,
    /// Depth first: what goes on once this source has ended, nearest last.
    below: Vec<super::engine::Below<T, C>>,
}

impl<T, C> Owner<T, C> {
    /// Moves a source behind its record.
    pub(crate) fn new<B: Body<T> + 'static>(link: Link, bell: &Arc<Bell>, context: C, body: B, strict: bool) -> Self {
        let hand = Hand {
            body: NonNull::<B>::dangling(),
            credit: CREDIT,
            life: Life::Open,
            scheduled: false,
            aside: Aside::No,
            end_at_first_error: strict,
            key: u32::MAX,
            extra: None,
        };
        let core =
            Core { link: link.heading(bell, free::<T, C, B>, 1 + CREDIT), hand, context: ManuallyDrop::new(context) };
        let node = NonNull::from(Box::leak(Box::new(Node { core, body: ManuallyDrop::new(body) })));
        // SAFETY: the pointers are to places in the node that was just made.
        unsafe {
            let body: *mut B = (&raw mut (*node.as_ptr()).body).cast();
            (*node.as_ptr()).core.hand.body = NonNull::new_unchecked(body);
        }
        Self(node.cast(), PhantomData)
    }

    /// The owner of the node that `link` is the head of, unless that has none any more.
    ///
    /// # Safety
    ///
    /// `link` is the record of a node of `T` and `C`. The caller is the only one who may use its owner, uses it by no other way
    /// meanwhile, and keeps `link` for as long.
    pub(crate) unsafe fn of(link: &LinkRef) -> Option<ManuallyDrop<Self>> {
        let owner = ManuallyDrop::new(Self(link.pointer().cast(), PhantomData));
        (owner.life != Life::Gone).then_some(owner)
    }

    fn pointer(&self) -> NonNull<Link> {
        self.0.cast()
    }

    /// Gives a handle away.
    pub(crate) fn give(&mut self) -> LinkRef {
        if self.credit == 0 {
            // SAFETY: the owner has a handle.
            unsafe { retain(self.pointer(), CREDIT) };
            self.credit = CREDIT;
        }
        self.credit -= 1;
        // SAFETY: it was counted in the credit, and is not any more.
        unsafe { LinkRef::counted(self.pointer()) }
    }

    /// Takes a handle back.
    pub(crate) fn take_back(&mut self, link: LinkRef) {
        debug_assert!(link.pointer() == self.pointer());
        if self.credit < u32::MAX / 4 {
            self.credit += 1;
            let _counted = link.into_pointer();
        }
    }

    pub(crate) fn sources(&mut self) -> Sources {
        Sources::of(self.give())
    }

    pub(crate) fn context(&self) -> &C {
        // SAFETY: the owner has not given it away (invariant 2), and nobody else touches it.
        unsafe { &(*self.0.as_ptr()).context }
    }

    fn body(&mut self) -> Option<Pin<&mut (dyn Body<T> + 'static)>> {
        if self.life != Life::Open {
            return None;
        }
        // SAFETY: it is there (invariant 2), and nobody but the owner touches it. It never moves, and is dropped where it is.
        Some(unsafe { Pin::new_unchecked(self.body.as_mut()) })
    }

    #[inline]
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) -> Poll<Step<T>> {
        match self.body() {
            Some(body) => body.step(cx),
            None => match self.taken() {
                Some(end) => Poll::Ready(end),
                None => Poll::Pending,
            },
        }
    }

    /// What was taken from the source already and has not been given on.
    pub(crate) fn taken(&mut self) -> Option<Step<T>> {
        if let Some(body) = self.body() {
            return body.taken();
        }
        let failed = self.life == Life::Failed;
        failed.then(|| {
            self.life = Life::Empty;
            Step::End(self.extra.as_mut().and_then(|extra| extra.ended.take()))
        })
    }

    pub(crate) fn runs_elsewhere(&mut self) -> bool {
        self.body().is_some_and(|body| body.runs_elsewhere())
    }

    pub(crate) fn close(&mut self) -> Option<Closing> {
        self.body()?.close()
    }

    /// Drops the source where it is.
    pub(crate) fn drop_body(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Empty;
            // SAFETY: it was there, and is not used again (invariant 2).
            unsafe { self.body.drop_in_place() };
        }
    }

    /// Makes the end of a source whose body has been dropped its next step.
    pub(crate) fn fail(&mut self, error: SharedError) {
        if self.life == Life::Empty {
            self.life = Life::Failed;
            self.extra().ended = Some(error);
        }
    }

    fn extra(&mut self) -> &mut Extra<T, C> {
        self.extra.get_or_insert_with(|| Box::new(Extra { ended: None, below: Vec::new() }))
    }

    /// What goes on once this source has ended, nearest last.
    pub(crate) fn below(&mut self) -> &mut Vec<super::engine::Below<T, C>> {
        &mut self.extra().below
    }

    pub(crate) fn has_below(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.below.is_empty())
    }

    /// Gives the source up, but for its context value and the handle `link`.
    pub(crate) fn finish(mut self, link: LinkRef) -> (Sources, C) {
        debug_assert!(link.pointer() == self.pointer());
        self.drop_body();
        self.extra = None;
        self.life = Life::Gone;
        let owner = ManuallyDrop::new(self);
        // SAFETY: it was there until now, and is not used again (invariant 2).
        let context = unsafe { ManuallyDrop::take(&mut (*owner.0.as_ptr()).context) };
        // SAFETY: the owner has that many, and `link` is one more.
        unsafe { release_to_one(owner.pointer(), 1 + owner.credit) };
        (Sources::of(link), context)
    }
}

impl<T, C> Deref for Owner<T, C> {
    type Target = Hand<T, C>;

    fn deref(&self) -> &Hand<T, C> {
        // SAFETY: nobody but the owner touches it (invariant 1), and the owner has a handle.
        unsafe { &(*self.0.as_ptr()).hand }
    }
}

impl<T, C> DerefMut for Owner<T, C> {
    fn deref_mut(&mut self) -> &mut Hand<T, C> {
        // SAFETY: as above.
        unsafe { &mut (*self.0.as_ptr()).hand }
    }
}

impl<T, C> Drop for Owner<T, C> {
    fn drop(&mut self) {
        /// What there is besides the source, also after a panic of that.
        struct Rest<T, C>(ManuallyDrop<Owner<T, C>>);

        impl<T, C> Drop for Rest<T, C> {
            fn drop(&mut self) {
                self.0.life = Life::Gone;
                let _handles = Handles(self.0.pointer(), 1 + self.0.credit);
                self.0.extra = None;
                let core = self.0.0.as_ptr();
                // SAFETY: it was there until now, and is not used again (invariant 2).
                unsafe { ManuallyDrop::drop(&mut (*core).context) };
            }
        }

        /// The handles of the owner, which go last, also after a panic.
        struct Handles(NonNull<Link>, u32);

        impl Drop for Handles {
            fn drop(&mut self) {
                // SAFETY: the owner has that many, and uses none of them again.
                unsafe { release(self.0, self.1) };
            }
        }

        let mut rest = Rest(ManuallyDrop::new(Self(self.0, PhantomData)));
        rest.0.drop_body();
    }
}

/// # Safety
///
/// `link` heads a `Node<T, C, B>` that nobody uses any more.
unsafe fn free<T, C, B>(link: NonNull<Link>) {
    // SAFETY: by the contract. What its owner dropped is not dropped again, and there is nothing else but the record.
    drop(unsafe { Box::from_raw(link.as_ptr().cast::<Node<T, C, B>>()) });
}
