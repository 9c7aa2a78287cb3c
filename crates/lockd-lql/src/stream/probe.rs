//! The tests of clauses, prepared to be run on bytes of documents: whole values, or long strings part by part.

use memchr::memmem::Finder;

use super::trace::{Traces, Window};
use crate::condition::{Scalar, Temporal, Test, fold_char, within};

/// A test with everything made ready that can be.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    test: Test,
    kind: Kind,
    /// So many bytes of a string, decoded, suffice to judge it unless it is searched through.
    pub(crate) head: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Satisfied by the value being there.
    There,
    Scalar,
    Equals {
        temporal: bool,
    },
    OneOf,
    StartsWith,
    Contains(Vec<Finder<'static>>),
    /// The needles are in lower case, and so must be what is searched.
    ContainsFolded(Vec<Folded>),
    /// Whatever needs the whole text as text.
    Whole,
}

/// A needle in lower case.
#[derive(Clone, Debug)]
struct Folded {
    finder: Finder<'static>,
    /// No text without these letters contains the needle.
    window: Option<Window>,
}

impl Folded {
    fn new(needle: &str) -> Self {
        Folded { finder: Finder::new(needle.as_bytes()).into_owned(), window: Window::of(needle) }
    }

    /// Whether it is worth while to look closer.
    fn possible(&self, text: &[u8]) -> bool {
        self.window.is_none_or(|window| window.is_in(text))
    }
}

/// Longer strings are neither numbers nor times.
const LONGEST_LITERAL: usize = 64 << 10;

impl Probe {
    pub(crate) fn new(test: &Test) -> Self {
        let finders = |needles: &[String]| {
            needles.iter().map(|needle| Finder::new(needle.as_bytes()).into_owned()).collect()
        };
        // A letter and its lower case may have different lengths in UTF-8.
        let longest = |needles: &[String]| needles.iter().map(String::len).max().unwrap_or_default();
        let (kind, head) = match test {
            Test::Present => (Kind::There, 0),
            Test::Exists => (Kind::There, 0),
            Test::Scalar => (Kind::Scalar, 0),
            Test::Equals { fold_case: true, text, .. } => {
                (Kind::Whole, (4 * text.len() + 4).max(LONGEST_LITERAL))
            }
            Test::Equals { text, time, .. } => {
                let head = if time.is_some() { text.len().max(LONGEST_LITERAL) } else { text.len() };
                (Kind::Equals { temporal: time.is_some() }, head)
            }
            Test::OneOf { items } => (Kind::OneOf, longest(items)),
            Test::StartsWith { needles, fold_case: false } => (Kind::StartsWith, longest(needles)),
            Test::StartsWith { needles, fold_case: true } => (Kind::Whole, 4 * longest(needles) + 4),
            Test::Contains { needles, fold_case: false } => (Kind::Contains(finders(needles)), 0),
            Test::Contains { needles, fold_case: true } => {
                (Kind::ContainsFolded(needles.iter().map(|needle| Folded::new(needle)).collect()), 0)
            }
            Test::Numbers { .. } | Test::Times { .. } => (Kind::Whole, LONGEST_LITERAL),
        };
        Probe { test: test.clone(), kind, head }
    }

    /// What everything leaves behind that is searched for, if that is something to look for in documents.
    pub(crate) fn traces(&self) -> Option<Traces> {
        match &self.test {
            Test::Contains { needles, fold_case: false } => Some(Traces::exact(needles)),
            Test::Contains { needles, fold_case: true } => Traces::folded(needles),
            _ => None,
        }
    }

    /// Whether arrays and objects can pass.
    pub(crate) fn takes_containers(&self) -> bool {
        matches!(self.kind, Kind::There)
    }

    /// Whether strings are searched through to their end.
    pub(crate) fn searches(&self) -> bool {
        matches!(self.kind, Kind::Contains(_) | Kind::ContainsFolded(_))
    }

    /// Whether strings are searched through in lower case.
    pub(crate) fn folds(&self) -> bool {
        matches!(self.kind, Kind::ContainsFolded(_))
    }

    /// How many bytes of a text the longest needle has.
    pub(crate) fn longest_needle(&self) -> usize {
        let longest = match &self.kind {
            Kind::Contains(finders) => finders.iter().map(|finder| finder.needle().len()).max(),
            Kind::ContainsFolded(needles) => needles.iter().map(|folded| folded.finder.needle().len()).max(),
            _ => None,
        };
        longest.unwrap_or_default()
    }

    /// Judges a whole string, whose lower case is made once for all probes.
    pub(crate) fn text(&self, text: &[u8], lower: &mut Lower) -> bool {
        match &self.kind {
            Kind::There | Kind::Scalar => true,
            Kind::Equals { temporal } => match &self.test {
                Test::Equals { text: wanted, time, .. } => {
                    text == wanted.as_bytes()
                        || *temporal
                            && looks_temporal(text)
                            && std::str::from_utf8(text)
                                .ok()
                                .and_then(Temporal::parse)
                                .is_some_and(|found| time.is_some_and(|time| time.same_time(found)))
                }
                _ => false,
            },
            Kind::OneOf => match &self.test {
                Test::OneOf { items } => items.iter().any(|item| item.as_bytes() == text),
                _ => false,
            },
            Kind::StartsWith => self.starts(text),
            Kind::Contains(finders) => finders
                .iter()
                .any(|finder| finder.needle().len() <= text.len() && finder.find(text).is_some()),
            Kind::ContainsFolded(needles) => needles
                .iter()
                .any(|folded| folded.possible(text) && folded.finder.find(lower.of(text)).is_some()),
            Kind::Whole => match std::str::from_utf8(text) {
                Ok(text) => self.test.accepts(Scalar::Text(text)),
                Err(_) => self.test.accepts(Scalar::Text(&String::from_utf8_lossy(text))),
            },
        }
    }

