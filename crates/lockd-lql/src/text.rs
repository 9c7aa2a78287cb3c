//! The lowest layer of both languages: cutting text into pieces, quotes, and the number literals that the languages share.

use std::fmt;

/// A part of a text, trimmed, and where it starts in that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    pub text: &'a str,
    /// In bytes.
    pub offset: usize,
}

/// Why a text cannot be cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitError {
    pub kind: Unbalanced,
    /// Where the bracket or quote stands that has no partner, in bytes.
    pub offset: usize,
}

/// What has no partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbalanced {
    ClosingBrace,
    Quote,
    OpeningBrace,
}

impl fmt::Display for Unbalanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unbalanced::ClosingBrace => "unexpected closing brace",
            Unbalanced::Quote => "unterminated quote in selector expression",
            Unbalanced::OpeningBrace => "unterminated brace in selector expression",
        })
    }
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for SplitError {}

/// Cuts a text at the commas and line feeds that stand outside of quotes and braces. Pieces are trimmed, empty ones
/// dropped. A backslash makes the next character ordinary; both are kept.
///
/// # Errors
///
/// A brace or a quote has no partner.
pub fn split_pieces(source: &str) -> Result<Vec<Piece<'_>>, SplitError> {
    let mut pieces = Vec::new();
    let mut quote: Option<(u8, usize)> = None;
    // Only the outermost brace that is still open is worth remembering: it is the one to blame.
    let mut depth = 0usize;
    let mut opened = 0;
    let mut start = 0;
    let mut escaped = false;
    for (index, byte) in source.bytes().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match (byte, quote) {
            (b'\\', _) => escaped = true,
            (_, Some((open, _))) if byte == open => quote = None,
            (_, Some(_)) => {}
            (b'"' | b'\'', None) => quote = Some((byte, index)),
            (b'{', None) => {
                if depth == 0 {
                    opened = index;
                }
                depth += 1;
            }
            (b'}', None) => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return Err(SplitError { kind: Unbalanced::ClosingBrace, offset: index }),
            },
            (b',' | b'\n', None) if depth == 0 => {
                push_piece(&mut pieces, source, start, index);
                start = index + 1;
            }
            _ => {}
        }
    }
    if let Some((_, offset)) = quote {
        return Err(SplitError { kind: Unbalanced::Quote, offset });
    }
    if depth > 0 {
        return Err(SplitError { kind: Unbalanced::OpeningBrace, offset: opened });
    }
    push_piece(&mut pieces, source, start, source.len());
    Ok(pieces)
}

fn push_piece<'a>(pieces: &mut Vec<Piece<'a>>, source: &'a str, start: usize, end: usize) {
    let raw = source.get(start..end).unwrap_or_default();
    let left = raw.trim_start();
    let text = left.trim_end();
    if !text.is_empty() {
        pieces.push(Piece { text, offset: start + (raw.len() - left.len()) });
    }
}

/// Drops one pair of matching outer quotes, if there is one.
pub fn unquote(text: &str) -> &str {
    quoted_content(text).unwrap_or(text)
}

/// What stands between the outer quotes, if the text has them.
pub fn quoted_content(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

/// Reads a complete floating-point literal: decimal or hexadecimal, with `_` between digits, or one of the words `inf`,
/// `infinity` and `nan`, whose values are then not finite. A literal that is too large for 64 bits is none.
pub fn float_literal(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let sign = if negative { -1.0 } else { 1.0 };
    let first = unsigned.as_bytes().first()?;
    if first.is_ascii_alphabetic() {
        if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
            return Some(sign * f64::INFINITY);
        }
        // Only infinity takes a sign.
        return text.eq_ignore_ascii_case("nan").then_some(f64::NAN);
    }
    let magnitude = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => hexadecimal(digits)?,
        digits => decimal(digits, unsigned)?,
    };
    (magnitude.is_finite()).then_some(sign * magnitude)
}

fn decimal(digits: &[u8], text: &str) -> Option<f64> {
    let shape = Shape::of(digits, u8::is_ascii_digit, b'e', false)?;
    if shape.underscores {
        let plain: String = text.chars().filter(|&letter| letter != '_').collect();
        plain.parse().ok()
    } else {
        text.parse().ok()
    }
}

