//! The contract of evaluation: worked examples by number, and the lines of its checklist. Every example is decided twice:
//! over the condition, and over the selector itself.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    condition::{Instant, Temporal, fold_case},
    path::Path,
    selector::{Bound, MAX_DEPTH, Selector, Term},
    text::float_literal,
};

pub(crate) const NOW: Instant = Instant(1_735_825_445_000_000_000); // 2025-01-02T13:44:05Z

/// A document tree that keeps the text of numbers and repeated members.
#[derive(Debug, Clone)]
enum Tree {
    Scalar(Kind<'static>),
    Array(Vec<Tree>),
    Object(Vec<(&'static str, Tree)>),
}

impl Json for Tree {
    fn kind(&self) -> Kind<'_> {
        match self {
            Tree::Scalar(kind) => kind.clone(),
            Tree::Array(_) => Kind::Array,
            Tree::Object(_) => Kind::Object,
        }
    }

    fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        let members = if let Tree::Object(members) = self { members.as_slice() } else { &[] };
        members.iter().map(|(name, value)| (*name, value))
    }

    fn elements(&self) -> &[Self] {
        if let Tree::Array(elements) = self { elements } else { &[] }
    }
}

#[track_caller]
fn selects<J: Json>(text: &str, document: &J) -> bool {
    let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{}", error.explain(text)));
    let answer = matches(&selector.compile(NOW).unwrap(), document);
    assert_eq!(selector_matches(&selector, document), answer, "{text}");
    let reread = Selector::from_json(selector.to_json().as_bytes()).unwrap();
    assert_eq!(matches(&reread.compile(NOW).unwrap(), document), answer, "{text}");
    answer
}

/// The rules once more, read off the selector instead of its compiled form.
fn selector_matches<J: Json>(selector: &Selector, document: &J) -> bool {
    let selector = selector.clone().simplified();
    let candidate = |value: &J| value.kind() == Kind::Object && node(&selector, value);
    selector.is_empty()
        || match document.kind() {
            Kind::Array => document.elements().iter().any(candidate),
            _ => candidate(document),
        }
}

fn node<J: Json>(selector: &Selector, document: &J) -> bool {
    let term = |term: &Option<Box<Term>>, fold: bool, holds: fn(&str, &str) -> bool| {
        term.as_ref().is_none_or(|term| {
            let fold = |text: &str| if fold || term.ignore_case { fold_case(text) } else { text.to_owned() };
            let needles: Vec<&String> = term.value.iter().chain(&term.any).collect();
            if needles.is_empty() {
                return !reached(document, &term.field).is_empty();
            }
            leaves(document, &term.field)
                .iter()
                .any(|text| needles.iter().any(|needle| holds(&fold(text), &fold(needle))))
        })
    };
    let edge =
        |bound: &Option<Bound>, text: &str, holds: fn(std::cmp::Ordering) -> bool, is_text: bool| match bound
        {
            None => true,
            Some(Bound::Number(bound)) => {
                let number = if is_text { float_literal(text) } else { text.parse().ok() };
                number.and_then(|number: f64| number.partial_cmp(bound)).is_some_and(holds)
            }
            Some(Bound::Time(bound)) => ordered(text, bound, holds),
        };
    selector.and.iter().all(|part| node(part, document))
        && (selector.or.is_empty() || selector.or.iter().any(|branch| node(branch, document)))
        && selector.not.as_ref().is_none_or(|inner| !node(inner, document))
        && term(&selector.eq, false, |text, value| text == value || same(text, value))
        && term(&selector.contains, false, |text, needle| text.contains(needle))
        && term(&selector.icontains, true, |text, needle| text.contains(needle))
        && term(&selector.prefix, false, |text, needle| text.starts_with(needle))
        && term(&selector.iprefix, true, |text, needle| text.starts_with(needle))
        && selector.range.as_ref().is_none_or(|range| {
            with_kinds(document, &range.field).iter().any(|(is_text, text)| {
                edge(&range.gt, text, |order| order.is_gt(), *is_text)
                    && edge(&range.gte, text, |order| order.is_ge(), *is_text)
                    && edge(&range.lt, text, |order| order.is_lt(), *is_text)
                    && edge(&range.lte, text, |order| order.is_le(), *is_text)
            })
        })
        && selector.date.as_ref().is_none_or(|date| {
            let bound = |bound: &Option<String>, text: &str, holds: fn(std::cmp::Ordering) -> bool| {
                bound.as_ref().is_none_or(|bound| ordered(text, bound, holds))
            };
            leaves(document, &date.field).iter().any(|text| {
                Temporal::parse(text).is_some()
                    && date.value.as_ref().is_none_or(|value| same(text, value))
                    && bound(&date.after, text, |order| order.is_gt())
                    && bound(&date.gt, text, |order| order.is_gt())
                    && bound(&date.gte, text, |order| order.is_ge())
                    && bound(&date.before, text, |order| order.is_lt())
                    && bound(&date.lt, text, |order| order.is_lt())
                    && bound(&date.lte, text, |order| order.is_le())
                    && date.since.as_ref().is_none_or(|since| match since.to_lowercase().trim() {
                        "now" => ordered(text, &NOW.to_string(), |order| order.is_ge()),
                        "today" => ordered(text, "2025-01-02", |order| order.is_ge()),
                        "yesterday" => ordered(text, "2025-01-01", |order| order.is_ge()),
                        _ => ordered(text, since, |order| order.is_ge()),
                    })
            })
        })
        && selector
            .within
            .as_ref()
            .is_none_or(|within| leaves(document, &within.field).iter().any(|text| within.any.contains(text)))
        && selector
            .exists
            .as_ref()
            .is_none_or(|pointer| reached(document, pointer).iter().any(|value| value.kind() != Kind::Null))
}

fn reached<'a, J: Json>(document: &'a J, field: &str) -> Vec<&'a J> {
    let mut values = Vec::new();
    resolve(document, &Path::parse(field).unwrap().segments, &mut values);
    values
}

