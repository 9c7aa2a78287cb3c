//! Stepping through a small body, value by value, checking the grammar on the way.

use crate::{
    automaton::Automaton,
    invalid::{Found, Invalid},
};

/// Request bodies nest two or three levels; a limit only keeps hostile ones cheap.
const MAX_DEPTH: u32 = 10_000;

/// A checked value, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a [u8]),
    /// With its quotes.
    Text(&'a [u8]),
    Array(&'a [u8]),
    Object(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value as JSON.
    pub(crate) fn json(self) -> &'a [u8] {
        match self {
            Value::Null => b"null",
            Value::Bool(true) => b"true",
            Value::Bool(false) => b"false",
            Value::Number(raw) | Value::Array(raw) | Value::Object(raw) | Value::Text(raw) => raw,
        }
    }
}

/// A place in a body.
pub(crate) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Cursor { body, at: 0 }
    }

    /// Steps over the byte that was peeked at.
    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    pub(crate) fn value(&mut self, expected: &'static str) -> Result<Value<'a>, Invalid> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.text()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(kind @ (b'{' | b'[')) => {
                let rest = self.rest();
                // The depth of the body counts, and this value is inside an object.
                let length = Automaton::new(MAX_DEPTH - 1).container_length(rest, self.at as u64)?;
                self.at += length;
                let raw = rest.get(..length).unwrap_or_default();
                Ok(if kind == b'{' { Value::Object(raw) } else { Value::Array(raw) })
            }
            Some(b't') => self.literal(b"true", "'true'", Value::Bool(true)),
            Some(b'f') => self.literal(b"false", "'false'", Value::Bool(false)),
            Some(b'n') => self.literal(b"null", "'null'", Value::Null),
            _ => Err(self.unexpected(expected)),
        }
    }

    fn literal(
        &mut self,
        word: &[u8],
        expected: &'static str,
        value: Value<'a>,
    ) -> Result<Value<'a>, Invalid> {
        for &byte in word {
            if self.peek() != Some(byte) {
                return Err(self.unexpected(expected));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value<'a>, Invalid> {
        let rest = self.rest();
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return Err(self.unexpected("no digit after a leading zero"));
            }
        } else {
            self.digits("a digit after '-'")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("a digit after the decimal point")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits("a digit in the exponent")?;
        }
        Ok(Value::Number(rest.get(..self.at - start).unwrap_or_default()))
    }

    fn digits(&mut self, expected: &'static str) -> Result<(), Invalid> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.unexpected(expected)) } else { Ok(()) }
    }

    /// Checks the string that starts here and returns it with its quotes.
    pub(crate) fn text(&mut self) -> Result<&'a [u8], Invalid> {
        let start = self.at;
        self.at += 1;
        loop {
            let plain = plain_length(self.rest());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.body.get(start..self.at).unwrap_or_default());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            for _ in 0..4 {
                                self.at += 1;
                                if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                    return Err(self.unexpected(r"four hexadecimal digits after \u"));
                                }
                            }
                            self.at += 1;
                        }
                        _ => return Err(self.unexpected(r#"one of "\/bfnrtu after a backslash"#)),
                    }
                }
                Some(0..=0x1F) => {
                    return Err(self.unexpected("control characters in a string to be escaped"));
                }
                _ => {
                    return Err(self.unexpected("'\"' at the end of a string"));
                }
            }
        }
    }

    pub(crate) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn unexpected(&self, expected: &'static str) -> Invalid {
        let found = self.peek().map_or(Found::End, Found::Byte);
        Invalid::Syntax { offset: self.at as u64, expected, found }
    }
}

/// How many bytes at the start are neither a quote nor a backslash nor a control character.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut length = 0;
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let word = u64::from_le_bytes(*word);
        // The highest bit of a byte is set if subtracting borrowed from it: that byte was smaller, or one below it
        // was. The lowest one that is set is therefore right.
        let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
        let special = below(word, b' ')
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = special & ONES << 7;
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + rest.iter().take_while(|&&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_end_at_every_special_byte_at_every_place() {
        for length in 0..30 {
            assert_eq!(plain_length(&vec![b'a'; length]), length);
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'\x80'; length];
                    bytes[place] = byte;
                    // A later one must not hide it, nor the byte before a special one be taken for it.
                    bytes[length - 1] = if place == length - 1 { byte } else { b'"' };
                    let special = byte < b' ' || byte == b'"' || byte == b'\\';
                    let expected = if special { place } else { length - usize::from(place < length - 1) };
                    assert_eq!(plain_length(&bytes), expected, "{byte} at {place} of {length}");
                }
            }
        }
    }
}
