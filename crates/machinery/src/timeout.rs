//! Work with a time limit.
