//! What is known of a source: a counted record that its results, its wakers and the consumer share.
//!
//! The record of a source that the consumer steps is the head of a larger piece of memory, which has the source itself in it
//! (see `node`): so a wake and the turn that follows touch the same few cache lines, and no others.
//!
//! Invariants:
//!
//! 1. A [`LinkRef`] counts. The record is freed by whoever takes the count to zero, and from zero it never rises again.
//! 2. `called` is read and written under the lock of the bell only.
//! 3. The bell of a record outlives every call that was left in it: the consumer holds the bell until it has closed it, and a
//!    call that finds it closed is not left but dropped by the caller.

#![expect(unsafe_code, reason = "counted handles that a waker can be made of, and that are given on in numbers")]

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::bell::Bell;
use super::sources::QueueInput;
use crate::Name;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::freeing;

// What a wake and a turn touch comes last, beside what follows the record.
#[repr(C)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) name: Option<Name>,
    pub(crate) parent: Option<LinkRef>,
    /// Frees the memory that the record is the head of.
    free: unsafe fn(NonNull<Link>),
    bell: Option<Arc<Bell>>,
    /// The round in which it called the consumer last.
    pub(super) called: AtomicU64,
    refs: AtomicU32,
    pub(crate) kind: QueueInput,
}

/// A counted handle to a record.
pub(crate) struct LinkRef(NonNull<Link>);

// SAFETY: a handle gives shared access to a record, as an `Arc` would, and may drop it on any thread; a record is `Send` and
// `Sync`, as `assert_shareable` shows. What else lies in its memory is dropped by its owner, before that (see `node`).
unsafe impl Send for LinkRef {}
// SAFETY: as above.
unsafe impl Sync for LinkRef {}

// No user code runs while a record is changed, so that a panic leaves it as it has to be.
impl UnwindSafe for LinkRef {}
impl RefUnwindSafe for LinkRef {}

const fn assert_shareable<T: Send + Sync>() {}
const _: () = assert_shareable::<Link>();

impl Link {
    pub(crate) fn new(kind: QueueInput, name: Option<Name>, id: u64, parent: Option<LinkRef>) -> Self {
        let (called, refs) = (AtomicU64::new(0), AtomicU32::new(1));
        Self { id, name, parent, free: free_alone, bell: None, called, refs, kind }
    }

    /// Lets it call `bell`, as the head of memory that `free` frees, with so many handles to begin with.
    pub(super) fn heading(mut self, bell: &Arc<Bell>, free: unsafe fn(NonNull<Link>), refs: u32) -> Self {
        self.bell = Some(Arc::clone(bell));
        self.free = free;
        self.refs = AtomicU32::new(refs);
        self
    }

    /// Another record of the same source.
    pub(super) fn twin(&self) -> Self {
        Self::new(self.kind, self.name.clone(), self.id, self.parent.clone())
    }
}

/// # Safety
///
/// `link` was made by `LinkRef::alone`, and nobody uses it any more.
unsafe fn free_alone(link: NonNull<Link>) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(link.as_ptr()) });
}

impl LinkRef {
    /// A record that heads nothing.
    pub(crate) fn alone(link: Link) -> Self {
        Self(NonNull::from(Box::leak(Box::new(link))))
    }

    /// A handle that is counted already.
    ///
    /// # Safety
    ///
    /// The count of the record includes a handle that nobody else has.
    pub(super) unsafe fn counted(link: NonNull<Link>) -> Self {
        Self(link)
    }

    pub(super) fn pointer(&self) -> NonNull<Link> {
        self.0
    }

    /// Gives up the handle without uncounting it.
    pub(super) fn into_pointer(self) -> NonNull<Link> {
        ManuallyDrop::new(self).0
    }

    /// Lends a waker that calls the consumer, without counting it.
    pub(super) fn with_waker<R>(&self, f: impl FnOnce(&Waker) -> R) -> R {
        // SAFETY: the functions of the table keep to the contract of a waker, and the handle lives until the waker is gone.
        let waker = unsafe { Waker::from_raw(RawWaker::new(self.0.as_ptr().cast(), &WAKER)) };
        f(&ManuallyDrop::new(waker))
    }
}

/// Counts so many handles more.
///
/// # Safety
///
/// The caller has a handle.
pub(super) unsafe fn retain(link: NonNull<Link>, handles: u32) {
    // SAFETY: by the contract the record is alive. Relaxed: as for `Arc`.
    let before = unsafe { &link.as_ref().refs }.fetch_add(handles, Ordering::Relaxed);
    if before > u32::MAX / 2 {
        // Only handles that were forgotten can be that many.
        std::process::abort();
    }
}

