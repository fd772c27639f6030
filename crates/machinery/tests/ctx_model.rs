//! The tree held to a naive model: the same random operations on both, and the same answers wanted.
//!
//! The order of siblings is nobody's promise. Where it matters, because callbacks complete other contexts, the model
//! follows the order that was seen, after it has checked that it is one of those promised.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock as a user does")]

mod wakers;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machinery::ctx::{CallbackId, Canceller, CompletionKind, Done, Removal};
use machinery::{Ctx, CtxGuard, CtxOptions};
use proptest::prelude::*;
use tokio::time::Instant;
use wakers::Probe;

/// One step. The numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    Child(usize),
    ChildWithTimeout(usize, u64),
    Linked(usize, Vec<usize>),
    Detached(usize),
    Cancel(usize),
    Fail(usize),
    DropGuard(usize),
    HandOver(usize),
    DropHandle(usize),
    AddCallback(usize),
    /// A callback that completes another context.
    AddCompleting(usize, usize),
    /// A callback that makes a child of another context, drops it, and asks around.
    AddBusy(usize, usize),
    RemoveCallback(usize),
    Wait(usize),
    DropWait(usize),
    Sleep(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..64_usize;
    prop_oneof![
        6 => n.clone().prop_map(Op::Child),
        3 => (n.clone(), 0..40_u64).prop_map(|(of, after)| Op::ChildWithTimeout(of, after)),
        2 => (n.clone(), prop::collection::vec(n.clone(), 0..3)).prop_map(|(of, more)| Op::Linked(of, more)),
        1 => n.clone().prop_map(Op::Detached),
        2 => n.clone().prop_map(Op::Cancel),
        1 => n.clone().prop_map(Op::Fail),
        2 => n.clone().prop_map(Op::DropGuard),
        2 => n.clone().prop_map(Op::HandOver),
        2 => n.clone().prop_map(Op::DropHandle),
        4 => n.clone().prop_map(Op::AddCallback),
        2 => (n.clone(), n.clone()).prop_map(|(of, target)| Op::AddCompleting(of, target)),
        1 => (n.clone(), n.clone()).prop_map(|(of, target)| Op::AddBusy(of, target)),
        2 => n.clone().prop_map(Op::RemoveCallback),
        3 => n.clone().prop_map(Op::Wait),
        1 => n.prop_map(Op::DropWait),
        2 => (0..15_u64).prop_map(Op::Sleep),
    ]
}

/// What the model says of a context's end.
#[derive(Clone, Debug, PartialEq)]
enum Cause {
    Cancelled(String),
    Failed(String),
    Dropped,
    Deadline,
}

#[derive(Clone, Debug)]
struct End {
    cause: Cause,
    /// The node where it began, and at which millisecond.
    origin: usize,
    at: u64,
}

#[derive(Default)]
struct NodeModel {
    parents: Vec<usize>,
    named_after: Option<usize>,
    /// Its own timer, if it has one, and the deadline in force.
    timer: Option<u64>,
    deadline: Option<u64>,
    end: Option<End>,
    may_be_handed_over: bool,
}

#[derive(Clone, Copy)]
enum Action {
    Nothing,
    Complete(usize),
}

struct CallbackModel {
    node: usize,
    action: Action,
    waits: bool,
}

struct WaitModel {
    node: usize,
    woken: usize,
}

/// Callbacks that one completion has to run, those of the same context in their order.
type Wave = Vec<usize>;

#[derive(Default)]
struct Model {
    now: u64,
    nodes: Vec<NodeModel>,
    callbacks: Vec<CallbackModel>,
    waits: Vec<WaitModel>,
    waves: VecDeque<Wave>,
}

impl Model {
    fn is_below(&self, node: usize, above: usize) -> bool {
        self.nodes[node].parents.iter().any(|parent| *parent == above || self.is_below(*parent, above))
    }

    fn complete(&mut self, node: usize, cause: Cause) -> bool {
        if self.nodes[node].end.is_some() {
            return false;
        }
        let end = End { cause, origin: node, at: self.now };
        let mut wave = Wave::new();
        for at in 0..self.nodes.len() {
            if self.nodes[at].end.is_none() && (at == node || self.is_below(at, node)) {
                wave.push(at);
            }
        }
        for at in &wave {
            self.nodes[*at].end = Some(end.clone());
        }
        for wait in &mut self.waits {
            wait.woken += usize::from(wave.contains(&wait.node));
        }
        let callbacks = (0..self.callbacks.len())
            .filter(|id| self.callbacks[*id].waits && wave.contains(&self.callbacks[*id].node))
            .collect();
        self.waves.push_back(callbacks);
        true
    }