/// What can be said of a literal before its value is computed.
struct Shape {
    underscores: bool,
    /// Where the exponent's digits or sign start.
    exponent: Option<usize>,
}

impl Shape {
    /// Checks `digits [. digits] [mark [sign] digits]`, where at least one digit stands before the mark and each `_` has a
    /// digit before and behind it. `after_prefix` means that a digit (the base prefix) stands before the text.
    fn of(text: &[u8], is_digit: fn(&u8) -> bool, mark: u8, after_prefix: bool) -> Option<Shape> {
        let mut shape = Shape { underscores: false, exponent: None };
        let mut after_digit = after_prefix;
        let mut after_underscore = false;
        let mut digits = 0usize;
        let mut seen_point = false;
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let in_exponent = shape.exponent.is_some();
            let digit = if in_exponent { byte.is_ascii_digit() } else { is_digit(byte) };
            if digit {
                digits += 1;
                (after_digit, after_underscore) = (true, false);
                at += 1;
                continue;
            }
            if *byte == b'_' {
                if !after_digit || after_underscore {
                    return None;
                }
                shape.underscores = true;
                (after_digit, after_underscore) = (false, true);
                at += 1;
                continue;
            }
            if after_underscore {
                return None;
            }
            after_digit = false;
            if *byte == b'.' && !seen_point && !in_exponent {
                seen_point = true;
                at += 1;
            } else if byte.eq_ignore_ascii_case(&mark) && !in_exponent && digits > 0 {
                shape.exponent = Some(at + 1);
                digits = 0;
                at += 1;
                if let Some(b'+' | b'-') = text.get(at) {
                    at += 1;
                }
            } else {
                return None;
            }
        }
        (digits > 0 && !after_underscore).then_some(shape)
    }
}

/// The value of a hexadecimal literal without sign and `0x`; its exponent is not optional.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let shape = Shape::of(text, u8::is_ascii_hexdigit, b'p', true)?;
    let exponent_at = shape.exponent?;
    let mut exponent = 0i64;
    let mut negative = false;
    for byte in text.get(exponent_at..)? {
        match byte {
            b'-' => negative = true,
            b'0'..=b'9' => exponent = (exponent * 10 + i64::from(byte - b'0')).min(1_000_000_000),
            _ => {}
        }
    }
    if negative {
        exponent = -exponent;
    }
    // The value is mantissa * 2^exponent; digits that do not fit only leave a trace in the lowest bit.
    let mut mantissa = 0u64;
    let mut seen_point = false;
    for byte in text.get(..exponent_at - 1)? {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            seen_point |= *byte == b'.';
            continue;
        };
        if mantissa >> 59 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if seen_point { 4 } else { 0 };
        } else {
            mantissa |= u64::from(digit != 0);
            exponent += if seen_point { 0 } else { 4 };
        }
    }
    Some(round(mantissa, exponent))
}

/// `mantissa * 2^exponent`, rounded to the nearest float, ties to even. The lowest bit of a mantissa of 60 bits and more may
/// stand for all that follows it.
fn round(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let shift = i64::from(mantissa.leading_zeros());
    let mantissa = mantissa << shift;
    // Now the value is 1.xxx * 2^scale.
    let scale = exponent - shift + 63;
    if scale > 1023 {
        return f64::INFINITY;
    }
    // A normal float keeps 53 bits, one below 2^-1022 fewer.
    let dropped = 11 + (-1022 - scale).max(0);
    if dropped > 64 {
        return 0.0;
    }
    let (kept, rest) = if dropped == 64 {
        (0, u128::from(mantissa))
    } else {
        (mantissa >> dropped, u128::from(mantissa) & ((1 << dropped) - 1))
    };
    let half = 1u128 << (dropped - 1);
    let kept = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
    // A carry out of the fraction moves into the exponent by itself: that is how floats are laid out.
    let biased = if scale < -1022 { 0 } else { (scale + 1022).unsigned_abs() };
    f64::from_bits((biased << 52) + kept)
}

