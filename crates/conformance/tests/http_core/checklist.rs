//! Keeps the tests and the checklist together: every line is either a test or listed here with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LINES: u32 = 86;

/// Lines that have no test yet.
const NOT_YET_COVERED: [(u32, &str); 0] = [];

/// Rules of the chapter without a checklist line that need mutual TLS or a second node, and so have no test yet:
/// identity suffix of the owner and the empty owner, permissions (2.9), ALPN and HTTP/2 over TLS (1.1),
/// `node_passive` (2.11, 10.2), polling of nodes that share a backend (7.1), coordinator errors (F-20).
const NEEDS_TLS_OR_PEERS: &str = "1.1, 2.9, 2.11, 7.1, 10.2, F-20, Q-4";

#[test]
fn every_line_of_the_checklist_is_a_test_or_says_why_not() {
    assert!(!NEEDS_TLS_OR_PEERS.is_empty());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut sources = vec![tests.join("replay.rs")];
    sources.extend(std::fs::read_dir(tests.join("http_core")).unwrap().map(|entry| entry.unwrap().path()));
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        for (start, _) in text.match_indices(concat!("http_core", "_")) {
            let name: String =
                text[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let number = name.split('_').nth(2).and_then(|digits| digits.parse().ok());
            if let Some(number) = number {
                found.entry(number).or_default().insert(name);
            }
        }
    }
    for line in 1..=LINES {
        let excused = NOT_YET_COVERED.iter().find(|(number, _)| *number == line);
        match (found.get(&line), excused) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => panic!("checklist line {line} has no test and no excuse"),
            (Some(names), Some((_, why))) => panic!("line {line} is excused ({why}) but tested by {names:?}"),
        }
    }
    assert_eq!(
        found.keys().find(|line| **line == 0 || **line > LINES),
        None,
        "there is no such checklist line"
    );
}
