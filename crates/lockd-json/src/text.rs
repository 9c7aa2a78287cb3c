//! Decoding of JSON strings that have been checked: escapes resolved, whatever is not Unicode replaced.

use std::borrow::Cow;

/// Decodes a valid JSON string, given with its quotes.
///
/// Every byte that is not part of valid UTF-8, and every escaped surrogate without its other half, becomes U+FFFD.
pub(crate) fn decode(quoted: &[u8]) -> Cow<'_, str> {
    match quoted {
        [b'"', content @ .., b'"'] => decode_content(content),
        _ => Cow::Borrowed(""),
    }
}

fn decode_content(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\')
        && let Ok(text) = std::str::from_utf8(raw)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let plain = rest.iter().position(|&byte| byte == b'\\').unwrap_or(rest.len());
        let (head, tail) = rest.split_at(plain);
        push_lossy(&mut text, head);
        let [_, letter, after @ ..] = tail else { return Cow::Owned(text) };
        rest = after;
        match letter {
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{C}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => rest = push_unit(&mut text, after),
            &other => text.push(char::from(other)),
        }
    }
}

/// Appends the character whose `\u` is followed by `digits`, and returns what follows it.
fn push_unit<'a>(text: &mut String, digits: &'a [u8]) -> &'a [u8] {
    let Some((unit, rest)) = hex4(digits) else { return digits };
    if let 0xD800..0xDC00 = unit
        && let [b'\\', b'u', low @ ..] = rest
        && let Some((low @ 0xDC00..0xE000, after)) = hex4(low)
    {
        let scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        text.push(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
        return after;
    }
    text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

fn hex4(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = digits.split_first_chunk::<4>()?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit << 4 | char::from(digit).to_digit(16)?;
    }
    Some((unit, rest))
}

fn push_lossy(text: &mut String, mut bytes: &[u8]) {
    loop {
        match std::str::from_utf8(bytes) {
            Ok(valid) => return text.push_str(valid),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                // One replacement for each byte, not for each broken sequence: clients have seen it this way.
                text.push_str(&String::from_utf8_lossy(valid));
                text.push(char::REPLACEMENT_CHARACTER);
                bytes = rest.get(1..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(decode_content("grüße".as_bytes()), Cow::Borrowed("grüße")));
        assert!(matches!(decode_content(b""), Cow::Borrowed("")));
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(decode_content(br#"\"\\\/\b\f\n\r\t\u0041\u20AC"#), "\"\\/\u{8}\u{C}\n\r\tA€");
        assert_eq!(decode_content(br"a\ud83d\ude00b"), "a😀b");
        assert_eq!(decode_content(b"\\u0000"), "\0");
    }

    #[test]
    fn lone_surrogates_are_replaced_one_by_one() {
        assert_eq!(decode_content(br"\ud800"), "\u{FFFD}");
        assert_eq!(decode_content(br"\udc00\ud800"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decode_content(br"\ud800\u0041"), "\u{FFFD}A");
        assert_eq!(decode_content(br"\ud83d\ud83d\ude00"), "\u{FFFD}😀");
        assert_eq!(decode_content(br"\ud800\n"), "\u{FFFD}\n");
    }

    #[test]
    fn invalid_utf8_is_replaced_byte_by_byte() {
        assert_eq!(decode_content(b"a\xFFb"), "a\u{FFFD}b");
        assert_eq!(decode_content(b"\xE2\x82"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decode_content(b"\xE2\x82\\n\xAC"), "\u{FFFD}\u{FFFD}\n\u{FFFD}");
        assert_eq!(decode_content(b"\xED\xA0\x80"), "\u{FFFD}\u{FFFD}\u{FFFD}");
    }
}
