//! A context has one owner.

fn main() {
    let root = machinery::Ctx::beginning("root");
    let again: machinery::CtxGuard = root.clone();
    drop((root, again));
}
