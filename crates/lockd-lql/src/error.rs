//! What can be wrong with a selector. Messages are part of the contract with clients; the place and what would have been
//! right are told beside them.

use std::fmt::{self, Write as _};

use crate::{path::NotAPointer, text::SplitError};

/// A selector that is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectorError {
    pub problem: Problem,
    /// Where in the source, in bytes, if a place can be named.
    pub offset: Option<usize>,
}

/// The problem, in the words that clients know.
impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for SelectorError {}

impl SelectorError {
    pub(crate) fn at(problem: Problem, offset: usize) -> Self {
        SelectorError { problem, offset: Some(offset) }
    }

    /// The error for people: the message, what would be right, and the line of the source with a caret under the place.
    pub fn explain(&self, source: &str) -> String {
        let mut text = self.problem.to_string();
        if let Some(expected) = self.problem.expected() {
            let _ = write!(text, "\n  expected {expected}");
        }
        if let Some(offset) = self.offset {
            push_caret(&mut text, source, offset);
        }
        text
    }
}

/// Adds the line of the source and a caret under the place; of a long line, the part around the place.
pub fn push_caret(text: &mut String, source: &str, offset: usize) {
    const AROUND: usize = 60;
    let offset = source.floor_char_boundary(offset.min(source.len()));
    let (before, after) = source.split_at(offset);
    let before = before.rsplit('\n').next().unwrap_or_default();
    let after = after.split('\n').next().unwrap_or_default();
    let skipped = before.chars().count().saturating_sub(AROUND);
    let shown = before.chars().skip(skipped).chain(after.chars().take(AROUND));
    let left = if skipped > 0 { "…" } else { "" };
    let right = if after.chars().nth(AROUND).is_some() { "…" } else { "" };
    // Whatever would move the caret away from its place becomes one plain column.
    let line: String = shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let width = before.chars().count() - skipped + left.chars().count();
    let _ = write!(text, "\n  {left}{line}{right}\n  {:width$}^", "");
}

