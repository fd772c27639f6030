//! The parts of the program, each with its tests, without what puts them together.
#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the program around them uses the rest")]

mod args;
mod directory;
mod handles;
mod largest;
mod links;
mod node;
mod text;
mod walk;
