//! Comparisons written short, such as `/status=open` or `/n>=10`.

use super::{
    Bound, Range, Term,
    clause::{Clause, Value},
    clause_path::Kind,
};
use crate::{
    condition::Temporal,
    error::{Problem, SelectorError, Shown},
    text::{float_literal, quoted_content, unquote},
};

/// A comparison: its clause, and whether it is negated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shorthand {
    pub(super) negated: bool,
    pub(super) clause: Clause,
}

/// Two-character operators stand before the one-character operators that they start with.
const OPERATORS: [&str; 7] = ["!=", ">=", "<=", "==", "=", ">", "<"];

impl Shorthand {
    /// A text that orders comparisons; equal ones have equal texts.
    pub(super) fn order(&self) -> String {
        format!("{} {:?}", self.negated, self.clause)
    }

    /// Reads a piece that starts at `offset` of the source; nothing if there is no operator in it.
    pub(super) fn parse(piece: &str, offset: usize) -> Option<Result<Shorthand, SelectorError>> {
        let (at, operator) = find_operator(piece)?;
        let (field, rest) = piece.split_at(at);
        let value = rest.get(operator.len()..).unwrap_or_default();
        Some(parse(piece, field.trim(), operator, value.trim()).map_err(|problem| {
            let place = match problem {
                Problem::ShorthandValue(_) | Problem::ShorthandLiteral | Problem::NotFinite(_) => {
                    let space = value.len() - value.trim_start().len();
                    at + operator.len() + space
                }
                _ => 0,
            };
            SelectorError::at(problem, offset + place)
        }))
    }
}

fn find_operator(piece: &str) -> Option<(usize, &'static str)> {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in piece.bytes().enumerate() {
        if std::mem::take(&mut escaped) && matches!(byte, b'"' | b'\'' | b'\\') {
            continue;
        }
        match (byte, quote) {
            (b'\\', _) => escaped = true,
            (_, Some(open)) if byte == open => quote = None,
            (b'"' | b'\'', None) => quote = Some(byte),
            (b'!' | b'=' | b'<' | b'>', None) => {
                let rest = piece.get(at..).unwrap_or_default();
                if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
                    return Some((at, operator));
                }
            }
            _ => {}
        }
    }
    None
}

fn parse(piece: &str, field: &str, operator: &str, value: &str) -> Result<Shorthand, Problem> {
    if field.is_empty() {
        return Err(Problem::ShorthandField(Shown::new(piece)));
    }
    if !field.starts_with('/') {
        return Err(Problem::ShorthandPointer(Shown::new(piece)));
    }
    if field.contains(|letter: char| letter.is_whitespace() || matches!(letter, ',' | '{' | '}')) {
        return Err(Problem::InvalidExpression(Shown::new(piece)));
    }
    if value.is_empty() {
        return Err(Problem::ShorthandValue(Shown::new(piece)));
    }
    let field = field.to_owned();
    if let "=" | "==" | "!=" = operator {
        let value = match quoted_content(value) {
            Some(text) => text.to_owned(),
            None => Value::parse(value)?.into_text(),
        };
        let term = Term { field, value: Some(value), ..Term::default() };
        return Ok(Shorthand { negated: operator == "!=", clause: Clause::Term(Kind::Eq, term) });
    }
    let bound = match float_literal(value) {
        Some(number) if number.is_finite() => Bound::Number(number),
        _ => {
            let text = unquote(value);
            Temporal::parse(text).ok_or(Problem::ShorthandLiteral)?;
            Bound::Time(text.to_owned())
        }
    };
    let mut range = Range { field, ..Range::default() };
    match operator {
        ">=" => range.gte = Some(bound),
        ">" => range.gt = Some(bound),
        "<=" => range.lte = Some(bound),
        _ => range.lt = Some(bound),
    }
    Ok(Shorthand { negated: false, clause: Clause::Range(range) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lql_06_the_first_operator_counts_and_two_characters_win() {
        for (piece, expected) in [
            ("/a!=b", (2, "!=")),
            ("/a==b", (2, "==")),
            ("/a=b!=c", (2, "=")),
            ("/a>=1", (2, ">=")),
            ("/a<=1", (2, "<=")),
            ("/a=>1", (2, "=")),
            ("/a<b", (2, "<")),
            ("/a!b>c", (4, ">")),
            ("/'=='a=b", (6, "=")),
            ("/\\'a=b", (4, "=")),
        ] {
            assert_eq!(find_operator(piece), Some(expected), "{piece}");
        }
        assert_eq!(find_operator("/a!b"), None);
        assert_eq!(find_operator("'/a=b'"), None);
    }
}
