//! The editor against the examples of the specification, against the oracle, and against attacks.

use proptest::prelude::*;

use crate::{condition::Instant, path::Path};

use super::{
    oracle::{Change, Member, Tree, json},
    states::{Bounds, States},
    *,
};

/// 2025-01-02T03:04:05.6Z.
const NOW: Instant = Instant(1_735_787_045_600_000_000);

fn program(items: &[&str]) -> Program {
    Mutations::parse_list(items, &ParseOptions::default()).unwrap().compile(NOW)
}

/// Edits the document in pieces of several sizes, which must not matter.
fn edit_with(program: &Program, document: &str, limits: EditLimits) -> Result<String, EditError> {
    let result = edit_by(program.editor(limits), document);
    // An editor that forgets again and again what it has found out.
    let states = States::new(program.code.clone(), Bounds { kept: 3, ..Bounds::default() });
    let forgetful = edit_by(Editor::with_states(program.code.clone(), limits, None, states), document);
    assert_eq!(result, forgetful);
    result
}

fn edit_by(mut editor: Editor, document: &str) -> Result<String, EditError> {
    let mut results = Vec::new();
    for piece in [document.len().max(1), 1, 2, 3, 7, 64, 100] {
        let mut out = b"before".to_vec();
        let pushed = document.as_bytes().chunks(piece).try_for_each(|chunk| editor.push(chunk, &mut out));
        let finished = editor.finish(&mut out);
        results.push(pushed.and(finished).map(|summary| {
            assert_eq!(summary.bytes_read, document.len() as u64);
            assert_eq!(summary.bytes_written, out.len() as u64 - 6);
            String::from_utf8(out.split_off(6)).unwrap()
        }));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results.swap_remove(0)
}

fn edit(document: &str, items: &[&str]) -> Result<String, String> {
    let parsed = Mutations::parse_list(items, &ParseOptions::default()).map_err(|error| error.to_string())?;
    edit_with(&parsed.compile(NOW), document, EditLimits::default()).map_err(|error| error.to_string())
}

fn check(document: &str, items: &[&str], expected: &str) {
    let result = edit(document, items);
    assert_eq!(result.as_deref(), Ok(expected), "{document} {items:?}");
}

fn check_fails(document: &str, items: &[&str], expected: &str) {
    let result = edit(document, items);
    assert_eq!(result.as_ref().map_err(String::as_str), Err(expected), "{document} {items:?}");
}

/// The examples of the specification: number, document, mutations, and the result or the error.
type Example = (u32, &'static str, &'static [&'static str], Result<&'static str, &'static str>);

#[rustfmt::skip]
const EXAMPLES: &[Example] = &[
    (83, "{}", &["/a/b=1"], Ok(r#"{"a":{"b":1}}"#)),
    (84, r#"{"n":1}"#, &["/n++"], Ok(r#"{"n":2}"#)),
    (85, "{}", &["/n--"], Ok(r#"{"n":-1}"#)),
    (86, r#"{"n":10}"#, &["/n=+2.5"], Ok(r#"{"n":12.5}"#)),
    (87, r#"{"n":12.5}"#, &["/n=-2.5"], Ok(r#"{"n":10}"#)),
    (88, r#"{"n":"x"}"#, &["/n++"], Err("increment /n: the value is not numeric but a string")),
    (89, r#"{"n":null}"#, &["/n=+1"], Err("increment /n: the value is not numeric but null")),
    (90, r#"{"a":1,"b":2}"#, &["rm:/a"], Ok(r#"{"b":2}"#)),
    (91, "{}", &["delete:/a/b"], Ok("{}")),
    (92, "{}", &["/z=\"00123\""], Ok(r#"{"z":123}"#)),
    (93, "{}", &["/t=\"-5\""], Ok(r#"{"t":-5}"#)),
    (94, "{}", &["/s='a \"q\" b'"], Ok(r#"{"s":"a \"q\" b"}"#)),
    (95, "{}", &["/s="], Ok(r#"{"s":""}"#)),
    (96, "{}", &["/s=Null"], Ok(r#"{"s":null}"#)),
    (97, "{}", &["/s=a, b"], Ok(r#"{"s":"a, b"}"#)),
    (98, "{}", &["/p{/a=1,/q{/b=2,/c++}}"], Ok(r#"{"p":{"a":1,"q":{"b":2,"c":1}}}"#)),
    (99, "{}", &["/p{}"], Err("brace mutation \"/p{}\" empty")),
    (100, "{}", &["time:/at=2025-01-02T03:04:05.500+02:00"], Ok(r#"{"at":"2025-01-02T01:04:05.5Z"}"#)),
    (101, "{}", &["time:/at=tomorrow"], Err("invalid time literal \"tomorrow\"")),
    (102, r#"{"a":"x"}"#, &["/a/b=1"], Ok(r#"{"a":{"b":1}}"#)),
    (103, r#"{"l":[1,2]}"#, &["/l/0=9"], Ok(r#"{"l":{"0":9}}"#)),
    (104, r#"{"l":[1,2]}"#, &["/l[]=+1"], Ok(r#"{"l":[2,3]}"#)),
    (105, r#"{"l":[{"k":1},{"z":1}]}"#, &["rm:/l[]/k"], Ok(r#"{"l":[{},{"z":1}]}"#)),
    (106, r#"{"l":[1,2]}"#, &["rm:/l[]"], Ok(r#"{"l":[null,null]}"#)),
    (107, r#"{"o":{"a":1,"b":2}}"#, &["/o/*=0"], Ok(r#"{"o":{"a":0,"b":0}}"#)),
    (108, r#"{"o":{}}"#, &["/o/*/x=1"], Ok(r#"{"o":{}}"#)),
    (109, r#"{"a":{"pw":"x","b":{"pw":"y"}}}"#, &["rm:/.../pw"], Ok(r#"{"a":{"b":{}}}"#)),
    (110, "{}", &["/n=+0"], Err("increment mutation requires non-zero delta")),
    (111, "{}", &["a=1"], Err("mutation path \"a\" must start with '/'")),
    (112, "{}", &["rm:"], Err("remove mutation missing key path")),
    (113, "{}", &["file:/b=x.bin"], Err("file-backed mutations are disabled")),
    (114, r#"{"b":1,"a":2}"#, &["/d=1", "/c=2"], Ok(r#"{"b":1,"a":2,"c":2,"d":1}"#)),
];

#[test]
fn worked_examples_83_to_114() {
    for (number, document, items, expected) in EXAMPLES {
        let result = edit(document, items);
        let result = result.as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(result, *expected, "example {number}: {document} {items:?}");
    }
    assert!(EXAMPLES.iter().map(|example| example.0).eq(83..=114));
}

#[test]
fn lql_37_removing_what_is_absent_changes_nothing() {
    for item in ["rm:/a", "remove:/x/y/z", "delete:/x/0", "del:/x/y"] {
        check(r#"{"x":[1,{"y":2}]}"#, &[item], r#"{"x":[1,{"y":2}]}"#);
    }
    check(r#"{"x":"s"}"#, &["rm:/x/y"], r#"{"x":"s"}"#);
}

#[test]
fn lql_38_increments_start_from_zero() {
    check("{}", &["/n++"], r#"{"n":1}"#);
    check("{}", &["/a/n=-2.5"], r#"{"a":{"n":-2.5}}"#);
    check(r#"{"a":[]}"#, &["/a/n--"], r#"{"a":{"n":-1}}"#);
}

#[test]
fn lql_39_incrementing_what_is_no_number_fails() {
    for (value, kind) in [
        ("\"1\"", "a string"),
        ("true", "a boolean"),
        ("null", "null"),
        ("{}", "an object"),
        ("[1]", "an array"),
    ] {
        let expected = format!("increment /o/n: the value is not numeric but {kind}");
        check_fails(&format!("{{\"o\":{{\"n\":{value}}}}}"), &["/x=1", "/o/n++"], &expected);
    }
    // Even if the value is overwritten or removed later.
    let expected = "increment /o/n: the value is not numeric but a string";
    for item in ["/o/n=1", "rm:/o/n", "/o=1", "rm:/o", "/*=1", "rm:/...", "/o/n/x=1"] {
        check_fails(r#"{"o":{"n":"s"}}"#, &["/o/n++", item], expected);
        check(r#"{"o":{"n":"s"}}"#, &[item, "rm:/o", "/o/n++"], r#"{"o":{"n":1}}"#);
    }
    check_fails(r#"{"o":1}"#, &["/o/n=s", "/o/n++", "/o=1"], expected);
    check_fails("{}", &["/o/n=s", "/o/n++", "/o=1"], expected);
}

#[test]
fn lql_40_sums_are_exact_and_finite() {
    check(r#"{"n":0.7,"m":1e3}"#, &["/n=+0.1", "/n=+0.2", "/m++"], r#"{"n":1,"m":1001}"#);
    let expected = "increment /n: the result is outside of the range of 64-bit floats";
    check_fails(r#"{"n":1.7e308}"#, &["/n=+1e308", "/n=0"], expected);
    check_fails(r#"{"n":1e999}"#, &["/n++"], expected);
    check_fails("{}", &["/n=+1e308", "/n=+1e308"], expected);
    let long = format!("{{\"n\":0.{}}}", "1".repeat(5000));
    check_fails(&long, &["/n++"], "increment /n: the number is written with more than 4096 digits");
    check(&long, &["/n=1", "/n++"], r#"{"n":2}"#);
}

#[test]
fn lql_46_setting_through_a_scalar_or_array_replaces_it() {
    for value in ["1", "\"s\"", "true", "null", "[{\"b\":1}]"] {
        check(&format!("{{\"a\":{value},\"z\":0}}"), &["/a/b/c=2"], r#"{"a":{"b":{"c":2}},"z":0}"#);
    }
    check(r#"{"items":[{"x":0}]}"#, &["/items/0/x=1"], r#"{"items":{"0":{"x":1}}}"#);
}

#[test]
fn lql_47_wildcards_create_nothing() {
    let document = r#"{"a":{},"l":[],"s":1}"#;
    for item in ["/a/*=1", "/l[]=1", "/a/**/x=1", "/l/**/x=1", "/*/x=1", "/.../x=1", "/*/x++", "/s/*=1"] {
        check(document, &[item], document);
    }
}

#[test]
fn lql_48_removed_elements_leave_nulls() {
    check(r#"{"l":[1,{"a":[2]},[3]]}"#, &["rm:/l[]"], r#"{"l":[null,null,null]}"#);
    check(r#"{"l":[1,2,3]}"#, &["rm:/*/1"], r#"{"l":[1,null,3]}"#);
    check(r#"{"l":[1,2,3]}"#, &["rm:/l/**"], r#"{"l":[null,null,null]}"#);
    check(r#"{"l":[1,{"a":1}]}"#, &["rm:/.../a"], r#"{"l":[1,{}]}"#);
}

#[test]
fn lql_49_dots_touch_every_level() {
    check(r#"{"a":1,"b":{"c":[2,3]}}"#, &["rm:/..."], "{}");
    check(r#"{"a":1,"b":{"c":[2,3]}}"#, &["/b/...=0"], r#"{"a":1,"b":{"c":0}}"#);
    check(
        r#"{"a":{"x":1,"a":{"x":1,"y":{"x":1}}}}"#,
        &["/a/.../x++"],
        r#"{"a":{"x":2,"a":{"x":2,"y":{"x":2}}}}"#,
    );
    check(r#"{"a":1,"b":2}"#, &["/...=+1"], r#"{"a":2,"b":3}"#);
    check_fails(r#"{"a":{"b":2}}"#, &["/...=+1"], "increment /...: the value is not numeric but an object");
}

#[test]
fn numbers_index_arrays_in_paths_with_wildcards_only() {
    check(r#"{"l":[[1,2],{"1":3}]}"#, &["/l/*/1=9"], r#"{"l":[[1,2],{"1":3}]}"#);
    check(r#"{"l":[[1,2],{"1":3}]}"#, &["/l/**/1=9"], r#"{"l":[[1,9],{"1":9}]}"#);
    check(r#"{"l":[[1,2],{"01":3}]}"#, &["/l/[]/01=9"], r#"{"l":[[1,9],{"01":9}]}"#);
    check(r#"{"l":[{"a":1},{"a":1}]}"#, &["/l/1/**=9"], r#"{"l":[{"a":1},{"a":9}]}"#);
    check(r#"{"l":[{"a":1},{"a":1}]}"#, &["/l/1/**=9", "rm:/l/1/a"], r#"{"l":[{"a":1},{"a":9}]}"#);
}

#[test]
fn lql_50_what_is_not_touched_stays_as_it_is() {
    check(
        "{ \"z\" : 1.0, \"\\u0061\" : [ 1e2 , -0 ] ,\"x\":\"\\/\\u00e9\" , \"n\": 1 }",
        &["/n++", "/b=1", "/\u{e9}=2", "/Z=3"],
        "{\"z\":1.0,\"\\u0061\":[1e2,-0],\"x\":\"\\/\\u00e9\",\"n\":2,\"Z\":3,\"b\":1,\"\u{e9}\":2}",
    );
    // A name is the same however it is written.
    check(
        r#"{"\u0061\/\tb":1,"\ud83d\ude00":2}"#,
        &["/a~1\tb++", "/😀++"],
        r#"{"\u0061\/\tb":2,"\ud83d\ude00":3}"#,
    );
    check(r#"{"a":1,"b":0,"a":2}"#, &["/a++"], r#"{"a":2,"b":0,"a":3}"#);
    check(r#"{"a":1,"b":0,"a":2}"#, &["rm:/a"], r#"{"b":0}"#);
    check(r#"{"a":1,"b":0,"a":{"c":1}}"#, &["/a/c++"], r#"{"a":{"c":1},"b":0,"a":{"c":2}}"#);
    // A member that was removed and comes back is a new one.
    check(r#"{"a":1,"b":0,"a":2}"#, &["rm:/a", "/a++"], r#"{"b":0,"a":1}"#);
    check(r#"{"":1}"#, &["/{/a=1}", "//x=1"], r#"{"":{"x":1},"a":1}"#);
}

#[test]
fn lql_51_every_now_is_the_same() {
    check(
        "{}",
        &["time:/a=NOW", "/b{time:/c=now}"],
        r#"{"a":"2025-01-02T03:04:05.6Z","b":{"c":"2025-01-02T03:04:05.6Z"}}"#,
    );
}

#[test]
fn edits_build_on_each_other() {
    check("{}", &["/n=5", "/n++", "/*++", "/n=-0.5"], r#"{"n":6.5}"#);
    check(r#"{"n":1}"#, &["/n++", "/*=+10", "/...=+100"], r#"{"n":112}"#);
    check("{}", &["/a/b/c=1", "/a/*/d=2", "/a/b/d=3", "/a/*/d++", "rm:/.../c"], r#"{"a":{"b":{"d":4}}}"#);
    check(r#"{"a":{"x":1}}"#, &["/a=1", "/a/y=2", "/a/x++"], r#"{"a":{"x":1,"y":2}}"#);
    check(r#"{"a":{"x":1}}"#, &["/a/x++", "/b=1", "/*/x++", "/**/x++"], r#"{"a":{"x":4},"b":1}"#);
    check(r#"{"l":[1,2]}"#, &["/l[]++", "rm:/l/**", "/l[]/x=1", "/l[]=7"], r#"{"l":[7,7]}"#);
    check_fails(r#"{"l":[1]}"#, &["rm:/l[]", "/l[]++"], "increment /l/[]: the value is not numeric but null");
    check("{}", &["/a/b=1", "rm:/a/b"], r#"{"a":{}}"#);
    check("{}", &["/a/b=1", "rm:/a"], "{}");
}

#[test]
fn lql_57_the_document_is_one_object() {
    for document in ["[]", "1", "\"x\"", "null", " [{}]"] {
        check_fails(document, &["/a=1"], "mutate stream mode requires top-level JSON object root");
    }
    check_fails("", &["/a=1"], "byte 0: expected a JSON value, found the end of the input");
    check_fails("{}{}", &["/a=1"], "byte 2: expected nothing after the document, found '{'");
    check_fails(
        "{\"a\":1",
        &["/a=1"],
        "byte 6: expected ',' or '}' after a member, found the end of the input",
    );
    check_fails("{\"a\":01}", &["/a++"], "byte 6: expected no digit after a leading zero, found '1'");
}

#[test]
fn lql_58_sizes_and_depths_are_limited() {
    let limited = |document: &str, items: &[&str], limits| edit_with(&program(items), document, limits);
    let limits = EditLimits { max_input: 10, max_output: 12, max_depth: 3 };
    let large = |limit| Err(EditError::TooLarge { limit });
    let deep = || Err(EditError::TooDeep { limit: 3 });
    assert_eq!(limited(r#"{"a":123 }"#, &["/a=123456"], limits).unwrap(), r#"{"a":123456}"#);
    assert_eq!(limited(r#"{"a":1234 }"#, &["/a=1"], limits), large(10));
    assert_eq!(limited(r#"{"a":123 }"#, &["/a=1234567"], limits), large(12));
    assert_eq!(limited(r#"{"a":123 }"#, &["/b=12"], limits), large(12));
    assert_eq!(limited("[[[[", &["/b=12"], limits), deep());
    assert_eq!(limited("{}", &["/a/b/c=0"], EditLimits { max_output: 99, ..limits }).unwrap().len(), 19);
    assert_eq!(limited("{}", &["/a/b/c/d=0"], EditLimits { max_output: 99, ..limits }), deep());
    assert_eq!(limited(r#"{"a":1}"#, &["/a/b/c/d=0"], EditLimits { max_output: 99, ..limits }), deep());
    assert_eq!(
        limited(r#"{"a":[0]}"#, &["/a/**=0", "/a/b/c/d=0"], EditLimits { max_output: 99, ..limits }),
        deep()
    );
    assert_eq!(
        limited(r#"{"a":[0]}"#, &["/a[]=0", "/a/b/c=0"], EditLimits { max_output: 99, ..limits })
            .unwrap()
            .len(),
        19
    );
}

#[derive(Debug, Clone)]
struct Item {
    path: String,
    change: Change,
    text: String,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["a", "b", "c", "0", "1", "ü/~"][..])
}

fn tree() -> impl Strategy<Value = Tree> {
    let scalars =
        ["0", "1", "-2.50", "1e2", "9007199254740993", "1e308", "\"s\"", "\"\\\"}{\\\\\"", "true", "null"];
    let scalar = prop::sample::select(scalars.to_vec()).prop_map(|raw| Tree::Scalar(raw.into()));
    let leaf = prop_oneof![8 => scalar, 1 => Just(Tree::Object(vec![])), 1 => Just(Tree::Array(vec![]))];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Array),
            2 => object(inner),
        ]
    })
}

fn object(value: impl Strategy<Value = Tree>) -> impl Strategy<Value = Tree> {
    let raw = (name(), any::<bool>()).prop_map(|(name, escape)| match (name, escape) {
        (_, false) => format!("\"{name}\""),
        ("ü/~", true) => "\"\\u00fc\\/~\"".into(),
        (name, true) => format!("\"\\u{:04x}\"", name.as_bytes()[0]),
    });
    let member = (raw, value).prop_map(|(raw, value)| Member { raw, value, new: false });
    prop::collection::vec(member, 0..5).prop_map(Tree::Object)
}

fn item() -> impl Strategy<Value = Item> {
    let plain = || name().prop_map(|name| name.replace('~', "~0").replace('/', "~1"));
    let wild = prop::sample::select(&["*", "[]", "**", "..."][..]).prop_map(str::to_owned);
    let plain_path = prop::collection::vec(plain(), 1..4);
    let wild_path = prop::collection::vec(prop_oneof![plain(), wild], 1..5);
    let path = prop_oneof![plain_path, wild_path].prop_map(|parts| format!("/{}", parts.join("/")));
    let change = prop_oneof![
        2 => prop::sample::select(&["7", "x y", "true", "null", "2.5"][..]).prop_map(|text| Change::Set(text.into())),
        2 => prop::sample::select(&[1.0, -1.0, 0.5, 1.7e308][..]).prop_map(Change::Increment),
        1 => Just(Change::Remove),
    ];
    (path, change).prop_map(|(path, change)| {
        let (text, change) = match change {
            Change::Set(value) => (format!("{path}={value}"), Change::Set(json(&value))),
            Change::Increment(delta) => (format!("{path}={delta:+}"), change),
            Change::Remove => (format!("rm:{path}"), change),
        };
        Item { path, change, text }
    })
}

/// Puts whitespace between tokens.
fn spread(compact: &str) -> String {
    let mut out = String::new();
    let (mut in_text, mut escaped) = (false, false);
    for letter in compact.chars() {
        if in_text {
            in_text = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
            out.push(letter);
            continue;
        }
        in_text = letter == '"';
        if "{}[],:".contains(letter) {
            out.extend([' ', letter, '\n']);
        } else {
            out.push(letter);
        }
    }
    out
}

fn expected(document: &Tree, items: &[Item]) -> Option<String> {
    let mut tree = document.clone();
    for item in items {
        tree.change(&Path::parse(&item.path).unwrap(), &item.change)?;
    }
    Some(tree.print())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_pass_does_what_one_edit_after_the_other_does(
        document in object(tree()),
        items in prop::collection::vec(item(), 1..8),
    ) {
        let texts: Vec<_> = items.iter().map(|item| item.text.as_str()).collect();
        let compact = document.print();
        let program = program(&texts);
        let expected = expected(&document, &items);
        for text in [spread(&compact), compact] {
            let result = edit_with(&program, &text, EditLimits::default());
            prop_assert_eq!(result.as_ref().ok(), expected.as_ref(), "{} {:?} {:?}", text, texts, result);
            if let Err(error) = result {
                prop_assert!(matches!(error, EditError::Increment { .. }), "{}", error);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in r#"([/a*.\[\]{}=+\-,'"\\ 0-9\n]|rm:|time:|NOW|\.\.\.){0,20}"#) {
        let options = ParseOptions::default();
        if let Ok(mutations) = Mutations::parse_text(&text, &options) {
            let _ = edit_with(&mutations.compile(NOW), r#"{"a":{"a":[1,{"0":2}]},"":3}"#, EditLimits::default());
        }
        let _ = Mutations::parse_list(&[text], &options);
    }
}
