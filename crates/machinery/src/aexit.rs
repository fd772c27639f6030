//! A thing with an asynchronous start and finish.
