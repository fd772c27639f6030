//! Whoever only holds a context never completes it.

fn main() {
    let root = machinery::Ctx::beginning("root");
    let ctx: machinery::Ctx = root.ctx();
    ctx.cancel();
    ctx.cancel_because("I can");
    ctx.set_exception("I can");
    ctx.canceller();
    ctx.hand_over();
    let _ = ctx.close();
}
