//! Random streams, near to JSON and far from it, through selection, picking and projection.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on should fail")]

#[path = "properties/stream.rs"]
mod stream;

use proptest::prelude::*;

const SELECTORS: &[&str] = &[
    "/a=1",
    "eq{f=/...,v=x},not.exists{/b}",
    "icontains{f=/.../a,v=X}",
    "or.range{f=/a/0,gte=1},or.contains{f=/*}",
    ".",
    "prefix{f=/a/**/b,v=\u{e4}}",
];
const FIELDS: &[&str] = &["/a", "/.../a,/b/0", "/*/b", "/...", "/", "/[]/a"];

/// What streams are made of, in any order.
const TOKENS: &str = concat!(
    r#"(\{|\}|\[|\]|,|:|"a":|"b":|"\\u0061":|"x"|"X\\n\\""|"\\ud83d\\ude00"|1|-0\.5e3|true|null| |\n|\{"a":1\}|"#,
    r#"\{"b":\[\{"a":"x"\},2\]\}|"long long long long long long long long long long long long string")"#,
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn all_ways_lead_to_the_same(
        selector in prop::sample::select(SELECTORS),
        fields in prop::sample::select(FIELDS),
        chunk in any::<u8>(),
        pieces in prop::collection::vec(TOKENS, 0..12),
    ) {
        let mut input = vec![chunk];
        input.extend_from_slice(format!("{selector}\n{fields}\n{}", pieces.concat()).as_bytes());
        stream::holds(&stream::Input::new(&input).ok_or(TestCaseError::fail("no input"))?);
    }
}
