//! A flag that tasks wait for.
//!
//! Invariants:
//!
//! 1. `state` holds the flag in its lowest bit and, above it, how often the event has been set.
//! 2. The count changes only under the lock of `waiters`, and the call that changes it takes every waker out
//!    before it unlocks. So whoever is registered is told by the next `set`, and whoever finds the count changed is not
//!    registered any more.
//! 3. Wakers are cloned, woken and dropped without the lock.
//!
//! Lock order: the lock of one event is never held while another is taken.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::Name;
use crate::SharedError;
use crate::contain::wake_all;
use crate::ctx::wakers::{WaiterKey, WakerSet};
use crate::protocols::{FutureState, FutureStatus, WaitByCallback, WaiterId, WithRepr};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

const SET: u64 = 1;
const ONE_TIME: u64 = 2;

/// A flag that is set and cleared from anywhere, and that any number of tasks wait for.
///
/// It is a handle: clones are the same event. Setting it wakes everybody who waits at that moment, and they stay
/// woken if it is cleared before they run. Asking [`is_set`](Self::is_set) is one atomic load. No runtime is needed.
///
/// # Examples
///
/// ```
/// use machinery::Event;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let opened = Event::named("opened");
/// let waiter = tokio::spawn(opened.wait());
/// tokio::task::yield_now().await;
///
/// opened.set();
/// opened.clear();
/// waiter.await.unwrap(); // it was waiting when the event was set
/// assert!(!opened.is_set());
/// # });
/// ```
#[doc(alias = "Notify")]
#[derive(Clone, Default)]
pub struct Event {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: AtomicU64,
    waiters: Mutex<WakerSet>,
    name: Option<Name>,
    hook: Option<Hook>,
}

/// What an event of the library's own runs each time it is set.
type Hook = Box<dyn Fn() + Send + Sync>;

impl Event {
    /// A new event that is not set and has no name.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!machinery::Event::new().is_set());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new event with a name, which its `Debug` form shows.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = machinery::Event::named("opened");
    /// assert_eq!(event.name(), Some("opened"));
    /// ```
    #[must_use]
    pub fn named(name: impl Into<Name>) -> Self {
        Self { inner: Arc::new(Inner { name: Some(name.into()), ..Inner::default() }) }
    }

    /// A new event that runs `hook` each time it is set, after everybody was woken and without a lock.
    pub(crate) fn hooked(name: impl Into<Name>, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { inner: Arc::new(Inner { name: Some(name.into()), hook: Some(Box::new(hook)), ..Inner::default() }) }
    }

    /// A number that changes with each time that the event is set, and with nothing else. One atomic load.
    pub(crate) fn times_set(&self) -> u64 {
        // Acquire: as for `is_set`.
        count(self.inner.state.load(Ordering::Acquire))
    }

    /// The name that the event was made with.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(machinery::Event::new().name(), None);
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Whether the event is set now. One atomic load.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = machinery::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        // Acquire: whoever sees the event set sees what happened before `set`, which stores with release.
        self.inner.state.load(Ordering::Acquire) & SET != 0
    }

    /// Sets the event and wakes everybody who waits for it; says whether it was clear before.
    ///
    /// The wakers run before this returns, without any lock held, and one that panics keeps no other from being woken.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = machinery::Event::new();
    /// assert!(event.set());
    /// assert!(!event.set());
    /// ```
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn set(&self) -> bool {
        if self.is_set() {
            return false;
        }
        let woken = {
            let mut waiters = self.inner.waiters.lock();
            let state = self.inner.state.load(Ordering::Relaxed);
            if state & SET != 0 {
                return false;
            }
            // `clear` may run meanwhile and has nothing to clear: the flag is not set, so a plain store loses nothing.
            self.inner.state.store(state.wrapping_add(ONE_TIME) | SET, Ordering::Release);
            waiters.take()
        };
        wake_all(woken);
        if let Some(hook) = &self.inner.hook {
            hook();
        }
        true
    }

    /// Clears the event; says whether it was set before.
    ///
    /// Those who were waiting when it was set go on all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = machinery::Event::new();
    /// event.set();
    /// assert!(event.clear());
    /// assert!(!event.clear());
    /// ```
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn clear(&self) -> bool {
        // AcqRel: who clears the event sees what came before it was set, and who sets it next is ordered after.
        self.inner.state.fetch_and(!SET, Ordering::AcqRel) & SET != 0
    }

    /// Waits until the event is set.
    ///
    /// The wait begins with this call, not with the first poll: it also ends if the event is set and cleared
    /// before the future is polled. It may be polled again after it has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait loses nothing and leaves nothing registered.
    ///
    /// # Fairness
    ///
    /// All who wait are woken by one `set`, in no particular order.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let event = machinery::Event::new();
    /// let setting = tokio::spawn({
    ///     let event = event.clone();
    ///     async move { event.set() }
    /// });
    /// event.wait().await;
    /// # setting.await.unwrap();
    /// # });
    /// ```
    pub fn wait(&self) -> EventWait {
        EventWait {
            event: self.clone(),
            count: {
                let state = self.inner.state.load(Ordering::Acquire);
                // Begun while the event is set: over already, also if the event is cleared before the first poll.
                if state & SET != 0 { count(state).wrapping_sub(ONE_TIME) } else { state }
            },
            key: None,
        }
    }

    fn deregister(&self, key: WaiterKey) {
        let removed = self.inner.waiters.lock().remove(key);
        drop(removed);
    }
}

