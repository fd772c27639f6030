//! Random operations on a queue against a model of it: two deques.
#![expect(clippy::len_zero, reason = "that the two agree is what is tested")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use machinery::queue::QueueStream;
use machinery::{Ctx, Queue, queue};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    AppendMany(u16),
    AppendPriority,
    Instruction,
    InstructionPriority,
    /// An instruction that appends an item at each end when it runs.
    Reentrant,
    Start,
    Stop,
    Poll,
    PollMany(u16),
    Break,
    ClearBreaker,
    Remaining(u8),
    Complete,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Append),
        1 => (0_u16..3_000).prop_map(Step::AppendMany),
        3 => Just(Step::AppendPriority),
        3 => Just(Step::Instruction),
        2 => Just(Step::InstructionPriority),
        1 => Just(Step::Reentrant),
        3 => Just(Step::Start),
        2 => Just(Step::Stop),
        12 => Just(Step::Poll),
        1 => (0_u16..3_000).prop_map(Step::PollMany),
        1 => Just(Step::Break),
        1 => Just(Step::ClearBreaker),
        1 => (0_u8..5).prop_map(Step::Remaining),
        1 => Just(Step::Complete),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Item(u32),
    Instruction(u32),
    Reentrant(u32),
}

/// What a stream does, said as plainly as can be.
#[derive(Default)]
struct Model {
    empty_on_finished: bool,
    in_time: VecDeque<Entry>,
    late: VecDeque<Entry>,
    done: bool,
    running: Option<Running>,
    ran: Vec<u32>,
}

#[derive(Default)]
struct Running {
    broken: bool,
    left: Option<usize>,
    over: bool,
}

impl Model {
    fn back(&mut self, entry: Entry) {
        if self.done { &mut self.late } else { &mut self.in_time }.push_back(entry);
    }

    fn front(&mut self, entry: Entry) {
        if self.done { &mut self.late } else { &mut self.in_time }.push_front(entry);
    }

    fn run(&mut self, entry: Entry) -> Option<u32> {
        match entry {
            Entry::Item(item) => return Some(item),
            Entry::Instruction(id) => self.ran.push(id),
            Entry::Reentrant(id) => {
                self.ran.push(id);
                self.back(Entry::Item(id));
                self.front(Entry::Item(id));
            }
        }
        None
    }

    fn poll(&mut self) -> Option<Poll<Option<u32>>> {
        let mut running = self.running.take()?;
        let polled = loop {
            if !running.over && running.left.is_none() && (self.done || running.broken) {
                running.left = Some(if self.empty_on_finished { self.in_time.len() } else { 0 });
            }
            if running.over || running.left == Some(0) {
                running.over = true;
                break Poll::Ready(None);
            }
            let Some(entry) = self.in_time.pop_front() else {
                running.over = running.left.is_some();
                break if running.over { Poll::Ready(None) } else { Poll::Pending };
            };
            if let Some(left) = &mut running.left {
                *left -= 1;
            }
            if let Some(item) = self.run(entry) {
                break Poll::Ready(Some(item));
            }
        };
        self.running = Some(running);
        Some(polled)
    }

    fn remaining(&mut self) -> Option<u32> {
        loop {
            let entry = self.in_time.pop_front().or_else(|| self.late.pop_front())?;
            if let Some(item) = self.run(entry) {
                return Some(item);
            }
        }
    }
}

/// The queue under test, and what its instructions did.
struct Real {
    queue: Queue<u32>,
    stream: Option<QueueStream<u32>>,
    ran: Arc<Mutex<Vec<u32>>>,
}

impl Real {
    fn instruction(&self, id: u32, reentrant: bool) -> impl FnOnce() + Send + 'static {
        let ran = Arc::clone(&self.ran);
        let queue = reentrant.then(|| self.queue.clone());
        move || {
            ran.lock().expect("no panic").push(id);
            if let Some(queue) = queue {
                queue.append(id);
                queue.append_priority(id);
            }
        }
    }

    fn poll(&mut self) -> Option<Poll<Option<u32>>> {
        let stream = self.stream.as_mut()?;
        Some(Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop())))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_does_what_two_deques_do(
        empty_on_finished in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let root = Ctx::beginning("app");
        let builder = queue(&root);
        let queue = if empty_on_finished { builder.empty_on_finished().build() } else { builder.build() };
        let mut real = Real { queue, stream: None, ran: Arc::default() };
        let mut model = Model { empty_on_finished, ..Model::default() };
        let mut ids = 0_u32..;
        for step in steps {
            let id = ids.next().unwrap();
            match step {
                Step::Append => {
                    real.queue.append(id);
                    model.back(Entry::Item(id));
                }
                Step::AppendMany(many) => {
                    for _ in 0..many {
                        real.queue.append(id);
                        model.back(Entry::Item(id));
                    }
                }
                Step::AppendPriority => {
                    real.queue.append_priority(id);
                    model.front(Entry::Item(id));
                }
                Step::Instruction => {
                    real.queue.append_instruction(real.instruction(id, false));
                    model.back(Entry::Instruction(id));
                }
                Step::InstructionPriority => {
                    real.queue.append_instruction_priority(real.instruction(id, false));
                    model.front(Entry::Instruction(id));
                }
                Step::Reentrant => {
                    real.queue.append_instruction(real.instruction(id, true));
                    model.back(Entry::Reentrant(id));
                }
                Step::Start => {
                    real.stream = Some(real.queue.stream());
                    model.running = Some(Running::default());
                    prop_assert!(!real.queue.breaker().is_set());
                }
                Step::Stop => {
                    real.stream = None;
                    model.running = None;
                }
                Step::Poll => prop_assert_eq!(real.poll(), model.poll()),
                Step::PollMany(many) => {
                    for _ in 0..many {
                        prop_assert_eq!(real.poll(), model.poll());
                    }
                }
                Step::Break => {
                    if real.queue.breaker().set() && let Some(running) = &mut model.running {
                        running.broken = true;
                    }
                }
                Step::ClearBreaker => {
                    real.queue.breaker().clear();
                }
                Step::Remaining(many) => {
                    for _ in 0..many {
                        prop_assert_eq!(real.queue.remaining().next(), model.remaining());
                    }
                }
                Step::Complete => {
                    root.cancel();
                    model.done = true;
                }
            }
            prop_assert_eq!(real.queue.len(), model.in_time.len() + model.late.len());
            prop_assert_eq!(real.queue.is_empty(), real.queue.len() == 0);
        }
        let rest: Vec<_> = std::iter::from_fn(|| model.remaining()).collect();
        prop_assert_eq!(real.queue.remaining().collect::<Vec<_>>(), rest);
        prop_assert_eq!(&*real.ran.lock().unwrap(), &model.ran);
    }
}
