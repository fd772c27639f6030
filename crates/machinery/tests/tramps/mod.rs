//! A tramp that keeps what it is told.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::sync::{Arc, Mutex};

use machinery::{Ctx, CtxGuard, CtxOptions, Report, Tramp};

#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<String>>>);

impl Kept {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A root context that reports to this.
    pub(crate) fn root(&self) -> CtxGuard {
        Ctx::beginning_with("root", CtxOptions::new().tramp(self.clone())).expect("no deadline is asked for")
    }

    /// What was reported, each as `path/task: report`.
    pub(crate) fn reports(&self) -> Vec<String> {
        self.0.lock().expect("never poisoned").clone()
    }
}

impl Tramp for Kept {
    fn log_info(&self, ctx: &Ctx, message: &str) {
        self.0.lock().expect("never poisoned").push(format!("{}: info: {message}", ctx.full_name()));
    }

    fn log_exception(&self, report: &Report<'_>) {
        let task = report.task_name().unwrap_or("-");
        self.0.lock().expect("never poisoned").push(format!("{}/{task}: {report}", report.ctx().full_name()));
    }
}
