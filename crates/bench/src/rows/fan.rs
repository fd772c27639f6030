//! Fan-in made alike: many streams, one item after the other.

use std::hint::black_box;

use futures_buffered::MergeUnbounded;
use futures_util::stream::{SelectAll, Stream, StreamExt};
use machinery::{Ctx, CtxGuard, Streamer, queue_manager};

pub(crate) trait FanIn<S> {
    fn over(streams: impl Iterator<Item = S>) -> Self;

    /// Waits for an item; there is none when all streams have ended.
    fn next(&mut self) -> impl Future<Output = bool>;
}

impl<S: Stream<Item = u64> + Unpin> FanIn<S> for SelectAll<S> {
    fn over(streams: impl Iterator<Item = S>) -> Self {
        streams.collect()
    }

    async fn next(&mut self) -> bool {
        StreamExt::next(self).await.is_some()
    }
}

impl<S: Stream<Item = u64> + Unpin> FanIn<S> for MergeUnbounded<S> {
    fn over(streams: impl Iterator<Item = S>) -> Self {
        streams.collect()
    }

    async fn next(&mut self) -> bool {
        StreamExt::next(self).await.is_some()
    }
}
pub(crate) struct Managed {
    results: Streamer<u64>,
    _root: CtxGuard,
}

impl<S: Stream<Item = u64> + Send + 'static> FanIn<S> for Managed {
    fn over(streams: impl Iterator<Item = S>) -> Self {
        let root = Ctx::beginning("root");
        let (feeder, results) = queue_manager::<u64>(&root).build();
        for stream in streams {
            assert!(feeder.add_stream("stream", stream).is_taken());
        }
        Self { results, _root: root }
    }

    async fn next(&mut self) -> bool {
        self.next_value().await
    }
}

impl Managed {
    /// So many plain values.
    pub(crate) fn values(count: u64) -> Self {
        let root = Ctx::beginning("root");
        let (feeder, results) = queue_manager::<u64>(&root).build();
        for value in 0..count {
            assert!(feeder.add_value("value", value).is_taken());
        }
        Self { results, _root: root }
    }

    /// Waits for a value, past the results that tell of ends.
    pub(crate) async fn next_value(&mut self) -> bool {
        while let Some(result) = self.results.next().await {
            if black_box(result).into_value().is_some() {
                return true;
            }
        }
        false
    }
}