/// Gives so many handles back, and frees the record if they were the last.
///
/// # Safety
///
/// The caller has these handles, and uses none of them again.
pub(super) unsafe fn release(link: NonNull<Link>, handles: u32) {
    // SAFETY: by the contract.
    if unsafe { uncount(link, handles) } {
        // SAFETY: these were the last.
        unsafe { bury(link) };
    }
}

/// Gives so many handles back and keeps one.
///
/// # Safety
///
/// The caller has these handles and one more, and uses none of these again.
pub(super) unsafe fn release_to_one(link: NonNull<Link>, handles: u32) {
    // SAFETY: by the contract the record is alive.
    let refs = unsafe { &link.as_ref().refs };
    // Acquire: what others did before they gave theirs back happens before what the only one left does.
    if refs.load(Ordering::Acquire) == handles + 1 {
        // Nobody else has a handle, and so nobody can count.
        refs.store(1, Ordering::Relaxed);
    } else {
        refs.fetch_sub(handles, Ordering::Release);
    }
}

/// # Safety
///
/// As for `release`. If it answers true, the record has no handles left.
unsafe fn uncount(link: NonNull<Link>, handles: u32) -> bool {
    // SAFETY: by the contract the record lives until the count is down.
    let refs = unsafe { &link.as_ref().refs };
    // Acquire: as below. Whoever has all handles is alone, and need not count.
    if refs.load(Ordering::Acquire) == handles {
        return true;
    }
    // Release, and acquire for the last: what others did to the record happens before its end. As for `Arc`.
    if refs.fetch_sub(handles, Ordering::Release) != handles {
        return false;
    }
    fence(Ordering::Acquire);
    true
}

/// Frees a record, and those above it that only it held: a chain may be as long as the nesting was deep.
///
/// # Safety
///
/// Nobody has a handle.
unsafe fn bury(link: NonNull<Link>) {
    let mut next = Some(link);
    while let Some(mut link) = next.take() {
        let above = {
            // SAFETY: nobody has a handle, and so nobody else has access.
            let link = unsafe { link.as_mut() };
            freeing(&mut link.refs);
            link.parent.take()
        };
        // SAFETY: a reference to its function is copied before the memory goes.
        let free = unsafe { link.as_ref() }.free;
        // SAFETY: it was made for this memory, and nobody uses that any more.
        unsafe { free(link) };
        if let Some(above) = above.map(LinkRef::into_pointer) {
            // SAFETY: it was the handle of the record that is gone.
            if unsafe { uncount(above, 1) } {
                next = Some(above);
            }
        }
    }
}

impl Deref for LinkRef {
    type Target = Link;

    fn deref(&self) -> &Link {
        // SAFETY: a record is not freed while there is a handle (invariant 1).
        unsafe { self.0.as_ref() }
    }
}

impl Clone for LinkRef {
    fn clone(&self) -> Self {
        // SAFETY: this is a handle.
        unsafe { retain(self.0, 1) };
        Self(self.0)
    }
}

impl Drop for LinkRef {
    fn drop(&mut self) {
        // SAFETY: it is this handle that is given back.
        unsafe { release(self.0, 1) };
    }
}

impl PartialEq for LinkRef {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

static WAKER: RawWakerVTable = RawWakerVTable::new(waker_clone, waker_wake, waker_wake_by_ref, waker_drop);

/// # Safety
///
/// For all four: `link` is the pointer of a handle; `waker_wake` and `waker_drop` take it over.
unsafe fn waker_clone(link: *const ()) -> RawWaker {
    // SAFETY: by the contract.
    unsafe { retain(pointer(link), 1) };
    RawWaker::new(link, &WAKER)
}

unsafe fn waker_wake(link: *const ()) {
    // SAFETY: by the contract it is not null, and counted.
    let link = LinkRef(unsafe { pointer(link) });
    if let Some(bell) = &link.bell {
        let bell = NonNull::from(&**bell);
        // SAFETY: a handle that is left keeps the record only until the consumer has taken it, but the bell lives until the
        // call has let its lock go (invariant 3), and after that the call does not touch it.
        unsafe { bell.as_ref() }.call(link);
    }
}

unsafe fn waker_wake_by_ref(link: *const ()) {
    // SAFETY: by the contract; it is not given back.
    let link = ManuallyDrop::new(LinkRef(unsafe { pointer(link) }));
    if let Some(bell) = &link.bell {
        bell.call_by_ref(&link);
    }
}

unsafe fn waker_drop(link: *const ()) {
    // SAFETY: by the contract.
    unsafe { release(pointer(link), 1) };
}

/// # Safety
///
/// `link` came from a `LinkRef`.
const unsafe fn pointer(link: *const ()) -> NonNull<Link> {
    // SAFETY: by the contract it is not null.
    unsafe { NonNull::new_unchecked(link.cast_mut().cast()) }
}
