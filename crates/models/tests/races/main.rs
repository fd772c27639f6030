//! Every race that the library names, in one program.
#![cfg(any(machinery_loom, machinery_shuttle))]

mod burial;
mod callbacks;
mod completion;
mod deadline;
mod draining;
mod manager;
mod queue;
mod shapes;
mod signals;
mod ticks;
