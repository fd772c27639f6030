//! Waiting for the first or for all of a mix of contexts, promises, tasks and events.

mod members;
mod waiting;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use members::WaitMembers;
use waiting::{Until, Waiting};

/// Waits until one of `members` is complete.
///
/// Members are any mix of contexts, guards, promises, tasks and events, and whatever else is
/// [`WaitByCallback`](crate::protocols::WaitByCallback): a tuple `(&ctx, &promise)`, an array, a slice or a `Vec` of
/// references or of values, `&dyn WaitByCallback` among them. They are not consumed, and how they end makes no difference.
///
/// With no members it is over at once. If one is complete already, it yields to the scheduler once all the same, so
/// that a loop around it cannot starve its neighbours. The cost is linear in the number of members, and nothing is
/// spawned. No runtime is needed.
///
/// # Cancel safety
///
/// A dropped wait loses nothing and leaves nothing registered with any member.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, Event, Promise, wait_for_first};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let ctx = Ctx::beginning("root");
/// let answer = Promise::<u32>::new("answer");
/// let stop = Event::new();
///
/// stop.set();
/// wait_for_first((&ctx, &answer, &stop)).await;
/// assert!(stop.is_set() && !answer.is_done());
/// # });
/// ```
pub fn wait_for_first<M: WaitMembers>(members: M) -> WaitForFirst<M> {
    WaitForFirst(Waiting::new(members, Until::First))
}

/// Waits until all of `members` are complete.
///
/// The members are those of [`wait_for_first`]. An event counts from the moment that it is set, also if it is
/// cleared while others are still waited for. With no members it is over at once; if all are complete already, it yields to
/// the scheduler once all the same. It wakes its task once, however many members there are, and the cost is linear in
/// their number. No runtime is needed.
///
/// # Cancel safety
///
/// A dropped wait leaves nothing registered with any member. It forgets which events had been set and cleared.
///
/// # Examples
///
/// ```
/// use machinery::{Ctx, wait_for_all};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let root = Ctx::beginning("root");
/// let workers: Vec<_> = (0..3).map(|n| root.child(format!("worker-{n}"))).collect();
///
/// root.cancel();
/// wait_for_all(&workers).await;
/// assert!(workers.iter().all(|worker| worker.is_done()));
/// # });
/// ```
pub fn wait_for_all<M: WaitMembers>(members: M) -> WaitForAll<M> {
    WaitForAll(Waiting::new(members, Until::All))
}

macro_rules! named_future {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[must_use = "futures do nothing unless polled"]
        pub struct $name<M: WaitMembers>(Waiting<M>);

        impl<M: WaitMembers> Future for $name<M> {
            type Output = ();

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.get_mut().0.poll(cx)
            }
        }

        // The members are looked at and never pinned.
        impl<M: WaitMembers> Unpin for $name<M> {}

        impl<M: WaitMembers> fmt::Debug for $name<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(stringify!($name), f)
            }
        }
    };
}

named_future! {
    /// The future of [`wait_for_first`]. It may be polled again after it has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait loses nothing and leaves nothing registered with any member.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::wait::WaitForFirst;
    /// use machinery::{Event, wait_for_first};
    ///
    /// let event = Event::new();
    /// let wait: WaitForFirst<[&Event; 1]> = wait_for_first([&event]);
    /// drop(wait);
    /// ```
    WaitForFirst
}

named_future! {
    /// The future of [`wait_for_all`]. It may be polled again after it has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait leaves nothing registered with any member. It forgets which events had been set and cleared.
    ///
    /// # Examples
    ///
    /// ```
    /// use machinery::wait::WaitForAll;
    /// use machinery::{Event, wait_for_all};
    ///
    /// let event = Event::new();
    /// let wait: WaitForAll<[&Event; 1]> = wait_for_all([&event]);
    /// drop(wait);
    /// ```
    WaitForAll
}
