//! Keeps the tests and the checklist together: every line is either a test or listed here with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const LINES: u32 = 72;

/// Lines that have no test here yet.
const NOT_COVERED: [(u32, &str); 5] = [
    (66, "needs several servers on one store"),
    (67, "needs several servers on one store"),
    (70, "needs client certificates with claims"),
    (71, "needs the C SDK"),
    (72, "belongs to the command line"),
];

#[test]
fn every_line_of_the_checklist_is_a_test_or_says_why_not() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queue");
    let mut found: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for source in std::fs::read_dir(sources).unwrap() {
        let text = std::fs::read_to_string(source.unwrap().path()).unwrap();
        for (start, _) in text.match_indices(concat!("queue", "_")) {
            let name: String =
                text[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if let Some(number) = name.split('_').nth(1).and_then(|digits| digits.parse().ok()) {
                found.entry(number).or_default().insert(name);
            }
        }
    }
    for line in 1..=LINES {
        let excused = NOT_COVERED.iter().find(|(number, _)| *number == line);
        match (found.get(&line), excused) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => panic!("checklist line {line} has no test and no excuse"),
            (Some(names), Some((_, why))) => panic!("line {line} is excused ({why}) but tested by {names:?}"),
        }
    }
    assert_eq!(found.keys().find(|line| **line == 0 || **line > LINES), None, "there is no such line");
}
