//! Whether one value passes a test.

use super::{Edge, Temporal, Test};
use crate::text::float_literal;

/// A value as tests see it: decoded, and without what is inside of arrays and objects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    Text(&'a str),
    /// The literal, as it stands in the document.
    Number(&'a str),
    Bool(bool),
    Null,
    Array,
    Object,
}

impl<'a> Scalar<'a> {
    /// What comparisons work on; `null`, arrays and objects have no such form.
    pub fn string_form(self) -> Option<&'a str> {
        match self {
            Scalar::Text(text) | Scalar::Number(text) => Some(text),
            Scalar::Bool(true) => Some("true"),
            Scalar::Bool(false) => Some("false"),
            Scalar::Null | Scalar::Array | Scalar::Object => None,
        }
    }

    /// The value as a number: JSON numbers, and strings that are complete number literals.
    pub fn number(self) -> Option<f64> {
        match self {
            // Too large a number becomes an infinity, which still is above every bound.
            Scalar::Number(literal) => literal.parse().ok(),
            Scalar::Text(text) => float_literal(text),
            Scalar::Bool(_) | Scalar::Null | Scalar::Array | Scalar::Object => None,
        }
    }
}

impl Test {
    /// Whether the value passes. For an array this says nothing about its elements: see [`Test::descends`].
    pub fn accepts(&self, value: Scalar<'_>) -> bool {
        match self {
            Test::Present => true,
            Test::Exists => value != Scalar::Null,
            Test::Scalar => value.string_form().is_some(),
            Test::Numbers { lower, upper } => {
                value.number().is_some_and(|number| within(number, *lower, *upper))
            }
            Test::Times { equal, lower, upper } => {
                value.string_form().and_then(Temporal::parse).is_some_and(|time| {
                    equal.is_none_or(|equal| equal.same_time(time)) && within(time.instant(), *lower, *upper)
                })
            }
            Test::Equals { text, time, fold_case } => value.string_form().is_some_and(|candidate| {
                let same = if *fold_case { folds_to(candidate, text) } else { candidate == text };
                same || time
                    .is_some_and(|time| Temporal::parse(candidate).is_some_and(|other| time.same_time(other)))
            }),
            Test::OneOf { items } => {
                value.string_form().is_some_and(|candidate| items.iter().any(|item| item == candidate))
            }
            Test::StartsWith { needles, fold_case } => value.string_form().is_some_and(|candidate| {
                needles.iter().any(|needle| match fold_case {
                    true => folded_remainder(candidate, needle).is_some(),
                    false => candidate.starts_with(needle.as_str()),
                })
            }),
            Test::Contains { needles, fold_case } => {
                value.string_form().is_some_and(|candidate| match fold_case {
                    true => contains_folded(candidate, needles),
                    false => needles.iter().any(|needle| candidate.contains(needle.as_str())),
                })
            }
        }
    }

    /// Whether an array at the end of a path is tested element by element, nested arrays included.
    pub fn descends(&self) -> bool {
        !matches!(self, Test::Present | Test::Exists)
    }
}

pub(crate) fn within<T: PartialOrd + Copy>(value: T, lower: Option<Edge<T>>, upper: Option<Edge<T>>) -> bool {
    lower.is_none_or(|edge| value > edge.at || (edge.inclusive && value == edge.at))
        && upper.is_none_or(|edge| value < edge.at || (edge.inclusive && value == edge.at))
}

/// Lower-cases one character by the simple mapping of Unicode, which never changes the number of characters.
pub fn fold_char(letter: char) -> char {
    match letter {
        'A'..='Z' => letter.to_ascii_lowercase(),
        '\0'..='\u{7f}' => letter,
        // The only letter whose full mapping is longer than one; the simple one drops the dot.
        '\u{130}' => 'i',
        _ => letter.to_lowercase().next().unwrap_or(letter),
    }
}

/// Lower-cases a text, as needles of tests that ignore case are.
pub fn fold_case(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

fn folds_to(text: &str, folded: &str) -> bool {
    folded_remainder(text, folded) == Some("")
}

/// What follows the needle in a text that starts with it when case is ignored.
fn folded_remainder<'a>(text: &'a str, folded: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    for letter in folded.chars() {
        if fold_char(rest.next()?) != letter {
            return None;
        }
    }
    Some(rest.as_str())
}

fn contains_folded(text: &str, folded: &[String]) -> bool {
    /// Trying a needle at every place is fast as long as the needle is short.
    const SHORT: usize = 64;
    if folded.iter().all(|needle| needle.len() <= SHORT) && (text.len() <= SHORT || folded.len() <= 4) {
        if text.is_ascii() {
            return folded.iter().any(|needle| contains_ascii(text.as_bytes(), needle.as_bytes()));
        }
        return folded.iter().any(|needle| {
            let mut rest = text.chars();
            loop {
                if folded_remainder(rest.as_str(), needle).is_some() {
                    return true;
                }
                if rest.next().is_none() {
                    return false;
                }
            }
        });
    }
    let text = fold_case(text);
    folded.iter().any(|needle| text.contains(needle.as_str()))
}

