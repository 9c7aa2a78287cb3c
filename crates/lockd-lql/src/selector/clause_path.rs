//! The part of a clause before its brace: the groups around it and its kind, as in `and.0.not.eq`.

use super::MAX_DEPTH;
use crate::error::{Problem, SelectorError, Shown};

const MAX_INDEX: u32 = 1_048_576;

/// A group around a clause. A numbered one names an element of its list, an unnumbered one opens a new element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    And(Option<u32>),
    Or(Option<u32>),
    Not,
}

/// The kind of a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Eq,
    Contains,
    Icontains,
    Prefix,
    Iprefix,
    Range,
    Date,
    In,
    Exists,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Eq,
        Kind::Contains,
        Kind::Icontains,
        Kind::Prefix,
        Kind::Iprefix,
        Kind::Range,
        Kind::Date,
        Kind::In,
        Kind::Exists,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Eq => "eq",
            Kind::Contains => "contains",
            Kind::Icontains => "icontains",
            Kind::Prefix => "prefix",
            Kind::Iprefix => "iprefix",
            Kind::Range => "range",
            Kind::Date => "date",
            Kind::In => "in",
            Kind::Exists => "exists",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| word.eq_ignore_ascii_case(kind.name()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClausePath {
    pub(super) groups: Vec<Group>,
    pub(super) kind: Kind,
}

/// What follows a path, and its place in the source.
pub(super) type Rest<'a> = Option<(&'a str, usize)>;

/// The text before the first dot or brace; it says what a piece is.
pub(super) fn first_token(piece: &str) -> &str {
    piece.split(['.', '{']).next().unwrap_or_default().trim()
}

/// Whether a piece that starts with this word is a clause.
pub(super) fn is_keyword(token: &str) -> bool {
    is_list_group(token) || token.eq_ignore_ascii_case("not") || Kind::parse(token).is_some()
}

pub(super) fn is_list_group(token: &str) -> bool {
    token.eq_ignore_ascii_case("and") || token.eq_ignore_ascii_case("or")
}

impl ClausePath {
    /// Reads a path that starts at `offset` of the source.
    pub(super) fn parse(path: &str, offset: usize) -> Result<ClausePath, SelectorError> {
        let (clause_path, rest) = ClausePath::parse_front(path, offset)?;
        match rest {
            None => Ok(clause_path),
            Some((segment, place)) => Err(SelectorError::at(
                Problem::UnexpectedSegment(Shown::new(path), Shown::new(segment)),
                place,
            )),
        }
    }

    /// Reads a path, and returns what follows the kind of clause in it, with its place.
    pub(super) fn parse_front(path: &str, offset: usize) -> Result<(ClausePath, Rest<'_>), SelectorError> {
        let mut groups: Vec<Group> = Vec::new();
        let mut place = offset;
        for raw in path.split('.') {
            let segment = raw.trim();
            let error = |problem| Err(SelectorError::at(problem, place));
            if segment.is_empty() {
                return error(Problem::EmptySegment(Shown::new(path)));
            }
            if let Some(kind) = Kind::parse(segment) {
                let clause_path = ClausePath { groups, kind };
                let rest_place = place + raw.len() + 1;
                let rest = path.get(rest_place - offset..).map(|rest| (rest.trim(), rest_place));
                return Ok((clause_path, rest));
            }
            if segment.bytes().all(|byte| byte.is_ascii_digit()) {
                let Some(Group::And(index @ None) | Group::Or(index @ None)) = groups.last_mut() else {
                    return error(Problem::UnexpectedIndex(Shown::new(path), Shown::new(segment)));
                };
                match segment.parse() {
                    Ok(number @ 0..=MAX_INDEX) => *index = Some(number),
                    _ => return error(Problem::InvalidIndex(segment.chars().take(40).collect())),
                }
            } else {
                groups.push(match () {
                    () if segment.eq_ignore_ascii_case("and") => Group::And(None),
                    () if segment.eq_ignore_ascii_case("or") => Group::Or(None),
                    () if segment.eq_ignore_ascii_case("not") => Group::Not,
                    () => {
                        return error(Problem::UnexpectedSegment(Shown::new(path), Shown::new(segment)));
                    }
                });
                if groups.len() >= MAX_DEPTH {
                    return error(Problem::TooDeep);
                }
            }
            place += raw.len() + 1;
        }
        Err(SelectorError::at(Problem::MissingTerm(Shown::new(path)), offset + path.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &str) -> String {
        ClausePath::parse(path, 0).unwrap_err().to_string()
    }

    #[test]
    fn groups_and_kinds_are_read_in_any_case() {
        use Group::*;
        let path = ClausePath::parse(" AND . 07 .or.not.OR.0.iContains ", 0).unwrap();
        assert_eq!(path.groups, [And(Some(7)), Or(None), Not, Or(Some(0))]);
        assert_eq!(path.kind, Kind::Icontains);
    }

    #[test]
    fn path_errors() {
        for (path, expected) in [
            ("and..eq", "selector path \"and..eq\" has empty segment"),
            ("and.eq.", "selector path \"and.eq.\" has unexpected segment \"\""),
            ("and.0", "selector path \"and.0\" missing term"),
            ("not", "selector path \"not\" missing term"),
            ("eq.field", "selector path \"eq.field\" has unexpected segment \"field\""),
            ("and.like", "selector path \"and.like\" has unexpected segment \"like\""),
            ("and.-1.eq", "selector path \"and.-1.eq\" has unexpected segment \"-1\""),
            ("and.0.1.eq", "selector path \"and.0.1.eq\" has unexpected index \"1\""),
            ("not.0.eq", "selector path \"not.0.eq\" has unexpected index \"0\""),
            ("or.1048577.eq", "selector index 1048577 invalid"),
            ("or.99999999999999999999.eq", "selector index 99999999999999999999 invalid"),
        ] {
            assert_eq!(error(path), expected);
        }
    }

    #[test]
    fn lql_11_numbers_end_at_1048576() {
        assert!(ClausePath::parse("and.1048576.eq", 0).is_ok());
        assert_eq!(error("and.1048577.eq"), "selector index 1048577 invalid");
    }
}
