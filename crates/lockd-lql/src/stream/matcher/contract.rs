//! The contract of evaluation, over streams: worked examples by number, and the lines of its checklist.

use crate::{
    condition::Instant,
    selector::Selector,
    stream::{Candidate, Matcher, Projector},
    temporal::parse_rfc3339,
};

/// Whether a stored document matches; judged in memory and byte by byte.
#[track_caller]
fn selects(selector: &str, document: &str) -> bool {
    selects_at(selector, document, parse_rfc3339("2025-01-02T13:44:05Z").unwrap())
}

#[track_caller]
fn selects_at(selector: &str, document: &str, now: Instant) -> bool {
    let parsed = Selector::parse(selector).unwrap_or_else(|error| panic!("{}", error.explain(selector)));
    let mut matcher = Matcher::new(&parsed.compile(now).unwrap());
    let answer = matcher.matches(document.as_bytes()).unwrap();
    let mut any = false;
    let mut sink = |candidate: Candidate| {
        any |= candidate.matched;
        true
    };
    matcher.reset();
    for byte in document.as_bytes().chunks(1) {
        matcher.push(byte, &mut sink).unwrap();
    }
    matcher.finish(&mut sink).unwrap();
    assert_eq!(any, answer, "{selector} over the bytes of {document}");
    answer
}

#[track_caller]
fn all(cases: &[(&str, &str, bool)]) {
    for (document, selector, expected) in cases {
        assert_eq!(selects(selector, document), *expected, "{selector} over {document}");
    }
}

