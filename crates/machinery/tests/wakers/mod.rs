//! Wakers that count, re-enter, panic and block, and a way to poll by hand.
#![allow(dead_code, reason = "each test file uses some of them")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it was woken; its handles tell whether anybody still holds the waker.
#[derive(Default)]
pub(crate) struct Probe {
    woken: AtomicUsize,
}

impl Probe {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }

    /// How many wakers are kept somewhere.
    pub(crate) fn kept(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }

    pub(crate) fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = self.waker();
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs code of the test when it is woken, and when the last clone of it is dropped.
pub(crate) struct Hook {
    on_wake: Box<dyn Fn() + Send + Sync>,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

pub(crate) fn on_wake(code: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Hook { on_wake: Box::new(code), on_drop: Box::new(|| {}) }))
}

pub(crate) fn on_drop(code: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Hook { on_wake: Box::new(|| {}), on_drop: Box::new(code) }))
}

impl Wake for Hook {
    fn wake(self: Arc<Self>) {
        (self.on_wake)();
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}

/// Polls once with a waker of the test's.
pub(crate) fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}
