//! How deep and how large selectors may be, and what that costs.

use super::*;

#[test]
fn lql_59_nesting_is_capped_in_every_form() {
    let clause = "exists{/a}";
    let text = |groups: usize| "not.".repeat(groups) + clause;
    assert!(Selector::parse(&text(255)).unwrap().compile(Instant(0)).is_ok());
    assert_eq!(error(&text(256)), "selector nested deeper than 256 levels");
    assert_eq!(error(&text(1_000_000)), "selector nested deeper than 256 levels");
    let beside = |groups: usize| format!("exists{{/b}},{}", text(groups));
    assert!(Selector::parse(&beside(254)).is_ok());
    assert_eq!(Selector::parse(&beside(255)).unwrap_err().problem, Problem::TooDeep);

    let json =
        |levels: usize| r#"{"and":[{"or":["#.repeat(levels) + r#"{"exists":"/a"}"# + &"]}]}".repeat(levels);
    let deepest = from_json(&json(127)).unwrap();
    assert!(deepest.compile(Instant(0)).is_ok());
    assert_eq!(deepest, from_json(&deepest.to_json()).unwrap());
    assert_eq!(json_error(&json(128)), "selector nested deeper than 256 levels");
    assert_eq!(json_error(&r#"{"not":"#.repeat(1_000_000)), "selector nested deeper than 256 levels");

    let path = "or.0.".repeat(300) + "exists";
    assert_eq!(url(&[(&path, "/a")]).unwrap_err().problem, Problem::TooDeep);
    assert_eq!(Selector::parse_list(&[text(255)], Join::And).unwrap_err().problem, Problem::TooDeep);
}

#[test]
fn lql_59_the_deepest_selector_needs_little_stack() {
    let work = || {
        let json =
            r#"{"and":[{"exists":"/b"},{"not":"#.repeat(127) + r#"{"exists":"/a"}"# + &"}]}".repeat(127);
        let selector = from_json(&json).unwrap();
        assert!(selector.compile(Instant(0)).is_ok());
        assert_eq!(selector.clone().simplified(), selector);
        assert_eq!(selector.to_json(), json);
        assert!(!selector.depends_on_time());
        let text = "not.or.".repeat(127) + "exists{/a}";
        assert!(parse(&text).compile(Instant(0)).is_ok());
    };
    let small = std::thread::Builder::new().stack_size(STACK);
    small.spawn(work).unwrap().join().unwrap();
}

#[test]
fn large_selectors_take_linear_time() {
    let many: Vec<String> =
        (0..100_000).map(|number| format!("or.{number}.eq{{f=/a{number},v=x}}")).collect();
    let text = many.join(",");
    let selector = parse(&text);
    assert_eq!(selector.or.len(), 100_000);
    let condition = selector.compile(Instant(0)).unwrap();
    assert_eq!(condition.clauses.len(), 100_000);
    assert_eq!(from_json(&selector.to_json()).unwrap(), selector);
    let plain: Vec<String> = (0..100_000).map(|number| format!("/a{number}!=x")).collect();
    assert_eq!(parse(&plain.join("\n")).and.len(), 100_000);
    let parameters = (0..100_000).map(|number| (format!("or.{number}.exists"), "/a"));
    assert_eq!(Selector::from_url_parameters(parameters).unwrap().unwrap().or.len(), 100_000);
    let same = "{},".repeat(1_000_000);
    let json = format!(r#"{{"and":[{same}{{}}]}}"#);
    assert!(from_json(&json).unwrap().and.len() < 2);
}

#[test]
fn a_million_braces_are_no_trouble() {
    let million = 1_000_000;
    assert_eq!(error(&"{".repeat(million)), "unterminated brace in selector expression");
    assert_eq!(error(&"}".repeat(million)), "unexpected closing brace");
    let balanced = "{".repeat(million) + &"}".repeat(million);
    assert!(error(&balanced).starts_with("invalid selector expression"));
    assert!(error(&format!("eq{balanced}")).starts_with("invalid selector expression"));
    assert_eq!(parse(&format!("/a={balanced}")).eq.unwrap().value.unwrap().len(), 2 * million);
    assert!(error(&"eq{".repeat(million)).starts_with("unterminated brace"));
    assert!(parse(&format!("eq{{f={},v=x}}", "/".repeat(million))).compile(Instant(0)).is_ok());
    assert!(json_error(&"[".repeat(million)).starts_with("selector must be"));
    assert!(json_error(&format!(r#"{{"x":{}"#, "[".repeat(million))).starts_with("selector JSON invalid"));
}