fn contains_ascii(text: &[u8], folded: &[u8]) -> bool {
    let Some(first) = folded.first() else { return true };
    text.windows(folded.len()).any(|window| {
        window.first().map(u8::to_ascii_lowercase) == Some(*first) && window.eq_ignore_ascii_case(folded)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::condition::Instant;

    fn equals(text: &str) -> Test {
        Test::Equals { text: text.into(), time: Temporal::parse(text), fold_case: false }
    }

    fn contains(needles: &[&str], fold_case: bool) -> Test {
        Test::Contains { needles: needles.iter().map(|&needle| needle.into()).collect(), fold_case }
    }

    fn at_least(at: f64) -> Test {
        Test::Numbers { lower: Some(Edge { at, inclusive: true }), upper: None }
    }

    const ALL: [Scalar<'_>; 6] = [
        Scalar::Text(""),
        Scalar::Number("0"),
        Scalar::Bool(false),
        Scalar::Null,
        Scalar::Array,
        Scalar::Object,
    ];

    #[test]
    fn lql_28_equality_compares_stored_text_and_ranges_compare_values() {
        assert!(equals("1").accepts(Scalar::Number("1")));
        assert!(equals("1").accepts(Scalar::Text("1")));
        assert!(!equals("1").accepts(Scalar::Number("1.0")));
        assert!(!equals("1000").accepts(Scalar::Number("1e3")));
        assert!(equals("true").accepts(Scalar::Bool(true)));
        assert!(at_least(1.0).accepts(Scalar::Number("1.0")));
        assert!(at_least(1.0).accepts(Scalar::Number("1e3")));
        assert!(at_least(1.0).accepts(Scalar::Text("0x1p0")), "numeric strings are numbers to a range");
        assert!(at_least(1.0).accepts(Scalar::Number("1e999")));
        for text in ["", "1 ", "one", "1e999", "nan"] {
            assert!(!at_least(1.0).accepts(Scalar::Text(text)), "{text}");
        }
        assert!(!at_least(1.0).accepts(Scalar::Bool(true)));
    }

    #[test]
    fn lql_29_30_existence_and_presence() {
        assert_eq!(ALL.map(|value| Test::Exists.accepts(value)), [true, true, true, false, true, true]);
        assert_eq!(ALL.map(|value| Test::Present.accepts(value)), [true; 6]);
        assert_eq!(ALL.map(|value| Test::Scalar.accepts(value)), [true, true, true, false, false, false]);
    }

    #[test]
    fn bounds_are_inclusive_or_not() {
        let test = |lower, upper| Test::Numbers { lower, upper };
        let edge = |at, inclusive| Some(Edge { at, inclusive });
        let accepted = |test: Test| ["0", "1", "2", "3"].map(|literal| test.accepts(Scalar::Number(literal)));
        assert_eq!(accepted(test(edge(1.0, true), edge(2.0, true))), [false, true, true, false]);
        assert_eq!(accepted(test(edge(1.0, false), None)), [false, false, true, true]);
        assert_eq!(accepted(test(None, edge(2.0, false))), [true, true, false, false]);
    }

    #[test]
    fn times_must_be_temporal_and_satisfy_everything() {
        let day = Temporal::parse("2025-01-02").unwrap();
        let test = |equal, lower| Test::Times {
            equal,
            lower: Some(Edge { at: lower, inclusive: true }),
            upper: None,
        };
        let late = Scalar::Text("2025-01-02T01:00:00+02:00");
        assert!(test(Some(day), Instant(i128::MIN)).accepts(late));
        assert!(!test(Some(day), day.instant()).accepts(late));
        assert!(!test(None, Instant(i128::MIN)).accepts(Scalar::Text("soon")));
        assert!(!test(None, Instant(i128::MIN)).accepts(Scalar::Number("2025")));
        assert!(equals("2025-01-02T01:00:00+02:00").accepts(Scalar::Text("2025-01-01T23:00:00Z")));
        assert!(equals("2025-01-02").accepts(late));
    }

    #[test]
    fn case_counts_unless_it_is_ignored() {
        assert!(!contains(&["pe"], false).accepts(Scalar::Text("OPEN")));
        assert!(contains(&["xx", "pe"], true).accepts(Scalar::Text("OPEN")));
        assert!(contains(&["straße"], true).accepts(Scalar::Text("Große STRAßE")));
        assert!(contains(&["k"], true).accepts(Scalar::Text("\u{212a}")));
        assert!(contains(&["i"], true).accepts(Scalar::Text("\u{130}")));
        assert!(
            contains(&["ς"], true).accepts(Scalar::Text("ς"))
                && !contains(&["ς"], true).accepts(Scalar::Text("ΑΣ"))
        );
        let prefix = |needle: &str, fold_case| Test::StartsWith { needles: vec![needle.into()], fold_case };
        assert!(
            prefix("al", true).accepts(Scalar::Text("ALbert"))
                && !prefix("al", false).accepts(Scalar::Text("Albert"))
        );
        assert!(!prefix("albert", true).accepts(Scalar::Text("AL")));
        let folded = Test::Equals { text: "öl".into(), time: None, fold_case: true };
        assert!(folded.accepts(Scalar::Text("ÖL")) && !folded.accepts(Scalar::Text("ÖLE")));
    }

    proptest! {
        #[test]
        fn ignoring_case_is_folding_both_sides(
            text in "[aAkK\u{212a}\u{130}iß ]{0,90}",
            needles in proptest::collection::vec("[aAkKiI\u{130}]{1,3}|[aA]{60,70}", 1..7),
        ) {
            let folded: Vec<String> = needles.iter().map(|needle| fold_case(needle)).collect();
            let expected = folded.iter().any(|needle| fold_case(&text).contains(needle.as_str()));
            let test = Test::Contains { needles: folded, fold_case: true };
            prop_assert_eq!(test.accepts(Scalar::Text(&text)), expected);
        }
    }
}
