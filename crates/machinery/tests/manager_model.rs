//! Random sources with random stops through the manager, against a model which accounts for every value, failure and stop.
#![expect(clippy::disallowed_methods, reason = "a test spawns as a user does")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use machinery::manager::QueueManagerBuilder;
use machinery::{AsyncGenerator, Ctx, Feed, IntoFeed, QueueManagerResult as Fed, Streamer, queue_manager};
use proptest::prelude::*;

/// What a source does.
#[derive(Clone, Debug)]
enum Plan {
    Value,
    Function(Box<Act>),
    BlockingFunction(Box<Act>),
    Future { millis: u64, act: Box<Act> },
    Task { millis: u64, act: Box<Act> },
    Steps { kind: Kind, strict: bool, acts: Vec<Act> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Iter,
    Blocking,
    Stream,
    OwnTask,
    Generator,
    OwnGenerator,
}

/// All of them.
const KINDS: [Kind; 6] = [Kind::Iter, Kind::Blocking, Kind::Stream, Kind::OwnTask, Kind::Generator, Kind::OwnGenerator];

#[derive(Clone, Debug)]
enum Act {
    Value,
    Error,
    Panic,
    /// Streams and futures only: pending once, woken at once.
    Pending,
    /// Streams only: pending for so long.
    Sleep(u64),
    Source(Plan),
}

fn acts(depth: u32) -> BoxedStrategy<Act> {
    let leaf = prop_oneof![
        6 => Just(Act::Value),
        2 => Just(Act::Error),
        1 => Just(Act::Panic),
        2 => Just(Act::Pending),
        1 => (1..5_u64).prop_map(Act::Sleep),
    ];
    if depth == 0 { leaf.boxed() } else { prop_oneof![3 => leaf, 1 => plans(depth - 1).prop_map(Act::Source)].boxed() }
}

fn plans(depth: u32) -> BoxedStrategy<Plan> {
    let act = || acts(depth).prop_map(Box::new);
    prop_oneof![
        1 => Just(Plan::Value),
        1 => act().prop_map(Plan::Function),
        1 => act().prop_map(Plan::BlockingFunction),
        2 => (0..5_u64, act()).prop_map(|(millis, act)| Plan::Future { millis, act }),
        1 => (0..5_u64, act()).prop_map(|(millis, act)| Plan::Task { millis, act }),
        6 => (
            prop::sample::select(&KINDS[..]),
            any::<bool>(),
            prop::collection::vec(acts(depth), 0..8),
        )
            .prop_map(|(kind, strict, acts)| Plan::Steps { kind, strict, acts }),
    ]
    .boxed()
}

/// How the manager is brought to its end.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// All sources run out.
    Not,
    /// And values that are added afterwards.
    Cancel(usize),
    Deadline(u64),
    /// The breaker, and then what remains.
    Breaker(usize),
    /// The breaker, cleared again, and then on to the end.
    Pause(usize),
    /// What remains is taken half-way, and then on to the end.
    Remaining(usize),
}

#[derive(Clone, Debug)]
struct Options {
    depth_first: bool,
    max_open: usize,
    max_running: usize,
    threads: usize,
    buffer: usize,
}

/// What has been taken from the sources: each thing has a number of its own.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    next: u64,
    values: HashSet<u64>,
    errors: HashSet<u64>,
    panics: usize,
    stops: usize,
    /// The values of a source in the order in which they were taken.
    order: HashMap<u64, Vec<u64>>,
}

impl Ledger {
    fn source(&self) -> u64 {
        let mut taken = self.0.lock().unwrap();
        taken.next += 1;
        taken.next
    }

    fn value(&self, source: u64) -> u64 {
        let mut taken = self.0.lock().unwrap();
        taken.next += 1;
        let id = taken.next;
        taken.values.insert(id);
        taken.order.entry(source).or_default().push(id);
        id
    }

    /// What came back was never taken.
    fn refuse(&self, source: u64, value: u64) {
        let mut taken = self.0.lock().unwrap();
        taken.values.remove(&value);
        taken.order.get_mut(&source).unwrap().retain(|own| *own != value);
    }

    fn error(&self) -> String {
        let mut taken = self.0.lock().unwrap();
        taken.next += 1;
        let id = taken.next;
        taken.errors.insert(id);
        id.to_string()
    }