#[test]
fn worked_examples_62_to_82_over_streams() {
    let items = r#"{"items":[{"s":"A"},{"s":"B"}]}"#;
    let offset = r#"{"t":"2025-01-02T01:00:00+02:00"}"#;
    all(&[
        (r#"{"a":1}"#, "/a=1", true),
        (r#"{"a":1.0}"#, "/a=1", false),
        (r#"{"a":1.0}"#, "/a>=1", true),
        (r#"{"a":null}"#, "exists{/a}", false),
        (r#"{"a":null}"#, "contains{f=/a}", true),
        (r#"{"a":{}}"#, "exists{/a}", true),
        (r#"{"x/y":"v"}"#, "eq{f=/x~1y,v=v}", true),
        (r#"{"logs":{"a":{"m":"Timeout"}}}"#, "icontains{f=/logs/*/m,v=timeout}", true),
        (items, "eq{f=/items[]/s,v=B}", true),
        (items, "eq{f=/items/1/s,v=B}", true),
        (items, "eq{f=/items/s,v=B}", true),
        (items, "eq{f=/items/*/s,v=B}", false),
        (items, "eq{f=/items/**/s,v=B}", true),
        (items, "eq{f=/.../s,v=B}", true),
        (r#"{"a":{"a":{"b":1}}}"#, "eq{f=/a/.../b,v=1}", true),
        (offset, "eq{f=/t,v=2025-01-02}", true),
        (offset, "/t>=2025-01-02", false),
        (r#"{"t":"2025-01-01T23:00:00Z"}"#, "eq{f=/t,v=\"2025-01-02T01:00:00+02:00\"}", true),
        (r#"{"s":"OPEN"}"#, "/s=open", false),
        (r#"{"s":"OPEN"}"#, "icontains{f=/s,v=pe}", true),
        (r#"[{"a":1},{"a":2}]"#, "/a=2", true),
        (r#""text""#, "/a=1", false),
        (r#""text""#, "", true),
    ]);
}

#[test]
fn lql_25_stream_wildcards() {
    let document = r#"{"o":{"x":1},"l":[1],"d":{"e":[{"f":1}]}}"#;
    all(&[
        (document, "/o/*=1", true),
        (document, "/l/*=1", false),
        (document, "/o/[]=1", false),
        (document, "/l/[]=1", true),
        (document, "/o/**=1", true),
        (document, "/l/**=1", true),
        (document, "/d/**=1", false),
        (document, "/.../f=1", true),
        (document, "/.../d/.../f/...=1", true),
        (r#"{"a":{"b":1}}"#, "/.../a/.../b=1", true),
    ]);
}

#[test]
fn lql_26_stream_brackets_behind_a_name() {
    let document = r#"{"items":[{"x":1}],"grid":[[1,2],[3]]}"#;
    all(&[
        (document, "/items[]/x=1", true),
        (document, "/items/[]/x=1", true),
        (document, "/grid[][]=3", true),
        (document, "/grid/[]/[]=4", false),
    ]);
}

#[test]
fn lql_27_stream_numbers_are_names_and_indexes() {
    all(&[
        (r#"{"a":{"1":"x"}}"#, "/a/1=x", true),
        (r#"{"a":["y","x"]}"#, "/a/1=x", true),
        (r#"{"a":["x","y"]}"#, "/a/1=x", false),
        (r#"{"a":["y","x"]}"#, "/a/01=x", true),
        (r#"{"a":{"1":"x"}}"#, "/a/01=x", false),
        (r#"{"a":[{"7":"x"}]}"#, "/a/7=x", true),
        (r#"{"a":[{"0":"x"}]}"#, "/a/0=x", false),
    ]);
}

#[test]
fn lql_28_stream_equality_is_textual_and_ranges_are_not() {
    all(&[
        (r#"{"n":1.0}"#, "/n=1", false),
        (r#"{"n":1e3}"#, "/n=1000", false),
        (r#"{"n":1e3}"#, "/n>=1000", true),
        (r#"{"n":1e3}"#, "in{f=/n,a=1e3}", true),
        (r#"{"n":"10"}"#, "/n>5", true),
        (r#"{"n":0.1}"#, "range{f=/n,gte=0.1,lte=0.1}", true),
        (r#"{"n":9007199254740993}"#, "/n>9007199254740992", false),
    ]);
}

#[test]
fn lql_29_stream_existence() {
    all(&[
        ("{}", "exists{/a}", false),
        (r#"{"a":null}"#, "exists{/a}", false),
        (r#"{"a":""}"#, "exists{/a}", true),
        (r#"{"a":{}}"#, "exists{/a}", true),
        (r#"{"a":[]}"#, "exists{/a}", true),
        (r#"{"a":false}"#, "exists{/a}", true),
        (r#"{"a":0}"#, "exists{/a}", true),
    ]);
}

#[test]
fn lql_30_stream_omitted_and_empty_values() {
    for term in ["eq", "contains", "icontains", "prefix", "iprefix"] {
        let omitted = format!("{term}{{f=/a}}");
        for document in [r#"{"a":null}"#, r#"{"a":[]}"#, r#"{"a":{}}"#, r#"{"a":1}"#] {
            assert!(selects(&omitted, document), "{omitted} {document}");
        }
        assert!(!selects(&omitted, r#"{"b":1}"#));
    }
    all(&[
        (r#"{"a":null}"#, "contains{f=/a,v=''}", false),
        (r#"{"a":{}}"#, "contains{f=/a,v=''}", false),
        (r#"{"a":[1]}"#, "contains{f=/a,v=''}", true),
        (r#"{"a":""}"#, "/a=\"\"", true),
        (r#"{"a":null}"#, "/a=\"\"", false),
    ]);
}

#[test]
fn lql_31_stream_not_is_true_of_absent_fields() {
    all(&[
        ("{}", "/a!=1", true),
        (r#"{"a":{"x":1}}"#, "/a!=1", true),
        (r#"{"a":[2,1]}"#, "/a!=1", false),
        (r#"{"items":[{"s":"A"},{"s":"B"}]}"#, "/items[]/s!=A", false),
    ]);
}

#[test]
fn lql_32_stream_days_and_moments() {
    let document = r#"{"t":"2025-01-02T01:00:00+02:00"}"#;
    all(&[
        (document, "/t=2025-01-02", true),
        (document, "/t=2025-01-01", false),
        (document, "/t<2025-01-02", true),
        (document, "date{f=/t,value=2025-01-02}", true),
        (r#"{"t":"2025-01-03"}"#, "date{f=/t,before=2025-01-03}", false),
    ]);
}

#[test]
fn lql_33_stream_words_are_evaluated_at_each_compilation() {
    let document = r#"{"t":"2025-01-02T12:00:00Z"}"#;
    for (now, word, expected) in [
        ("2025-01-02T13:00:00Z", "today", true),
        ("2025-01-03T13:00:00Z", "today", false),
        ("2025-01-03T13:00:00Z", "yesterday", true),
        ("2025-01-02T11:00:00Z", "now", true),
        ("2025-01-02T13:00:00Z", "now", false),
    ] {
        let selector = format!("date{{f=/t,since={word}}}");
        assert_eq!(selects_at(&selector, document, parse_rfc3339(now).unwrap()), expected, "{word} at {now}");
    }
}

#[test]
fn lql_34_stream_moments_without_offset_are_utc() {
    all(&[
        (r#"{"t":"2025-01-01T23:00:00"}"#, "eq{f=/t,v=\"2025-01-02T01:00:00+02:00\"}", true),
        (r#"{"t":"2025-01-02T01:00:00+02:00"}"#, "/t>=2025-01-01T23:00:00", true),
    ]);
}

/// Every selector of the examples, over many documents: what the plain evaluator says is what the stream gives.
#[test]
fn lql_35_stream_and_plain_evaluation_agree() {
    let documents = [
        r#"{"status":"open","n":10,"at":"2025-01-02","env":"prod","msg":"timeout x","a":"1","b":2,"p":false}"#,
        r#"{"status":"OPEN","n":"5","at":"2025-01-01T23:30:00-01:00","items":[{"s":["a","b"]}],"s":"x","r":"y"}"#,
        r#"{"meta":{"etag":"e"},"deleted":null,"name":"Alice","x":"a=b","zip":"123","ok":true,"a":[1,[2]]}"#,
        r#"[{"a":1},{"b":2,"c":3},5]"#,
        "7",
    ];
    let selectors = [
        "/status=open",
        "/status!=open",
        "/n>=10",
        "/at>=2025-01-01T00:00:00Z",
        "/a=1,/b=2",
        "/a=1,or.eq{f=/b,v=2},or.eq{f=/c,v=3}",
        "or.0.eq{f=/a,v=1},or.0.range{f=/n,gte=5},or.1.eq{f=/b,v=2}",
        "and.0.eq{f=/p,v=false},and.1.or.0.eq{f=/b,v=2},and.1.or.1.eq{f=/b,v=Y}",
        "not.exists{/deleted}",
        "in{field=/env,any=prod|stage}",
        "contains{f=/msg,a=timeout|refused}",
        "icontains{f=/...,a=\"hjpijs|ALICE\"}",
        "contains{f=/...}",
        "prefix{f=/name,v=al,ic=true}",
        "date{f=/at,since=yesterday}",
        "date{f=/at,value=2025-01-01}",
        "eq{f=/x,v=a=b}",
        "eq{f=/zip,v=\"00123\"}",
        "eq{f=/ok,v=TRUE}",
        "eq{f=/items/s,v=b}",
    ];
    for selector in selectors {
        let condition =
            Selector::parse(selector).unwrap().compile(parse_rfc3339("2025-01-02T13:44:05Z").unwrap());
        for document in documents {
            let tree: serde_json::Value = serde_json::from_str(document).unwrap();
            let expected = crate::oracle::matches(condition.as_ref().unwrap(), &tree);
            assert_eq!(selects(selector, document), expected, "{selector} over {document}");
        }
    }
}

#[test]
fn lql_24_stream_escapes_in_paths() {
    let document = r#"{"x/y":{"a~":{"~2":1}},"\u0078~":2}"#;
    all(&[(document, "/x~1y/a~/~02=1", true), (document, "/x~1y/a~0/~2=1", true), (document, "/x~=2", true)]);
    let mut out = Vec::new();
    Projector::new(&[crate::path::Path::parse("/x~1y/a~").unwrap()])
        .project(document.as_bytes(), &mut out)
        .unwrap();
    assert_eq!(out, br#"{"x/y":{"a~":{"~2":1}}}"#);
}
