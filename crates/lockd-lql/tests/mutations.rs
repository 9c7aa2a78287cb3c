//! Random texts, near to mutations and far from them, on random documents.

#[path = "properties/mutation.rs"]
mod mutation;

use proptest::prelude::*;

/// What mutations are made of, in any order.
const TOKENS: &str = concat!(
    r#"(/a|/b|/0|/1|/\*|/\*\*|/\.\.\.|\[\]|/é|~1|~0|\+\+|--|=|=\+1|=-0.5|=\+1e308|=x|=true|="1"|rm:|delete:|time:|=NOW|"#,
    r#"\{|\}|,|'|"|\\| |\n/|/a=1\n|/b\+\+\n|rm:/a\n|/\.\.\.\+\+\n|/p\{/a=1,/b\+\+\}\n|/a/\*=2\n|/a/b/a--\n)"#,
);

/// What documents are made of, in any order.
const JSON_TOKENS: &str = concat!(
    r#"(\{\}|\[\]|\{"a":|,"b":|,"\\u0061":|,"a":|,"0":|,"":|\}|\[|\]|,| |1|-0|2\.50|1e308|9007199254740993|"s"|"\\"\}"|"#,
    r#"true|null|\{"a":1\}|\[1,2\]|\{"b":\{"a":\[\{"a":0\},1\]\}\})"#,
);

fn document() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        &["1", "-0", "2.50", "1e308", "\"s\"", "\"}\\\\\\\"{\"", "true", "null", "[]", "{}"][..],
    );
    let name = prop::sample::select(&["a", "b", "0", "1", "é", "\\u0061", ""][..]);
    let value = leaf.prop_map(str::to_owned).prop_recursive(4, 30, 4, move |inner| {
        let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\" :{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::vec(member, 0..4).prop_map(|list| format!("{{{}}}", list.join(","))),
        ]
    });
    value.prop_map(|value| format!("{{\"a\":{value}}}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn texts(pieces in prop::collection::vec(TOKENS, 1..16), document in document()) {
        mutation::holds(format!("{}\n{document}", pieces.concat()).as_bytes());
    }

    #[test]
    fn documents(pieces in prop::collection::vec(JSON_TOKENS, 0..12)) {
        let document = format!("{{{}}}", pieces.concat());
        mutation::holds(format!("/a++\nrm:/b\n/.../b=2\n{document}").as_bytes());
        mutation::holds(format!("/a/b/1=x\n{document}").as_bytes());
    }

    #[test]
    fn bytes(input in prop::collection::vec(any::<u8>(), 0..64)) {
        mutation::holds(&input);
        mutation::holds(&[b"/a++\n", input.as_slice()].concat());
    }
}

/// Inputs that fuzzing has found.
#[test]
fn found_before() {
    // No object, and in a later block no JSON either: which error it is must not depend on the pieces.
    let text = "x".repeat(150);
    mutation::holds(format!("/a=1\n\"{text}\0\"").as_bytes());
    mutation::holds(format!("/a++\n{{\"a\":\"{text}\",\"b\":nul}}").as_bytes());
}
