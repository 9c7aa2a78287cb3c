//! Clauses in text: what stands between the braces, and what its values mean.

use super::{
    Bound, Date, Range, Term, Within,
    clause_path::{ClausePath, Kind},
    json::{ignore_case_word, split_any},
};
use crate::{
    error::{Problem, SelectorError, Shown},
    text::{Unbalanced, float_literal, shortest_positional, unquote},
};

/// What a clause asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Clause {
    Term(Kind, Term),
    Range(Range),
    Date(Date),
    Within(Within),
    Exists(String),
}

/// A value as the language reads it. Quotes do not protect numbers and booleans from being recognised.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(f64),
    Bool(bool),
}

impl<'a> Value<'a> {
    /// Reads a value, with or without quotes.
    pub(super) fn parse(text: &'a str) -> Result<Value<'a>, Problem> {
        let text = unquote(text.trim());
        match float_literal(text) {
            Some(number) if number.is_finite() => Ok(Value::Number(number)),
            Some(number) if number.is_nan() => Err(Problem::NotFinite("NaN")),
            Some(number) => Err(Problem::NotFinite(if number > 0.0 { "+Inf" } else { "-Inf" })),
            None if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            None if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            None => Ok(Value::Text(text)),
        }
    }

    /// The value where text is expected.
    pub(super) fn into_text(self) -> String {
        match self {
            Value::Text(text) => text.to_owned(),
            Value::Number(number) => shortest_positional(number),
            Value::Bool(flag) => flag.to_string(),
        }
    }
}

/// One `key=value` of a body, or a value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Assignment<'a> {
    key: Option<&'a str>,
    /// As written.
    value: &'a str,
    offset: usize,
}

/// Cuts a body that starts at `base` of the source into assignments.
fn assignments(body: &str, base: usize) -> Result<Vec<Assignment<'_>>, SelectorError> {
    let bytes = body.as_bytes();
    let mut list = Vec::new();
    let mut at = 0;
    loop {
        while let Some(b',' | b'\n' | b'\r' | b' ' | b'\t') = bytes.get(at) {
            at += 1;
        }
        if at >= bytes.len() {
            return Ok(list);
        }
        let start = at;
        let mut equals = None;
        // White space ends an assignment only behind its value.
        let mut in_value = false;
        let mut quote = None;
        while let Some(&byte) = bytes.get(at) {
            match (byte, quote) {
                (b'\\', _) => at += 1,
                (_, Some((open, _))) if byte == open => quote = None,
                (_, Some(_)) => {}
                (b'"' | b'\'', None) => quote = Some((byte, at)),
                (b',' | b'\n' | b'\r', None) => break,
                (b' ' | b'\t', None) if in_value => break,
                (b'=', None) if equals.is_none() => {
                    equals = Some(at);
                    at += 1;
                    continue;
                }
                _ => {}
            }
            in_value |= equals.is_some() && byte != b' ' && byte != b'\t';
            at += 1;
        }
        at = at.min(bytes.len());
        if let Some((_, open)) = quote {
            return Err(SelectorError::at(Problem::Unbalanced(Unbalanced::Quote), base + open));
        }
        let part = |from: usize, to: usize| body.get(from..to).unwrap_or_default().trim();
        list.push(match equals {
            Some(equals) => Assignment {
                key: Some(part(start, equals)),
                value: part(equals + 1, at),
                offset: base + start,
            },
            None => Assignment { key: None, value: part(start, at), offset: base + start },
        });
    }
}

