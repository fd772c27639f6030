//! Work that goes wrong in more than one way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Fails, and panics when it is dropped.
pub(crate) struct FailsTwice;

impl Future for FailsTwice {
    type Output = Result<(), &'static str>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err("disk full"))
    }
}

impl Drop for FailsTwice {
    fn drop(&mut self) {
        panic!("a mistake");
    }
}