/// The shortest text without exponent that reads back as the same number: what a number becomes where text is expected.
pub fn shortest_positional(number: f64) -> String {
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        split_pieces(source).unwrap().into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn lql_03_commas_and_line_feeds_in_quotes_and_braces_do_not_split() {
        assert_eq!(texts("a,b\nc"), ["a", "b", "c"]);
        assert_eq!(texts(" a{x,y\nz} , 'p,\n}q' , \"r,'\" "), ["a{x,y\nz}", "'p,\n}q'", "\"r,'\""]);
        assert_eq!(texts(",, \n ,"), Vec::<&str>::new());
        assert_eq!(texts(r"a\,b,c\"), [r"a\,b", r"c\"]);
        assert_eq!(texts(r"a\{b,c"), [r"a\{b", "c"]);
        assert_eq!(texts(r#""a\",b",c"#), [r#""a\",b""#, "c"]);
        assert_eq!(texts("a{b{c,d},e},f"), ["a{b{c,d},e}", "f"]);
    }

    #[test]
    fn pieces_know_where_they_start() {
        let pieces = split_pieces("  a , \u{a0}ü\n\tb").unwrap();
        let places: Vec<_> = pieces.iter().map(|piece| (piece.offset, piece.text)).collect();
        assert_eq!(places, [(2, "a"), (8, "ü"), (12, "b")]);
    }

    #[test]
    fn lql_04_what_has_no_partner_is_named() {
        let error = |source: &str| {
            let error = split_pieces(source).unwrap_err();
            (error.to_string(), error.offset)
        };
        assert_eq!(error("a}"), ("unexpected closing brace".into(), 1));
        assert_eq!(error("eq{v='x}"), ("unterminated quote in selector expression".into(), 5));
        assert_eq!(error("x,eq{a{b}"), ("unterminated brace in selector expression".into(), 4));
        assert_eq!(error("a{b}},c}"), ("unexpected closing brace".into(), 4));
    }

    #[test]
    fn only_one_matching_pair_of_quotes_is_dropped() {
        for (text, expected) in [
            ("\"a\"", "a"),
            ("'a'", "a"),
            ("\"\"a\"\"", "\"a\""),
            ("\"a'", "\"a'"),
            ("\"", "\""),
            ("''", ""),
            ("", ""),
            ("a", "a"),
        ] {
            assert_eq!(unquote(text), expected, "{text}");
        }
    }

    #[test]
    fn float_literals() {
        for (text, expected) in [
            ("0", 0.0),
            ("-0", 0.0),
            ("+1", 1.0),
            ("007", 7.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("1_000", 1000.0),
            ("1_23.50_0_0e+1_2", 1.235e14),
            ("1e-999", 0.0),
            ("0x1p-2", 0.25),
            ("0X1P3", 8.0),
            ("0x_1.8p1", 3.0),
            ("-0x.8p0", -0.5),
            ("0xABp0", 171.0),
            ("0x1_0p0", 16.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000081p0", 1.0 + f64::EPSILON),
            ("0x1.00000000000018p0", 1.0 + 2.0 * f64::EPSILON),
            ("0x1.000000000000080000000000000000001p0", 1.0 + f64::EPSILON),
            ("0x100000000000000000000000000p0", 2f64.powi(104)),
            ("0x0p999999999999", 0.0),
            ("0x1p-99999999999999999999", 0.0),
            ("0x1.fffffffffffff8p-1023", f64::MIN_POSITIVE),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(float_literal(text), Some(expected), "{text}");
        }
        assert!(float_literal("NaN").is_some_and(f64::is_nan));
        assert!(float_literal("-0").is_some_and(f64::is_sign_negative));
        for text in [
            "",
            "+",
            "-",
            ".",
            "e",
            "1e",
            "1e+",
            "e5",
            ".e1",
            "1.2.3",
            "--1",
            "+-1",
            "1 ",
            " 1",
            "_1",
            "1_",
            "1__0",
            "1_.0",
            "1._0",
            "1e_1",
            "1_e1",
            "0x",
            "0x1",
            "0xp1",
            "0x1p",
            "0x1.8",
            "1p1",
            "0b1",
            "0o7",
            "1f",
            "infin",
            "+nan",
            "nano",
            "1e999",
            "-1e999",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            "١",
            "1,0",
            "−1",
        ] {
            assert!(float_literal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn numbers_as_text_are_short_and_without_exponent() {
        for (number, expected) in [
            (1.0, "1"),
            (1e3, "1000"),
            (-0.0, "-0"),
            (1e21, "1000000000000000000000"),
            (0.1, "0.1"),
            (1e-7, "0.0000001"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ] {
            assert_eq!(shortest_positional(number), expected);
        }
    }
}
