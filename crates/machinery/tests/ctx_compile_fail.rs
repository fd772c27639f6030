//! What the types of contexts forbid. `TRYBUILD=overwrite` writes the compiler's words down anew.

#[test]
fn what_must_not_compile_does_not() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/ctx_*.rs");
}
