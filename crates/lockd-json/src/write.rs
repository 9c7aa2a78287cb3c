//! Writing responses: flat objects, built by appending to one buffer.

/// Appends `text` as a JSON string. Quotes, backslashes and control characters are escaped, all else passes through.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..index]);
        copied = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let low = DIGITS[usize::from(byte & 0xF)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends an integer.
pub fn push_int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `true` or `false`.
pub fn push_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Writes one object, member after member, into a buffer.
///
/// Names are written as they are given: they are literals of the program and need no escaping.
///
/// ```
/// use lockd_json::ObjectWriter;
///
/// let mut body = Vec::new();
/// ObjectWriter::new(&mut body).string("key", "a \"b\"").int("version", 7).string_unless_empty("etag", "").end_line();
/// assert_eq!(body, b"{\"key\":\"a \\\"b\\\"\",\"version\":7}\n");
/// ```
#[derive(Debug)]
#[must_use = "the object is not closed before `end` or `end_line`"]
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> ObjectWriter<'a> {
    /// Opens an object at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        ObjectWriter { out, separator: b'{' }
    }

    /// A string member.
    pub fn string(mut self, name: &str, value: &str) -> Self {
        push_string(self.member(name), value);
        self
    }

    /// A string member, left out when it would be empty.
    pub fn string_unless_empty(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.string(name, value) }
    }

    /// A string member, left out when there is none.
    pub fn string_if_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(name, value),
            None => self,
        }
    }

    /// An integer member.
    pub fn int(mut self, name: &str, value: impl itoa::Integer) -> Self {
        push_int(self.member(name), value);
        self
    }

    /// An integer member, left out when it would be zero.
    pub fn int_unless_zero(self, name: &str, value: impl itoa::Integer + Default + PartialEq) -> Self {
        if value == Default::default() { self } else { self.int(name, value) }
    }

    /// An integer member, left out when there is none.
    pub fn int_if_some(self, name: &str, value: Option<impl itoa::Integer>) -> Self {
        match value {
            Some(value) => self.int(name, value),
            None => self,
        }
    }

    /// A boolean member.
    pub fn bool(mut self, name: &str, value: bool) -> Self {
        push_bool(self.member(name), value);
        self
    }

    /// A boolean member, left out when it would be false.
    pub fn bool_if_true(self, name: &str, value: bool) -> Self {
        if value { self.bool(name, true) } else { self }
    }

    /// A boolean member, left out when there is none.
    pub fn bool_if_some(self, name: &str, value: Option<bool>) -> Self {
        match value {
            Some(value) => self.bool(name, value),
            None => self,
        }
    }

    /// A `null` member.
    pub fn null(mut self, name: &str) -> Self {
        self.member(name).extend_from_slice(b"null");
        self
    }

    /// A member whose value is JSON already.
    pub fn raw(mut self, name: &str, json: &[u8]) -> Self {
        self.member(name).extend_from_slice(json);
        self
    }

    /// A member whose value `write` appends; it must append exactly one JSON value.
    pub fn value(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        write(self.member(name));
        self
    }

    /// A member that is an object, whose members `write` adds.
    pub fn object(
        mut self,
        name: &str,
        write: impl for<'b> FnOnce(ObjectWriter<'b>) -> ObjectWriter<'b>,
    ) -> Self {
        write(ObjectWriter::new(self.member(name))).end();
        self
    }

    /// A member that is an array; `write` appends one element for each item.
    pub fn array<I: IntoIterator>(
        mut self,
        name: &str,
        items: I,
        mut write: impl FnMut(&mut Vec<u8>, I::Item),
    ) -> Self {
        let out = self.member(name);
        out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, item);
        }
        out.push(b']');
        self
    }

    /// Closes the object.
    pub fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// Closes the object and ends the line, as every response body does.
    pub fn end_line(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.extend_from_slice(b"}\n");
    }

    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        debug_assert!(name.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\'), "{name:?}");
        self.out.reserve(name.len() + 4);
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.separator = b',';
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_back_as_they_were() {
        let every_low: String = (0..0x100u32).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\"\\", "tail\u{1}", "日本 \u{2028}", &every_low] {
            let mut out = b"x".to_vec();
            push_string(&mut out, text);
            assert_eq!(out[0], b'x');
            assert_eq!(serde_json::from_slice::<String>(&out[1..]).unwrap(), text);
        }
        let mut out = Vec::new();
        push_string(&mut out, "\u{1f}\u{b}\n/");
        assert_eq!(out, br#""\u001f\u000b\n/""#);
    }

    #[test]
    fn empty_members_are_left_out_where_asked() {
        let mut out = Vec::new();
        ObjectWriter::new(&mut out).end_line();
        ObjectWriter::new(&mut out)
            .string_unless_empty("a", "")
            .int_unless_zero("b", 0u64)
            .bool_if_true("c", false)
            .string_if_some("d", None)
            .int_if_some("e", None::<i64>)
            .bool_if_some("f", None)
            .end();
        assert_eq!(out, b"{}\n{}");
    }

    #[test]
    fn members_are_separated_at_every_level() {
        let mut out = Vec::new();
        ObjectWriter::new(&mut out)
            .int("min", i64::MIN)
            .int_unless_zero("max", u64::MAX)
            .object("in", |inner| inner.bool("t", true).null("n").bool_if_true("u", true))
            .array("list", ["a", "b"], push_string)
            .array("none", [0u8; 0], push_int)
            .raw("raw", b"[1, 2]")
            .value("v", |out| push_bool(out, false))
            .end_line();
        let expected = r#"{"min":-9223372036854775808,"max":18446744073709551615,"in":{"t":true,"n":null,"u":true},"list":["a","b"],"none":[],"raw":[1, 2],"v":false}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
    }
}
