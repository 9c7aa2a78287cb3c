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
            let plain = self
                .rest()
                .iter()
                .position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')
                .unwrap_or(0);
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
                    self.at = self.body.len();
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
