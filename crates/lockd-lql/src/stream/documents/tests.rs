//! Picking documents against picking them from the text.

use proptest::prelude::*;

use super::*;
use crate::{
    condition::Instant,
    oracle,
    selector::Selector,
    stream::sample::{Tree, condition, document},
};

fn compiled(selector: &str) -> Condition {
    Selector::parse(selector).unwrap().compile(Instant(0)).unwrap()
}

/// The wanted documents of a stream that arrives in chunks.
fn picked(
    documents: &mut Documents,
    stream: &str,
    size: usize,
) -> Result<Vec<(String, u64)>, DocumentsError> {
    let mut picked = Vec::new();
    let mut sink = |document: Document<'_>| {
        picked.push((String::from_utf8(document.json.to_vec()).unwrap(), document.start));
        true
    };
    documents.reset();
    for chunk in stream.as_bytes().chunks(size) {
        documents.push(chunk, &mut sink)?;
    }
    documents.finish(&mut sink)?;
    Ok(picked)
}

#[test]
fn documents_come_out_as_they_stand() {
    let stream = "{\"a\": 1}\n [ {\"a\":1} , {\"b\":2}] {\"a\":1,\n\"c\":\"\u{e9}\"}7";
    let mut documents = Documents::new(&compiled("/a=1"), Wanted::Matching, 100);
    let expected = [("{\"a\": 1}", 0), ("{\"a\":1}", 12), ("{\"a\":1,\n\"c\":\"\u{e9}\"}", 31)];
    for size in [1, 7, 64, 100] {
        let found = picked(&mut documents, stream, size).unwrap();
        assert_eq!(found, expected.map(|(text, start)| (text.to_owned(), start)));
    }
    let mut others = Documents::new(&compiled("/a=1"), Wanted::Others, 100);
    assert_eq!(picked(&mut others, stream, 9).unwrap(), [("{\"b\":2}".into(), 22), ("7".into(), 48)]);
}

#[test]
fn what_is_not_wanted_is_not_held() {
    let mut documents = Documents::new(&compiled("/a=1"), Wanted::Others, 1000);
    documents.push(b"{\"a\":1,\"long\":\"", |_| true).unwrap();
    for _ in 0..100 {
        documents.push(&[b'x'; 500], |_| true).unwrap();
    }
    assert!(documents.held.len() <= LATE as usize, "{}", documents.held.len());
}

#[test]
fn documents_over_the_limit_are_refused() {
    let long = format!("{{\"a\":1}}{{\"a\":1,\"b\":\"{}\"}}", "x".repeat(1000));
    for size in [10, 5000] {
        let mut documents = Documents::new(&compiled("/a=1"), Wanted::All, 500);
        let error = picked(&mut documents, &long, size).unwrap_err();
        assert_eq!(error, DocumentsError::TooLarge { start: 7, limit: 500 });
        assert!(documents.held.len() < 700);
    }
}

#[test]
fn a_sink_that_has_enough_is_not_asked_again() {
    let mut documents = Documents::new(&compiled(""), Wanted::All, 500);
    let mut count = 0;
    let stream = "{} ".repeat(1000);
    for chunk in stream.as_bytes().chunks(100) {
        documents
            .push(chunk, |_| {
                count += 1;
                count < 3
            })
            .unwrap();
    }
    documents
        .finish(|_| {
            count += 1;
            true
        })
        .unwrap();
    assert_eq!(count, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn they_are_the_documents_of_the_stream(
        condition in condition(),
        trees in prop::collection::vec(document(), 1..6),
        wanted in prop::sample::select(&[Wanted::Matching, Wanted::Others, Wanted::All][..]),
        style in any::<u64>(),
        size in 1..300usize,
    ) {
        let mut stream = String::new();
        let mut expected = Vec::new();
        let mut style = style;
        for tree in &trees {
            let list = if let Tree::Array(elements) = tree { elements.as_slice() } else { std::slice::from_ref(tree) };
            let array = matches!(tree, Tree::Array(_));
            stream.push_str(if array { "[" } else { "" });
            for (index, tree) in list.iter().enumerate() {
                stream.push_str(if index > 0 { "," } else { "" });
                let start = stream.len();
                tree.write(&mut style, true, &mut stream);
                let text = &stream[start..];
                let skipped = text.len() - text.trim_start().len();
                if wanted.includes(oracle::candidate_matches(&condition, tree)) {
                    expected.push((text.trim().to_owned(), (start + skipped) as u64));
                }
            }
            stream.push_str(if array { "]" } else { "\n" });
        }
        let mut documents = Documents::new(&condition, wanted, 1 << 20);
        prop_assert_eq!(picked(&mut documents, &stream, size).unwrap(), &*expected);
        prop_assert_eq!(picked(&mut documents, &stream, 1 << 20).unwrap(), expected);
    }
}
