//! The ends of strings and scalars in JSON that is known to be valid, and names without their escapes.

use memchr::{memchr, memchr2};

/// The quote that ends a string, or `None` if the string goes on, and whether it does so behind a backslash.
#[inline]
pub(super) fn text_end(input: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut at = usize::from(std::mem::take(escaped));
    loop {
        let rest = input.get(at..).unwrap_or_default();
        at += quote_or_backslash(rest)?;
        if input.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
        if at > input.len() {
            *escaped = true;
            return None;
        }
    }
}

#[inline]
fn quote_or_backslash(input: &[u8]) -> Option<usize> {
    // Most names and many strings are shorter than what it takes to call a search for long ones.
    let mut at = 0;
    while at < 32
        && let Some(word) = input.get(at..).and_then(|rest| rest.first_chunk())
    {
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ 0x2222_2222_2222_2222) | zero_bytes(word ^ 0x5C5C_5C5C_5C5C_5C5C);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', input.get(at..)?).map(|found| at + found)
}

/// Sets the highest bit of every byte that is zero; above the first such byte, other bits may be set as well.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080
}

/// The byte behind a number or literal.
pub(super) fn scalar_end(input: &[u8]) -> Option<usize> {
    input.iter().position(|byte| matches!(byte, b',' | b'}' | b']'))
}

/// Appends a name without its escapes.
pub(super) fn decode(name: &[u8], out: &mut Vec<u8>) {
    let mut rest = name;
    loop {
        let plain = memchr(b'\\', rest).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(plain);
        out.extend_from_slice(head);
        let [_, letter, after @ ..] = tail else { return };
        rest = after;
        out.push(match letter {
            b'b' => 0x8,
            b'f' => 0xC,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (letter, after) = unit(after);
                rest = after;
                let mut utf8 = [0; 4];
                out.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            other => *other,
        });
    }
}

/// The character that is escaped with these digits, and what follows it.
fn unit(digits: &[u8]) -> (char, &[u8]) {
    let hex = |digits: &[u8]| {
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    };
    let (first, rest) = digits.split_at(digits.len().min(4));
    let first = hex(first).unwrap_or(0xFFFD);
    if let 0xD800..0xDC00 = first
        && let [b'\\', b'u', a, b, c, d, after @ ..] = rest
        && let Some(second @ 0xDC00..0xE000) = hex(&[*a, *b, *c, *d])
    {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), after);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), rest)
}
