//! A tramp that keeps what is reported, for tests to look at.

#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::{Arc, Mutex};

use machinery::{Ctx, CtxGuard, CtxOptions, Report, Tramp};

#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Vec<String>>>);

impl Tramp for Reports {
    fn log_exception(&self, report: &Report<'_>) {
        let line = match report.task_name() {
            Some(task) => format!("{} {task}: {report}", report.ctx().full_name()),
            None => format!("{}: {report}", report.ctx().full_name()),
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Reports {
    pub(crate) fn root(&self) -> CtxGuard {
        Ctx::beginning_with("root", CtxOptions::new().tramp(self.clone())).unwrap()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|line| line.contains(part)).count()
    }
}