/// The string forms at a path, arrays looked through, and whether each is a string.
fn with_kinds<J: Json>(document: &J, field: &str) -> Vec<(bool, String)> {
    let values = reached(document, field).into_iter().flat_map(with_elements);
    let text = |value: &J| {
        let kind = value.kind();
        Some((matches!(kind, Kind::Text(_)), kind.scalar().string_form()?.to_owned()))
    };
    values.filter_map(text).collect()
}

fn leaves<J: Json>(document: &J, field: &str) -> Vec<String> {
    with_kinds(document, field).into_iter().map(|(_, text)| text).collect()
}

fn same(a: &str, b: &str) -> bool {
    Temporal::parse(a).zip(Temporal::parse(b)).is_some_and(|(a, b)| a.same_time(b))
}

fn ordered(a: &str, b: &str, holds: fn(std::cmp::Ordering) -> bool) -> bool {
    let (a, b) = (Temporal::parse(a), Temporal::parse(b));
    a.zip(b).is_some_and(|(a, b)| holds(a.instant().cmp(&b.instant())))
}

#[test]
fn worked_examples_62_to_82() {
    let items = json!({"items": [{"s": "A"}, {"s": "B"}]});
    let early = json!({"t": "2025-01-02T01:00:00+02:00"});
    for (number, document, text, expected) in [
        (62, &json!({"a": 1}), "/a=1", true),
        (63, &json!({"a": 1.0}), "/a=1", false),
        (64, &json!({"a": 1.0}), "/a>=1", true),
        (65, &json!({"a": null}), "exists{/a}", false),
        (66, &json!({"a": null}), "contains{f=/a}", true),
        (67, &json!({"a": {}}), "exists{/a}", true),
        (68, &json!({"x/y": "v"}), "eq{f=/x~1y,v=v}", true),
        (69, &json!({"logs": {"a": {"m": "Timeout"}}}), "icontains{f=/logs/*/m,v=timeout}", true),
        (70, &items, "eq{f=/items[]/s,v=B}", true),
        (71, &items, "eq{f=/items/1/s,v=B}", true),
        (72, &items, "eq{f=/items/s,v=B}", true),
        (73, &items, "eq{f=/items/*/s,v=B}", false),
        (74, &items, "eq{f=/items/**/s,v=B}", true),
        (74, &items, "eq{f=/.../s,v=B}", true),
        (75, &json!({"a": {"a": {"b": 1}}}), "eq{f=/a/.../b,v=1}", true),
        (76, &early, "eq{f=/t,v=2025-01-02}", true),
        (77, &early, "/t>=2025-01-02", false),
        (78, &json!({"t": "2025-01-01T23:00:00Z"}), "eq{f=/t,v=\"2025-01-02T01:00:00+02:00\"}", true),
        (79, &json!({"s": "OPEN"}), "/s=open", false),
        (80, &json!({"s": "OPEN"}), "icontains{f=/s,v=pe}", true),
        (81, &json!([{"a": 1}, {"a": 2}]), "/a=2", true),
        (82, &json!("text"), "/a=1", false),
        (82, &json!("text"), "", true),
    ] {
        assert_eq!(selects(text, document), expected, "example {number}: {text} on {document}");
    }
}

