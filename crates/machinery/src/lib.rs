#![doc = include_str!("manual/start.md")]
#![deny(unsafe_code)]

mod alarm;
mod contain;
mod slab;
mod spawn;
mod sync;
mod time;

mod error;
mod name;
pub use error::{NoRuntime, SharedError};
pub use name::Name;

pub mod ctx;
pub use ctx::{Completion, Ctx, CtxGuard, CtxOptions};

/// For the models, which have no runtime to run tasks on: counts as a task of `ctx` until it is dropped.
#[cfg(any(machinery_loom, machinery_shuttle))]
#[doc(hidden)]
#[must_use]
pub fn model_task(ctx: &Ctx) -> impl Send + use<> {
    ctx.busy()
}

pub mod tramp;
pub use tramp::{Report, Tramp};

pub mod aexit;
pub use aexit::ensure_aexit;

pub mod apply;
pub use apply::{find_and_apply_result, noncancelled_results_from_futs};

pub mod background;
pub use background::{async_as_background, async_as_background_with};

pub mod event;
pub use event::Event;

pub mod generator;
pub use generator::{AsyncGenerator, stop_async_generator};

pub mod holder;
pub use holder::{TaskHolder, Tasks, task_holder};

#[cfg(feature = "tokio-util")]
pub mod interop;

pub mod manager;
pub use manager::{
    Added, Feed, IntoFeed, QueueFeeder, QueueInput, QueueManagerResult, Sources, Streamer, queue_manager,
};

pub mod promise;
pub use promise::{Promise, PromiseError};

pub mod protocols;

pub mod queue;
#[doc(inline)]
pub use queue::{LimitedQueue, Queue, queue};

pub mod sync_queue;
#[doc(inline)]
pub use sync_queue::{SyncQueue, sync_queue};

pub mod task;
pub use task::{Outcome, Task, TaskError};

pub mod tick;
#[doc(inline)]
pub use tick::{Tick, Ticker, tick};

pub mod timeout;
pub use timeout::{async_with_timeout, async_with_timeout_with};

pub mod wait;
pub use wait::{wait_for_all, wait_for_first};

pub mod manual;

/// Has the examples of the read-me file run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