    fn stop(&self) {
        self.0.lock().unwrap().stops += 1;
    }

    fn panic(&self, stops: bool) -> ! {
        {
            let mut taken = self.0.lock().unwrap();
            taken.panics += 1;
            taken.stops += usize::from(stops);
        }
        std::panic::resume_unwind(Box::new("as planned"));
    }
}

type Item = Result<Feed<u64>, String>;

/// A source of one result.
fn once(act: Act, ledger: &Ledger) -> Item {
    match act {
        Act::Value | Act::Pending | Act::Sleep(_) => Ok(Feed::value(ledger.value(ledger.source()))),
        Act::Error => Err(ledger.error()),
        Act::Panic => ledger.panic(false),
        Act::Source(plan) => Ok(feed(plan, ledger)),
    }
}

/// The steps of an iterator or a stream.
struct Steps {
    acts: std::vec::IntoIter<Act>,
    strict: bool,
    over: bool,
    source: u64,
    ledger: Ledger,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Iterator for Steps {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        assert!(!self.over, "a source that has ended is not asked again");
        loop {
            return Some(match self.acts.next() {
                None => {
                    self.over = true;
                    self.ledger.stop();
                    return None;
                }
                Some(Act::Pending | Act::Sleep(_)) => continue,
                Some(Act::Value) => Ok(Feed::value(self.ledger.value(self.source))),
                Some(Act::Error) => {
                    if self.strict {
                        self.over = true;
                        self.ledger.stop();
                    }
                    Err(self.ledger.error())
                }
                Some(Act::Panic) => {
                    self.over = true;
                    self.ledger.panic(true)
                }
                Some(Act::Source(plan)) => Ok(feed(plan, &self.ledger)),
            });
        }
    }
}

struct Streamed(Steps);

impl Stream for Streamed {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some(sleep) = &mut self.0.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.0.sleep = None;
            }
            match self.0.acts.as_slice().first() {
                Some(Act::Pending) => {
                    self.0.acts.next();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Act::Sleep(millis)) => {
                    self.0.sleep = Some(Box::pin(tokio::time::sleep(Duration::from_millis(*millis))));
                    self.0.acts.next();
                }
                _ => return Poll::Ready(self.0.next()),
            }
        }
    }
}

/// The same steps as an asynchronous generator. What is thrown in ends it, and is not counted as an end of its own.
fn generator(mut steps: Steps) -> AsyncGenerator<Item> {
    AsyncGenerator::new(move |mut y| async move {
        loop {
            while let Some(Act::Pending | Act::Sleep(_)) = steps.acts.as_slice().first() {
                match steps.acts.next() {
                    Some(Act::Sleep(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
                    _ => tokio::task::yield_now().await,
                }
            }
            let Some(item) = steps.next() else { return Ok(()) };
            y.yield_(item).await?;
        }
    })
}

/// What a task ends with. It counts once the manager takes it.
struct OfTask(Act, Ledger);

impl IntoFeed<u64> for OfTask {
    fn into_feed(self) -> Feed<u64> {
        once(self.0, &self.1).into_feed()
    }
}

/// The source that a plan is.
fn feed(plan: Plan, ledger: &Ledger) -> Feed<u64> {
    let own = ledger.clone();
    match plan {
        Plan::Value => Feed::value(ledger.value(ledger.source())),
        Plan::Function(act) => Feed::function(move || once(*act, &own)),
        Plan::BlockingFunction(act) => Feed::blocking_function(move || once(*act, &own)),
        Plan::Future { millis, act } => Feed::future(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            once(*act, &own)
        }),
        Plan::Task { millis, act } => Feed::task(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok::<_, String>(OfTask(*act, own))
        })),
        Plan::Steps { kind, strict, acts } => {
            let source = own.source();
            let steps = Steps { acts: acts.into_iter(), strict, over: false, source, ledger: own, sleep: None };
            let feed = match kind {
                Kind::Iter => Feed::iter(steps),
                Kind::Blocking => Feed::blocking_iter(steps),
                Kind::Stream => Feed::stream(Streamed(steps)),
                Kind::OwnTask => Feed::stream(Streamed(steps)).in_own_task(),
                Kind::Generator => Feed::generator(generator(steps)),
                Kind::OwnGenerator => Feed::generator(generator(steps)).in_own_task(),
            };
            if strict { feed.end_at_first_error() } else { feed }
        }
    }
}

