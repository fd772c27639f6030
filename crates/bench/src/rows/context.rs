//! Contexts against `CancellationToken`, which has no name, cause, callbacks, deadline or dump.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use machinery::{Ctx, CtxGuard, CtxOptions};
use tokio_util::sync::CancellationToken;

use super::{deep, pair, short};
use crate::harness::Row;
use crate::{alloc, clock};

const TOKEN: &str = "CancellationToken";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend([0, 1_000, 100_000].map(child));
    rows.extend([child_under_one_parent(), child_under_two_parents()]);
    rows.extend([1, 8, 32].map(is_done));
    rows.push(is_done_by_two());
    rows.extend([1_000, 100_000, 1_000_000].map(complete));
    rows.extend([1_000, 100_000, 1_000_000].map(complete_waited_on));
    rows.extend([complete_chain(), drop_inner(), drop_at_random(), wait(), memory(), wake(), callback()]);
    rows.extend([deadline(), deadline_memory()]);
    rows
}

fn child(siblings: u64) -> Row {
    Row::new(
        format!("context/child-{}", short(siblings)),
        format!("make and drop a named child, {} living siblings", short(siblings)),
    )
    .goal(0.8)
    .units(200_000, 20_000)
    .ours(move || {
        let root = Ctx::beginning("root");
        let kept: Vec<CtxGuard> = (0..siblings).map(|_| root.child("sibling")).collect();
        move |n| {
            black_box(&kept);
            clock::cpu(|| (0..n).for_each(|_| drop(black_box(root.child("child")))))
        }
    })
    .peer(TOKEN, move || {
        let root = CancellationToken::new();
        let kept: Vec<CancellationToken> = (0..siblings).map(|_| root.child_token()).collect();
        move |n| {
            black_box(&kept);
            clock::cpu(|| (0..n).for_each(|_| drop(black_box(root.child_token()))))
        }
    })
}

fn child_under_one_parent() -> Row {
    Row::new("context/child-two-threads-one-parent", "the same from two threads under one parent")
        .goal(0.6)
        .two_threads()
        .units(200_000, 50_000)
        .ours(|| {
            let root = Ctx::beginning("root");
            move |n| {
                let work = || (0..n).for_each(|_| drop(black_box(root.child("child"))));
                pair::at_once(work, work)
            }
        })
        .peer(TOKEN, || {
            let root = CancellationToken::new();
            move |n| {
                let work = || (0..n).for_each(|_| drop(black_box(root.child_token())));
                pair::at_once(work, work)
            }
        })
}

fn child_under_two_parents() -> Row {
    Row::new("context/child-two-threads-two-parents", "the same under different parents of one tree")
        .goal(0.7)
        .two_threads()
        .units(200_000, 50_000)
        .ours(|| {
            let root = Ctx::beginning("root");
            let parents = [root.child("left"), root.child("right")];
            move |n| {
                black_box(&root);
                let work = |parent: &CtxGuard| (0..n).for_each(|_| drop(black_box(parent.child("child"))));
                pair::at_once(|| work(&parents[0]), || work(&parents[1]))
            }
        })
        .peer(TOKEN, || {
            let root = CancellationToken::new();
            let parents = [root.child_token(), root.child_token()];
            move |n| {
                black_box(&root);
                let work = |parent: &CancellationToken| (0..n).for_each(|_| drop(black_box(parent.child_token())));
                pair::at_once(|| work(&parents[0]), || work(&parents[1]))
            }
        })
}

fn chain_of_contexts(depth: u64) -> Vec<CtxGuard> {
    let mut chain = vec![Ctx::beginning("root")];
    while (chain.len() as u64) < depth {
        chain.extend(chain.last().map(|parent| parent.child("link")));
    }
    chain
}

fn chain_of_tokens(depth: u64) -> Vec<CancellationToken> {
    let mut chain = vec![CancellationToken::new()];
    while (chain.len() as u64) < depth {
        chain.extend(chain.last().map(CancellationToken::child_token));
    }
    chain
}

fn is_done(depth: u64) -> Row {
    Row::new(format!("context/is-done-depth-{depth}"), format!("is it done? at depth {depth}"))
        .goal(0.3)
        .units(3_000_000, 300_000)
        .ours(move || {
            let chain = chain_of_contexts(depth);
            let ctx = Ctx::clone(&chain[chain.len() - 1]);
            move |n| {
                black_box(&chain);
                clock::cpu(|| (0..n).for_each(|_| _ = black_box(black_box(&ctx).is_done())))
            }
        })
        .peer(TOKEN, move || {
            let chain = chain_of_tokens(depth);
            let token = chain[chain.len() - 1].clone();
            move |n| {
                black_box(&chain);
                clock::cpu(|| (0..n).for_each(|_| _ = black_box(black_box(&token).is_cancelled())))
            }
        })
}

