//! From three lines to a request: commands, keys, and the integers of the argument.

use crate::table::{Space, Token};
use std::str;

/// Largest number of seconds that still fits in 64 bits of nanoseconds, signed, as clients know it.
const MAX_SECONDS: i64 = 9_223_372_036;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    Acquire,
    Enqueue,
    Wait,
    Release,
    Renew,
    Stats,
    Auth,
    Ping,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    Acquire { space: Space, key: &'a [u8], timeout: u64, limit: u64, lease: Option<u64> },
    Enqueue { space: Space, key: &'a [u8], limit: u64, lease: Option<u64> },
    Wait { space: Space, key: &'a [u8], timeout: u64 },
    Release { space: Space, key: &'a [u8], token: Option<Token> },
    Renew { space: Space, key: &'a [u8], token: Option<Token>, lease: Option<u64> },
    Stats,
    Auth { secret: &'a [u8] },
    Ping,
}

impl Request<'_> {
    pub fn command(&self) -> Command {
        match self {
            Self::Acquire { .. } => Command::Acquire,
            Self::Enqueue { .. } => Command::Enqueue,
            Self::Wait { .. } => Command::Wait,
            Self::Release { .. } => Command::Release,
            Self::Renew { .. } => Command::Renew,
            Self::Stats => Command::Stats,
            Self::Auth { .. } => Command::Auth,
            Self::Ping => Command::Ping,
        }
    }
}

/// Why three lines are no request: the code and text of the log line. The peer only ever reads `error`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    pub code: u8,
    pub text: &'static str,
}

const UNKNOWN: Malformed = Malformed { code: 3, text: "unknown command" };
const INTEGER: Malformed = Malformed { code: 4, text: "not an integer in range" };
const KEY: Malformed =
    Malformed { code: 5, text: "key is empty or contains a space, tab or carriage return" };
const TIMEOUT: Malformed = Malformed { code: 6, text: "timeout is negative" };
const TOKEN: Malformed = Malformed { code: 7, text: "token is empty" };
const FIELDS: Malformed = Malformed { code: 8, text: "wrong number of fields in the argument" };
const LEASE: Malformed = Malformed { code: 9, text: "lease is not above 0" };
const LIMIT: Malformed = Malformed { code: 13, text: "limit is not above 0" };

/// Reads a request. Never changes anything.
pub fn parse<'a>(lines: [&'a [u8]; 3]) -> Result<Request<'a>, Malformed> {
    let [command, key, argument] = lines;
    let (space, letter) = match command {
        b"auth" => return Ok(Request::Auth { secret: trim(argument) }),
        b"stats" => return Ok(Request::Stats),
        b"ping" => return Ok(Request::Ping),
        [letter @ (b'l' | b'e' | b'w' | b'r' | b'n')] => (Space::Lock, *letter),
        [b's', letter @ (b'l' | b'e' | b'w' | b'r' | b'n')] => (Space::Semaphore, *letter),
        _ => return Err(UNKNOWN),
    };
    if key.is_empty() || key.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        return Err(KEY);
    }
    let semaphore = space == Space::Semaphore;
    if letter == b'r' {
        let token = trim(argument);
        if token.is_empty() {
            return Err(TOKEN);
        }
        return Ok(Request::Release { space, key, token: Token::parse(token) });
    }
    let (fields, count) = split(argument)?;
    match letter {
        b'l' => {
            let fixed = if semaphore { 2 } else { 1 };
            expect(count, fixed, fixed + 1)?;
            let timeout = timeout(fields[0])?;
            let limit = if semaphore { limit(fields[1])? } else { 1 };
            Ok(Request::Acquire { space, key, timeout, limit, lease: lease(&fields[fixed..count])? })
        }
        b'e' => {
            let fixed = usize::from(semaphore);
            expect(count, fixed, fixed + 1)?;
            let limit = if semaphore { limit(fields[0])? } else { 1 };
            Ok(Request::Enqueue { space, key, limit, lease: lease(&fields[fixed..count])? })
        }
        b'w' => {
            expect(count, 1, 1)?;
            Ok(Request::Wait { space, key, timeout: timeout(fields[0])? })
        }
        _ => {
            if count == 0 {
                return Err(TOKEN);
            }
            expect(count, 1, 2)?;
            Ok(Request::Renew {
                space,
                key,
                token: Token::parse(fields[0]),
                lease: lease(&fields[1..count])?,
            })
        }
    }
}

fn expect(count: usize, least: usize, most: usize) -> Result<(), Malformed> {
    if (least..=most).contains(&count) { Ok(()) } else { Err(FIELDS) }
}

fn timeout(field: &[u8]) -> Result<u64, Malformed> {
    match integer(field)? {
        negative if negative < 0 => Err(TIMEOUT),
        seconds if seconds > MAX_SECONDS => Err(INTEGER),
        seconds => Ok(seconds as u64),
    }
}

fn limit(field: &[u8]) -> Result<u64, Malformed> {
    match integer(field)? {
        limit if limit < 1 => Err(LIMIT),
        limit => Ok(limit as u64),
    }
}

fn lease(field: &[&[u8]]) -> Result<Option<u64>, Malformed> {
    let Some(field) = field.first() else { return Ok(None) };
    match integer(field)? {
        seconds if seconds < 1 => Err(LEASE),
        seconds if seconds > MAX_SECONDS => Err(INTEGER),
        seconds => Ok(Some(seconds as u64)),
    }
}

