//! A flag that tasks wait for.
