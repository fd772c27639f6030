//! An asynchronous queue on a context.