/// A text of the source as messages show it: in double quotes, cut when it is long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    pub fn new(text: &str) -> Shown {
        const LIMIT: usize = 200;
        match text.char_indices().nth(LIMIT) {
            None => Shown(text.to_owned()),
            Some((cut, _)) => Shown(format!("{}…", text.get(..cut).unwrap_or_default())),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Unbalanced(crate::text::Unbalanced),
    #[error("invalid selector expression {0}")]
    InvalidExpression(Shown),
    #[error("empty selector expression")]
    EmptyExpression,
    #[error("selector {0} missing closing brace")]
    MissingClosingBrace(Shown),
    #[error("selector expression {0} missing key")]
    EmptyKey(Shown),
    #[error("selector expression {0} has duplicate key \"{1}\"")]
    DuplicateKey(Shown, &'static str),
    #[error("selector expression {0} has duplicate values")]
    DuplicateValues(Shown),

    #[error("selector path {0} has empty segment")]
    EmptySegment(Shown),
    #[error("selector path {0} missing term")]
    MissingTerm(Shown),
    #[error("selector path {0} missing key")]
    MissingKey(Shown),
    #[error("selector path {0} has unexpected segment {1}")]
    UnexpectedSegment(Shown, Shown),
    #[error("selector path {0} has unexpected index {1}")]
    UnexpectedIndex(Shown, Shown),
    #[error("selector index {0} invalid")]
    InvalidIndex(String),
    #[error("selector path conflict at {0}")]
    Conflict(&'static str),
    #[error("selector nested deeper than {max} levels", max = crate::selector::MAX_DEPTH)]
    TooDeep,

    #[error("selector shorthand {0} missing field")]
    ShorthandField(Shown),
    #[error("selector shorthand {0} requires JSON Pointer field")]
    ShorthandPointer(Shown),
    #[error("selector shorthand {0} missing value")]
    ShorthandValue(Shown),
    #[error("range comparisons require numeric or datetime literals")]
    ShorthandLiteral,

    #[error("{term} selector does not support key {key}")]
    UnsupportedKey { term: &'static str, key: Shown },
    #[error("exists selector accepts a single value")]
    ExistsSingle,
    #[error("selector term \"exists\" invalid")]
    ExistsInvalid,
    #[error("json: unsupported value: {0}")]
    NotFinite(&'static str),

    #[error("term field required")]
    FieldRequired,
    #[error("{0} field must be a string")]
    FieldType(&'static str),
    #[error("{0} selector does not support any")]
    AnyUnsupported(&'static str),
    #[error("{0} selector cannot set both value and any")]
    ValueAndAny(&'static str),
    #[error("term any requires values")]
    AnyEmpty,
    #[error("term ignoreCase must be true/false/t/f")]
    IgnoreCaseWord,
    #[error("term ignoreCase must be boolean")]
    IgnoreCaseType,
    #[error("term value must be a string, number, boolean or null")]
    ValueType,
    #[error("term any must hold strings, numbers and booleans")]
    AnyType,

    #[error("in selector field required")]
    InField,
    #[error("in.any requires values")]
    InAnyEmpty,
    #[error("in selector requires at least one any value")]
    InNoValues,
    #[error("in selector requires non-empty any values")]
    InBlankValue,
    #[error("in.any must be an array of strings")]
    InAnyType,

    #[error("range field required")]
    RangeField,
    #[error("range selector requires at least one bound")]
    RangeNoBound,
    #[error("range selector cannot mix numeric and datetime bounds")]
    RangeMixed,
    #[error("range selector datetime bound {0} invalid")]
    RangeBound(Shown),
    #[error("range {0}: value required")]
    RangeValueRequired(&'static str),
    #[error("range {0}: value must be numeric or datetime string")]
    RangeValueType(&'static str),

    #[error("date selector field required")]
    DateField,
    #[error("date selector requires at least one comparator")]
    DateNoComparator,
    #[error("date selector cannot set both after and gt")]
    DateAfterAndGt,
    #[error("date selector cannot set both before and lt")]
    DateBeforeAndLt,
    #[error("date selector since cannot be combined with after/gt/gte")]
    DateSinceAndLower,
    #[error("date selector value {0} invalid")]
    DateValue(Shown),
    #[error("date selector bound {0} invalid")]
    DateBound(Shown),
    #[error("date selector since {0} invalid")]
    DateSince(Shown),
    #[error("date {0} must be a string")]
    DateType(&'static str),

    #[error("{clause}.field: {pointer}")]
    Pointer { clause: &'static str, pointer: NotAPointer },

    #[error("selector must be a JSON object")]
    NotAnObject,
    #[error("selector {member} must be {expected}")]
    MemberType { member: &'static str, expected: &'static str },
    #[error("selector JSON invalid at byte {offset}: expected {expected}")]
    Json { offset: usize, expected: &'static str },
}

impl Problem {
    /// What would have been right, where the message does not say it.
    fn expected(&self) -> Option<&'static str> {
        use Problem::*;
        Some(match self {
            Unbalanced(crate::text::Unbalanced::ClosingBrace) => "a '{' before this '}'",
            Unbalanced(crate::text::Unbalanced::Quote) => {
                "the same quote again; a backslash or the other quote takes its meaning away"
            }
            Unbalanced(crate::text::Unbalanced::OpeningBrace) => "a '}' for this '{'",
            InvalidExpression(_) => {
                "a comparison such as /status=open, or a clause such as eq{field=/status,value=open}"
            }
            EmptyExpression => "key=value pairs between the braces, such as field=/status,value=open",
            MissingClosingBrace(_) => "'}' at the end of the clause",
            EmptyKey(_) => "a key before '='",
            DuplicateKey(..) | DuplicateValues(_) => "each key once",
            EmptySegment(_) => "a word between the dots",
            MissingTerm(_) => {
                "eq, contains, icontains, prefix, iprefix, range, date, in or exists after the last dot"
            }
            MissingKey(_) => "a key at the end, such as eq.field",
            UnexpectedSegment(..) => {
                "and, or, not, or last one of eq, contains, icontains, prefix, iprefix, range, date, in and exists"
            }
            UnexpectedIndex(..) => "a number only behind and/or",
            InvalidIndex(_) => "a number up to 1048576",
            Conflict(_) => {
                "another number, as in and.0.eq{…},and.1.eq{…}: one element holds one clause of a kind"
            }
            ShorthandField(_) | ShorthandPointer(_) => "a field that starts with '/', such as /status=open",
            ShorthandValue(_) => "a value; the empty text is \"\"",
            ShorthandLiteral => "a number without quotes, YYYY-MM-DD, or YYYY-MM-DDTHH:MM:SSZ",
            UnsupportedKey { term, .. } => match *term {
                "eq" => "field and value",
                "prefix" | "iprefix" => "field, value and ignoreCase",
                "range" => "field, gte, gt, lte and lt",
                "date" => "field, value, after, before, gte, gt, lte, lt and since",
                "in" => "field and any",
                _ => "field, value, any and ignoreCase",
            },
            ExistsSingle | ExistsInvalid => "one pointer, as in exists{/meta/etag}",
            NotFinite(_) => "a finite number",
            InAnyEmpty | AnyEmpty => "values with '|' between them, such as any=prod|stage",
            RangeBound(_) | DateValue(_) | DateBound(_) => "YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ",
            DateSince(_) => "now, today, yesterday, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ",
            RangeNoBound => "gte, gt, lte or lt",
            DateNoComparator => "value, after, before, gte, gt, lte, lt or since",
            DateType(_) => "a day or time; a plain number is none",
            _ => return None,
        })
    }
}

impl From<SplitError> for SelectorError {
    fn from(error: SplitError) -> Self {
        SelectorError::at(Problem::Unbalanced(error.kind), error.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = SelectorError::at(Problem::ShorthandValue(Shown::new("/b=")), 7);
        assert_eq!(
            error.explain("/ü=1\n/b=\n/c=2"),
            "selector shorthand \"/b=\" missing value\n  expected a value; the empty text is \"\"\n  /b=\n   ^"
        );
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let source = format!("{}!{}", "ä".repeat(100), "\t".repeat(100));
        let mut text = String::new();
        push_caret(&mut text, &source, 200);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].trim_end(), format!("  …{}!{}…", "ä".repeat(60), " ".repeat(59)).trim_end());
        assert_eq!(lines[2], format!("  {}^", " ".repeat(61)));
        push_caret(&mut text, "short", 1000);
        push_caret(&mut text, "ü", 1);
        assert!(text.ends_with("\n  ü\n  ^"));
    }

    #[test]
    fn quoted_texts_are_cut() {
        assert_eq!(Shown::new("a\"b\n").to_string(), r#""a\"b\n""#);
        assert_eq!(Shown::new(&"x".repeat(1_000)).to_string().chars().count(), 203);
    }
}