    /// Follows a callback that ran, if it was one of those that may come next.
    fn ran(&mut self, id: usize) {
        while self.waves.front().is_some_and(Vec::is_empty) {
            self.waves.pop_front();
        }
        let wave = self.waves.front().unwrap_or_else(|| panic!("callback {id} ran for nothing"));
        assert!(wave.contains(&id), "callback {id} ran before its turn, or twice");
        let node = self.callbacks[id].node;
        for other in wave.iter().filter(|other| **other != id) {
            let of = self.callbacks[*other].node;
            assert!(of != node || *other > id, "callback {id} ran before {other} of the same context");
            assert!(!self.is_below(node, of), "callback {id} ran before {other} of a context above");
        }
        self.waves[0].retain(|other| *other != id);
        self.callbacks[id].waits = false;
        if let Action::Complete(target) = self.callbacks[id].action {
            self.complete(target, Cause::Cancelled(format!("by callback {id}")));
        }
    }

    /// When the next deadline falls.
    fn next_due(&self) -> Option<u64> {
        self.nodes.iter().filter(|node| node.end.is_none()).filter_map(|node| node.timer).min()
    }

    /// Those of one instant all fall before any callback runs.
    fn advance(&mut self, to: u64) {
        self.now = to;
        for node in 0..self.nodes.len() {
            if self.nodes[node].timer == Some(to) {
                self.complete(node, Cause::Deadline);
            }
        }
    }

    fn make(&mut self, parents: Vec<usize>, named_after: Option<usize>, own: Option<u64>) -> usize {
        let outer = parents.iter().filter_map(|parent| self.nodes[*parent].deadline).min();
        let own = own.map(|after| self.now + after).filter(|own| outer.is_none_or(|outer| *own < outer));
        let above = parents.iter().find_map(|parent| self.nodes[*parent].end.clone());
        let may_be_handed_over = !parents.is_empty();
        let node = self.nodes.len();
        self.nodes.push(NodeModel {
            parents,
            named_after,
            timer: own.filter(|own| *own > self.now),
            deadline: own.or(outer),
            end: above,
            may_be_handed_over,
        });
        if own.is_some_and(|own| own <= self.now) {
            self.complete(node, Cause::Deadline);
        }
        node
    }

    fn path(&self, node: usize) -> String {
        match self.nodes[node].named_after {
            Some(above) => format!("{}-->{node}", self.path(above)),
            None => node.to_string(),
        }
    }
}

struct NodeReal {
    guard: Option<CtxGuard>,
    handle: Option<Ctx>,
}

#[derive(Default)]
struct Real {
    start: Option<Instant>,
    nodes: Vec<NodeReal>,
    callbacks: Vec<CallbackId>,
    waits: Vec<(Arc<Probe>, Option<Done>)>,
    ran: Arc<Mutex<Vec<usize>>>,
}

impl Real {
    fn keep(&mut self, guard: CtxGuard) {
        self.nodes.push(NodeReal { handle: Some(guard.ctx()), guard: Some(guard) });
    }

    fn ctx(&self, node: usize) -> Option<&Ctx> {
        self.nodes[node].handle.as_ref()
    }

    fn canceller(&self, node: usize) -> Option<Canceller> {
        self.nodes[node].guard.as_ref().map(CtxGuard::canceller)
    }
}