fn count(state: u64) -> u64 {
    state & !SET
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("name", &self.inner.name.as_deref().unwrap_or("-"))
            .field("set", &self.is_set())
            .finish()
    }
}

impl FutureStatus for Event {
    type Value = ();

    fn is_done(&self) -> bool {
        self.is_set()
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn exception(&self) -> Option<SharedError> {
        None
    }

    fn result(&self) -> Option<()> {
        self.is_set().then_some(())
    }
}

impl WaitByCallback for Event {
    fn is_complete(&self) -> bool {
        self.is_set()
    }

    fn add_waiter(&self, waker: Waker) -> Option<WaiterId> {
        let mut waiters = self.inner.waiters.lock();
        if self.is_set() {
            drop(waiters);
            return None;
        }
        Some(waiters.insert(waker).into())
    }

    fn remove_waiter(&self, id: WaiterId) {
        self.deregister(id.into());
    }
}

impl WithRepr for Event {
    fn repr_name(&self) -> Option<Name> {
        self.inner.name.clone()
    }

    fn repr_state(&self) -> FutureState {
        if self.is_set() { FutureState::Result } else { FutureState::Pending }
    }
}

/// The future of [`Event::wait`].
///
/// # Cancel safety
///
/// A dropped wait loses nothing and leaves nothing registered.
///
/// # Examples
///
/// ```
/// use machinery::Event;
/// use machinery::event::EventWait;
///
/// let event = Event::new();
/// let wait: EventWait = event.wait();
/// event.set();
/// futures_util::FutureExt::now_or_never(wait).expect("the event is set");
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct EventWait {
    event: Event,
    /// The wait is over when the event's count is another one.
    count: u64,
    key: Option<WaiterKey>,
}

impl Future for EventWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let inner = &*this.event.inner;
        let over = |state: u64| state & SET != 0 || count(state) != this.count;
        if over(inner.state.load(Ordering::Acquire)) {
            this.key = None;
            return Poll::Ready(());
        }
        if let Some(key) = this.key {
            let mut waiters = inner.waiters.lock();
            if over(inner.state.load(Ordering::Acquire)) {
                drop(waiters);
                this.key = None;
                return Poll::Ready(());
            }
            if waiters.get_mut(key).is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        let waker = cx.waker().clone();
        let mut waiters = inner.waiters.lock();
        if over(inner.state.load(Ordering::Acquire)) {
            drop(waiters);
            this.key = None;
            return Poll::Ready(());
        }
        let replaced = match this.key.and_then(|key| waiters.get_mut(key)) {
            Some(slot) => Some(std::mem::replace(slot, waker)),
            None => {
                this.key = Some(waiters.insert(waker));
                None
            }
        };
        drop(waiters);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for EventWait {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.event.deregister(key);
        }
    }
}

impl fmt::Debug for EventWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWait").field("event", &self.event).finish_non_exhaustive()
    }
}