    /// Judges a string that was too long to be kept, by its first bytes; what is searched through is not judged here.
    pub(crate) fn long_text(&self, head: &[u8]) -> bool {
        match (&self.kind, &self.test) {
            (Kind::There | Kind::Scalar, _) => true,
            (Kind::StartsWith, _) => self.starts(head),
            (Kind::Whole, Test::StartsWith { .. }) => {
                self.test.accepts(Scalar::Text(&String::from_utf8_lossy(head)))
            }
            _ => false,
        }
    }

    /// Looks into a part of a long string, given also in lower case if that is needed.
    pub(crate) fn finds(&self, plain: &[u8], lower: &[u8]) -> bool {
        match &self.kind {
            Kind::Contains(finders) => finders.iter().any(|finder| finder.find(plain).is_some()),
            Kind::ContainsFolded(needles) => needles.iter().any(|folded| folded.finder.find(lower).is_some()),
            _ => false,
        }
    }

    fn starts(&self, text: &[u8]) -> bool {
        match &self.test {
            Test::StartsWith { needles, .. } => {
                needles.iter().any(|needle| text.starts_with(needle.as_bytes()))
            }
            _ => false,
        }
    }

    /// Judges a number, `true`, `false` or `null`.
    pub(crate) fn scalar(&self, literal: &[u8], whole: bool, lower: &mut Lower) -> bool {
        if literal == b"null" {
            return matches!(self.test, Test::Present);
        }
        if !whole {
            return self.long_text(literal) || self.finds(literal, literal);
        }
        match &self.kind {
            Kind::Whole => match &self.test {
                Test::Numbers { lower, upper } if let Some(number) = short_decimal(literal) => {
                    within(number, *lower, *upper)
                }
                test => test.accepts(match literal {
                    b"true" => Scalar::Bool(true),
                    b"false" => Scalar::Bool(false),
                    number => Scalar::Number(std::str::from_utf8(number).unwrap_or_default()),
                }),
            },
            _ => self.text(literal, lower),
        }
    }
}

/// The value of a number that has so few digits that it can be computed without rounding twice, as most numbers have.
fn short_decimal(literal: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = match literal {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // Fifteen digits and a point.
    if digits.len() > 16 {
        return None;
    }
    let mut value = 0u64;
    let mut point = None;
    for (place, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' => point = Some(place),
            _ => return None,
        }
    }
    let fraction = point.map_or(0, |point| digits.len() - point - 1);
    if digits.len() - usize::from(point.is_some()) > 15 {
        return None;
    }
    // Both are exact, so that the quotient is the nearest value there is.
    let value = value as f64 / POWERS.get(fraction)?;
    Some(if negative { -value } else { value })
}

/// Whether a text may be a temporal literal: almost none is.
fn looks_temporal(text: &[u8]) -> bool {
    text.len() >= 10 && (text.get(4) == Some(&b'-') || !text.first().is_some_and(u8::is_ascii_digit))
}

/// The lower case of one text, made at most once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lower {
    bytes: Vec<u8>,
    made: bool,
}

impl Lower {
    /// Another text comes.
    pub(crate) fn forget(&mut self) {
        self.made = false;
    }

    fn of(&mut self, text: &[u8]) -> &[u8] {
        if !self.made {
            self.bytes.clear();
            fold_into(text, &mut self.bytes);
            self.made = true;
        }
        &self.bytes
    }
}

/// Appends the lower case of a text; what is not UTF-8 stays.
pub(crate) fn fold_into(text: &[u8], out: &mut Vec<u8>) {
    if text.is_ascii() {
        let from = out.len();
        out.extend_from_slice(text);
        if let Some(new) = out.get_mut(from..) {
            new.make_ascii_lowercase();
        }
        return;
    }
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            out.extend_from_slice(fold_char(letter).encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_numbers_have_the_value_that_they_always_have(literal in "-?(0|[1-9][0-9]{0,16})(\\.[0-9]{1,17})?(e1)?") {
            if let Some(value) = short_decimal(literal.as_bytes()) {
                prop_assert_eq!(value.to_bits(), literal.parse::<f64>().unwrap().to_bits());
            }
        }
    }

    #[test]
    fn words_and_long_numbers_are_left_to_others() {
        for literal in ["true", "false", "null", "1e3", "1234567890123456", "0.1234567890123456"] {
            assert_eq!(short_decimal(literal.as_bytes()), None, "{literal}");
        }
        assert_eq!(short_decimal(b"-12.50"), Some(-12.5));
    }
}
