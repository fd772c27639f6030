//! A holder of tasks that waits for their clean-up.
