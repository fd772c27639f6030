//! The channels between tasks, made alike.

use machinery::queue::QueueStream;
use machinery::{Ctx, CtxGuard, Queue};

pub(crate) trait Channel: 'static {
    const NAME: &'static str;
    type Sender: Clone + Send + Sync + 'static;
    type Receiver: Send + 'static;

    fn make() -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, item: u64);
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>> + Send;
}

#[derive(Debug)]
pub(crate) struct Ours;

impl Channel for Ours {
    const NAME: &'static str = "Queue";
    type Sender = Queue<u64>;
    type Receiver = (QueueStream<u64>, CtxGuard);

    fn make() -> (Self::Sender, Self::Receiver) {
        let root = Ctx::beginning("root");
        let queue = Queue::new(&root);
        let stream = queue.stream();
        (queue, (stream, root))
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.append(item);
    }

    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>> + Send {
        receiver.0.next()
    }
}

#[derive(Debug)]
pub(crate) struct Tokio;

impl Channel for Tokio {
    const NAME: &'static str = "tokio mpsc";
    type Sender = tokio::sync::mpsc::UnboundedSender<u64>;
    type Receiver = tokio::sync::mpsc::UnboundedReceiver<u64>;

    fn make() -> (Self::Sender, Self::Receiver) {
        tokio::sync::mpsc::unbounded_channel()
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.send(item).expect("the receiver lives");
    }

    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>> + Send {
        receiver.recv()
    }
}

#[derive(Debug)]
pub(crate) struct Flume;

impl Channel for Flume {
    const NAME: &'static str = "flume";
    type Sender = flume::Sender<u64>;
    type Receiver = flume::Receiver<u64>;

    fn make() -> (Self::Sender, Self::Receiver) {
        flume::unbounded()
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.send(item).expect("the receiver lives");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv_async().await.ok()
    }
}

#[derive(Debug)]
pub(crate) struct Kanal;

impl Channel for Kanal {
    const NAME: &'static str = "kanal";
    type Sender = kanal::Sender<u64>;
    type Receiver = kanal::AsyncReceiver<u64>;

    fn make() -> (Self::Sender, Self::Receiver) {
        let (sender, receiver) = kanal::unbounded();
        (sender, receiver.to_async())
    }

    fn send(sender: &Self::Sender, item: u64) {
        sender.send(item).expect("the receiver lives");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await.ok()
    }
}
