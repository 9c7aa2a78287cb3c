//! Values as users write them in flags, variables and files: durations, sizes, booleans, modes. Each parser returns a
//! reason that reads well after `invalid argument "x" for "--flag" flag: `.

use std::time::Duration;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A duration in Go's notation (`1m30s`, `1.5s`, `-2h`, `0`), in nanoseconds because it may be negative.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || {
        format!(
            "invalid duration {text:?}: write a number and a unit (ns, us, ms, s, m, h), such as 30s or 1m30s"
        )
    };
    let trimmed = text.trim();
    let (negative, mut rest) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("invalid duration {text:?}: the unit is missing; write {trimmed}s for seconds"));
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(length(rest, |byte| byte.is_ascii_digit() || byte == b'.'));
        let (unit, after) = after.split_at(length(after, |byte| !byte.is_ascii_digit() && byte != b'.'));
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS_PER_SECOND,
            "m" => 60 * NANOS_PER_SECOND,
            "h" => 3600 * NANOS_PER_SECOND,
            _ => return Err(invalid()),
        };
        let amount = scaled_decimal(number, scale).ok_or_else(invalid)?;
        total = total.checked_add(amount).ok_or_else(invalid)?;
        rest = after;
    }
    let signed = if negative { -total } else { total };
    i64::try_from(signed).map_err(|_| format!("duration {text:?} is too long: the limit is about 292 years"))
}

/// `1m0s`, `24h0m0s`, `250ms`: durations the way help and messages show them.
pub(crate) fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let seconds = nanos / 1_000_000_000;
    if nanos == 0 {
        return "0s".into();
    }
    if seconds == 0 {
        let (scale, unit) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{unit}", decimal(nanos / scale, nanos % scale, scale));
    }
    let rest = decimal(seconds % 60, nanos % 1_000_000_000, 1_000_000_000);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, minutes) => format!("{sign}{minutes}m{rest}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

/// As [`show_duration`], for durations that are already known to be positive.
pub(crate) fn show(duration: Duration) -> String {
    show_duration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// A byte count: `64MiB`, `1.5 gb`, `4096`, `1,000,000`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let invalid = || {
        format!("invalid size {text:?}: write bytes or a number with a unit, such as 4096, 100MB or 64MiB")
    };
    let compact: String = text.trim().chars().filter(|letter| *letter != ',').collect();
    let (number, unit) = compact.split_at(length(&compact, |byte| byte.is_ascii_digit() || byte == b'.'));
    let scale = unit_scale(&unit.trim_start().to_ascii_lowercase()).ok_or_else(invalid)?;
    let bytes = scaled_decimal(number, scale).ok_or_else(invalid)?;
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| format!("size {text:?} is too large: the limit is 8EiB"))
}

fn unit_scale(unit: &str) -> Option<i128> {
    if unit.is_empty() || unit == "b" {
        return Some(1);
    }
    let power = "kmgtpe".find(unit.chars().next()?)?;
    let base: i128 = match unit.get(1..)? {
        "" | "b" => 1000,
        "i" | "ib" => 1024,
        _ => return None,
    };
    base.checked_pow(u32::try_from(power).ok()? + 1)
}

/// The words Go's flag packages take for booleans.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.trim() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("invalid boolean {text:?}: write true or false")),
    }
}

/// A whole number, possibly negative.
pub(crate) fn parse_number(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("invalid number {text:?}: write a whole number such as 1024"))
}

/// File permissions in octal: `600`, `0660`, `0o660`.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.trim();
    let digits = digits.strip_prefix("0o").unwrap_or(digits);
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && !digits.starts_with('+')).ok_or_else(
        || format!("invalid mode {text:?}: write octal permissions from 0000 to 0777, such as 0660"),
    )
}

fn length(text: &str, accept: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| accept(*byte)).count()
}

