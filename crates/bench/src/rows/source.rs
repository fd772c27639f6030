//! The streams that are fanned in.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

/// Always ready, for so many items.
#[derive(Debug)]
pub(crate) struct Ready(u64);

impl From<u64> for Ready {
    fn from(items: u64) -> Self {
        Self(items)
    }
}

impl Stream for Ready {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(left))
    }
}

/// Pending once before each item.
#[derive(Debug)]
pub(crate) struct PendingOnce {
    left: u64,
    was_pending: bool,
}

impl From<u64> for PendingOnce {
    fn from(items: u64) -> Self {
        Self { left: items, was_pending: false }
    }
}

impl Stream for PendingOnce {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.was_pending = !self.was_pending;
        if self.was_pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left = left;
        Poll::Ready(Some(left))
    }
}

#[derive(Debug, Default)]
struct Bell {
    rings: u64,
    listener: Option<Waker>,
}

/// Has an item each time its ringer rings.
#[derive(Debug)]
pub(crate) struct Doorbell(Arc<Mutex<Bell>>);

#[derive(Debug)]
pub(crate) struct Ringer(Arc<Mutex<Bell>>);

impl Doorbell {
    pub(crate) fn new() -> (Ringer, Self) {
        let bell = Arc::default();
        (Ringer(Arc::clone(&bell)), Self(bell))
    }
}

impl Ringer {
    pub(crate) fn ring(&self) {
        let listener = {
            let mut bell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            bell.rings += 1;
            bell.listener.take()
        };
        if let Some(listener) = listener {
            listener.wake();
        }
    }
}

impl Stream for Doorbell {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let mut bell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bell.rings > 0 {
            bell.rings -= 1;
            return Poll::Ready(Some(1));
        }
        bell.listener = Some(cx.waker().clone());
        Poll::Pending
    }
}
