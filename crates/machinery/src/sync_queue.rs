//! A queue between threads on a context.
