//! A tree of named contexts on which every task, timer, queue and stream of a Tokio program hangs.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "the contexts that use it come next")]
mod slab;
#[expect(dead_code, unused_imports, reason = "the contexts that use it come next")]
mod sync;
#[expect(dead_code, reason = "the contexts that use it come next")]
mod time;

mod error;
mod name;
pub use error::{NoRuntime, SharedError};
pub use name::Name;

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

pub mod timeout;

pub mod wait;
