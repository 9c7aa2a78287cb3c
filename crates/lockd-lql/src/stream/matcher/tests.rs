//! The matcher against the oracle.

use proptest::prelude::*;

use super::*;
use crate::{
    oracle,
    stream::sample::{Tree, condition, dense_condition, dense_document, document, search},
};

/// All candidates of a stream that arrives in chunks.
fn in_chunks(matcher: &mut Matcher, stream: &[u8], size: usize) -> Result<Vec<Candidate>, MatchError> {
    let mut candidates = Vec::new();
    let mut sink = |candidate| {
        candidates.push(candidate);
        true
    };
    matcher.reset();
    for chunk in stream.chunks(size) {
        matcher.push(chunk, &mut sink)?;
    }
    matcher.finish(&mut sink)?;
    Ok(candidates)
}

/// What the oracle says of the candidates in some documents.
fn expected(condition: &Condition, documents: &[Tree]) -> Vec<bool> {
    let candidates = documents.iter().flat_map(|document| match document {
        Tree::Array(elements) => elements.as_slice(),
        other => std::slice::from_ref(other),
    });
    candidates.map(|candidate| oracle::candidate_matches(condition, candidate)).collect()
}

/// Tests all ways to judge some documents.
fn finds_what_the_oracle_finds(
    condition: &Condition,
    documents: &[Tree],
    style: u64,
    size: usize,
) -> Result<(), TestCaseError> {
    let mut matcher = Matcher::new(condition);
    let mut stream = String::new();
    for document in documents {
        let json = document.json(style);
        prop_assert_eq!(
            matcher.matches(json.as_bytes()).unwrap(),
            oracle::matches(condition, document),
            "{} in {}",
            condition.clauses[0].path,
            json
        );
        stream.push_str(&json);
        stream.push('\n');
    }
    let candidates = in_chunks(&mut matcher, stream.as_bytes(), size).unwrap();
    let answers: Vec<bool> = candidates.iter().map(|candidate| candidate.matched).collect();
    prop_assert_eq!(answers, expected(condition, documents));
    let mut whole = Vec::new();
    matcher
        .select(stream.as_bytes(), |candidate| {
            whole.push(candidate);
            true
        })
        .unwrap();
    prop_assert_eq!(&whole, &candidates);
    for candidate in whole {
        let text = &stream[candidate.start as usize..candidate.end as usize];
        prop_assert_eq!(text, text.trim());
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn it_finds_what_the_oracle_finds(
        condition in condition(),
        documents in prop::collection::vec(document(), 1..4),
        style in any::<u64>(),
        size in 1..200usize,
    ) {
        finds_what_the_oracle_finds(&condition, &documents, style, size)?;
    }

    #[test]
    fn glances_overlook_nothing(
        condition in search(),
        documents in prop::collection::vec(document(), 1..4),
        style in any::<u64>(),
        size in 1..1000usize,
    ) {
        finds_what_the_oracle_finds(&condition, &documents, style, size)?;
    }

    #[test]
    fn indexes_and_arrays_that_are_looked_through_exclude_each_other(
        conditions in prop::collection::vec(dense_condition(), 20),
        document in dense_document(),
    ) {
        let json = document.json(1);
        for condition in conditions {
            prop_assert_eq!(
                Matcher::new(&condition).matches(json.as_bytes()).unwrap(),
                oracle::matches(&condition, &document),
                "{} in {}", condition.clauses[0].path, json
            );
        }
    }
}