/// How many values, errors, panics and stops a plan comes to when it runs to its end.
fn expected(plan: &Plan, sum: &mut [usize; 4]) {
    let one = |act: &Act, sum: &mut [usize; 4]| match act {
        Act::Value | Act::Pending | Act::Sleep(_) => sum[0] += 1,
        Act::Error => sum[1] += 1,
        Act::Panic => sum[2] += 1,
        Act::Source(plan) => expected(plan, sum),
    };
    match plan {
        Plan::Value => sum[0] += 1,
        Plan::Function(act) | Plan::BlockingFunction(act) => one(act, sum),
        Plan::Future { act, .. } | Plan::Task { act, .. } => one(act, sum),
        Plan::Steps { strict, acts, .. } => {
            sum[3] += 1;
            for act in acts {
                match act {
                    Act::Pending | Act::Sleep(_) => {}
                    Act::Panic => {
                        sum[2] += 1;
                        return;
                    }
                    Act::Error if *strict => {
                        sum[1] += 1;
                        return;
                    }
                    act => one(act, sum),
                }
            }
        }
    }
}

/// What the manager has given out.
#[derive(Default)]
struct Given {
    values: Vec<u64>,
    errors: Vec<u64>,
    panics: usize,
    stops: usize,
    stopped: Vec<bool>,
    after_stopped: usize,
}

impl Given {
    fn add(&mut self, result: Fed<u64>) {
        self.after_stopped += usize::from(!self.stopped.is_empty());
        match result {
            Fed::Success { value, .. } => self.values.push(value),
            Fed::Failure { exception, .. } => match exception.to_string().parse() {
                Ok(id) => self.errors.push(id),
                Err(_) => {
                    assert!(exception.is::<machinery::manager::SourcePanicked>(), "{exception}");
                    self.panics += 1;
                }
            },
            Fed::IterationStop { .. } => self.stops += 1,
            Fed::Stopped { exception } => self.stopped.push(exception.is_some()),
        }
    }

    async fn drain(&mut self, results: &mut Streamer<u64>) {
        while let Some(result) = results.next().await {
            self.add(result);
        }
    }

    async fn some(&mut self, results: &mut Streamer<u64>, count: usize) {
        for _ in 0..count {
            match results.next().await {
                Some(result) => self.add(result),
                None => return,
            }
        }
    }

    fn remaining(&mut self, results: &mut Streamer<u64>) {
        for result in results.remaining() {
            self.add(result);
        }
    }
}

async fn settle() {
    // Real threads are at work as well; what they were at when they had to stop is over soon.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_micros(200))).await.unwrap();
    }
}

async fn run(plans: Vec<Plan>, options: Options, stop: Stop) {
    let ledger = Ledger::default();
    let mut sum = [0; 4];
    for plan in &plans {
        expected(plan, &mut sum);
    }
    let root = Ctx::beginning("root");
    let of_manager = match stop {
        Stop::Deadline(millis) => {
            let options = machinery::CtxOptions::new().timeout(Duration::from_millis(millis));
            root.child_with("managed", options).unwrap()
        }
        _ => root.child("managed"),
    };
    let mut builder: QueueManagerBuilder<u64> = queue_manager(&of_manager)
        .max_open(options.max_open)
        .max_running(options.max_running)
        .blocking_threads(options.threads)
        .blocking_buffer(options.buffer);
    if options.depth_first {
        builder = builder.depth_first();
    }
    let (feeder, mut results) = builder.build();
    for plan in plans {
        feeder.add("top", feed(plan, &ledger));
    }
    // Dropping the last feeder says the same, where nothing is to be added any more.
    feeder.set_as_finished_if_out_of_sources();
    let late = matches!(stop, Stop::Cancel(_)).then_some(feeder);

    let mut given = Given::default();
    let mut to_the_end = true;
    match stop {
        Stop::Not => {}
        Stop::Cancel(after) => {
            given.some(&mut results, after).await;
            of_manager.cancel();
            let source = ledger.source();
            for _ in 0..3 {
                let value = ledger.value(source);
                let added = late.as_ref().unwrap().add_value("late", value);
                assert_eq!(added.is_taken(), given.stopped.is_empty(), "until the stream has ended");
                if let Some(value) = added.into_refused() {
                    ledger.refuse(source, value);
                }
            }
            to_the_end = given.stopped == [false];
        }
        Stop::Deadline(_) => to_the_end = false,
        Stop::Breaker(after) => {
            given.some(&mut results, after).await;
            results.breaker().set();
            settle().await;
            given.remaining(&mut results);
            assert!(results.remaining().is_empty());
            to_the_end = given.stopped == [false];
            if !to_the_end {
                assert!(results.next().await.is_none());
                assert!(given.stopped.is_empty(), "the breaker does not stop the manager");
                account(&ledger, &given);
                return;
            }
        }
        Stop::Pause(after) => {
            given.some(&mut results, after).await;
            results.breaker().set();
            given.drain(&mut results).await;
            results.breaker().clear();
        }
        Stop::Remaining(after) => {
            given.some(&mut results, after).await;
            given.remaining(&mut results);
        }
    }
    given.drain(&mut results).await;
    assert!(results.next().await.is_none());
    assert!(results.remaining().is_empty());
    assert_eq!(given.stopped.len(), 1, "the manager says once that it has stopped");
    account(&ledger, &given);
    let stopped_by_context = given.stopped == [true];
    assert!(!stopped_by_context || !to_the_end);
    if !stopped_by_context {
        assert_eq!(given.after_stopped, 0, "it says so last");
        assert_eq!([given.values.len(), given.errors.len(), given.panics, given.stops], sum);
    }
    root.close().await;
}

