//! The strict reader of request bodies.
//!
//! [`Object::parse`] checks the whole body once and lists its members without copying; the handler then takes the
//! members it knows, by name and type, and [`Object::finish`] refuses what is left. Rules that surprise, all of them
//! observable in the deployed service:
//!
//! * a member may occur more than once: the last occurrence wins, but each must have the right type;
//! * `null` means absent, also in an occurrence that would win over an earlier one;
//! * a top-level `null` is an object without members;
//! * an integer must be written as one: `5.0` and `1e1` are refused.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{
    cursor::{Cursor, Value},
    invalid::{DecodeError, Invalid},
    text,
};

/// The members of a request body, or of an object in it.
#[derive(Debug)]
pub struct Object<'a> {
    members: Members<'a>,
}

type Members<'a> = SmallVec<[Member<'a>; 8]>;

#[derive(Debug)]
struct Member<'a> {
    /// With its quotes.
    name: &'a [u8],
    /// The name is ASCII without escapes, so it can be compared as it stands.
    plain: bool,
    value: Value<'a>,
    taken: bool,
}

impl Member<'_> {
    #[inline]
    fn is_named(&self, name: &str) -> bool {
        match self.name {
            [b'"', content @ .., b'"'] if self.plain => content == name.as_bytes(),
            quoted => text::decode(quoted) == name,
        }
    }
}

impl<'a> Object<'a> {
    /// Reads a body that is one object, or `null`, and nothing else.
    ///
    /// # Errors
    ///
    /// The body is empty, not valid JSON, of another type, nested too deep, or goes on after the object.
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(body);
        let mut object = Object::empty();
        cursor.document(&mut object.members)?;
        cursor.skip_whitespace();
        match cursor.peek() {
            None => Ok(object),
            Some(_) => Err(cursor.unexpected("nothing after the object").into()),
        }
    }

    /// Reads a body that begins with an object, or `null`, and ignores whatever follows it.
    ///
    /// # Errors
    ///
    /// The beginning of the body is no valid JSON object, or it is nested too deep.
    pub fn parse_first(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut object = Object::empty();
        Cursor::new(body).document(&mut object.members)?;
        Ok(object)
    }

    /// An object without members.
    pub fn empty() -> Self {
        Object { members: SmallVec::new() }
    }

    /// Takes a string.
    ///
    /// # Errors
    ///
    /// An occurrence of the member is neither a string nor `null`.
    pub fn string(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let last = self.take(name, "a string", |value| match value {
            Value::Text(raw) => Some(raw),
            _ => None,
        })?;
        Ok(last.map(|raw| text::decode(raw)))
    }

    /// Takes an integer.
    ///
    /// # Errors
    ///
    /// An occurrence of the member is neither an integer of 64 bits, written without fraction and exponent, nor
    /// `null`.
    pub fn integer(&mut self, name: &str) -> Result<Option<i64>, DecodeError> {
        self.take(name, "an integer of 64 bits without fraction or exponent", |value| match value {
            Value::Number(raw) => std::str::from_utf8(raw).ok()?.parse().ok(),
            _ => None,
        })
    }

    /// Takes a boolean.
    ///
    /// # Errors
    ///
    /// An occurrence of the member is neither a boolean nor `null`.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, DecodeError> {
        self.take(name, "true or false", |value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    /// Takes an object. When the member occurs more than once, the result has the members of all occurrences, so
    /// that the last of each wins and none escapes its checks.
    ///
    /// # Errors
    ///
    /// An occurrence of the member is neither an object nor `null`.
    pub fn object(&mut self, name: &str) -> Result<Option<Object<'a>>, DecodeError> {
        let mut merged: Option<Object<'a>> = None;
        self.each(name, "an object", |value| match value {
            Value::Object(raw) => {
                let object = merged.get_or_insert_with(Object::empty);
                Cursor::new(raw).members(&mut object.members).ok()?;
                Some(())
            }
            _ => None,
        })?;
        Ok(merged)
    }

    /// Takes an array of strings. A `null` in it is an empty string.
    ///
    /// # Errors
    ///
    /// An occurrence of the member is neither an array of only strings and `null`s, nor `null`.
    pub fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>, DecodeError> {
        self.take(name, "an array of strings", |value| {
            elements(value, |element| match element {
                Value::Text(raw) => Some(text::decode(raw).into_owned()),
                Value::Null => Some(String::new()),
                _ => None,
            })
        })
    }

    /// Takes an array of objects. A `null` in it is an object without members.
    ///
    /// # Errors
    ///
    /// An occurrence of the member is neither an array of only objects and `null`s, nor `null`.
    pub fn objects(&mut self, name: &str) -> Result<Option<Vec<Object<'a>>>, DecodeError> {
        self.take(name, "an array of objects", |value| {
            elements(value, |element| match element {
                Value::Object(raw) => {
                    let mut object = Object::empty();
                    Cursor::new(raw).members(&mut object.members).ok()?;
                    Some(object)
                }
                Value::Null => Some(Object::empty()),
                _ => None,
            })
        })
    }

    /// Takes a value of any type as the valid JSON it is, `null` included.
    pub fn raw(&mut self, name: &str) -> Option<&'a [u8]> {
        let mut last = None;
        for member in self.members.iter_mut().filter(|member| member.is_named(name)) {
            member.taken = true;
            last = Some(member.value);
        }
        last.map(Value::json)
    }

    /// Takes the next member that has not been taken, with its value as valid JSON: for objects whose names are data.
    pub fn next_member(&mut self) -> Option<(Cow<'a, str>, &'a [u8])> {
        let member = self.members.iter_mut().find(|member| !member.taken)?;
        member.taken = true;
        Some((text::decode(member.name), member.value.json()))
    }

    /// Refuses the members that have not been taken. A handler that ignores unknown members does not call it.
    ///
    /// # Errors
    ///
    /// There is an unknown member, be it `null`.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.members.iter().find(|member| !member.taken) {
            None => Ok(()),
            Some(member) => Err(DecodeError::UnknownMember { name: shorten(&text::decode(member.name)) }),
        }
    }

    fn take<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        mut read: impl FnMut(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        let mut last = None;
        self.each(name, expected, |value| read(value).map(|value| last = Some(value)))?;
        Ok(last)
    }

    /// Calls `read` for every occurrence that is not `null`; `None` means it has the wrong type.
    fn each(
        &mut self,
        name: &str,
        expected: &'static str,
        mut read: impl FnMut(Value<'a>) -> Option<()>,
    ) -> Result<(), DecodeError> {
        for member in self.members.iter_mut().filter(|member| member.is_named(name)) {
            member.taken = true;
            if !matches!(member.value, Value::Null) && read(member.value).is_none() {
                let found = shorten(&String::from_utf8_lossy(member.value.json()));
                return Err(DecodeError::WrongType { name: shorten(name), expected, found });
            }
        }
        Ok(())
    }
}

