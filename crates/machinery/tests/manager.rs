//! The queue manager, through its public interface.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock and spawns as a user does")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "manager/blocking.rs"]
mod blocking;
#[path = "manager/clones.rs"]
mod clones;
#[path = "manager/common.rs"]
mod common;
#[path = "manager/extension.rs"]
mod extension;
#[path = "manager/faults.rs"]
mod faults;
#[path = "manager/held.rs"]
mod held;
#[path = "manager/late.rs"]
mod late;
#[path = "manager/letting_go.rs"]
mod letting_go;
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
