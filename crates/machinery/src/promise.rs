//! A named value that is settled once.
