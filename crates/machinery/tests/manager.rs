//! The queue manager, through its public interface.

#[path = "manager/blocking.rs"]
mod blocking;
#[path = "manager/common.rs"]
mod common;
#[path = "manager/extension.rs"]
mod extension;
#[path = "manager/limits.rs"]
mod limits;
#[path = "manager/results.rs"]
mod results;
#[path = "manager/scenarios.rs"]
mod scenarios;
#[path = "manager/stopping.rs"]
mod stopping;
#[path = "manager/turns.rs"]
mod turns;
