//! Days and moments: reading and writing temporal literals, the calendar behind them, and how they compare.

use std::fmt;

use crate::condition::{Instant, Temporal};

const NANOS: i128 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

impl Instant {
    /// The first moment of a day, in UTC.
    pub fn midnight(day: i64) -> Instant {
        Instant(i128::from(day) * i128::from(DAY_SECONDS) * NANOS)
    }

    /// The day that the moment falls on in UTC, counted from the Unix epoch.
    pub fn day(self) -> i64 {
        let day = self.0.div_euclid(i128::from(DAY_SECONDS) * NANOS);
        // Moments come from clocks and from literals with four digits a year; saturate for those who make their own.
        i64::try_from(day).unwrap_or(if day < 0 { i64::MIN } else { i64::MAX })
    }
}

/// RFC 3339 in UTC, with up to nine digits of fraction, trailing zeros removed.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.day());
        let in_day = self.0.rem_euclid(i128::from(DAY_SECONDS) * NANOS);
        let (seconds, nanos) = (in_day / NANOS, in_day % NANOS);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            let fraction = format!("{nanos:09}");
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl Temporal {
    /// Reads `YYYY-MM-DD`, RFC 3339, or RFC 3339 without offset, which is then UTC. Space around it does not matter.
    pub fn parse(text: &str) -> Option<Temporal> {
        let bytes = text.as_bytes();
        // Almost no text is temporal, so let most of them go after a look at two bytes.
        if bytes.len() < 10 {
            return None;
        }
        if bytes.get(4) == Some(&b'-') {
            return parse(bytes.trim_ascii_end(), Offset::Optional)
                .or_else(|| parse(text.trim().as_bytes(), Offset::Optional));
        }
        let trimmed = text.trim();
        if trimmed.len() == text.len() { None } else { parse(trimmed.as_bytes(), Offset::Optional) }
    }

    /// The moment to order by: for a day, its midnight in UTC.
    pub fn instant(self) -> Instant {
        match self {
            Temporal::Day(day) => Instant::midnight(day),
            Temporal::Moment { instant, .. } => instant,
        }
    }

    /// Whether both mean the same time. A moment equals the day that it falls on by its own offset.
    pub fn same_time(self, other: Temporal) -> bool {
        match (self, other) {
            (Temporal::Day(a), Temporal::Day(b)) => a == b,
            (Temporal::Moment { instant: a, .. }, Temporal::Moment { instant: b, .. }) => a == b,
            (Temporal::Day(day), Temporal::Moment { local_day, .. })
            | (Temporal::Moment { local_day, .. }, Temporal::Day(day)) => day == local_day,
        }
    }
}

/// Reads a moment in RFC 3339, offset and all; days and other forms are refused.
pub fn parse_rfc3339(text: &str) -> Option<Instant> {
    match parse(text.as_bytes(), Offset::Required)? {
        Temporal::Moment { instant, .. } => Some(instant),
        Temporal::Day(_) => None,
    }
}

#[derive(PartialEq)]
enum Offset {
    Required,
    Optional,
}

