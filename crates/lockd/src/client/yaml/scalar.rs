//! What a plain scalar of YAML 1.1 stands for.

/// A value, as JSON text where it has a form there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Number(String),
    /// `.inf` or `.nan`.
    Unbounded,
    Text,
}

/// Words count in any case, as they always have.
pub(super) fn resolve(text: &str) -> Plain {
    let any = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if text.is_empty() || text == "~" || any(&["null"]) {
        return Plain::Null;
    }
    if any(&["y", "yes", "true", "on"]) {
        return Plain::Bool(true);
    }
    if any(&["n", "no", "false", "off"]) {
        return Plain::Bool(false);
    }
    let (sign, digits) = match text.as_bytes()[0] {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    if digits.eq_ignore_ascii_case(".inf") || text.eq_ignore_ascii_case(".nan") {
        return Plain::Unbounded;
    }
    // Underscores only make long numbers readable. One at the front is a name.
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Plain::Text;
    }
    let digits = digits.replace('_', "");
    match integer(&digits).or_else(|| fraction(&digits)) {
        Some(number) => Plain::Number(format!("{sign}{number}")),
        None => Plain::Text,
    }
}

fn integer(digits: &str) -> Option<String> {
    let all = |radix: u32, text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    let of = |radix: u32, text: &str| all(radix, text).then(|| decimal(text, radix));
    match digits.strip_prefix('0') {
        Some("") => Some("0".into()),
        Some(rest) => match rest.as_bytes()[0] {
            b'x' | b'X' => of(16, &rest[1..]),
            b'b' | b'B' => of(2, &rest[1..]),
            b'o' => of(8, &rest[1..]),
            _ => of(8, rest),
        },
        None => all(10, digits).then(|| digits.to_owned()),
    }
}

/// Digits in decimal, however many there are.
fn decimal(digits: &str, radix: u32) -> String {
    // Least significant first, nine decimal digits each.
    const LIMB: u64 = 1_000_000_000;
    let mut limbs: Vec<u64> = vec![0];
    for digit in digits.chars().filter_map(|digit| digit.to_digit(radix)) {
        let mut carry = u64::from(digit);
        for limb in &mut limbs {
            let value = *limb * u64::from(radix) + carry;
            *limb = value % LIMB;
            carry = value / LIMB;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut text = limbs.last().map(u64::to_string).unwrap_or_default();
    for limb in limbs.iter().rev().skip(1) {
        text.push_str(&format!("{limb:09}"));
    }
    text
}

/// A decimal fraction or an exponent, in the form that JSON asks for.
fn fraction(digits: &str) -> Option<String> {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], &digits[at..]),
        None => (digits, ""),
    };
    let power = exponent.get(1..).unwrap_or_default();
    let power_digits = power.strip_prefix(['+', '-']).unwrap_or(power);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !exponent.is_empty() && (power_digits.is_empty() || !is_number(power_digits)) {
        return None;
    }
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) => (whole, part),
        None if exponent.is_empty() => return None,
        None => (mantissa, ""),
    };
    if !is_number(whole) || !is_number(part) || whole.is_empty() && part.is_empty() {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let part = match part {
        "" if mantissa.contains('.') => ".0".to_owned(),
        "" => String::new(),
        part => format!(".{part}"),
    };
    Some(format!("{whole}{part}{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_booleans_and_nulls_in_any_case() {
        for text in ["y", "Y", "yes", "Yes", "YES", "yEs", "true", "TRUE", "on", "On"] {
            assert_eq!(resolve(text), Plain::Bool(true), "{text}");
        }
        for text in ["n", "N", "no", "NO", "false", "False", "off", "oFF"] {
            assert_eq!(resolve(text), Plain::Bool(false), "{text}");
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(text), Plain::Null, "{text}");
        }
        for text in ["yess", "ye", "nul", "o", "truely", "t", "f", "~~"] {
            assert_eq!(resolve(text), Plain::Text, "{text}");
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (text, number) in [
            ("0", "0"),
            ("-0", "-0"),
            ("+12", "12"),
            ("1_000", "1000"),
            ("0777", "511"),
            ("-010", "-8"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0xffffffffffffffffffffffffffffffffff", "87112285931760246646623899502532662132735"),
            ("1.50", "1.50"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("-.5e-3", "-0.5e-3"),
            ("1e3", "1e3"),
            ("1.0E+30", "1.0E+30"),
            ("007.5", "7.5"),
        ] {
            assert_eq!(resolve(text), Plain::Number(number.into()), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(number).is_ok(), "{number}");
        }
        for text in [
            "08",
            "0x",
            "0b2",
            "1.2.3",
            "1e",
            "e3",
            ".",
            "-",
            "+",
            "_1",
            "12:30",
            "2001-12-14",
            "1,5",
            "0xg",
            "--1",
        ] {
            assert_eq!(resolve(text), Plain::Text, "{text}");
        }
        for text in [".inf", "-.Inf", "+.INF", ".NaN"] {
            assert_eq!(resolve(text), Plain::Unbounded, "{text}");
        }
    }
}
