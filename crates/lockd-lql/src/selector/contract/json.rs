//! Selectors as JSON, in and out.

use super::*;

#[test]
fn lql_18_json_values_of_all_scalar_types() {
    for (value, text) in [
        ("\"x\"", "x"),
        ("\"007\"", "007"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("12345678901234567890", "12345678901234567000"),
        ("true", "true"),
        ("false", "false"),
        ("null", ""),
    ] {
        let selector = from_json(&format!(r#"{{"eq":{{"field":"/a","value":{value}}}}}"#)).unwrap();
        assert_eq!(selector.eq.unwrap().value.unwrap(), text, "{value}");
    }
    for value in ["[]", "{}", "[1]"] {
        assert_eq!(
            json_error(&format!(r#"{{"eq":{{"field":"/a","value":{value}}}}}"#)),
            "term value must be a string, number, boolean or null"
        );
    }
    assert!(json_error(r#"{"eq":{"field":"/a","value":1e999}}"#).starts_with("json: unsupported value"));
}

#[test]
fn lql_19_json_any_in_all_its_shapes() {
    let any = |any: &str| from_json(&format!(r#"{{"contains":{{"field":"/a","any":{any}}}}}"#));
    for (json, items) in [
        (r#"["x"," y ","",1.0,false,null]"#, &["x", "y", "1", "false"][..]),
        (r#"" x | y ||""#, &["x", "y"]),
        ("5", &["5"]),
        ("true", &["true"]),
        (r#"["a|b"]"#, &["a|b"]),
    ] {
        assert_eq!(any(json).unwrap().contains.unwrap().any, items, "{json}");
    }
    for json in ["[]", "[null,\" \"]", "\"|\"", "\"\""] {
        assert_eq!(any(json).unwrap_err().to_string(), "term any requires values", "{json}");
    }
    assert!(any("null").unwrap().contains.unwrap().any.is_empty());
    assert_eq!(json_error(r#"{"in":{"field":"/a","any":"x|y"}}"#), "in.any must be an array of strings");
    assert_eq!(json_error(r#"{"in":{"field":"/a","any":["x",1]}}"#), "in.any must be an array of strings");
}

#[test]
fn lql_20_unknown_members_and_letter_case_in_json() {
    let selector = from_json(
        r#"{"EQ":{"Field":"/status","VALUE":"open","boost":[{"x":[]}]},"comment":{"eq":[1,"\""]},"or":null,"not":null}"#,
    );
    assert_eq!(selector.unwrap().to_json(), OPEN);
    for json in ["{}", " null ", r#"{"and":[],"or":[],"exists":null,"exists":""}"#] {
        assert!(from_json(json).unwrap().is_empty(), "{json}");
    }
}

#[test]
fn json_of_the_wrong_shape_is_refused() {
    for (json, expected) in [
        ("[]", "selector must be a JSON object"),
        ("1", "selector must be a JSON object"),
        ("", "selector JSON invalid at byte 0: expected a JSON value"),
        ("{", "selector JSON invalid at byte 1: expected a member name in double quotes"),
        ("{} {}", "selector JSON invalid at byte 3: expected nothing after the selector"),
        (r#"{"x":[1,}"#, "selector JSON invalid at byte 8: expected a JSON value"),
        (r#"{"and":{}}"#, "selector and must be an array of selectors"),
        (r#"{"or":[1]}"#, "selector or must be an array of selectors"),
        (r#"{"not":[]}"#, "selector not must be a selector object"),
        (r#"{"eq":"x"}"#, "selector eq must be an object"),
        (r#"{"exists":1}"#, "selector exists must be a JSON pointer"),
        (r#"{"eq":{"field":1}}"#, "eq field must be a string"),
        (r#"{"prefix":{"field":"/a","ignoreCase":"yes"}}"#, "term ignoreCase must be true/false/t/f"),
        (r#"{"prefix":{"field":"/a","ignoreCase":1}}"#, "term ignoreCase must be boolean"),
        (r#"{"date":{"field":"/a","value":2025}}"#, "date value must be a string"),
    ] {
        assert_eq!(json_error(json), expected, "{json}");
    }
}

#[test]
fn lql_21_range_bounds_in_json() {
    let range = |members: &str| from_json(&format!(r#"{{"range":{{"field":"/a",{members}}}}}"#));
    let error = |members| range(members).unwrap_err().to_string();
    assert_eq!(error(r#""gte":"10""#), "range selector datetime bound \"10\" invalid");
    assert_eq!(error(r#""gte":"soon""#), "range selector datetime bound \"soon\" invalid");
    assert_eq!(error(r#""gte":"""#), "range gte: value required");
    assert_eq!(error(r#""lt":true"#), "range lt: value must be numeric or datetime string");
    assert_eq!(error(r#""gt":[1]"#), "range gt: value must be numeric or datetime string");
    assert_eq!(error(r#""gt":null"#), "range selector requires at least one bound");
    assert_eq!(error(r#""gt":1,"lt":"2025-01-01""#), "range selector cannot mix numeric and datetime bounds");
    assert_eq!(range(r#""gt":null,"lt":5.0"#).unwrap().to_json(), r#"{"range":{"field":"/a","lt":5}}"#);
}

#[test]
fn lql_60_canonical_json_reads_back_as_the_same() {
    for text in [
        "/a=1,or.0.not.in{f=/b,a=x|y},or.0.range{f=/n,gt=1e-7,lte=1e300},or.4.date{f=/t,since=now,lt=2025-01-01}",
        "contains{f='/é\\n',v=\"'\"},iprefix{f=/x,ic=t},exists{/...}",
        "not.contains{f=/}",
    ] {
        let selector = parse(text);
        assert_eq!(from_json(&selector.to_json()).unwrap(), selector);
    }
    assert_eq!(json("not.contains{f=/}"), r#"{"and":[{"not":{}}]}"#);
}