/// Reads a clause in braces that starts at `offset` of the source.
pub(super) fn parse_clause(piece: &str, offset: usize) -> Result<(ClausePath, Clause), SelectorError> {
    let missing_brace =
        || SelectorError::at(Problem::MissingClosingBrace(Shown::new(piece)), offset + piece.len());
    let inner = piece.strip_suffix('}').ok_or_else(missing_brace)?;
    let (path, body) = inner.split_once('{').ok_or_else(missing_brace)?;
    let body_offset = offset + path.len() + 1;
    let path = ClausePath::parse(path.trim_end(), offset)?;
    let list = assignments(body, body_offset)?;
    if list.is_empty() {
        return Err(SelectorError::at(Problem::EmptyExpression, body_offset));
    }
    let clause = if path.kind == Kind::Exists {
        match list.as_slice() {
            [Assignment { key: None, value, .. }] => exists(value, body_offset)?,
            [first, ..] => return Err(SelectorError::at(Problem::ExistsSingle, first.offset)),
            [] => return Err(SelectorError::at(Problem::EmptyExpression, body_offset)),
        }
    } else {
        let mut draft = Draft::new(path.kind);
        for assignment in list {
            let error = |problem| Err(SelectorError::at(problem, assignment.offset));
            match assignment.key.map(unquote) {
                None => return error(Problem::InvalidExpression(Shown::new(piece))),
                Some("") => return error(Problem::EmptyKey(Shown::new(piece))),
                Some(key) => {
                    let key =
                        draft.key(key).map_err(|problem| SelectorError::at(problem, assignment.offset))?;
                    let fresh = draft
                        .set(key, assignment.value)
                        .map_err(|problem| SelectorError::at(problem, assignment.offset))?;
                    if !fresh {
                        return error(Problem::DuplicateKey(Shown::new(piece), key));
                    }
                }
            }
        }
        draft.finish().map_err(|problem| SelectorError::at(problem, offset))?
    };
    Ok((path, clause))
}

/// The clause `exists` of a pointer, with or without quotes.
pub(super) fn exists(value: &str, offset: usize) -> Result<Clause, SelectorError> {
    let pointer = unquote(value.trim());
    if pointer.trim().is_empty() {
        return Err(SelectorError::at(Problem::ExistsInvalid, offset));
    }
    Ok(Clause::Exists(pointer.to_owned()))
}

/// A clause that is being put together, assignment by assignment.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    clause: Clause,
    /// The assignments so far, for telling a repetition from a contradiction.
    seen: Vec<(&'static str, String)>,
}

impl Draft {
    /// A clause of a kind other than `exists`.
    pub(super) fn new(kind: Kind) -> Draft {
        let clause = match kind {
            Kind::Range => Clause::Range(Range::default()),
            Kind::Date => Clause::Date(Date::default()),
            Kind::In => Clause::Within(Within::default()),
            Kind::Exists => Clause::Exists(String::new()),
            Kind::Eq | Kind::Contains | Kind::Icontains | Kind::Prefix | Kind::Iprefix => {
                Clause::Term(kind, Term::default())
            }
        };
        Draft { clause, seen: Vec::new() }
    }

