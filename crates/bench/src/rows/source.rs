//! The streams that are fanned in.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;

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

/// A stream that has an item each time that somebody gives it one.
pub(crate) trait Served: Stream<Item = u64> + Unpin + Send + Sized + 'static {
    type Ringer;

    fn make() -> (Self::Ringer, Self);
    fn ring(ringer: &Self::Ringer);
}

impl Served for Doorbell {
    type Ringer = Ringer;

    fn make() -> (Ringer, Self) {
        let bell = Arc::default();
        (Ringer(Arc::clone(&bell)), Self(bell))
    }

    fn ring(ringer: &Ringer) {
        ringer.ring();
    }
}

/// The receiving end of one of Tokio's channels.
pub(crate) type Received = UnboundedReceiverStream<u64>;

impl Served for Received {
    type Ringer = UnboundedSender<u64>;

    fn make() -> (UnboundedSender<u64>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self::new(receiver))
    }

    fn ring(ringer: &UnboundedSender<u64>) {
        assert!(ringer.send(1).is_ok());
    }
}

impl Ringer {
    fn ring(&self) {
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