fn elements<'a, T>(value: Value<'a>, mut read: impl FnMut(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
    let Value::Array(raw) = value else { return None };
    let mut cursor = Cursor::new(raw);
    cursor.advance();
    let mut list = Vec::new();
    cursor.skip_whitespace();
    if cursor.peek() == Some(b']') {
        return Some(list);
    }
    loop {
        list.push(read(cursor.value("an element").ok()?)?);
        cursor.skip_whitespace();
        if cursor.peek() != Some(b',') {
            return Some(list);
        }
        cursor.advance();
        cursor.skip_whitespace();
    }
}

impl<'a> Cursor<'a> {
    fn document(&mut self, members: &mut Members<'a>) -> Result<(), DecodeError> {
        self.skip_whitespace();
        let Some(first) = self.peek() else { return Err(DecodeError::Empty) };
        if first == b'{' {
            return Ok(self.members(members)?);
        }
        let found = match self.value("a JSON object")? {
            Value::Null => return Ok(()),
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Err(DecodeError::NotAnObject { found })
    }

    /// Reads the object that starts here and adds its members.
    fn members(&mut self, members: &mut Members<'a>) -> Result<(), Invalid> {
        self.advance();
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.advance();
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a member name in double quotes"));
            }
            let name = self.text()?;
            let plain = name.is_ascii() && !name.contains(&b'\\');
            self.skip_whitespace();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("':' after a member name"));
            }
            self.advance();
            self.skip_whitespace();
            let value = self.value("a value after ':'")?;
            members.push(Member { name, plain, value, taken: false });
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.advance(),
                Some(b'}') => {
                    self.advance();
                    return Ok(());
                }
                _ => return Err(self.unexpected("',' or '}' after a member")),
            }
            self.skip_whitespace();
        }
    }
}

