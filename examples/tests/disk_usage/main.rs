//! The example `disk_usage`, as it is run, beside `du`.

mod interrupt;
mod shown;
mod support;
mod totals;
