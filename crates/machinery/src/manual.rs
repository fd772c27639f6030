//! The pages of the manual that go further than [its beginning](crate).
//!
//! - [`tree`]: how the tree works: invariants, lock order, the life of a cancel step by step, and costs
//! - [`from_tokio_util`], [`from_go`], [`from_python`]: what you know, said with this library
//! - [`names`]: every name of the system that this library implements, and the item that it is here

#[doc = include_str!("manual/tree.md")]
pub mod tree {}

#[doc = include_str!("manual/from_tokio_util.md")]
pub mod from_tokio_util {}

#[doc = include_str!("manual/from_go.md")]
pub mod from_go {}

#[doc = include_str!("manual/from_python.md")]
pub mod from_python {}

#[doc = include_str!("manual/names.md")]
pub mod names {}