/// What was taken from its source was given out, once, and nothing else was.
fn account(ledger: &Ledger, given: &Given) {
    let taken = ledger.0.lock().unwrap();
    let values: HashSet<u64> = given.values.iter().copied().collect();
    assert_eq!(values.len(), given.values.len(), "no value twice");
    // Plain values count as taken when they are made, and go down with the source that would have yielded them.
    assert!(values.is_subset(&taken.values));
    let errors: HashSet<u64> = given.errors.iter().copied().collect();
    assert_eq!(errors.len(), given.errors.len(), "no error twice");
    assert_eq!(errors, taken.errors);
    assert_eq!(given.panics, taken.panics);
    assert_eq!(given.stops, taken.stops);
    assert_eq!(values, taken.values);
    let place: HashMap<u64, usize> = given.values.iter().enumerate().map(|(at, value)| (*value, at)).collect();
    for values in taken.order.values() {
        assert!(values.is_sorted_by_key(|value| place[value]), "each source keeps its order");
    }
}

fn options() -> impl Strategy<Value = Options> {
    (
        any::<bool>(),
        prop_oneof![1..4_usize, Just(usize::MAX)],
        prop_oneof![1..4_usize, Just(usize::MAX)],
        1..4_usize,
        1..40_usize,
    )
        .prop_map(|(depth_first, max_open, max_running, threads, buffer)| Options {
            depth_first,
            max_open,
            max_running,
            threads,
            buffer,
        })
}

fn stops() -> impl Strategy<Value = Stop> {
    prop_oneof![
        2 => Just(Stop::Not),
        2 => (0..40_usize).prop_map(Stop::Cancel),
        1 => (0..8_u64).prop_map(Stop::Deadline),
        1 => (0..40_usize).prop_map(Stop::Breaker),
        1 => (0..40_usize).prop_map(Stop::Pause),
        1 => (0..40_usize).prop_map(Stop::Remaining),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_time: 60_000, ..ProptestConfig::default() })]

    #[test]
    fn every_value_failure_and_stop_is_accounted_for(
        plans in prop::collection::vec(plans(3), 1..6),
        options in options(),
        stop in stops(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        // On the paused clock this passes at once where everybody waits for somebody else.
        let limit = Duration::from_secs(3600);
        runtime.block_on(async { tokio::time::timeout(limit, run(plans, options, stop)).await.expect("no hang") });
    }

    #[test]
    fn every_value_failure_and_stop_is_accounted_for_on_several_threads(
        plans in prop::collection::vec(plans(2), 1..6),
        options in options(),
        stop in stops(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let run = async move { tokio::time::timeout(Duration::from_secs(20), run(plans, options, stop)).await };
        runtime.block_on(async { tokio::spawn(run).await.unwrap().expect("no hang") });
    }
}
