//! A guard that is not kept cancels at once, which nobody means.
#![deny(unused_must_use)]

use machinery::{Ctx, CtxOptions};

fn main() {
    Ctx::beginning("root");
    let root = Ctx::beginning("root");
    root.child("child");
    root.linked("linked", [&*root]);
    root.detached("detached");
    root.child_with("child", CtxOptions::new());
}
