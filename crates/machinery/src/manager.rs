//! Many sources, one stream of results.
