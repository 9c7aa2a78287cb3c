//! Selectors in the parameters of URLs.

use super::*;

#[test]
fn lql_13_url_parameters() {
    let json = |parameters: &[(&str, &str)]| url(parameters).unwrap().map(|selector| selector.to_json());
    assert_eq!(json(&[("eq{field=/status,value=open}", "")]).unwrap(), OPEN);
    assert_eq!(
        json(&[("namespace", "x"), ("EQ.V", " 'open' "), ("limit", "3"), ("eq.f", "/status")]).unwrap(),
        OPEN
    );
    assert_eq!(
        json(&[("in.field", "/env"), ("in.any", "prod|stage")]).unwrap(),
        r#"{"in":{"field":"/env","any":["prod","stage"]}}"#
    );
    assert_eq!(
        json(&[("and.0.eq.field", "/a"), ("and.1.exists", "/b"), ("and.0.eq.value", "1")]).unwrap(),
        r#"{"and":[{"eq":{"field":"/a","value":"1"}},{"exists":"/b"}]}"#
    );
    assert_eq!(json(&[("exists", "/meta/etag")]).unwrap(), r#"{"exists":"/meta/etag"}"#);
    assert_eq!(
        json(&[("eq.field", "/a"), ("eq.value", "007"), ("range.field", "/n"), ("range.gte", "5")]).unwrap(),
        r#"{"eq":{"field":"/a","value":"7"},"range":{"field":"/n","gte":5}}"#
    );
    assert_eq!(json(&[("namespace", "x"), ("field", "y"), ("equal.field", "z")]), None);
    assert_eq!(json(&[("eq.field", "/a"), ("eq.f", "/a"), ("eq.value", "1")]), json(&[("eq{f=/a,v=1}", "")]));
}

#[test]
fn lql_14_url_parameters_that_are_refused() {
    let error = |parameters: &[(&str, &str)]| url(parameters).unwrap_err().to_string();
    assert_eq!(error(&[("eq{field", "/status,value=open}")]), "selector \"eq{field\" missing closing brace");
    assert_eq!(
        error(&[("eq.field", "/a"), ("eq.field", "/b")]),
        "selector expression \"eq.field\" has duplicate values"
    );
    assert_eq!(error(&[("eq", "/a")]), "selector path \"eq\" missing key");
    assert_eq!(error(&[("eq.", "/a")]), "selector path \"eq.\" missing key");
    assert_eq!(error(&[("eq.field.x", "/a")]), "selector path \"eq.field.x\" has unexpected segment \"x\"");
    assert_eq!(error(&[("and.0", "/a")]), "selector path \"and.0\" missing term");
    assert_eq!(
        error(&[("exists.field", "/a")]),
        "selector path \"exists.field\" has unexpected segment \"field\""
    );
    assert_eq!(error(&[("eq.any", "/a")]), "eq selector does not support key \"any\"");
    assert_eq!(error(&[("eq.value", "1")]), "term field required");
    assert_eq!(error(&[("eq{f=/a,v=1}", ""), ("eq{f=/a,v=2}", "")]), "selector path conflict at value");
    assert_eq!(error(&[("eq{f=/a,v='1}", "")]), "unterminated quote in selector expression");
    assert_eq!(error(&[("exists", " ")]), "selector term \"exists\" invalid");
}