fn is_done_by_two() -> Row {
    Row::new("context/is-done-two-threads", "is it done? while another thread asks as well")
        .goal(0.1)
        .two_threads()
        .units(2_000_000, 500_000)
        .ours(|| {
            let root = Ctx::beginning("root");
            let child = root.child("child");
            move |n| {
                let work = || (0..n).for_each(|_| _ = black_box(black_box(&child).is_done()));
                pair::at_once(work, work)
            }
        })
        .peer(TOKEN, || {
            let root = CancellationToken::new();
            let child = root.child_token();
            move |n| {
                black_box(&root);
                let work = || (0..n).for_each(|_| _ = black_box(black_box(&child).is_cancelled()));
                pair::at_once(work, work)
            }
        })
}

/// Small families are completed many times, so that the clock is not what is measured.
fn families(children: u64, n: u64, mut complete_one: impl FnMut(u64) -> f64) -> f64 {
    let size = children.min(n);
    let times = (n / size).max(1);
    (0..times).map(|_| complete_one(size)).sum::<f64>() * n as f64 / (times * size) as f64
}

fn complete(children: u64) -> Row {
    Row::new(
        format!("context/complete-{}", short(children)),
        format!("complete a parent of {} children, a child", short(children)),
    )
    .goal(0.5)
    .units(children.max(200_000), children.max(50_000))
    .ours(move || {
        move |n| {
            families(children, n, |size| {
                let root = Ctx::beginning("root");
                let kept: Vec<CtxGuard> = (0..size).map(|_| root.child("child")).collect();
                let time = clock::cpu(|| root.cancel());
                drop(kept);
                time
            })
        }
    })
    .peer(TOKEN, move || {
        move |n| {
            families(children, n, |size| {
                let root = CancellationToken::new();
                let kept: Vec<CancellationToken> = (0..size).map(|_| root.child_token()).collect();
                let time = clock::cpu(|| root.cancel());
                drop(kept);
                time
            })
        }
    })
}

/// A waker that is cloned and dropped as a task's is, by counting, and that tells how often it was called.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn complete_waited_on(children: u64) -> Row {
    Row::new(
        format!("context/complete-waited-{}", short(children)),
        format!("the same, {} children with one waiter each", short(children)),
    )
    .goal(0.7)
    .units(children.max(200_000), children.max(50_000))
    .ours(move || {
        move |n| {
            families(children, n, |size| {
                let woken = Arc::new(Woken::default());
                let waker = Waker::from(Arc::clone(&woken));
                let mut cx = Context::from_waker(&waker);
                let root = Ctx::beginning("root");
                let kept: Vec<CtxGuard> = (0..size).map(|_| root.child("child")).collect();
                let mut waiters: Vec<_> = kept.iter().map(|child| Box::pin(child.done())).collect();
                assert!(waiters.iter_mut().all(|waiter| waiter.as_mut().poll(&mut cx).is_pending()));
                let time = clock::cpu(|| root.cancel());
                assert_eq!(woken.0.load(Relaxed), size);
                time
            })
        }
    })
    .peer(TOKEN, move || {
        move |n| {
            families(children, n, |size| {
                let woken = Arc::new(Woken::default());
                let waker = Waker::from(Arc::clone(&woken));
                let mut cx = Context::from_waker(&waker);
                let root = CancellationToken::new();
                let kept: Vec<CancellationToken> = (0..size).map(|_| root.child_token()).collect();
                let mut waiters: Vec<_> = kept.iter().map(|child| Box::pin(child.cancelled())).collect();
                assert!(waiters.iter_mut().all(|waiter| waiter.as_mut().poll(&mut cx).is_pending()));
                let time = clock::cpu(|| root.cancel());
                assert_eq!(woken.0.load(Relaxed), size);
                time
            })
        }
    })
}

fn complete_chain() -> Row {
    Row::new("context/complete-chain-100k", "complete a chain 100k deep, a context")
        .goal(0.5)
        .units(100_000, 100_000)
        .ours(|| {
            |n| {
                deep(move || {
                    let chain = chain_of_contexts(n);
                    clock::cpu(|| chain[0].cancel())
                })
            }
        })
        .peer(TOKEN, || {
            |n| {
                deep(move || {
                    let chain = chain_of_tokens(n);
                    clock::cpu(|| chain[0].cancel())
                })
            }
        })
}

