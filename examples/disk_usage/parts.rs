//! The parts of the program, each with its tests, without what puts them together.
#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the program around them uses the rest")]

mod args;
mod count;
mod directory;
mod handles;
mod largest;
mod links;
mod node;
mod progress;
mod report;
mod tally;
mod text;
mod walk;
