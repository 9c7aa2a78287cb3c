//! The values that mutations write, and the arithmetic of increments.

use std::io::Write;

use crate::text::float_literal;

use super::edit_error::Kind;

/// A value as it stands in an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Box<str>),
}

/// The text would be a number that JSON does not have.
#[derive(Debug, PartialEq)]
pub(super) struct NotFinite;

impl Literal {
    /// Reads a value from which outer quotes have been dropped.
    pub(super) fn parse(text: &str) -> Result<Literal, NotFinite> {
        if text.eq_ignore_ascii_case("true") {
            return Ok(Literal::Bool(true));
        }
        if text.eq_ignore_ascii_case("false") {
            return Ok(Literal::Bool(false));
        }
        if text.eq_ignore_ascii_case("null") {
            return Ok(Literal::Null);
        }
        if let Ok(integer) = text.parse() {
            return Ok(Literal::Integer(integer));
        }
        match float_literal(text) {
            Some(float) if float.is_finite() => Ok(Literal::Float(float)),
            Some(_) => Err(NotFinite),
            None => Ok(Literal::Text(text.into())),
        }
    }

    /// The value that an increment starts from.
    pub(super) fn number(&self) -> Result<f64, Kind> {
        match *self {
            Literal::Integer(integer) => Ok(integer as f64),
            Literal::Float(float) => Ok(float),
            Literal::Null => Err(Kind::Null),
            Literal::Bool(_) => Err(Kind::Bool),
            Literal::Text(_) => Err(Kind::Text),
        }
    }

    /// Appends the value as JSON.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Literal::Null => out.extend_from_slice(b"null"),
            Literal::Bool(value) => lockd_json::push_bool(out, *value),
            Literal::Integer(integer) => lockd_json::push_int(out, *integer),
            Literal::Float(float) => push_number(out, *float),
            Literal::Text(text) => lockd_json::push_string(out, text),
        }
    }
}

/// Appends the shortest text that reads back as this number, which must be finite.
pub(super) fn push_number(out: &mut Vec<u8>, number: f64) {
    let magnitude = number.abs();
    // Writing to a vector cannot fail.
    let _ = if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    };
}

/// The sum, with the noise of binary fractions around integers removed; `None` if it is out of range.
pub(super) fn add(number: f64, delta: f64) -> Option<f64> {
    let sum = number + delta;
    if !sum.is_finite() {
        return None;
    }
    let integer = sum.round();
    // Adding zero turns a negative zero into the plain one.
    Some(if (sum - integer).abs() <= 1e-9 { integer + 0.0 } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        Literal::parse(text).unwrap().push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lql_41_words_and_numbers_are_no_strings() {
        for (text, expected) in [
            ("true", "true"),
            ("FALSE", "false"),
            ("Null", "null"),
            ("00123", "123"),
            ("-5", "-5"),
            ("+5", "5"),
            ("-0", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "9223372036854776000"),
            ("12345678901234567890", "12345678901234567000"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("1e21", "1e21"),
            ("1e20", "100000000000000000000"),
            ("0.000001", "0.000001"),
            ("1e-7", "1e-7"),
            ("1_000", "1000"),
            ("0x1p-2", "0.25"),
            ("1e999", "\"1e999\""),
            ("", "\"\""),
            ("a \"q\" \\b\u{1}", r#""a \"q\" \\b\u0001""#),
            ("truefalse", "\"truefalse\""),
            ("0x10", "\"0x10\""),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
        for text in ["nan", "Inf", "-infinity"] {
            assert_eq!(Literal::parse(text), Err(NotFinite), "{text}");
        }
    }

    #[test]
    fn lql_40_sums_next_to_integers_are_integers() {
        let sum = |a, b| {
            let mut out = Vec::new();
            push_number(&mut out, add(a, b).unwrap());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(sum(0.1, 0.2), "0.30000000000000004");
        assert_eq!(sum(10.0, 2.5), "12.5");
        assert_eq!(sum(12.5, -2.5), "10");
        assert_eq!(sum(1.1, -0.1), "1");
        assert_eq!(sum(0.7 + 0.1, 0.2), "1");
        assert_eq!(sum(-1e-10, -1e-10), "0");
        assert_eq!(sum(-1.0, 1.0), "0");
        assert_eq!(sum(9_007_199_254_740_992.0, 2.0), "9007199254740994");
        assert_eq!(sum(1e300, 1.0), "1e300");
        assert_eq!(add(f64::MAX, f64::MAX), None);
        assert_eq!(add(f64::INFINITY, 1.0), None);
    }
}
