//! The one place that spawns: on the runtime that a context knows, never on whichever happens to be current.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::{Ctx, NoRuntime};

/// Spawns `future` on the runtime of `ctx`.
pub(crate) fn spawn<F>(ctx: &Ctx, future: F) -> Result<JoinHandle<F::Output>, NoRuntime>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Ok(ctx.runtime()?.spawn(future))
}

/// Spawns what serves all contexts of a runtime and hangs on none of them.
pub(crate) fn driver(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) {
    drop(handle.spawn(future));
}

/// Spawns what settles itself, however it ends: nobody awaits its handle.
pub(crate) fn task(handle: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    drop(handle.spawn(work));
}

/// Like [`task`], for work that is not `Send`: on the current `LocalSet` or local runtime.
#[track_caller]
pub(crate) fn local_task(work: impl Future<Output = ()> + 'static) {
    drop(tokio::task::spawn_local(work));
}