const LEAVES: u64 = 10_000;

fn drop_inner() -> Row {
    Row::new("context/drop-inner-10k-leaves", "drop the last handle of an inner context with 10k living leaves")
        .goal(0.001)
        .units(24, 24)
        .ours(|| {
            move |n| {
                let root = Ctx::beginning("root");
                let inner: Vec<Ctx> = (0..n).map(|_| root.child("inner").hand_over()).collect();
                let leaves: Vec<CtxGuard> =
                    inner.iter().flat_map(|inner| (0..LEAVES).map(|_| inner.child("leaf"))).collect();
                let time = clock::cpu(|| drop(inner));
                assert!(!leaves.iter().any(|leaf| leaf.is_done()));
                time
            }
        })
        .peer(TOKEN, || {
            move |n| {
                let root = CancellationToken::new();
                let inner: Vec<CancellationToken> = (0..n).map(|_| root.child_token()).collect();
                let leaves: Vec<CancellationToken> =
                    inner.iter().flat_map(|inner| (0..LEAVES).map(|_| inner.child_token())).collect();
                let time = clock::cpu(|| drop(inner));
                assert!(!leaves.iter().any(CancellationToken::is_cancelled));
                time
            }
        })
}

fn drop_at_random() -> Row {
    Row::new("context/drop-random-100k", "drop 100k children in random order, a child")
        .goal(0.8)
        .units(100_000, 100_000)
        .ours(|| {
            let root = Ctx::beginning("root");
            move |n| {
                let mut kept: Vec<CtxGuard> = (0..n).map(|_| root.child("child")).collect();
                fastrand::Rng::with_seed(7).shuffle(&mut kept);
                clock::cpu(|| drop(kept))
            }
        })
        .peer(TOKEN, || {
            let root = CancellationToken::new();
            move |n| {
                let mut kept: Vec<CancellationToken> = (0..n).map(|_| root.child_token()).collect();
                fastrand::Rng::with_seed(7).shuffle(&mut kept);
                clock::cpu(|| drop(kept))
            }
        })
}

/// Made, polled once and dropped, as a `select!` that takes its other branch does.
fn peer_waits(n: u64, token: &CancellationToken) -> f64 {
    let mut cx = Context::from_waker(Waker::noop());
    clock::cpu(|| {
        for _ in 0..n {
            let waiter = pin!(token.cancelled());
            let _ = black_box(waiter.poll(&mut cx));
        }
    })
}

fn wait() -> Row {
    Row::new("context/await", "await: make, poll once, drop")
        .goal(1.0)
        .units(300_000, 50_000)
        .ours(|| {
            let root = Ctx::beginning("root");
            let child = root.child("child");
            move |n| {
                assert!(!root.is_done() && !child.is_done());
                let mut cx = Context::from_waker(Waker::noop());
                clock::cpu(|| {
                    for _ in 0..n {
                        let mut waiter = child.done();
                        let _ = black_box(Pin::new(&mut waiter).poll(&mut cx));
                    }
                })
            }
        })
        .peer(TOKEN, || {
            let root = CancellationToken::new();
            let child = root.child_token();
            move |n| {
                black_box(&root);
                peer_waits(n, &child)
            }
        })
}

fn callback() -> Row {
    Row::new("context/callback", "add and remove a callback, against an await")
        .goal(1.0)
        .units(300_000, 50_000)
        .ours(|| {
            let root = Ctx::beginning("root");
            let child = root.child("child");
            move |n| {
                assert!(!root.is_done() && !child.is_done());
                clock::cpu(|| {
                    for _ in 0..n {
                        let id = child.add_done_callback(|completion| _ = black_box(completion.kind()));
                        black_box(child.remove_done_callback(id));
                    }
                })
            }
        })
        .peer(format!("{TOKEN}::cancelled"), || {
            let root = CancellationToken::new();
            let child = root.child_token();
            move |n| {
                black_box(&root);
                peer_waits(n, &child)
            }
        })
}

fn memory() -> Row {
    Row::new("context/memory", "bytes for a living child, the parent's share included")
        .goal(1.0)
        .bytes()
        .units(100_000, 100_000)
        .ours(|| {
            |n| {
                let root = Ctx::beginning("root");
                let mut kept: Vec<CtxGuard> = Vec::with_capacity(n as usize);
                alloc::bytes(|| {
                    kept.extend((0..n).map(|_| root.child("child")));
                    &kept
                })
            }
        })
        .peer(TOKEN, || {
            |n| {
                let root = CancellationToken::new();
                let mut kept: Vec<CancellationToken> = Vec::with_capacity(n as usize);
                alloc::bytes(|| {
                    kept.extend((0..n).map(|_| root.child_token()));
                    &kept
                })
            }
        })
}

