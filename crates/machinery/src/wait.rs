//! Waiting for the first or for all.
