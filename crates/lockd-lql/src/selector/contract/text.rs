//! Selectors as text: the worked examples by number, and the lines of the checklist about text.

use super::*;

#[test]
fn worked_examples_1_to_61() {
    for (number, text, expected) in [
        (1, "", "{}"),
        (2, "{}", "{}"),
        (2, ".", "{}"),
        (2, "/", "{}"),
        (3, "eq{field=/status,value=open}", OPEN),
        (4, "EQ{F=/status,V=open}", OPEN),
        (5, "eq{field=/status value=open}", OPEN),
        (6, "eq{field=\"/my key\",value='a, b'}", r#"{"eq":{"field":"/my key","value":"a, b"}}"#),
        (7, "/status=open", OPEN),
        (8, "/status=\"open\"", OPEN),
        (9, "/status==open", OPEN),
        (10, "/status!=open", r#"{"not":{"eq":{"field":"/status","value":"open"}}}"#),
        (11, "/n>=10", r#"{"range":{"field":"/n","gte":10}}"#),
        (12, "/n<-2.5", r#"{"range":{"field":"/n","lt":-2.5}}"#),
        (13, "/at>=2025-01-01T00:00:00Z", r#"{"range":{"field":"/at","gte":"2025-01-01T00:00:00Z"}}"#),
        (14, "/at<\"2025-01-03\"", r#"{"range":{"field":"/at","lt":"2025-01-03"}}"#),
        (19, "/status=\"\"", r#"{"eq":{"field":"/status","value":""}}"#),
        (21, "/a=1,/b=2", r#"{"and":[{"eq":{"field":"/a","value":"1"}},{"eq":{"field":"/b","value":"2"}}]}"#),
        (
            22,
            "/a=1\n/b=2",
            r#"{"and":[{"eq":{"field":"/a","value":"1"}},{"eq":{"field":"/b","value":"2"}}]}"#,
        ),
        (
            23,
            "/a=1,or.eq{f=/b,v=2},or.eq{f=/c,v=3}",
            concat!(
                r#"{"and":[{"eq":{"field":"/a","value":"1"}},"#,
                r#"{"or":[{"eq":{"field":"/b","value":"2"}},{"eq":{"field":"/c","value":"3"}}]}]}"#
            ),
        ),
        (
            24,
            "or.eq{f=/b,v=2},or.eq{f=/c,v=3}",
            r#"{"or":[{"eq":{"field":"/b","value":"2"}},{"eq":{"field":"/c","value":"3"}}]}"#,
        ),
        (
            25,
            "and.eq{f=/s,v=x},or.eq{f=/r,v=y}",
            r#"{"and":[{"eq":{"field":"/s","value":"x"}},{"or":[{"eq":{"field":"/r","value":"y"}}]}]}"#,
        ),
        (
            26,
            "or.0.eq{f=/a,v=1},or.0.range{f=/n,gte=5},or.1.eq{f=/b,v=2}",
            concat!(
                r#"{"or":[{"eq":{"field":"/a","value":"1"},"range":{"field":"/n","gte":5}},"#,
                r#"{"eq":{"field":"/b","value":"2"}}]}"#
            ),
        ),
        (
            27,
            "and.0.eq{f=/p,v=false},and.1.or.0.eq{f=/b,v=X},and.1.or.1.eq{f=/b,v=Y}",
            concat!(
                r#"{"and":[{"eq":{"field":"/p","value":"false"}},"#,
                r#"{"or":[{"eq":{"field":"/b","value":"X"}},{"eq":{"field":"/b","value":"Y"}}]}]}"#
            ),
        ),
        (28, "not.exists{/deleted}", r#"{"not":{"exists":"/deleted"}}"#),
        (29, "not.and.eq{f=/a,v=1}", r#"{"not":{"and":[{"eq":{"field":"/a","value":"1"}}]}}"#),
        (31, "and.0.eq{f=/a,v=1},and.0.eq{f=/a,v=1}", r#"{"and":[{"eq":{"field":"/a","value":"1"}}]}"#),
        (32, "in{field=/env,any=prod|stage}", r#"{"in":{"field":"/env","any":["prod","stage"]}}"#),
        (33, "in{field=/env,any=\"prod | stage\"}", r#"{"in":{"field":"/env","any":["prod","stage"]}}"#),
        (
            36,
            "contains{f=/msg,a=timeout|refused}",
            r#"{"contains":{"field":"/msg","any":["timeout","refused"]}}"#,
        ),
        (
            37,
            "icontains{f=/...,a=\"hjpijs|hmm\"}",
            r#"{"icontains":{"field":"/...","any":["hjpijs","hmm"]}}"#,
        ),
        (39, "contains{f=/msg}", r#"{"contains":{"field":"/msg"}}"#),
        (40, "contains{f=/msg,v=\"\"}", r#"{"contains":{"field":"/msg","value":""}}"#),
        (41, "contains{f=/...}", "{}"),
        (41, "prefix{f=/}", "{}"),
        (
            42,
            "prefix{f=/name,v=Al,ic=true}",
            r#"{"prefix":{"field":"/name","value":"Al","ignoreCase":true}}"#,
        ),
        (44, "exists{/meta/etag}", r#"{"exists":"/meta/etag"}"#),
        (46, "range{field=/n,gte=1,lt=10}", r#"{"range":{"field":"/n","gte":1,"lt":10}}"#),
        (49, "date{f=/at,since=yesterday}", r#"{"date":{"field":"/at","since":"yesterday"}}"#),
        (
            50,
            "date{f=/at,a=2025-01-01,b=2025-02-01}",
            r#"{"date":{"field":"/at","after":"2025-01-01","before":"2025-02-01"}}"#,
        ),
        (51, "date{f=/at,value=2025-01-02}", r#"{"date":{"field":"/at","value":"2025-01-02"}}"#),
        (54, "eq{f=/zip,v=\"00123\"}", r#"{"eq":{"field":"/zip","value":"123"}}"#),
        (55, "eq{f=/ok,v=TRUE}", r#"{"eq":{"field":"/ok","value":"true"}}"#),
        (56, "eq{f=/x,v=a=b}", r#"{"eq":{"field":"/x","value":"a=b"}}"#),
        (57, "eq{f=/x,v=1e3}", r#"{"eq":{"field":"/x","value":"1000"}}"#),
    ] {
        assert_eq!(json(text), expected, "example {number}: {text}");
    }
    for (number, text, expected) in [
        (15, "/n>=\"10\"", "range comparisons require numeric or datetime literals"),
        (16, "/at>=yesterday", "range comparisons require numeric or datetime literals"),
        (17, "status=open", "selector shorthand \"status=open\" requires JSON Pointer field"),
        (18, "/status=", "selector shorthand \"/status=\" missing value"),
        (20, "hello", "invalid selector expression \"hello\""),
        (30, "and.0.eq{f=/a,v=1},and.0.eq{f=/b,v=2}", "selector path conflict at field"),
        (
            34,
            "in{field=/env,any= prod | stage }",
            "invalid selector expression \"in{field=/env,any= prod | stage }\"",
        ),
        (35, "in{field=/env,any=|}", "in.any requires values"),
        (38, "contains{f=/msg,v=x,a=y}", "contains selector cannot set both value and any"),
        (43, "eq{f=/a,any=x}", "eq selector does not support key \"any\""),
        (45, "exists{field=/a}", "exists selector accepts a single value"),
        (47, "range{field=/n}", "range selector requires at least one bound"),
        (48, "range{field=/n,gte=1,lt=2025-01-01}", "range selector cannot mix numeric and datetime bounds"),
        (
            52,
            "date{f=/at,since=today,after=2025-01-01}",
            "date selector since cannot be combined with after/gt/gte",
        ),
        (53, "date{f=/at,value=2025}", "date value must be a string"),
        (58, "eq{f=/x", "unterminated brace in selector expression"),
        (59, "eq{f=/x,v=1,v=2}", "selector expression \"eq{f=/x,v=1,v=2}\" has duplicate key \"value\""),
    ] {
        assert_eq!(error(text), expected, "example {number}");
    }
    // 60 and 61
    let selector = url(&[("eq.field", "/status"), ("eq.value", "open")]).unwrap().unwrap();
    assert_eq!(selector.to_json(), OPEN);
    let refused = url(&[("eq{field", "/status,value=open}")]).unwrap_err();
    assert_eq!(refused.to_string(), "selector \"eq{field\" missing closing brace");
}

#[test]
fn lql_01_spellings_of_everything() {
    for text in ["", " \n, ,", "{}", ".", "/", " {} , ., / \n"] {
        assert!(parse(text).is_empty(), "{text:?}");
        assert_eq!(meaning(text).root, crate::condition::Node::Always);
    }
    assert_eq!(json("{},/a=1,."), r#"{"eq":{"field":"/a","value":"1"}}"#);
}

#[test]
fn lql_02_words_in_any_letter_case() {
    for (text, same) in [
        ("AnD.0.iCONTAINS{F=/a,A=x|y,IC=T}", "and.0.icontains{field=/a,any=x|y,ignoreCase=true}"),
        (" Or . 3 . Not . Eq { \"FIELD\" = /a , 'V' = x }", "or.3.not.eq{field=/a,value=x}"),
        ("Date{F=/a,A=2025-01-01,B=2025-01-02}", "date{field=/a,after=2025-01-01,before=2025-01-02}"),
        ("RANGE{F=/a,GTE=1,Lt=2}", "range{field=/a,gte=1,lt=2}"),
        ("IN{F=/a,A=x}", "in{field=/a,any=x}"),
        ("EXISTS{\"/a\"}", "exists{/a}"),
    ] {
        assert_eq!(json(text), json(same));
    }
}

#[test]
fn lql_04_unbalanced_text() {
    assert_eq!(error("eq{f=/a,v='x}"), "unterminated quote in selector expression");
    assert_eq!(error("/a=1,eq{f=/x"), "unterminated brace in selector expression");
    assert_eq!(error("/a=1},/b=2"), "unexpected closing brace");
}

#[test]
fn lql_05_how_pieces_combine() {
    assert_eq!(json("/b=2,/a=1"), json("/a=1,/b=2"));
    assert_eq!(meaning("or.eq{f=/a,v=1},or.eq{f=/b,v=2}"), meaning("or.0.eq{f=/a,v=1},or.1.eq{f=/b,v=2}"));
    assert_eq!(
        json("not.exists{/x},or.exists{/y},or.exists{/z}"),
        r#"{"and":[{"not":{"exists":"/x"}},{"or":[{"exists":"/y"},{"exists":"/z"}]}]}"#
    );
    let or = Selector::parse_joined("/a=1,/b=2", Join::Or).unwrap();
    assert_eq!(
        or.to_json(),
        r#"{"or":[{"eq":{"field":"/a","value":"1"}},{"eq":{"field":"/b","value":"2"}}]}"#
    );
}

#[test]
fn lists_of_texts_are_parsed_one_by_one() {
    let list = |texts: &[&str], join| Selector::parse_list(texts, join).unwrap().to_json();
    assert_eq!(list(&["/a=1"], Join::And), r#"{"and":[{"eq":{"field":"/a","value":"1"}}]}"#);
    assert_eq!(
        list(&["/a=1,/b=2", "  ", "{}", "exists{/c}"], Join::Or),
        r#"{"or":[{"or":[{"eq":{"field":"/a","value":"1"}},{"eq":{"field":"/b","value":"2"}}]},{"exists":"/c"}]}"#
    );
    assert_eq!(list(&["", "{}"], Join::And), "{}");
    assert!(Selector::parse_list(&["/a=1", "}"], Join::And).is_err());
}

#[test]
fn lql_06_shorthand_operators() {
    for (text, expected) in [
        ("/a>1", r#"{"range":{"field":"/a","gt":1}}"#),
        ("/a >= 1", r#"{"range":{"field":"/a","gte":1}}"#),
        ("/a<1", r#"{"range":{"field":"/a","lt":1}}"#),
        ("/a<=1", r#"{"range":{"field":"/a","lte":1}}"#),
        ("/a==b=c", r#"{"eq":{"field":"/a","value":"b=c"}}"#),
        ("/a = TRUE", r#"{"eq":{"field":"/a","value":"true"}}"#),
        ("/a=\"TRUE\"", r#"{"eq":{"field":"/a","value":"TRUE"}}"#),
        ("/a='007'", r#"{"eq":{"field":"/a","value":"007"}}"#),
        ("/a=007", r#"{"eq":{"field":"/a","value":"7"}}"#),
        ("/a=b c", r#"{"eq":{"field":"/a","value":"b c"}}"#),
        ("/a={b,c}", r#"{"eq":{"field":"/a","value":"{b,c}"}}"#),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
    assert_eq!(error("=1"), "selector shorthand \"=1\" missing field");
    assert_eq!(error("/my key=1"), "invalid selector expression \"/my key=1\"");
}

#[test]
fn lql_07_shorthand_fields_start_with_a_slash() {
    assert_eq!(error("a>1"), "selector shorthand \"a>1\" requires JSON Pointer field");
    assert_eq!(error("like{f=/a}"), "selector shorthand \"like{f=/a}\" requires JSON Pointer field");
}

#[test]
fn lql_08_shorthand_ranges_take_numbers_and_dates_only() {
    for text in
        ["/n>\"1\"", "/n>'1'", "/n>now", "/n>today", "/n>x", "/n>true", "/n>inf", "/n>1e999", "/n>2025-02-30"]
    {
        assert_eq!(error(text), "range comparisons require numeric or datetime literals", "{text}");
    }
    assert_eq!(json("/t<'2025-01-01T00:00:00'"), r#"{"range":{"field":"/t","lt":"2025-01-01T00:00:00"}}"#);
    assert_eq!(json("/n>0x1p4"), r#"{"range":{"field":"/n","gt":16}}"#);
}

#[test]
fn lql_09_special_characters_pass_unchanged() {
    for (text, value) in
        [("/a=b&c", "b&c"), ("/a=b<c>d", "b<c>d"), (r#"/a=b\"c"#, r#"b\"c"#), (r"/a=b\\c", r"b\\c")]
    {
        assert_eq!(parse(text).eq.unwrap().value.unwrap(), value);
    }
    assert_eq!(parse("/a=b\"c\"d").eq.unwrap().value.unwrap(), "b\"c\"d");
}

#[test]
fn lql_10_clauses_of_one_number_merge() {
    assert_eq!(
        json("and.2.exists{/a},and.2.eq{f=/b,v=1}"),
        r#"{"and":[{"eq":{"field":"/b","value":"1"},"exists":"/a"}]}"#
    );
    for (text, place) in [
        ("or.0.eq{f=/a,v=1},or.0.eq{f=/a,v=2}", "value"),
        ("or.0.eq{f=/a},or.0.eq{f=/a,v=1}", "value"),
        ("or.0.range{f=/a,gt=1},or.0.range{f=/a,gt=1,lt=2}", "lt"),
        ("or.0.in{f=/a,a=x},or.0.in{f=/a,a=y}", "any"),
        ("or.0.date{f=/a,a=2025-01-01},or.0.date{f=/a,since=now}", "after"),
        ("or.0.prefix{f=/a,v=1},or.0.prefix{f=/a,v=1,ic=t}", "ignoreCase"),
        ("or.0.exists{/a},or.0.exists{/b}", "exists"),
    ] {
        assert_eq!(error(text), format!("selector path conflict at {place}"), "{text}");
    }
    assert_eq!(json("or.0.exists{/a},or.00.exists{'/a'}"), r#"{"or":[{"exists":"/a"}]}"#);
}

#[test]
fn lql_11_numbers_above_the_limit_are_refused() {
    assert_eq!(error("and.1048577.eq{f=/a,v=1}"), "selector index 1048577 invalid");
    assert_eq!(
        json("and.1048576.exists{/a},and.7.exists{/b}"),
        r#"{"and":[{"exists":"/b"},{"exists":"/a"}]}"#
    );
}

#[test]
fn lql_12_two_unnumbered_groups() {
    assert_eq!(meaning("and.or.eq{f=/a,v=1}"), meaning("/a=1"));
    assert_eq!(
        json("or.and.eq{f=/a,v=1},or.and.eq{f=/b,v=2}"),
        r#"{"or":[{"and":[{"eq":{"field":"/a","value":"1"}}]},{"and":[{"eq":{"field":"/b","value":"2"}}]}]}"#
    );
}

#[test]
fn gaps_in_numbers_create_nothing() {
    assert_eq!(
        json("and.0.or.3.exists{/a},and.0.or.7.exists{/b}"),
        r#"{"and":[{"or":[{"exists":"/a"},{"exists":"/b"}]}]}"#
    );
    assert_eq!(meaning("or.1.exists{/a}"), meaning("exists{/a}"));
}

#[test]
fn lql_15_numbers_in_text_become_short_text() {
    for (literal, value) in [
        ("\"007\"", "7"),
        ("1e3", "1000"),
        ("1.0", "1"),
        ("-0", "-0"),
        ("1_000", "1000"),
        ("0x1p-2", "0.25"),
        ("1e21", "1000000000000000000000"),
        ("9007199254740993", "9007199254740992"),
        ("1e999", "1e999"),
        ("+5", "5"),
        ("\" 5\"", " 5"),
        ("False", "false"),
    ] {
        let selector = parse(&format!("contains{{f=/a,v={literal}}}"));
        assert_eq!(selector.contains.unwrap().value.unwrap(), value, "{literal}");
    }
}

#[test]
fn lql_16_values_that_are_not_finite_are_refused() {
    assert_eq!(error("eq{f=/a,v=inf}"), "json: unsupported value: +Inf");
    assert_eq!(error("/a=NaN"), "json: unsupported value: NaN");
    assert_eq!(error("/b=1,prefix{f=/a,v='-Infinity'}"), "json: unsupported value: -Inf");
    assert_eq!(error("range{f=/a,gt=inf}"), "json: unsupported value: +Inf");
    assert_eq!(json("in{f=/a,any=inf|nan}"), r#"{"in":{"field":"/a","any":["inf","nan"]}}"#);
}

#[test]
fn lql_17_omitted_and_empty_values_differ() {
    for (json, value) in [
        (r#"{"contains":{"field":"/a"}}"#, None),
        (r#"{"contains":{"field":"/a","value":""}}"#, Some(String::new())),
    ] {
        let selector = from_json(json).unwrap();
        assert_eq!(selector.contains.as_ref().unwrap().value, value);
        assert_eq!(selector.to_json(), json);
    }
}

#[test]
fn lql_22_incomplete_and_contradicting_clauses() {
    for (text, json, expected) in [
        ("", r#"{"eq":{"field":"/a","any":["x"]}}"#, "eq selector does not support any"),
        ("", r#"{"iprefix":{"field":"/a","any":"x"}}"#, "iprefix selector does not support any"),
        (
            "icontains{f=/a,v=x,a=y}",
            r#"{"icontains":{"field":"/a","value":"x","any":"y"}}"#,
            "icontains selector cannot set both value and any",
        ),
        ("in{f=/a}", r#"{"in":{"field":"/a","any":[]}}"#, "in selector requires at least one any value"),
        ("", r#"{"in":{"field":"/a","any":["x"," "]}}"#, "in selector requires non-empty any values"),
        ("in{a=x}", r#"{"in":{"any":["x"]}}"#, "in selector field required"),
        ("range{f=/a}", r#"{"range":{"field":"/a"}}"#, "range selector requires at least one bound"),
        ("range{gt=1}", r#"{"range":{"gt":1}}"#, "range field required"),
        (
            "date{f=/a}",
            r#"{"date":{"field":"/a","value":""}}"#,
            "date selector requires at least one comparator",
        ),
        ("date{since=now}", r#"{"date":{"since":"now"}}"#, "date selector field required"),
        ("prefix{v=x}", r#"{"prefix":{"value":"x"}}"#, "term field required"),
        ("contains{f=/a,a='|'}", r#"{"contains":{"field":"/a","any":[""]}}"#, "term any requires values"),
    ] {
        if !text.is_empty() {
            assert_eq!(error(text), expected, "{text}");
        }
        assert_eq!(json_error(json), expected, "{json}");
        assert_eq!(json_error(&format!(r#"{{"and":[{{"or":[{{"not":{json}}}]}}]}}"#)), expected, "{json}");
    }
}

#[test]
fn lql_23_dates_that_contradict_themselves() {
    for (members, expected) in [
        (r#""after":"2025-01-01","gt":"2025-01-01""#, "date selector cannot set both after and gt"),
        (r#""before":"2025-01-01","lt":"2025-01-01""#, "date selector cannot set both before and lt"),
        (r#""since":"now","after":"2025-01-01""#, "date selector since cannot be combined with after/gt/gte"),
        (r#""since":"now","gt":"2025-01-01""#, "date selector since cannot be combined with after/gt/gte"),
        (r#""since":"now","gte":"2025-01-01""#, "date selector since cannot be combined with after/gt/gte"),
        (r#""value":"now""#, "date selector value \"now\" invalid"),
        (r#""lte":"2025-02-30""#, "date selector bound \"2025-02-30\" invalid"),
        (r#""since":"tomorrow""#, "date selector since \"tomorrow\" invalid"),
    ] {
        assert_eq!(json_error(&format!(r#"{{"date":{{"field":"/a",{members}}}}}"#)), expected);
        let text = members.replace('"', "").replace(':', "=");
        assert_eq!(error(&format!("date{{f=/a,{text}}}")), expected);
    }
    assert!(from_json(r#"{"date":{"field":"/a","since":" Today ","before":"2025-01-01"}}"#).is_ok());
}

#[test]
fn bodies_of_clauses() {
    for (text, expected) in [
        ("eq{f=/a,\n\tv = x }", r#"{"eq":{"field":"/a","value":"x"}}"#),
        ("eq{f=/a\r\nv=x}", r#"{"eq":{"field":"/a","value":"x"}}"#),
        ("eq{,f=/a,,v=x,}", r#"{"eq":{"field":"/a","value":"x"}}"#),
        ("eq{f=/a,v=}", r#"{"eq":{"field":"/a","value":""}}"#),
        ("eq{f=/a.b{c},v=x.y}", r#"{"eq":{"field":"/a.b{c}","value":"x.y"}}"#),
        (r#"eq{f=/a,v=a\,b}"#, r#"{"eq":{"field":"/a","value":"a\\,b"}}"#),
        (r#"eq{f=/a,v="a\"b"}"#, r#"{"eq":{"field":"/a","value":"a\\\"b"}}"#),
        (r#"eq{f=/a,v='a"b'}"#, r#"{"eq":{"field":"/a","value":"a\"b"}}"#),
        ("eq{f=/a,v=a\"b c\"d}", r#"{"eq":{"field":"/a","value":"a\"b c\"d"}}"#),
        ("eq{f=/a,v=x,value='x'}", r#"{"eq":{"field":"/a","value":"x"}}"#),
        ("exists{ /my key }", r#"{"exists":"/my key"}"#),
        ("exists{'/a=b,c'}", r#"{"exists":"/a=b,c"}"#),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
    for (text, expected) in [
        ("eq{f=/a}x", "selector \"eq{f=/a}x\" missing closing brace"),
        ("eq", "selector \"eq\" missing closing brace"),
        ("and.eq.f=/a", "selector \"and.eq.f=/a\" missing closing brace"),
        ("eq{}", "empty selector expression"),
        ("exists{ , }", "empty selector expression"),
        ("exists{''}", "selector term \"exists\" invalid"),
        ("exists{/a,/b}", "exists selector accepts a single value"),
        ("eq{/a}", "invalid selector expression \"eq{/a}\""),
        ("eq{f=/a,=x}", "selector expression \"eq{f=/a,=x}\" missing key"),
        ("eq{f=/a,f=/b,v=1}", "selector expression \"eq{f=/a,f=/b,v=1}\" has duplicate key \"field\""),
        ("eq{f=/a,ic=t}", "eq selector does not support key \"ic\""),
        ("range{f=/a,value=1}", "range selector does not support key \"value\""),
        ("in{f=/a,v=1}", "in selector does not support key \"v\""),
        ("date{f=/a,x=1}", "date selector does not support key \"x\""),
        ("contains{f=/a,v=x,ic=maybe}", "term ignoreCase must be true/false/t/f"),
        ("contains{f=/a,v=x,ic=1}", "term ignoreCase must be boolean"),
        ("eq{f=12,v=x}", "eq field must be a string"),
        ("range{f=/a,gt=true}", "range gt: value must be numeric or datetime string"),
        ("range{f=/a,gt=''}", "range gt: value required"),
        ("and..eq{f=/a}", "selector path \"and..eq\" has empty segment"),
        ("and{f=/a}", "selector path \"and\" missing term"),
        ("not.1.eq{f=/a}", "selector path \"not.1.eq\" has unexpected index \"1\""),
        ("eq.field{f=/a}", "selector path \"eq.field\" has unexpected segment \"field\""),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn places_of_errors() {
    for (text, place) in [
        ("/a=1,\n /b", "/b"),
        ("/a=1,  /b= ", "\u{0}"),
        ("/n>  x", "x"),
        ("exists{/a},eq{f=/a,q=1}", "q=1"),
        ("exists{/a}, or . not.lik.eq{f=/a}", "lik.eq"),
        ("exists{/a},eq{f=/a,v=1", "{f=/a,v=1"),
        ("/é=1,range{f=/a}", "range{"),
        ("and.0.exists{/a},and.0.exists{/b}", "and.0.exists{/b}"),
    ] {
        let offset = Selector::parse(text).unwrap_err().offset.unwrap();
        let expected = text.find(place).unwrap_or(text.trim_end().len());
        assert_eq!(offset, expected, "{text}");
    }
    let text = "/a=1\nnot.eq{f=/b,vaule=2}";
    assert_eq!(
        Selector::parse(text).unwrap_err().explain(text),
        concat!(
            "eq selector does not support key \"vaule\"\n  expected field and value\n",
            "  not.eq{f=/b,vaule=2}\n              ^"
        )
    );
    let json = r#"{"and":[{"eq":{"field":"/a","value":[]}}]}"#;
    assert_eq!(from_json(json).unwrap_err().offset, json.find("[]"));
}