    /// The full name of a key.
    pub(super) fn key(&self, written: &str) -> Result<&'static str, Problem> {
        let written = written.trim();
        let is = |spelling: &str| written.eq_ignore_ascii_case(spelling);
        let unsupported = |term, key| Err(Problem::UnsupportedKey { term, key: Shown::new(key) });
        if is("field") || is("f") {
            return Ok("field");
        }
        let bound = ["gte", "gt", "lte", "lt"].into_iter().find(|name| is(name));
        match self.clause {
            Clause::Term(kind, _) => match () {
                () if is("value") || is("v") => Ok("value"),
                () if is("any") || is("a") => match kind {
                    Kind::Contains | Kind::Icontains => Ok("any"),
                    _ => unsupported(kind.name(), "any"),
                },
                () if (is("ignoreCase") || is("ic")) && kind != Kind::Eq => Ok("ignoreCase"),
                () => unsupported(kind.name(), written),
            },
            Clause::Range(_) => bound.map_or_else(|| unsupported("range", written), Ok),
            Clause::Date(_) => match () {
                () if is("value") || is("v") => Ok("value"),
                () if is("after") || is("a") => Ok("after"),
                () if is("before") || is("b") => Ok("before"),
                () if is("since") => Ok("since"),
                () => bound.map_or_else(|| unsupported("date", written), Ok),
            },
            Clause::Within(_) if is("any") || is("a") => Ok("any"),
            Clause::Within(_) => unsupported("in", written),
            Clause::Exists(_) => unsupported("exists", written),
        }
    }

    /// Sets a key, whose full name is given, to a value as it was written. Answers whether the key was free, or had the
    /// same value already.
    pub(super) fn set(&mut self, key: &'static str, written: &str) -> Result<bool, Problem> {
        let text = unquote(written.trim());
        if let Some((_, other)) = self.seen.iter().find(|(seen, _)| *seen == key) {
            return Ok(other == text);
        }
        self.seen.push((key, text.to_owned()));
        if key == "any" {
            let items: Vec<String> = split_any(text).collect();
            match &mut self.clause {
                Clause::Within(_) if items.is_empty() => return Err(Problem::InAnyEmpty),
                Clause::Within(within) => within.any = items,
                Clause::Term(..) if items.is_empty() => return Err(Problem::AnyEmpty),
                Clause::Term(_, term) => term.any = items,
                Clause::Range(_) | Clause::Date(_) | Clause::Exists(_) => {}
            }
            return Ok(true);
        }
        let value = Value::parse(written)?;
        if key == "field" {
            let Value::Text(field) = value else { return Err(Problem::FieldType(self.name())) };
            *self.field() = field.to_owned();
            return Ok(true);
        }
        match &mut self.clause {
            Clause::Term(_, term) if key == "ignoreCase" => {
                term.ignore_case = match value {
                    Value::Bool(flag) => flag,
                    Value::Number(_) => return Err(Problem::IgnoreCaseType),
                    Value::Text(word) => ignore_case_word(word).ok_or(Problem::IgnoreCaseWord)?,
                }
            }
            Clause::Term(_, term) => term.value = Some(value.into_text()),
            Clause::Range(range) => {
                let bound = match value {
                    Value::Number(number) => Bound::Number(number),
                    Value::Text(text) if text.trim().is_empty() => {
                        return Err(Problem::RangeValueRequired(key));
                    }
                    Value::Text(text) => Bound::Time(text.to_owned()),
                    Value::Bool(_) => return Err(Problem::RangeValueType(key)),
                };
                match key {
                    "gte" => range.gte = Some(bound),
                    "gt" => range.gt = Some(bound),
                    "lte" => range.lte = Some(bound),
                    _ => range.lt = Some(bound),
                }
            }
            Clause::Date(date) => {
                let Value::Text(text) = value else { return Err(Problem::DateType(key)) };
                let text = (!text.is_empty()).then(|| text.to_owned());
                match key {
                    "value" => date.value = text,
                    "after" => date.after = text,
                    "before" => date.before = text,
                    "gte" => date.gte = text,
                    "gt" => date.gt = text,
                    "lte" => date.lte = text,
                    "lt" => date.lt = text,
                    _ => date.since = text,
                }
            }
            Clause::Within(_) | Clause::Exists(_) => {}
        }
        Ok(true)
    }

    /// Checks the whole.
    pub(super) fn finish(self) -> Result<Clause, Problem> {
        match &self.clause {
            Clause::Term(kind, term) => term.check(kind.name())?,
            Clause::Range(range) => range.check()?,
            Clause::Date(date) => date.check()?,
            Clause::Within(within) => within.check()?,
            Clause::Exists(_) => {}
        }
        Ok(self.clause)
    }

    fn name(&self) -> &'static str {
        match self.clause {
            Clause::Term(kind, _) => kind.name(),
            Clause::Range(_) => "range",
            Clause::Date(_) => "date",
            Clause::Within(_) => "in",
            Clause::Exists(_) => "exists",
        }
    }

    fn field(&mut self) -> &mut String {
        match &mut self.clause {
            Clause::Term(_, term) => &mut term.field,
            Clause::Range(range) => &mut range.field,
            Clause::Date(date) => &mut date.field,
            Clause::Within(within) => &mut within.field,
            Clause::Exists(pointer) => pointer,
        }
    }
}
