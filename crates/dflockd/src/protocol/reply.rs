//! From an outcome to the line that tells it, and the two kinds of JSON values that `stats` needs.

use crate::table::Outcome;
use std::io::Write;

/// Writes the reply line. `immediate` selects the word for a grant: `acquired` for `e`, `ok` for everything that may wait.
pub fn write_outcome(out: &mut Vec<u8>, outcome: Outcome, immediate: bool) {
    let line: &[u8] = match outcome {
        Outcome::Granted { token, lease } => {
            out.extend_from_slice(if immediate { b"acquired " } else { b"ok " });
            out.extend_from_slice(&token.digits());
            out.push(b' ');
            write_integer(out, lease);
            b"\n"
        }
        Outcome::Renewed { lease } => {
            out.extend_from_slice(b"ok ");
            write_integer(out, lease);
            b"\n"
        }
        Outcome::Done => b"ok\n",
        Outcome::Queued => b"queued\n",
        Outcome::Timeout => b"timeout\n",
        Outcome::Error => b"error\n",
        Outcome::MaxLocks => b"error_max_locks\n",
        Outcome::MaxWaiters => b"error_max_waiters\n",
        Outcome::LimitMismatch => b"error_limit_mismatch\n",
        Outcome::NotEnqueued => b"error_not_enqueued\n",
        Outcome::AlreadyEnqueued => b"error_already_enqueued\n",
        Outcome::LeaseExpired => b"error_lease_expired\n",
        Outcome::Blocked => return,
    };
    out.extend_from_slice(line);
}

fn write_integer(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// A binary64 in its shortest form that reads back the same; an exponent only for tiny and huge values.
pub fn write_json_number(out: &mut Vec<u8>, value: f64) {
    let exponent = value != 0.0 && !(1e-6..1e21).contains(&value.abs());
    // Writing to a vector cannot fail.
    let _ = if exponent { write!(out, "{value:e}") } else { write!(out, "{value}") };
}

/// Any bytes as a JSON string on one line; bytes that are no UTF-8 become U+FFFD, one each.
pub fn write_json_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                ..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(out, "\\u{:04x}", char as u32);
                }
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}
