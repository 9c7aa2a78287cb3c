//! Keeps the tests and the checklist together: every line is either a test or listed here with its reason.

use std::collections::BTreeSet;
use std::path::Path;

const LINES: u32 = 71;

/// Lines that cannot be seen from outside of one server, or are tested elsewhere.
const NOT_COVERED: [(std::ops::RangeInclusive<u32>, &str); 9] = [
    (8..=8, "the record itself is private; line 32 shows that it exists"),
    (10..=10, "needs several servers"),
    (25..=27, "needs a coordinator, or client certificates"),
    (30..=30, "there is no step between the last application and the end: both are one write"),
    (40..=40, "needs loss of unsynced pages; the store's own tests do that"),
    (42..=42, "the list of waiting decisions is private; the queue's lines 56 to 58 show its effect"),
    (46..=62, "needs a coordinator cluster"),
    (63..=69, "needs several servers"),
    (70..=70, "http_core_80 and queue_50 drain a server"),
];

#[test]
fn every_line_of_the_checklist_is_a_test_or_says_why_not() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/txn");
    let mut found = BTreeSet::new();
    for source in std::fs::read_dir(sources).unwrap() {
        let text = std::fs::read_to_string(source.unwrap().path()).unwrap();
        for (start, mark) in text.match_indices(concat!("txn", "_")) {
            let digits: String =
                text[start + mark.len()..].chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse::<u32>() {
                found.insert(number);
            }
        }
    }
    for line in 1..=LINES {
        let excused = NOT_COVERED.iter().find(|(lines, _)| lines.contains(&line));
        match (found.contains(&line), excused) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => panic!("checklist line {line} has no test and no excuse"),
            (true, Some((_, why))) => panic!("line {line} is excused ({why}) but tested"),
        }
    }
    assert_eq!(found.iter().find(|line| **line == 0 || **line > LINES), None, "there is no such line");
}
