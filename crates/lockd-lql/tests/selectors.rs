//! Random texts, near to selectors and far from them, through everything that reads and writes selectors.

#![allow(clippy::panic, reason = "a test that cannot go on should fail")]

#[path = "properties/selector.rs"]
mod selector;

use proptest::prelude::*;

/// What selectors are made of, in any order.
const TOKENS: &str = concat!(
    r#"(and\.|or\.|not\.|[0-3]\.|eq|contains|iprefix|range|date|in|exists|\{|\}|f=|v=|a=|gte=|since=|lt=|any=|ic=t|"#,
    r#"/a|/\.\.\.|/\*|\[\]|x|é|1e3|-0x1p2|inf|true|2025-01-02|now|,|\n| |=|!=|>=|<|"|'|\\|\||&=|~1|eq\{f=/a,v=x\}|"#,
    r#"exists\{/b\}|/n>=1|/s='x y')"#,
);

/// What selectors in JSON are made of, in any order.
const JSON_TOKENS: &str = concat!(
    r#"(\{|\}|\[|\]|,|:|null|1\.0|true|"and":|"or":|"not":|"eq":|"Range":|"in":|"exists":"/a"|"field":"/b",|"value":|"any":|"#,
    r#""x"|"2025-01-01"|"gt":|"\\u00e9"|\{"exists":"/a"\}|"eq":\{"field":"/b","value":1\})"#,
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn texts(pieces in prop::collection::vec(TOKENS, 0..16)) {
        selector::holds(pieces.concat().as_bytes());
    }

    #[test]
    fn json(pieces in prop::collection::vec(JSON_TOKENS, 0..12)) {
        selector::holds(format!("{{{}}}", pieces.concat()).as_bytes());
    }

    #[test]
    fn bytes(input in prop::collection::vec(any::<u8>(), 0..64)) {
        selector::holds(&input);
    }
}

/// Inputs that fuzzing has found.
#[test]
fn found_before() {
    // A value that begins as the operator does and ends in a backslash.
    selector::holds(b"/===\\");
    // A field that ends as an operator begins.
    selector::holds(b"/!\t=\r-\n/;4!/! =\0=\0\\");
}