/// Two tasks complete each other's contexts in turns; a unit is one completion with the task it wakes.
fn wake() -> Row {
    Row::new("context/wake", "completion to the waiting task running, current thread")
        .goal(0.8)
        .units(40_000, 10_000)
        .ours(|| {
            let runtime = super::current_thread();
            move |n| {
                let root = Ctx::beginning("root");
                let make = || (0..n / 2).map(|_| root.child("hop")).collect::<Vec<CtxGuard>>();
                let (there, back) = (make(), make());
                let seen = |guards: &[CtxGuard]| guards.iter().map(|guard| Ctx::clone(guard)).collect::<Vec<Ctx>>();
                let (see_there, see_back) = (seen(&there), seen(&back));
                let (first, second) = (
                    async move {
                        for (there, back) in there.iter().zip(&see_back) {
                            there.cancel();
                            back.await;
                        }
                        there
                    },
                    async move {
                        for (there, back) in see_there.iter().zip(&back) {
                            there.await;
                            back.cancel();
                        }
                        back
                    },
                );
                runtime.block_on(super::two_tasks(first, second))
            }
        })
        .peer(TOKEN, || {
            let runtime = super::current_thread();
            move |n| {
                let root = CancellationToken::new();
                let make = || (0..n / 2).map(|_| root.child_token()).collect::<Vec<CancellationToken>>();
                let (there, back) = (make(), make());
                let (see_there, see_back) = (there.clone(), back.clone());
                let (first, second) = (
                    async move {
                        for (there, back) in there.iter().zip(&see_back) {
                            there.cancel();
                            back.cancelled().await;
                        }
                        there
                    },
                    async move {
                        for (there, back) in see_there.iter().zip(&back) {
                            there.cancelled().await;
                            back.cancel();
                        }
                        back
                    },
                );
                runtime.block_on(super::two_tasks(first, second))
            }
        })
}

const HOUR: Duration = Duration::from_secs(3600);

fn deadline() -> Row {
    Row::new("context/deadline-100k", "make and drop 100k children with deadlines, a child")
        .units(100_000, 100_000)
        .ours(|| {
            let runtime = super::current_thread();
            move |n| {
                runtime.block_on(async {
                    let root = Ctx::beginning("root");
                    let mut kept: Vec<CtxGuard> = Vec::with_capacity(n as usize);
                    clock::cpu(|| {
                        kept.extend(
                            (0..n).filter_map(|_| root.child_with("child", CtxOptions::new().timeout(HOUR)).ok()),
                        );
                        drop(kept);
                    })
                })
            }
        })
        .peer("a token and a Sleep", || {
            let runtime = super::current_thread();
            move |n| {
                runtime.block_on(async {
                    let root = CancellationToken::new();
                    let mut kept = Vec::with_capacity(n as usize);
                    clock::cpu(|| {
                        kept.extend((0..n).map(|_| token_with_deadline(&root)));
                        drop(kept);
                    })
                })
            }
        })
}

fn deadline_memory() -> Row {
    Row::new("context/deadline-memory", "bytes for a living child with a deadline")
        .bytes()
        .units(100_000, 100_000)
        .ours(|| {
            let runtime = super::current_thread();
            move |n| {
                runtime.block_on(async {
                    let root = Ctx::beginning("root");
                    let mut kept: Vec<CtxGuard> = Vec::with_capacity(n as usize);
                    alloc::bytes(|| {
                        kept.extend(
                            (0..n).filter_map(|_| root.child_with("child", CtxOptions::new().timeout(HOUR)).ok()),
                        );
                        &kept
                    })
                })
            }
        })
        .peer("a token and a Sleep", || {
            let runtime = super::current_thread();
            move |n| {
                runtime.block_on(async {
                    let root = CancellationToken::new();
                    let mut kept = Vec::with_capacity(n as usize);
                    alloc::bytes(|| {
                        kept.extend((0..n).map(|_| token_with_deadline(&root)));
                        &kept
                    })
                })
            }
        })
}

/// What a program without contexts does: a token, and a timer that has been polled once.
fn token_with_deadline(root: &CancellationToken) -> (CancellationToken, Pin<Box<tokio::time::Sleep>>) {
    let mut sleep = Box::pin(tokio::time::sleep(HOUR));
    let polled = pin!(tokio::task::coop::unconstrained(sleep.as_mut())).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    (root.child_token(), sleep)
}
