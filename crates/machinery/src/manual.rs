//! The pages of the manual that go further than [its beginning](crate).
//!
//! - [`server`]: a server from its first line to its last, with signals, a limit, and clean-up under a deadline
//! - [`recipes`]: a supervisor, a crawl that feeds itself, a pool of threads, hedged requests, what it hangs on
//! - [`tree`]: how the tree works: invariants, lock order, the life of a cancel step by step, and costs
//! - [`costs`]: how costs grow with the number of sources and of tasks, in pictures
//! - [`from_tokio_util`], [`from_go`], [`from_python`]: what you know, said with this library
//! - [`names`]: every name of the system that this library implements, and the item that it is here

#[doc = include_str!("manual/server.md")]
pub mod server {}

#[doc = include_str!("manual/recipes.md")]
pub mod recipes {}

#[doc = include_str!("manual/tree.md")]
pub mod tree {}

#[doc = include_str!("manual/costs.md")]
#[doc = ""]
#[doc = include_str!("../docs/plots/fanin-one-ready.svg")]
#[doc = ""]
#[doc = include_str!("manual/costs_pending.md")]
#[doc = ""]
#[doc = include_str!("../docs/plots/fanin-pending.svg")]
#[doc = ""]
#[doc = include_str!("manual/costs_tasks.md")]
#[doc = ""]
#[doc = include_str!("../docs/plots/tasks-held.svg")]
pub mod costs {}

#[doc = include_str!("manual/from_tokio_util.md")]
pub mod from_tokio_util {}

#[doc = include_str!("manual/from_go.md")]
pub mod from_go {}

#[doc = include_str!("manual/from_python.md")]
pub mod from_python {}

#[doc = include_str!("manual/names.md")]
pub mod names {}
