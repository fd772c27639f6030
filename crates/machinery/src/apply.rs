//! Results and errors carried between promises.
