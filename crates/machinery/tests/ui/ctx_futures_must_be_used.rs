//! A future that is not awaited waits for nothing.
#![deny(unused_must_use)]

use machinery::{Ctx, CtxOptions};

fn main() {
    let root = Ctx::beginning("root");
    let id = root.add_done_callback(|_| {});
    root.done();
    root.drained();
    root.run(async {});
    root.callback_finished(id);
    root.is_done();
    CtxOptions::new();
    root.close();
}