fn integer(field: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(INTEGER);
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(INTEGER);
        }
        let digit = i64::from(digit - b'0');
        // Counted downwards, because the negative range is the larger one.
        value = value.checked_mul(10).and_then(|value| value.checked_sub(digit)).ok_or(INTEGER)?;
    }
    if negative { Ok(value) } else { value.checked_neg().ok_or(INTEGER) }
}

/// Up to three fields between white space; a fourth is an error in every command.
fn split(argument: &[u8]) -> Result<([&[u8]; 3], usize), Malformed> {
    let mut fields: [&[u8]; 3] = [&[]; 3];
    let mut count = 0;
    let mut rest = trim_start(argument);
    while !rest.is_empty() {
        let mut end = 0;
        while end < rest.len() && white_space(&rest[end..]) == 0 {
            end += char_length(&rest[end..]);
        }
        *fields.get_mut(count).ok_or(FIELDS)? = &rest[..end];
        count += 1;
        rest = trim_start(&rest[end..]);
    }
    Ok((fields, count))
}

/// Takes Unicode white space off both ends. Bytes that are no UTF-8 are not white space.
pub fn trim(line: &[u8]) -> &[u8] {
    let line = trim_start(line);
    let (mut at, mut end) = (0, 0);
    while at < line.len() {
        let blank = white_space(&line[at..]);
        if blank > 0 {
            at += blank;
        } else {
            at += char_length(&line[at..]);
            end = at;
        }
    }
    &line[..end]
}

fn trim_start(mut line: &[u8]) -> &[u8] {
    loop {
        match white_space(line) {
            0 => return line,
            length => line = &line[length..],
        }
    }
}

/// Length of the white-space character that `bytes` begins with, 0 if there is none.
fn white_space(bytes: &[u8]) -> usize {
    match bytes {
        [0x09..=0x0d | 0x20, ..] => 1,
        [..0x80, ..] | [] => 0,
        _ => match decode(bytes) {
            Some(char) if char.is_whitespace() => char.len_utf8(),
            _ => 0,
        },
    }
}

fn char_length(bytes: &[u8]) -> usize {
    decode(bytes).map_or(1, char::len_utf8)
}

fn decode(bytes: &[u8]) -> Option<char> {
    let length = match bytes.first()? {
        ..0x80 => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    str::from_utf8(bytes.get(..length)?).ok()?.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(command: &'static str, argument: &'static [u8]) -> Result<Request<'static>, u8> {
        parse([command.as_bytes(), b"k", argument]).map_err(|malformed| malformed.code)
    }

    #[test]
    fn integers_as_clients_spell_them() {
        for spelling in ["0", "+0", "-0", "000", " 0 ", "\u{a0}0", "0\u{3000}", "\t0\u{85}"] {
            let request = parse([b"w", b"k", spelling.as_bytes()]);
            assert!(matches!(request, Ok(Request::Wait { timeout: 0, .. })), "{spelling:?}");
        }
        for spelling in
            ["x", "1.5", "1e3", "1_0", "0x1", "+", "-", "--1", "\u{661}", "9223372036854775808", "9223372037"]
        {
            assert_eq!(
                parse([b"w", b"k", spelling.as_bytes()]).map_err(|bad| bad.code),
                Err(4),
                "{spelling:?}"
            );
        }
        assert_eq!(argument("w", b"-9223372036854775808"), Err(6));
        assert_eq!(argument("w", b"-9223372036854775809"), Err(4));
        assert_eq!(argument("w", b"\xff0"), Err(4));
        assert!(argument("w", b"9223372036").is_ok());
    }

    #[test]
    fn field_counts() {
        for (command, line, code) in [
            ("l", "", 8),
            ("l", "1 2 3", 8),
            ("sl", "1", 8),
            ("sl", "1 2 3 4", 8),
            ("e", "5 5", 8),
            ("se", "", 8),
            ("w", "", 8),
            ("w", "1 1", 8),
            ("r", " ", 7),
            ("n", "", 7),
            ("n", "t 1 1", 8),
            ("l", "0 0", 9),
            ("se", "0", 13),
            ("sl", "0 -1", 13),
            ("l", "-1", 6),
            ("x", "0", 3),
            ("L", "0", 3),
            ("ss", "0", 3),
            (" l", "0", 3),
        ] {
            assert_eq!(
                parse([command.as_bytes(), b"k", line.as_bytes()]).map_err(|bad| bad.code),
                Err(code),
                "{command} {line}"
            );
        }
    }

    #[test]
    fn keys() {
        for key in [&b""[..], b"a b", b"a\tb", b"a\rb"] {
            assert_eq!(parse([b"l", key, b"0"]).map_err(|bad| bad.code), Err(5));
        }
        for key in [&b"\0"[..], b"\x0b", b"\xff\xfe", "\u{a0}".as_bytes()] {
            assert!(parse([b"l", key, b"0"]).is_ok());
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..100_000 {
            let mut line = |most: usize| -> Vec<u8> {
                (0..rng.usize(..most))
                    .map(|_| *rng.choice(b"0123456789+- \t\xc2\xa0\xe2\x80\xa8\xf0slewrnk").unwrap())
                    .collect()
            };
            let (command, key, argument) = (line(3), line(4), line(24));
            let _ = parse([&command, &key, &argument]);
            let trimmed = trim(&argument);
            assert_eq!(trim(trimmed), trimmed);
        }
    }
}
