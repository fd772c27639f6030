//! Streams of real crates, as they are.

use std::time::Duration;

use futures_util::StreamExt;
use machinery::{Ctx, CtxOptions, QueueManagerResult as Fed, queue_manager};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_stream::wrappers::{BroadcastStream, IntervalStream, LinesStream, ReceiverStream, WatchStream};

use super::common::{Heard, all, values};

#[tokio::test(start_paused = true)]
async fn channels_and_intervals_plug_in_as_they_are() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let (shouted, listener) = tokio::sync::broadcast::channel(4);
    let (watched, watcher) = tokio::sync::watch::channel(30);
    feeder.add_stream("mpsc", ReceiverStream::new(receiver));
    feeder.add_stream("broadcast", BroadcastStream::new(listener));
    feeder.add_stream("watch", WatchStream::new(watcher));
    feeder.add_stream(
        "interval",
        IntervalStream::new(tokio::time::interval(Duration::from_secs(1))).take(2).map(|_| 40_u32),
    );
    drop(feeder);
    tokio::spawn(async move {
        for at in 0..5 {
            sender.send(at).await.unwrap();
        }
        for at in 0..6 {
            shouted.send(20 + at).unwrap();
        }
        drop(watched);
    });
    let mut values = Vec::new();
    let mut lagged = 0;
    while let Some(result) = results.next().await {
        match result {
            Fed::Failure { sources, exception, .. } => {
                assert_eq!(sources.to_string(), "stream `broadcast`");
                assert!(exception.to_string().contains("lagged"));
                lagged += 1;
            }
            other => values.extend(other.into_value()),
        }
    }
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2, 3, 4, 22, 23, 24, 25, 30, 40, 40]);
    assert_eq!(lagged, 1);
}

#[tokio::test]
async fn the_lines_of_unix_sockets_plug_in_as_they_are() {
    let (mut ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<String>(&root).build();
    feeder.add_stream("socket", LinesStream::new(BufReader::new(theirs).lines()));
    drop(feeder);
    ours.write_all(b"one\ntwo\n\xff\xff\nthree\n").await.unwrap();
    drop(ours);
    let said = all(&mut results).await;
    assert!(
        said[2].starts_with("stream `socket`: failed: ") && said[2].contains("UTF-8") | said[2].contains("utf-8"),
        "{}",
        said[2]
    );
    assert_eq!(said[..2], ["stream `socket`: \"one\"", "stream `socket`: \"two\""]);
    assert_eq!(said[3..], ["stream `socket`: \"three\"", "stream `socket`: end", "stopped"]);
}

#[tokio::test]
async fn a_listener_of_connections_is_a_stream_of_streams() {
    let folder = std::env::temp_dir().join(format!("machinery-manager-{}", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&folder).unwrap();
    let clients = tokio::spawn({
        let folder = folder.clone();
        async move {
            for at in 0..5 {
                let mut client = tokio::net::UnixStream::connect(&folder).await.unwrap();
                client.write_all(format!("{at}\n{}\n", at + 10).as_bytes()).await.unwrap();
            }
        }
    });
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<String>(&root).build();
    let connections = tokio_stream::wrappers::UnixListenerStream::new(listener);
    feeder.add_stream(
        "listener",
        connections.take(5).map(|connection| {
            connection.map(|connection| machinery::Feed::stream(LinesStream::new(BufReader::new(connection).lines())))
        }),
    );
    drop(feeder);
    let mut lines = values(&mut results).await;
    lines.sort();
    assert_eq!(lines, ["0", "1", "10", "11", "12", "13", "14", "2", "3", "4"]);
    clients.await.unwrap();
    std::fs::remove_file(folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn combined_streams_of_the_futures_crate_plug_in_as_they_are() {
    let root = Ctx::beginning("root");
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    let stream = futures_util::stream::select(futures_util::stream::iter(0..3), futures_util::stream::iter([7]));
    feeder.add_stream("select", stream);
    drop(feeder);
    let mut values = values(&mut results).await;
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2, 7]);
}

#[tokio::test(start_paused = true)]
async fn scenario_20_values_that_are_queued_when_the_context_completes_are_drained_and_then_the_stream_ends() {
    let heard = Heard::default();
    let root = Ctx::beginning_with("root", CtxOptions::new().tramp(heard.clone())).unwrap();
    let (feeder, mut results) = queue_manager::<u32>(&root).build();
    for at in 0..1_000 {
        feeder.add_value("v", at);
    }
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let feeder = feeder.clone();
            std::thread::spawn(move || (0..1_000).filter(|at| feeder.add_value("late", 10_000 + at).is_taken()).count())
        })
        .collect();
    root.cancel();
    assert!(matches!(results.next().await, Some(Fed::Stopped { .. })));
    let drained = values(&mut results).await;
    let taken: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
    assert!(results.next().await.is_none());
    let queued = drained.iter().filter(|value| **value < 10_000).count();
    assert_eq!(queued, 1_000);
    assert_eq!(drained.len() - queued, taken, "each value was yielded or given back");
    assert_eq!(heard.reports().len(), 4_000 - taken, "and what was given back was reported");
}
