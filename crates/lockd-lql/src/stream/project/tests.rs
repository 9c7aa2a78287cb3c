//! The projector against a recursion over trees.

use proptest::prelude::*;

use super::*;
use crate::{
    path::Segment,
    stream::sample::{Tree, document, path},
};

fn projected(fields: &[&str], document: &str) -> String {
    let fields: Vec<Path> = fields.iter().map(|field| Path::parse(field).unwrap()).collect();
    let mut out = Vec::new();
    Projector::new(&fields).project(document.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_no_path_leads_to_goes() {
    let order =
        r#" {"id": 7.0, "lines":[{"sku" : "a b", "n":1}, {"n":2}, 5], "to": {"zip" : "1", "x":{"y":[ ]}}} "#;
    for (fields, expected) in [
        (&["/id"][..], r#"{"id":7.0}"#),
        (&["/to/zip", "/id"], r#"{"id":7.0,"to":{"zip":"1"}}"#),
        (&["/lines/sku"], r#"{"lines":[{"sku":"a b"}]}"#),
        (&["/lines/n"], r#"{"lines":[{"n":1},{"n":2}]}"#),
        (&["/lines/1"], r#"{"lines":[{"n":2}]}"#),
        (&["/lines[]"], r#"{"lines":[{"sku":"a b","n":1},{"n":2},5]}"#),
        (&["/.../y"], r#"{"to":{"x":{"y":[]}}}"#),
        (&["/*/zip"], r#"{"to":{"zip":"1"}}"#),
        (&["/to/..."], r#"{"to":{"zip":"1","x":{"y":[]}}}"#),
        (&["/to/x/z", "/gone"], "{}"),
        (&[], "{}"),
    ] {
        assert_eq!(projected(fields, order), expected, "{fields:?}");
    }
    assert_eq!(projected(&["/a"], "[{\"a\":1},{\"b\":1},{\"a\":2}]"), "[{\"a\":1},{\"a\":2}]");
    assert_eq!(projected(&["/"], "[ 1, \" \\\" \" ]"), "[1,\" \\\" \"]");
    assert_eq!((projected(&["/a"], "\"x\""), projected(&["/..."], "5 ")), ("null".into(), "5".into()));
    assert_eq!(projected(&["/a"], r#"{"a":1,"\u0061":2,"b":3}"#), r#"{"a":1,"\u0061":2}"#);
}

#[test]
fn a_second_document_is_refused() {
    let mut projector = Projector::new(&[Path::parse("/a").unwrap()]);
    let error = projector.project(b"{\"a\":1}\n{}", &mut Vec::new()).unwrap_err();
    assert_eq!(error, ProjectError::SecondDocument { offset: 8 });
    assert!(matches!(projector.project(b"{\"a\":1", &mut Vec::new()), Err(ProjectError::Invalid(_))));
}

/// Where many objects lie deep in arrays, their members must not cost a walk up each time.
#[test]
fn depth_and_number_do_not_multiply() {
    let deep = 50_000;
    let members = 100_000;
    let document =
        format!("{}{{{}\"x\":1}}{}", "[".repeat(deep), "\"y\":[],".repeat(members), "]".repeat(deep));
    assert_eq!(
        projected(&["/.../x"], &document),
        format!("{}{{\"x\":1}}{}", "[".repeat(deep), "]".repeat(deep))
    );
}

/// Writes a tree; the same string is always spelled in the same way.
fn write(tree: &Tree, space: &str, out: &mut String) {
    let text = |text: &str, out: &mut String| {
        out.push_str(&serde_json::to_string(text).unwrap().replace('ö', "\\u00f6"));
    };
    out.push_str(space);
    match tree {
        Tree::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(element, space, out);
            }
            out.push_str(space);
            out.push(']');
        }
        Tree::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                text(name, out);
                out.push_str(space);
                out.push(':');
                write(value, space, out);
            }
            out.push('}');
        }
        Tree::Text(value) => text(value, out),
        Tree::Number(number) => out.push_str(number),
        Tree::Bool(flag) => out.push_str(&flag.to_string()),
        Tree::Null => out.push_str("null"),
    }
    out.push_str(space);
}

/// What is left of some paths at a value, and whether an array was looked through since the last step.
type Rest<'a> = (&'a [Segment], bool);

fn naive(tree: &Tree, at: &[Rest<'_>]) -> Option<Tree> {
    let mut rests = Vec::new();
    for &(mut path, through) in at {
        rests.push((path, through));
        while let ([Segment::Descendants, after @ ..], false) = (path, through) {
            path = after;
            rests.push((path, false));
        }
    }
    if rests.iter().any(|(path, _)| path.is_empty()) {
        return Some(tree.clone());
    }
    let below = |step: &dyn Fn(&Segment, bool) -> Vec<usize>| -> Vec<Rest<'_>> {
        let mut below = Vec::new();
        for &(path, through) in &rests {
            // 0: the step is taken; 1: it stays; 2: it looks through.
            for way in step(&path[0], through) {
                below.push(if way == 0 { (&path[1..], false) } else { (path, way == 2) });
            }
        }
        below
    };
    match tree {
        Tree::Object(members) => {
            let kept: Vec<_> = members
                .iter()
                .filter_map(|(member, value)| {
                    let rests = below(&|segment, through| match segment {
                        Segment::Name { name, index }
                            if **name == **member && !(through && index.is_some()) =>
                        {
                            vec![0]
                        }
                        Segment::AnyMember | Segment::AnyChild if !through => vec![0],
                        Segment::Descendants => vec![1],
                        _ => vec![],
                    });
                    naive(value, &rests).map(|value| (member.clone(), value))
                })
                .collect();
            (!kept.is_empty()).then_some(Tree::Object(kept))
        }
        Tree::Array(elements) => {
            let kept: Vec<_> = (0u64..)
                .zip(elements)
                .filter_map(|(place, value)| {
                    let rests = below(&|segment, through| match segment {
                        Segment::Name { index: Some(index), .. } if *index == place && !through => vec![0],
                        Segment::Name { index: None, .. } => vec![2],
                        Segment::AnyElement | Segment::AnyChild if !through => vec![0],
                        Segment::Descendants => vec![1],
                        _ => vec![],
                    });
                    naive(value, &rests)
                })
                .collect();
            (!kept.is_empty()).then_some(Tree::Array(kept))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_keeps_what_the_recursion_keeps(
        document in document(),
        fields in prop::collection::vec(path(), 0..5),
        space in prop::sample::select(&["", " ", "\n  \t"][..]),
        size in 1..200usize,
    ) {
        let mut json = String::new();
        write(&document, space, &mut json);
        let rests: Vec<Rest<'_>> = fields.iter().map(|path| (&*path.segments, false)).collect();
        let kept = naive(&document, &rests).unwrap_or(match document {
            Tree::Object(_) => Tree::Object(vec![]),
            Tree::Array(_) => Tree::Array(vec![]),
            _ => Tree::Null,
        });
        let mut expected = String::new();
        write(&kept, "", &mut expected);
        let mut projector = Projector::new(&fields);
        for size in [json.len().max(1), size] {
            let mut out = Vec::new();
            projector.reset();
            for chunk in json.as_bytes().chunks(size) {
                projector.push(chunk, &mut out).unwrap();
            }
            projector.finish(&mut out).unwrap();
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), &expected, "{:?} of {}", fields, json);
        }
        let mut out = Vec::new();
        projector.project(json.as_bytes(), &mut out).unwrap();
        prop_assert_eq!(std::str::from_utf8(&out).unwrap(), &expected);
    }

    #[test]
    fn anything_is_projected_or_refused(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ aA1tn".to_vec()), 0..60)) {
        let mut out = Vec::new();
        let projected = Projector::new(&[Path::parse("/.../a").unwrap()]).project(&bytes, &mut out);
        let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        prop_assert_eq!(projected.is_ok(), valid || bytes.iter().all(|byte| *byte == b' '));
    }
}