#[test]
fn lql_01_the_empty_selector_matches_a_stored_scalar() {
    for document in [json!(1), json!(null), json!("x"), json!([]), json!({})] {
        for text in ["", "{}", ".", "/", "contains{f=/...}"] {
            assert!(selects(text, &document));
        }
        assert!(!selects("not.contains{f=/...}", &document));
    }
    // Whatever is not always true is true of objects only.
    assert!(selects("not.exists{/a}", &json!({})) && !selects("not.exists{/a}", &json!(1)));
    assert!(!selects("not.exists{/a}", &json!([])) && !selects("not.exists{/a}", &json!([[{}]])));
}

#[test]
fn lql_05_combinations() {
    let document = json!({"a": 1, "b": 2, "c": 3});
    assert!(selects("/a=1,/b=2", &document) && !selects("/a=1,/b=3", &document));
    assert!(selects("or.eq{f=/a,v=9},or.eq{f=/b,v=2}", &document));
    assert!(!selects("or.eq{f=/a,v=9},or.eq{f=/b,v=9}", &document));
    assert!(selects("/a=1,or.eq{f=/b,v=9},or.eq{f=/c,v=3}", &document));
    assert!(!selects("/a=9,or.eq{f=/b,v=2},or.eq{f=/c,v=3}", &document));
    assert!(!selects("/a=1,or.eq{f=/b,v=9},or.eq{f=/c,v=9}", &document));
    // In JSON, `or` beside other members is one more condition.
    let selector = Selector::from_json(br#"{"or":[{"exists":"/x"},{"exists":"/b"}],"exists":"/a"}"#).unwrap();
    assert!(selector_matches(&selector, &document) && matches(&selector.compile(NOW).unwrap(), &document));
    assert!(!matches(&selector.compile(NOW).unwrap(), &json!({"a": 1})));
}

#[test]
fn lql_09_shorthand_values_with_special_characters() {
    for value in ["a&b", "<i>", "x<y", "a\"b\"c"] {
        assert!(selects(&format!("/v={value}"), &json!({"v": value})), "{value}");
    }
}

#[test]
fn lql_25_wildcards() {
    let document = json!({"o": {"x": 1}, "l": [1], "d": {"e": [{"f": 1}]}});
    for (text, expected) in [
        ("/o/*=1", true),
        ("/l/*=1", false),
        ("/o/[]=1", false),
        ("/l/[]=1", true),
        ("/o/**=1", true),
        ("/l/**=1", true),
        ("/d/**=1", false),
        ("/.../f=1", true),
        ("/d/.../f=1", true),
        ("/.../d/.../f/...=1", true),
        ("/*=1", true),
        ("exists{/.../nothing}", false),
    ] {
        assert_eq!(selects(text, &document), expected, "{text}");
    }
    assert!(!selects("/*=1", &json!({"l": {"x": 1}})));
    assert!(selects("/*=1", &json!({"l": [[1]]})), "an array at the end of a path is looked through");
}

#[test]
fn lql_26_brackets_behind_a_name() {
    let document = json!({"items": [{"x": 1}], "grid": [[1, 2], [3]]});
    assert!(selects("/items[]/x=1", &document) && selects("/items/[]/x=1", &document));
    assert!(selects("/grid[][]=3", &document) && selects("/grid/[]/[]=3", &document));
}

#[test]
fn lql_27_numbers_are_names_and_indexes() {
    assert!(selects("/a/1=x", &json!({"a": {"1": "x"}})));
    assert!(selects("/a/1=x", &json!({"a": ["y", "x"]})) && !selects("/a/1=x", &json!({"a": ["x", "y"]})));
    assert!(selects("/a/01=x", &json!({"a": ["y", "x"]})) && selects("/a/+1=x", &json!({"a": ["y", "x"]})));
    assert!(!selects("/a/01=x", &json!({"a": {"1": "x"}})));
    // A number that is no index of the array is looked for in its elements.
    assert!(selects("/a/7=x", &json!({"a": [{"7": "x"}]})));
    assert!(!selects("/a/0=x", &json!({"a": [{"0": "x"}]})));
}

#[test]
fn lql_28_equality_is_textual() {
    let number = |text: &'static str| Tree::Object(vec![("n", Tree::Scalar(Kind::Number(text.into())))]);
    assert!(selects("/n=1", &number("1")) && !selects("/n=1", &number("1.0")));
    assert!(!selects("/n=1000", &number("1e3")) && selects("/n>=1000", &number("1e3")));
    assert!(selects("in{f=/n,a=1e3}", &number("1e3")));
    assert!(selects("/n>5", &json!({"n": "10"})), "numeric strings are numbers to ranges");
}

#[test]
fn lql_29_existence() {
    for (document, expected) in [
        (json!({}), false),
        (json!({"a": null}), false),
        (json!({"a": ""}), true),
        (json!({"a": {}}), true),
        (json!({"a": []}), true),
        (json!({"a": [null]}), true),
        (json!({"a": false}), true),
        (json!({"a": 0}), true),
    ] {
        assert_eq!(selects("exists{/a}", &document), expected, "{document}");
    }
}

#[test]
fn lql_30_omitted_and_empty_values() {
    for term in ["eq", "contains", "icontains", "prefix", "iprefix"] {
        let omitted = format!("{term}{{f=/a}}");
        for document in [json!({"a": null}), json!({"a": []}), json!({"a": {}}), json!({"a": 1})] {
            assert!(selects(&omitted, &document), "{omitted} {document}");
        }
        assert!(!selects(&omitted, &json!({"b": 1})));
    }
    for (document, expected) in [
        (json!({"a": null}), false),
        (json!({"a": {}}), false),
        (json!({"a": []}), false),
        (json!({"a": [1]}), true),
        (json!({"a": ""}), true),
        (json!({"a": false}), true),
    ] {
        assert_eq!(selects("contains{f=/a,v=''}", &document), expected, "{document}");
    }
    assert!(selects("/a=\"\"", &json!({"a": ""})) && !selects("/a=\"\"", &json!({"a": "x"})));
    assert!(!selects("/a=\"\"", &json!({"a": null})));
}

#[test]
fn lql_31_not_is_true_of_absent_fields() {
    assert!(selects("/a!=1", &json!({})) && selects("/a!=1", &json!({"a": {"x": 1}})));
    assert!(!selects("/a!=1", &json!({"a": [2, 1]})));
    assert!(!selects("/items[]/s!=A", &json!({"items": [{"s": "A"}, {"s": "B"}]})));
}

#[test]
fn lql_32_days_and_moments() {
    let document = json!({"t": "2025-01-02T01:00:00+02:00"});
    assert!(selects("date{f=/t,value=2025-01-02}", &document));
    assert!(!selects("date{f=/t,value=2025-01-01}", &document));
    assert!(selects("date{f=/t,value=2025-01-02,before=2025-01-02}", &document));
    let midnight = json!({"t": "2025-01-03T00:00:00Z"});
    assert!(
        !selects("date{f=/t,before=2025-01-03}", &midnight)
            && selects("date{f=/t,lte=2025-01-03}", &midnight)
    );
    assert!(!selects("in{f=/t,a=2025-01-02}", &document), "lists are compared as text");
    assert!(!selects("/t=2025-01-02", &json!({"t": "soon"})));
}

#[test]
fn lql_33_since_words() {
    for (time, word, expected) in [
        ("2025-01-02T13:44:05Z", "now", true),
        ("2025-01-02T13:44:04.999Z", "now", false),
        ("2025-01-02", "today", true),
        ("2025-01-01T23:59:59Z", "TODAY", false),
        ("2025-01-01T23:59:59Z", "yesterday", true),
        ("2024-12-31T23:59:59Z", "yesterday", false),
    ] {
        assert_eq!(
            selects(&format!("date{{f=/t,since={word}}}"), &json!({"t": time})),
            expected,
            "{time} {word}"
        );
    }
}

#[test]
fn lql_34_moments_without_offset() {
    assert!(selects("/t>=2025-01-02T01:00:00", &json!({"t": "2025-01-02T01:00:00Z"})));
    assert!(selects("/t=2025-01-02T01:00:00Z", &json!({"t": "2025-01-02T01:00:00"})));
}

#[test]
fn repeated_members_may_each_satisfy_a_clause() {
    let scalar = |text: &'static str| Tree::Scalar(Kind::Text(text));
    let document = Tree::Object(vec![("a", scalar("1")), ("a", Tree::Array(vec![scalar("2")]))]);
    assert!(selects("/a=1,/a=2,/a/0=2", &document) && !selects("/a=3", &document));
}

pub(crate) fn documents() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3i64..12).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "AB",
            "ab",
            "1",
            "2025-01-02",
            "2025-01-02T01:00:00+02:00",
            "2025-01-02T13:44:05Z"
        ])
        .prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[ab0]", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop_oneof![4 => prop::collection::vec(("[ab0]", value.clone()), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect())), 1 => value]
}