/// `whole.fraction * scale`, exact, cut to a whole number. `None` when malformed or out of range.
fn scaled_decimal(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    // Digits beyond the sixteenth cannot matter for any unit here.
    let fraction = fraction.get(..16).unwrap_or(fraction);
    if !fraction.is_empty() {
        let digits: i128 = fraction.parse().ok()?;
        let places = u32::try_from(fraction.len()).ok()?;
        total = total.checked_add(digits.checked_mul(scale)? / 10i128.pow(places))?;
    }
    Some(total)
}

fn decimal(whole: u64, fraction: u64, scale: u64) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

/// Values with commas between them; one that contains a comma or a quote stands in double quotes, quotes in it doubled.
pub(crate) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let value = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (value, after) = rest.split_at(end);
                rest = after;
                value.to_owned()
            }
            Some(quoted) => {
                rest = quoted;
                let mut value = String::new();
                loop {
                    let Some(end) = rest.find('"') else {
                        return Err(format!("the quotes in {text:?} are never closed"));
                    };
                    value.push_str(&rest[..end]);
                    rest = &rest[end + 1..];
                    match rest.strip_prefix('"') {
                        Some(after) => {
                            value.push('"');
                            rest = after;
                        }
                        None => break,
                    }
                }
                value
            }
        };
        values.push(value);
        if rest.is_empty() {
            return Ok(values);
        }
        rest = rest
            .strip_prefix(',')
            .ok_or_else(|| format!("in {text:?} a comma is missing after the closing quote"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("2h", 7_200_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("250ms", 250_000_000),
            ("7us", 7_000),
            ("7µs", 7_000),
            ("1ns", 1),
            ("-1s", -1_000_000_000),
            ("+1s", 1_000_000_000),
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("24h0m0s", 86_400_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_refused() {
        for text in [
            "",
            "abc",
            "30",
            "1.2.3s",
            "s",
            ".s",
            "1x",
            "1s2",
            "--1s",
            "9999999999h",
            "1 s",
            "99999999999999999999999999999999999999999s",
            "1d",
            "é",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("30").unwrap_err().contains("write 30s"));
    }

    #[test]
    fn durations_are_shown_normalised() {
        for (text, shown) in [
            ("60s", "1m0s"),
            ("24h", "24h0m0s"),
            ("90s", "1m30s"),
            ("250ms", "250ms"),
            ("1.5s", "1.5s"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("-2s", "-2s"),
            ("61m", "1h1m0s"),
        ] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), shown);
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_by_unit() {
        for (text, bytes) in [
            ("4096", 4096),
            ("1b", 1),
            ("1k", 1000),
            ("1MB", 1_000_000),
            ("1MiB", 1_048_576),
            ("1 mib", 1_048_576),
            ("1Mi", 1_048_576),
            ("4.2MB", 4_200_000),
            ("1.5KiB", 1536),
            ("1,000,000", 1_000_000),
            ("100MB", 100_000_000),
            ("64MiB", 67_108_864),
            ("1TiB", 1 << 40),
            ("7eib", 7 << 60),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "nonsense",
            "-1",
            "1x",
            "1mibs",
            "1.1.1",
            "8EiB",
            "99999999999999999999999999",
            "MB",
            "1é",
            "é",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0600"), Ok(0o600));
        assert_eq!(parse_mode("660"), Ok(0o660));
        assert_eq!(parse_mode("0o660"), Ok(0o660));
        for text in ["", "888", "1000", "-1", "+600", "rw"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn booleans_take_go_words_only() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("False"), Ok(false));
        assert!(parse_bool("yes").is_err());
    }

    #[test]
    fn lists_are_split_at_commas_outside_quotes() {
        let list = |text| parse_list(text).map(|values| values.join("|"));
        assert_eq!(list("a=1").unwrap(), "a=1");
        assert_eq!(list("a,b,").unwrap(), "a|b|");
        assert_eq!(list("\"a,b\",\"c\"\"d\"").unwrap(), "a,b|c\"d");
        assert!(list("\"a").unwrap_err().contains("never closed"));
        assert!(list("\"a\"b").unwrap_err().contains("comma is missing"));
    }
}
