//! Reading JSON token by token, in one pass and without recursion: what the JSON form of selectors is read with.

use std::borrow::Cow;

use crate::error::{Problem, SelectorError};

/// The start of a value; of arrays and objects only the bracket.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    Text(Cow<'a, str>),
    Number(&'a str),
    Bool(bool),
    Null,
    Array,
    Object,
}

pub(super) struct Reader<'a> {
    source: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Reader { source, at: 0 }
    }

    /// Where the next token starts.
    pub(super) fn offset(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// Reads a scalar, or steps into an array or object.
    pub(super) fn token(&mut self) -> Result<Token<'a>, SelectorError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(Token::Text(self.text()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.step(Token::Object),
            Some(b'[') => self.step(Token::Array),
            Some(b't') => self.word("true", Token::Bool(true)),
            Some(b'f') => self.word("false", Token::Bool(false)),
            Some(b'n') => self.word("null", Token::Null),
            _ => Err(self.expected("a JSON value")),
        }
    }

    /// The name of the next member of the object that was stepped into, or nothing at its end.
    pub(super) fn next_member(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, SelectorError> {
        if !self.next_item(b'}', first, "',' or '}' after a member")? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.expected("a member name in double quotes"));
        }
        let name = self.text()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.expected("':' after a member name"));
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// Whether the array that was stepped into has another element; it is read next.
    pub(super) fn next_element(&mut self, first: &mut bool) -> Result<bool, SelectorError> {
        self.next_item(b']', first, "',' or ']' after an element")
    }

    fn next_item(
        &mut self,
        close: u8,
        first: &mut bool,
        expected: &'static str,
    ) -> Result<bool, SelectorError> {
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if std::mem::take(first) {
            return Ok(true);
        }
        if self.peek() != Some(b',') {
            return Err(self.expected(expected));
        }
        self.at += 1;
        self.skip_space();
        Ok(true)
    }

    /// Reads on to the end of the value that `token` has begun.
    pub(super) fn skip(&mut self, token: &Token<'_>) -> Result<(), SelectorError> {
        // What is open, innermost last, and whether it is still empty.
        let mut open = Vec::new();
        let push = |open: &mut Vec<(bool, bool)>, token: &Token<'_>| match token {
            Token::Object => open.push((true, true)),
            Token::Array => open.push((false, true)),
            _ => {}
        };
        push(&mut open, token);
        while let Some((is_object, first)) = open.last_mut() {
            let more =
                if *is_object { self.next_member(first)?.is_some() } else { self.next_element(first)? };
            if more {
                let inner = self.token()?;
                push(&mut open, &inner);
            } else {
                open.pop();
            }
        }
        Ok(())
    }

    /// Checks that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), SelectorError> {
        self.skip_space();
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("nothing after the selector")) }
    }

    fn step(&mut self, token: Token<'a>) -> Result<Token<'a>, SelectorError> {
        self.at += 1;
        Ok(token)
    }

    fn word(&mut self, word: &'static str, token: Token<'a>) -> Result<Token<'a>, SelectorError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(token)
    }

    fn number(&mut self) -> Result<Token<'a>, SelectorError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let literal = self.source.get(start..self.at).unwrap_or_default();
        Ok(Token::Number(std::str::from_utf8(literal).unwrap_or_default()))
    }

    fn digits(&mut self) -> Result<(), SelectorError> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// Reads a string and decodes it. What is not Unicode becomes U+FFFD.
    fn text(&mut self) -> Result<Cow<'a, str>, SelectorError> {
        self.at += 1;
        let mut decoded: Option<String> = None;
        loop {
            let rest = self.rest();
            let plain =
                rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')).unwrap_or(rest.len());
            let part = String::from_utf8_lossy(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match decoded {
                        None => part,
                        Some(text) => Cow::Owned(text + &part),
                    });
                }
                Some(b'\\') => {
                    self.at += 1;
                    let text = decoded.get_or_insert_default();
                    text.push_str(&part);
                    text.push(self.escape()?);
                }
                Some(_) => return Err(self.expected("control characters in strings to be escaped")),
                None => return Err(self.expected("'\"' at the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SelectorError> {
        let letter = match self.peek() {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.unit()?;
                let low = match (unit, self.rest()) {
                    (0xd800..0xdc00, [b'\\', b'u', ..]) => {
                        let back = self.at;
                        self.at += 1;
                        let low = self.unit()?;
                        if !(0xdc00..0xe000).contains(&low) {
                            self.at = back;
                        }
                        low
                    }
                    _ => 0,
                };
                let code = match low {
                    0xdc00..0xe000 => 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                    _ => unit,
                };
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => return Err(self.expected(r#"one of "\/bfnrtu after a backslash"#)),
        };
        self.at += 1;
        Ok(letter)
    }

    /// Reads the `u` of an escape and its four digits.
    fn unit(&mut self) -> Result<u32, SelectorError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit << 4 | digit.ok_or_else(|| self.expected(r"four hexadecimal digits after \u"))?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> SelectorError {
        SelectorError::at(Problem::Json { offset: self.at, expected }, self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(source: &[u8]) -> Result<(), SelectorError> {
        let mut reader = Reader::new(source);
        let token = reader.token()?;
        reader.skip(&token)?;
        reader.end()
    }

    fn text(source: &str) -> String {
        match Reader::new(source.as_bytes()).token().unwrap() {
            Token::Text(text) => text.into_owned(),
            token => panic!("{token:?}"),
        }
    }

    #[test]
    fn strings_are_decoded() {
        assert_eq!(text(r#""a\"\\\/\b\f\n\r\tA\u20ac""#), "a\"\\/\u{8}\u{c}\n\r\tA€");
        assert_eq!(
            text(r#""\ud83d\ude00x\ud83dy\ud83d\ud83d\ude00\ude00""#),
            "😀x\u{fffd}y\u{fffd}😀\u{fffd}"
        );
        assert_eq!(Reader::new(b"\"a\xffb\"").token().unwrap(), Token::Text("a\u{fffd}b".into()));
        assert!(matches!(Reader::new(b"\"plain\"").token(), Ok(Token::Text(Cow::Borrowed("plain")))));
    }

    #[test]
    fn a_million_brackets_are_no_trouble() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        check(deep.as_bytes()).unwrap();
        check("[{\"a\":".repeat(500_000).as_bytes()).unwrap_err();
    }

    proptest! {
        #[test]
        fn the_grammar_is_that_of_json(source in r#"([\[\]{},: ]|"a"|"\\u00e4"|-?[0-9]{1,2}|\.5|e[+-]?1|true|false|nul?l|"){0,12}"#) {
            let expected = serde_json::from_str::<serde_json::Value>(&source).is_ok();
            prop_assert_eq!(check(source.as_bytes()).is_ok(), expected);
        }
    }
}