/// Selector JSON, sometimes with contradictions in it.
pub(crate) fn selectors() -> impl Strategy<Value = Value> {
    let field = "(/([ab0]|\\*|\\[\\]|\\*\\*|\\.\\.\\.|a\\[\\])){0,3}|/";
    let field = field.prop_map(|field| if field.is_empty() { "/".to_owned() } else { field });
    let text = prop::sample::select(vec![
        "",
        "a",
        "AB",
        "b",
        "1",
        "0",
        "true",
        "2025-01-02",
        "2025-01-01T23:00:00Z",
    ]);
    let time =
        prop::sample::select(vec!["2025-01-02", "2025-01-01T23:00:00Z", "2025-01-02T13:44:05", "2026-01-01"]);
    let string_term = prop::sample::select(vec!["eq", "contains", "icontains", "prefix", "iprefix"]);
    let clause = prop_oneof![
        (string_term.clone(), field.clone(), text.clone(), any::<bool>())
            .prop_map(|(term, field, value, fold)| json!({term: {"field": field, "value": value, "ignoreCase": fold}})),
        (string_term, field.clone()).prop_map(|(term, field)| json!({term: {"field": field}})),
        (field.clone(), prop::collection::vec(text, 1..3))
            .prop_map(|(field, any)| json!({"contains": {"field": field, "any": any, "value": null}, "in": {"field": field, "any": any}})),
        (field.clone(), -2..4, 0..9, any::<bool>())
            .prop_map(|(field, low, high, open)| if open { json!({"range": {"field": field, "gt": low, "lte": high}}) } else {
                json!({"range": {"field": field, "gte": low, "gt": 0, "lt": high}})
            }),
        (field.clone(), time.clone(), time.clone())
            .prop_map(|(field, low, high)| json!({"range": {"field": field, "gte": low, "lt": high}})),
        (field.clone(), time.clone(), time.clone()).prop_map(|(field, low, high)| json!({"date": {"field": field, "after": low, "gte": low, "lte": high}})),
        (field.clone(), time).prop_map(|(field, value)| json!({"date": {"field": field, "value": value}})),
        (field.clone(), prop::sample::select(vec!["now", "Today", "yesterday"])).prop_map(|(field, since)| json!({"date": {"field": field, "since": since}})),
        field.prop_map(|field| json!({"exists": field})),
        Just(json!({})),
    ];
    clause.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!({"and": list})),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!({"or": list})),
            inner.clone().prop_map(|inner| json!({"not": inner})),
            (prop::collection::vec(inner.clone(), 1..3), inner).prop_map(
                |(list, other)| json!({"or": list, "not": other.get("not").cloned().unwrap_or(other)})
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn compiling_keeps_the_meaning(selector in selectors(), document in documents()) {
        if let Ok(selector) = Selector::from_json(selector.to_string().as_bytes()) {
            let condition = selector.compile(NOW).unwrap();
            prop_assert_eq!(matches(&condition, &document), selector_matches(&selector, &document));
            let simple = selector.clone().simplified();
            prop_assert_eq!(simple.compile(NOW).unwrap(), condition);
            prop_assert_eq!(Selector::from_json(selector.to_json().as_bytes()).unwrap(), selector);
            prop_assert_eq!(&simple.clone().simplified(), &simple);
        }
    }

    #[test]
    fn constants_stand_at_the_root_only(selector in selectors()) {
        fn plain(node: &Node, depth: usize) -> bool {
            depth <= MAX_DEPTH && match node {
                Node::Always | Node::Never => false,
                Node::All(parts) => parts.len() > 1 && parts.iter().all(|part| plain(part, depth + 1) && !matches!(part, Node::All(_))),
                Node::Any(parts) => parts.len() > 1 && parts.iter().all(|part| plain(part, depth + 1) && !matches!(part, Node::Any(_))),
                Node::Not(part) => plain(part, depth + 1) && !matches!(**part, Node::Not(_)),
                Node::Clause(_) => true,
            }
        }
        if let Ok(selector) = Selector::from_json(selector.to_string().as_bytes()) {
            let root = selector.compile(NOW).unwrap().root;
            prop_assert!(matches!(root, Node::Always | Node::Never) || plain(&root, 1), "{:?}", root);
        }
    }
}