/// Cuts what a client sent to a length that fits a message.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 64;
    match text.char_indices().nth(LIMIT) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &[u8]) -> String {
        Object::parse(body).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn members_are_taken_by_name_and_type() {
        let body = br#" {"key":"a\u0062", "ttl_seconds" : -0 ,"flag":true,"no":null,"q":{"x":[1,{"y":2}]},"m":["a",null,"\n"]} "#;
        let mut object = Object::parse(body).unwrap();
        assert_eq!(object.string("key").unwrap().unwrap(), "ab");
        assert_eq!(object.integer("ttl_seconds").unwrap(), Some(0));
        assert_eq!(object.boolean("flag").unwrap(), Some(true));
        assert_eq!(object.string("no").unwrap(), None);
        assert_eq!(object.string("absent").unwrap(), None);
        assert_eq!(object.strings("m").unwrap().unwrap(), ["a", "", "\n"]);
        let mut inner = object.object("q").unwrap().unwrap();
        assert_eq!(inner.raw("x").unwrap(), br#"[1,{"y":2}]"#);
        inner.finish().unwrap();
        object.finish().unwrap();
    }

    #[test]
    fn plain_strings_are_not_copied() {
        let mut object = Object::parse(br#"{"key":"orders"}"#).unwrap();
        assert!(matches!(object.string("key"), Ok(Some(Cow::Borrowed("orders")))));
    }

    #[test]
    fn top_level_null_is_an_object_without_members() {
        let mut object = Object::parse(b" null\n").unwrap();
        assert_eq!(object.string("key").unwrap(), None);
        object.finish().unwrap();
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        assert_eq!(error(b""), "the body is empty, expected a JSON object");
        assert_eq!(error(b" \n"), "the body is empty, expected a JSON object");
        assert_eq!(error(b"[1]"), "expected a JSON object, found an array");
        assert_eq!(error(b"\"x\""), "expected a JSON object, found a string");
        assert_eq!(error(b"\xEF\xBB\xBF{}"), "byte 0: expected a JSON object, found byte 0xEF");
        assert_eq!(error(b"{}{}"), "byte 2: expected nothing after the object, found '{'");
        assert_eq!(error(b"null null"), "byte 5: expected nothing after the object, found 'n'");
        assert_eq!(error(b"{} \0"), "byte 3: expected nothing after the object, found byte 0x00");
        for body in [
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,}",
            "{\"a\" 1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":-}",
            "{\"a\":1e}",
            "{\"a\":+1}",
            "{\"a\":tru}",
            "{\"a\":truee}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\n\"}",
            "{a:1}",
            "{\"a\":[1,]}",
            "{\"a\":{]}",
            "{\"a\":\"\\",
            "{\"a\":\"\\u00",
            "{'a':1}",
        ] {
            assert!(Object::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn anything_may_follow_where_only_the_first_value_counts() {
        let mut object = Object::parse_first(b"{\"a\":1}}}garbage").unwrap();
        assert_eq!(object.integer("a").unwrap(), Some(1));
        assert!(Object::parse_first(b"{\"a\":1").is_err());
    }

    #[test]
    fn unknown_members_are_refused_even_when_null() {
        let object = Object::parse(br#"{"Key":null}"#).unwrap();
        assert_eq!(object.finish().unwrap_err().to_string(), "unknown member \"Key\"");
        let mut object = Object::parse(br#"{"k\u0065y":"x"}"#).unwrap();
        assert_eq!(object.string("key").unwrap().unwrap(), "x");
        object.finish().unwrap();
    }

    #[test]
    fn the_last_occurrence_wins_and_null_is_none() {
        let mut object = Object::parse(br#"{"a":1,"a":2,"a":null,"b":null}"#).unwrap();
        assert_eq!(object.integer("a").unwrap(), Some(2));
        assert_eq!(object.integer("b").unwrap(), None);
        object.finish().unwrap();
    }

    #[test]
    fn a_wrong_type_in_any_occurrence_is_refused() {
        let mut object = Object::parse(br#"{"a":"x","a":2}"#).unwrap();
        assert_eq!(
            object.integer("a").unwrap_err().to_string(),
            "member \"a\": expected an integer of 64 bits without fraction or exponent, found \"x\""
        );
        for number in ["5.0", "1e1", "9223372036854775808", "-9223372036854775809", "true", "[1]", "{}"] {
            let body = format!("{{\"a\":{number}}}");
            assert!(Object::parse(body.as_bytes()).unwrap().integer("a").is_err(), "{number}");
        }
        for number in [i64::MIN, i64::MAX] {
            let body = format!("{{\"a\":{number}}}");
            assert_eq!(Object::parse(body.as_bytes()).unwrap().integer("a").unwrap(), Some(number));
        }
        assert!(Object::parse(br#"{"a":["x",1]}"#).unwrap().strings("a").is_err());
        assert!(Object::parse(br#"{"a":"x"}"#).unwrap().strings("a").is_err());
        assert!(Object::parse(br#"{"a":1}"#).unwrap().boolean("a").is_err());
        assert!(Object::parse(br#"{"a":{},"a":[]}"#).unwrap().object("a").is_err());
    }

    #[test]
    fn objects_that_occur_twice_are_merged() {
        let mut object = Object::parse(br#"{"q":{"x":1,"y":2},"q":{"y":3}}"#).unwrap();
        let mut inner = object.object("q").unwrap().unwrap();
        assert_eq!(inner.integer("x").unwrap(), Some(1));
        assert_eq!(inner.integer("y").unwrap(), Some(3));
        inner.finish().unwrap();
    }

    #[test]
    fn arrays_of_objects_and_open_names_can_be_read() {
        let mut object = Object::parse(br#"{"p":[{"k":"a"}, null ,{"k":"b"}],"s":"v"}"#).unwrap();
        let mut list = object.objects("p").unwrap().unwrap();
        let names: Vec<_> = list.iter_mut().map(|object| object.string("k").unwrap()).collect();
        assert_eq!(names, [Some("a".into()), None, Some("b".into())]);
        assert_eq!(object.next_member(), Some(("s".into(), &br#""v""#[..])));
        assert_eq!(object.next_member(), None);
        assert_eq!(Object::parse(br#"{"p":[ ]}"#).unwrap().strings("p").unwrap().unwrap(), [""; 0]);
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Object::parse(nested(9_999).as_bytes()).is_ok());
        let message = error(nested(10_000).as_bytes());
        assert_eq!(message, "byte 10004: arrays and objects are nested deeper than 9999 levels");
        assert!(Object::parse(&vec![b'['; 1_000_000]).is_err());
    }
}
