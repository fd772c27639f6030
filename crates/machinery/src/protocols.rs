//! The small interfaces that the types share.