struct Pair {
    model: Model,
    real: Real,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self { model: Model::default(), real: Real::default() };
        pair.real.start = Some(Instant::now());
        for _ in 0..2 {
            let node = pair.model.make(Vec::new(), None, None);
            pair.real.keep(Ctx::beginning(node.to_string()));
        }
        pair
    }

    fn add(&mut self, node: usize, action: Action, code: impl FnOnce() + Send + 'static) {
        let Some(ctx) = self.real.ctx(node) else { return };
        let id = self.real.callbacks.len();
        let ran = self.real.ran.clone();
        let run = move || {
            ran.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            code();
        };
        let done = self.model.nodes[node].end.is_some();
        if done {
            // It runs straight away, as a wave of its own.
            self.model.waves.push_back(vec![id]);
        }
        self.model.callbacks.push(CallbackModel { node, action, waits: !done });
        let number = if id.is_multiple_of(2) {
            ctx.add_done_callback(move |_| run())
        } else {
            let expected = ctx.clone();
            ctx.add_on_done(move |ctx, _| {
                assert!(*ctx == expected);
                drop(expected);
                run();
            })
        };
        self.real.callbacks.push(number);
        assert_eq!(self.real.ctx(node).expect("it is kept").has_direct_done_callback(number), !done);
    }

    async fn step(&mut self, number: usize, op: Op) {
        let count = self.model.nodes.len();
        let pick = |n: usize| n % count;
        match op {
            Op::Child(of) => {
                let of = pick(of);
                let Some(ctx) = self.real.ctx(of) else { return };
                let guard = ctx.child(count.to_string());
                self.model.make(vec![of], Some(of), None);
                self.real.keep(guard);
            }
            Op::ChildWithTimeout(of, after) => {
                let of = pick(of);
                let Some(ctx) = self.real.ctx(of) else { return };
                let options = CtxOptions::new().timeout(Duration::from_millis(after));
                let guard = ctx.child_with(count.to_string(), options).expect("inside a runtime");
                self.model.make(vec![of], Some(of), Some(after));
                self.real.keep(guard);
            }
            Op::Linked(of, more) => {
                let of = pick(of);
                let mut parents = vec![of];
                parents.extend(more.into_iter().map(pick).filter(|other| self.real.ctx(*other).is_some()));
                let Some(ctx) = self.real.ctx(of) else { return };
                let others: Vec<&Ctx> = parents[1..].iter().filter_map(|other| self.real.ctx(*other)).collect();
                let guard = ctx.linked(count.to_string(), others);
                self.model.make(parents, Some(of), None);
                self.real.keep(guard);
            }
            Op::Detached(of) => {
                let of = pick(of);
                let Some(ctx) = self.real.ctx(of) else { return };
                let guard = ctx.detached(count.to_string());
                self.model.make(Vec::new(), Some(of), None);
                self.real.keep(guard);
            }
            Op::Cancel(of) => {
                let of = pick(of);
                let Some(guard) = &self.real.nodes[of].guard else { return };
                let reason = format!("step {number}");
                let won = guard.cancel_because(reason.clone());
                assert_eq!(won, self.model.complete(of, Cause::Cancelled(reason)));
            }
            Op::Fail(of) => {
                let of = pick(of);
                let Some(canceller) = self.real.canceller(of) else { return };
                let text = format!("step {number}");
                let won = canceller.set_exception(text.clone());
                assert_eq!(won, self.model.complete(of, Cause::Failed(text)));
            }
            Op::DropGuard(of) => {
                let of = pick(of);
                if let Some(guard) = self.real.nodes[of].guard.take() {
                    drop(guard);
                    self.model.complete(of, Cause::Dropped);
                }
            }
            Op::HandOver(of) => {
                let of = pick(of);
                if self.model.nodes[of].may_be_handed_over
                    && let Some(guard) = self.real.nodes[of].guard.take()
                {
                    drop(guard.hand_over());
                }
            }
            Op::DropHandle(of) => drop(self.real.nodes[pick(of)].handle.take()),
            Op::AddCallback(of) => self.add(pick(of), Action::Nothing, || ()),
            Op::AddCompleting(of, target) => {
                let target = pick(target);
                let Some(canceller) = self.real.canceller(target) else { return };
                let id = self.real.callbacks.len();
                let complete = move || {
                    canceller.cancel_because(format!("by callback {id}"));
                    assert!(canceller.ctx().is_done());
                };
                self.add(pick(of), Action::Complete(target), complete);
            }
            Op::AddBusy(of, target) => {
                let Some(target) = self.real.ctx(pick(target)).cloned() else { return };
                let busy = move || {
                    let child = target.child("made by a callback");
                    assert_eq!(child.is_done(), target.is_done());
                    let id = child.add_done_callback(|_| ());
                    child.remove_done_callback(id);
                    drop(target.linked("linked", [&*child]));
                };
                self.add(pick(of), Action::Nothing, busy);
            }
            Op::RemoveCallback(which) => {
                if self.real.callbacks.is_empty() {
                    return;
                }
                let id = which % self.real.callbacks.len();
                let Some(ctx) = self.real.ctx(self.model.callbacks[id].node) else { return };
                let expected = if self.model.callbacks[id].waits { Removal::Removed } else { Removal::AlreadyRun };
                assert_eq!(ctx.remove_done_callback(self.real.callbacks[id]), expected);
                self.model.callbacks[id].waits = false;
            }
            Op::Wait(of) => {
                let of = pick(of);
                let Some(ctx) = self.real.ctx(of) else { return };
                let (probe, mut done) = (Probe::new(), ctx.done());
                let ready = probe.poll(&mut done).is_ready();
                assert_eq!(ready, self.model.nodes[of].end.is_some());
                if !ready {
                    self.real.waits.push((probe, Some(done)));
                    self.model.waits.push(WaitModel { node: of, woken: 0 });
                }
            }
            Op::DropWait(which) => {
                if self.real.waits.is_empty() {
                    return;
                }
                let which = which % self.real.waits.len();
                let (probe, done) = &mut self.real.waits[which];
                drop(done.take());
                assert_eq!(probe.kept(), 0, "a dropped waiter leaves nothing behind");
                if self.model.waits[which].woken == 0 {
                    // Nobody will wake it, and the model is to know.
                    self.model.waits[which].node = usize::MAX;
                }
            }
            Op::Sleep(millis) => {
                let until = self.model.now + millis;
                while self.model.now < until {
                    let to = self.model.next_due().map_or(until, |due| due.min(until));
                    tokio::time::sleep(Duration::from_millis(to - self.model.now)).await;
                    for _ in 0..3 {
                        tokio::task::yield_now().await;
                    }
                    self.model.advance(to);
                    self.follow();
                }
            }
        }
    }

    /// Has the model run the callbacks that ran.
    fn follow(&mut self) {
        let ran = std::mem::take(&mut *self.real.ran.lock().unwrap_or_else(PoisonError::into_inner));
        for id in ran {
            self.model.ran(id);
        }
        assert!(self.model.waves.iter().all(Vec::is_empty), "callbacks that did not run: {:?}", self.model.waves);
        self.model.waves.clear();
    }

    fn check(&mut self) {
        self.follow();
        let start = self.real.start.expect("it began");
        for (node, model) in self.model.nodes.iter().enumerate() {
            let Some(ctx) = self.real.ctx(node) else { continue };
            assert_eq!(ctx.full_name(), self.model.path(node));
            assert_eq!(ctx.deadline(), model.deadline.map(|at| start + Duration::from_millis(at)));
            assert_eq!(ctx.is_done(), model.end.is_some(), "context {node}");
            let (Some(why), Some(end)) = (ctx.completion(), &model.end) else {
                assert!(!ctx.is_done());
                continue;
            };
            let seen = match (why.kind(), why.reason(), why.error()) {
                (CompletionKind::Cancelled, Some(reason), None) => Cause::Cancelled(reason.into()),
                (CompletionKind::Cancelled, None, None) => Cause::Dropped,
                (CompletionKind::Failed, None, Some(error)) => Cause::Failed(error.to_string()),
                (CompletionKind::DeadlinePassed, None, None) => Cause::Deadline,
                other => panic!("{other:?}"),
            };
            assert_eq!((seen, why.path()), (end.cause.clone(), self.model.path(end.origin)), "context {node}");
            if end.cause == Cause::Deadline {
                assert_eq!(why.at(), start + Duration::from_millis(end.at));
            }
        }
        for ((probe, done), model) in self.real.waits.iter().zip(&self.model.waits) {
            assert_eq!(probe.woken(), model.woken);
            assert_eq!(probe.kept(), usize::from(done.is_some() && model.woken == 0));
        }
        for (id, model) in self.real.callbacks.iter().zip(&self.model.callbacks) {
            if let Some(ctx) = self.real.ctx(model.node) {
                assert_eq!(ctx.has_direct_done_callback(*id), model.waits);
            }
        }
    }

    /// Ends everything, so that nothing is left over by a test that must not leak.
    fn finish(mut self) {
        for node in 0..self.real.nodes.len() {
            if let Some(guard) = self.real.nodes[node].guard.take() {
                guard.cancel_because("the end");
                self.model.complete(node, Cause::Cancelled("the end".into()));
                self.check();
            }
        }
        assert!(self.model.callbacks.iter().all(|callback| !callback.waits));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_does_what_the_naive_model_does(ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for (number, op) in ops.into_iter().enumerate() {
                pair.step(number, op).await;
                pair.check();
            }
            pair.finish();
        });
    }
}
