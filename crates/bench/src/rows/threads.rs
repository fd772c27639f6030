//! The queue for threads against other channels for threads.

use std::hint::black_box;

use machinery::sync_queue::SyncIter;
use machinery::{Ctx, CtxGuard, SyncQueue};

use crate::clock;
use crate::harness::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for producers in [1, 4] {
        rows.push(threads::<Crossbeam>(producers, Some(1.0)));
        rows.push(threads::<Kanal>(producers, None));
    }
    rows
}

trait Blocking: 'static {
    const NAME: &'static str;
    type Sender: Clone + Send;
    type Receiver;

    fn make() -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, item: u64);
    fn receive(receiver: &mut Self::Receiver) -> Option<u64>;
}

struct Ours;

impl Blocking for Ours {
    const NAME: &'static str = "SyncQueue";
    type Sender = SyncQueue<u64>;
    type Receiver = (SyncIter<u64>, CtxGuard);

    fn make() -> (Self::Sender, Self::Receiver) {
        let root = Ctx::beginning("root");
        let queue = SyncQueue::new(&root);
        let items = queue.iter();
        (queue, (items, root))
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.append(item);
    }

    fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.0.next()
    }
}

struct Crossbeam;

impl Blocking for Crossbeam {
    const NAME: &'static str = "crossbeam-channel";
    type Sender = crossbeam_channel::Sender<u64>;
    type Receiver = crossbeam_channel::Receiver<u64>;

    fn make() -> (Self::Sender, Self::Receiver) {
        crossbeam_channel::unbounded()
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.send(item).expect("the receiver lives");
    }

    fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().ok()
    }
}

struct Kanal;

impl Blocking for Kanal {
    const NAME: &'static str = "kanal";
    type Sender = kanal::Sender<u64>;
    type Receiver = kanal::Receiver<u64>;

    fn make() -> (Self::Sender, Self::Receiver) {
        kanal::unbounded()
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.send(item).expect("the receiver lives");
    }

    fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().ok()
    }
}

/// `n` items from so many producer threads to this one.
fn through_threads<B: Blocking>(producers: u64, n: u64) -> f64 {
    let (sender, mut receiver) = B::make();
    std::thread::scope(|scope| {
        let start = clock::now();
        for _ in 0..producers {
            let sender = sender.clone();
            scope.spawn(move || (0..n / producers).for_each(|item| B::send(&sender, item)));
        }
        for _ in 0..n / producers * producers {
            black_box(B::receive(&mut receiver));
        }
        clock::now() - start
    })
}

fn threads<P: Blocking>(producers: u64, goal: Option<f64>) -> Row {
    let plural = if producers == 1 { "" } else { "s" };
    Row::new(
        format!("queue/sync-{producers}-to-1-{}", P::NAME.replace("-channel", "")),
        format!("{producers} producer thread{plural} to one consumer thread, an item"),
    )
    .goal_if(goal)
    .two_threads()
    .units(1_000_000, 200_000)
    .ours(move || move |n| through_threads::<Ours>(producers, n))
    .peer(P::NAME, move || move |n| through_threads::<P>(producers, n))
}