fn parse(text: &[u8], offset: Offset) -> Option<Temporal> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    if !(1..=12).contains(&month) || day < 1 || day > month_length(year, month) {
        return None;
    }
    let local_day = days(year, month, day);
    if rest.is_empty() {
        return (offset == Offset::Optional).then_some(Temporal::Day(local_day));
    }
    let (time, rest) = rest.split_first_chunk::<9>()?;
    let [b'T' | b't', h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let offset_seconds = match *rest {
        [] if offset == Offset::Optional => 0,
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = local_day * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset_seconds;
    Some(Temporal::Moment { instant: Instant(i128::from(seconds) * NANOS + nanos), local_day })
}

/// Digits after a point as nanoseconds; what is finer than that does not count.
fn fraction(text: &[u8]) -> Option<(i128, &[u8])> {
    let [b'.', after @ ..] = text else { return Some((0, text)) };
    let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = after.split_at(length);
    if digits.is_empty() {
        return None;
    }
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
    Some((padded.fold(0, |nanos, digit| nanos * 10 + i128::from(digit - b'0')), rest))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before a month, in a year that starts in March: five months in a row last 153 days.
fn days_before(month_from_march: i64) -> i64 {
    (153 * month_from_march + 2) / 5
}

/// Days from the Unix epoch to a date of the Gregorian calendar. Years start in March here, so that the leap day is last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 1970-01-01 is 719,468 days behind 0000-03-01.
    year * 365 + leap_days + days_before(month) + day - 1 - 719_468
}

/// The date that is so many days from the Unix epoch.
fn civil(day: i64) -> (i64, i64, i64) {
    const FOUR_CENTURIES: i64 = 146_097;
    let day = day.saturating_add(719_468);
    let era = day.div_euclid(FOUR_CENTURIES);
    let in_era = day.rem_euclid(FOUR_CENTURIES);
    // Take the leap days out (every 1,460 days, but not every 36,524, but every 146,096), then years have equal length.
    let year_in_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (year_in_era * 365 + year_in_era / 4 - year_in_era / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - days_before(month) + 1;
    let year = era * 400 + year_in_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Instant {
        Temporal::parse(text).unwrap().instant()
    }

    #[test]
    fn the_calendar_agrees_with_itself_over_eight_centuries() {
        let mut expected = days(1600, 1, 1);
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        for year in 1600..2400 {
            for month in 1..=12 {
                for day in 1..=month_length(year, month) {
                    assert_eq!(days(year, month, day), expected);
                    assert_eq!(civil(expected), (year, month, day));
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn literals_and_what_only_looks_like_one() {
        assert_eq!(Temporal::parse("1970-01-02"), Some(Temporal::Day(1)));
        assert_eq!(Temporal::parse("  1970-01-02\t"), Some(Temporal::Day(1)));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Instant(NANOS));
        assert_eq!(moment("1970-01-01t00:00:01.5z"), Instant(NANOS * 3 / 2));
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Instant(0));
        assert_eq!(moment("1969-12-31T22:30:00-01:30"), Instant(0));
        assert_eq!(moment("1970-01-01T00:00:00.123456789"), Instant(123_456_789));
        assert_eq!(moment("1970-01-01T00:00:00.1234567899Z"), Instant(123_456_789));
        assert_eq!(moment("0000-01-01"), Instant::midnight(-719_528));
        for text in [
            "",
            "2025",
            "2025-1-01",
            "2025-01-1",
            "2025-02-29",
            "2100-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-01-00",
            "2025-04-31",
            "2025-01-01T",
            "2025-01-01T00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:60Z",
            "2025-01-01 00:00:00",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+24:00",
            "2025-01-01T00:00:00+01:60",
            "2025-01-01T00:00:00+0100",
            "2025-01-01T00:00:00ZZ",
            "+025-01-01",
            "2025-01-0١",
            "now",
            "2025-01-01Z",
            "20250101T000000Z",
        ] {
            assert_eq!(Temporal::parse(text), None, "{text}");
        }
        assert!(Temporal::parse("2024-02-29").is_some() && Temporal::parse("2000-02-29").is_some());
    }

    #[test]
    fn rfc3339_needs_an_offset() {
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Some(Instant(0)));
        for text in ["1970-01-01", "1970-01-01T00:00:00", " 1970-01-01T00:00:00Z"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_written_in_utc_with_a_short_fraction() {
        for (text, expected) in [
            ("2025-01-02T03:04:05.500+02:00", "2025-01-02T01:04:05.5Z"),
            ("2025-01-02T03:04:05Z", "2025-01-02T03:04:05Z"),
            ("1969-12-31T23:59:59.000000001Z", "1969-12-31T23:59:59.000000001Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
        ] {
            assert_eq!(moment(text).to_string(), expected);
        }
    }

    #[test]
    fn lql_32_a_day_equals_a_moment_by_the_moments_own_offset() {
        let same = |a: &str, b: &str| Temporal::parse(a).unwrap().same_time(Temporal::parse(b).unwrap());
        assert!(same("2025-01-02", "2025-01-02T01:00:00+02:00"));
        assert!(same("2025-01-02T01:00:00+02:00", "2025-01-02"));
        assert!(!same("2025-01-01", "2025-01-02T01:00:00+02:00"));
        assert!(same("2025-01-01T23:00:00Z", "2025-01-02T01:00:00+02:00"));
        assert!(same("2025-01-02", "2025-01-02") && !same("2025-01-02", "2025-01-03"));
        // In order, a day is its midnight in UTC.
        assert!(moment("2025-01-02T01:00:00+02:00") < moment("2025-01-02"));
    }

    #[test]
    fn lql_34_a_moment_without_offset_is_utc() {
        assert_eq!(moment("2025-01-02T01:00:00"), moment("2025-01-02T01:00:00Z"));
    }
}
