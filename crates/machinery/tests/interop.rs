//! Contexts among the tokens and the servers of others.
#![cfg(feature = "tokio-util")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use machinery::{Ctx, CtxOptions};
use tokio_util::sync::CancellationToken;

#[test]
fn a_context_follows_a_token_before_the_tokens_cancel_returns() {
    let token = CancellationToken::new();
    let root = Ctx::beginning("root");
    let follower = root.child_of_token("follower", &token);
    let below = follower.child("below");
    assert!(!below.is_done());
    token.cancel();
    assert!(follower.is_cancelled() && below.is_done());
    assert!(follower.completion().unwrap().reason().unwrap().contains("token"));
    assert!(!root.is_done());
}

#[test]
fn a_context_of_a_cancelled_token_is_done_from_the_start() {
    let token = CancellationToken::new();
    token.cancel();
    assert!(Ctx::beginning("root").child_of_token("late", &token).is_done());
}

#[test]
fn the_record_has_the_line_that_made_the_follower() {
    let token = CancellationToken::new();
    let root = Ctx::beginning("root");
    let (follower, line) = (root.child_of_token("follower", &token), line!());
    token.cancel();
    let location = follower.completion().unwrap().location();
    assert_eq!((location.file(), location.line()), (file!(), line));
}

#[test]
fn a_token_follows_a_context_before_the_completing_call_returns() {
    let root = Ctx::beginning("root");
    let child = root.child("child");
    let token = child.token();
    let (given_away, below) = (token.clone(), token.child_token());
    root.set_exception("disk full");
    assert!(given_away.is_cancelled() && below.is_cancelled());
}

#[test]
fn a_chain_of_contexts_and_tokens_follows_from_end_to_end() {
    let root = Ctx::beginning("root");
    let other = Ctx::beginning("other");
    let first = root.token();
    let second = other.child_of_token("second", &first);
    let third = second.token().into_token();
    let fourth = other.child_of_token("fourth", &third);
    root.cancel();
    assert!(second.is_done() && third.is_cancelled() && fourth.is_done());
}

#[test]
fn a_dropped_link_leaves_nothing_behind_on_either_side() {
    let witness = Arc::new(());
    let root = Ctx::beginning("root");
    let token = CancellationToken::new();
    for _ in 0..1_000 {
        drop(root.token());
        let held = Arc::clone(&witness);
        let child = root.child_with("child", CtxOptions::new().value(held)).unwrap();
        drop(child.child_of_token("follower", &token));
    }
    assert_eq!(Arc::strong_count(&witness), 1, "a follower that ended still hangs on the token");
    let kept = root.token().into_token();
    root.cancel();
    assert!(kept.is_cancelled());
}

#[test]
fn a_token_that_outlives_its_link_is_left_alone() {
    let root = Ctx::beginning("root");
    let token = root.token();
    let clone = token.clone();
    drop(token);
    root.cancel();
    assert!(!clone.is_cancelled());
}

/// The bounds of `with_graceful_shutdown` of axum, `graceful` of hyper-util and `serve_with_shutdown` of tonic.
async fn serve<F: Future<Output = ()> + Send + 'static>(signal: F, stopped: Arc<AtomicBool>) {
    signal.await;
    stopped.store(true, Ordering::Relaxed);
}

#[tokio::test(start_paused = true)]
async fn a_context_is_a_shutdown_signal_as_it_stands() {
    let root = Ctx::beginning("root");
    let stopped = Arc::new(AtomicBool::new(false));
    let server = serve(root.completed(), Arc::clone(&stopped));
    let stopper = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!stopped.load(Ordering::Relaxed));
        root.cancel_because("SIGTERM");
    };
    tokio::join!(server, stopper);
    assert!(stopped.load(Ordering::Relaxed));
}
