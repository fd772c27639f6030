//! An `AsyncGenerator`, which can be sent to, thrown into and closed, used as a plain stream.

use std::hint::black_box;
use std::pin::pin;

use async_stream::stream;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use machinery::AsyncGenerator;

use super::current_thread;
use crate::clock;
use crate::harness::Row;

pub(crate) fn rows() -> Vec<Row> {
    vec![against_boxed(), against_inlined()]
}

fn numbers(n: u64) -> impl Stream<Item = u64> + Send {
    stream! {
        for item in 0..n {
            yield item;
        }
    }
}

async fn take_all(mut items: impl Stream<Item = u64> + Unpin) -> f64 {
    let start = clock::cpu_now();
    while let Some(item) = items.next().await {
        black_box(item);
    }
    clock::cpu_now() - start
}

fn ours() -> impl FnMut(u64) -> f64 {
    let runtime = current_thread();
    move |n| {
        runtime.block_on(take_all(AsyncGenerator::<u64>::new(move |mut y| async move {
            for item in 0..n {
                y.yield_(item).await?;
            }
            Ok(())
        })))
    }
}

/// A generator has a type that can be named and moved about; a stream of the macro has one when it is boxed.
fn against_boxed() -> Row {
    Row::new("generator/items", "a generator used as a plain stream, an item")
        .goal(1.0)
        .units(1_000_000, 200_000)
        .ours(ours)
        .peer("async-stream, boxed", || {
            let runtime = current_thread();
            move |n| {
                // or the compiler would see through the box
                let items: BoxStream<'_, u64> = black_box(numbers(n).boxed());
                runtime.block_on(take_all(items))
            }
        })
}

fn against_inlined() -> Row {
    Row::new("generator/items-inlined", "the same against a loop that the compiler sees through")
        .units(1_000_000, 200_000)
        .ours(ours)
        .peer("async-stream, in place", || {
            let runtime = current_thread();
            move |n| runtime.block_on(take_all(pin!(numbers(n))))
        })
}
