//! Asynchronous generators.
