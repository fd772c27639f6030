//! A named, spawned task.
