//! A tree of named contexts on which every task, timer, queue and stream of a Tokio program hangs.
#![forbid(unsafe_code)]

mod alarm;
mod slab;
mod spawn;
mod sync;
mod time;

mod error;
mod name;
pub use error::{NoRuntime, SharedError};
pub use name::Name;

pub mod ctx;
pub use ctx::{Ctx, CtxGuard, CtxOptions};

pub mod tramp;
pub use tramp::{Report, Tramp};

pub mod aexit;

pub mod apply;

pub mod background;

pub mod event;

pub mod generator;

pub mod holder;

pub mod manager;

pub mod promise;

pub mod protocols;

pub mod queue;

pub mod sync_queue;

pub mod task;

pub mod tick;
#[doc(inline)]
pub use tick::{Tick, Ticker, tick};

pub mod timeout;

pub mod wait;
