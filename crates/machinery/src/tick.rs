//! Ticks on a grid.
