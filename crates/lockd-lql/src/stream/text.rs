//! Decoding the inside of JSON strings that arrive in parts, cut anywhere.

/// Resolves escapes. What is cut off in the middle of an escape waits for the next part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unescape {
    /// The beginning of an escape, at most two units of UTF-16.
    cut: [u8; 12],
    length: usize,
}

/// What stands behind a backslash.
enum Escape {
    /// So many bytes are this character.
    Is(char, usize),
    /// More bytes are needed to tell.
    Cut,
}

impl Unescape {
    /// Appends the decoded text of the next part.
    pub(crate) fn part(&mut self, mut raw: &[u8], out: &mut Vec<u8>) {
        while self.length > 0
            && let Some((&byte, rest)) = raw.split_first()
        {
            raw = rest;
            if let Some(place) = self.cut.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
            let cut = self.cut;
            let Some(known) = cut.get(..self.length) else { break };
            if let Escape::Is(letter, used) = escape(known, false) {
                push(letter, out);
                self.length = 0;
                // What proved that no second half follows may itself begin an escape.
                if let Some(left) = known.get(used..)
                    && !left.is_empty()
                {
                    self.whole(left, out);
                }
            }
        }
        if self.length == 0 {
            self.whole(raw, out);
        }
    }

    /// The text ends.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        let length = std::mem::take(&mut self.length);
        let mut rest = self.cut.get(..length).unwrap_or_default();
        while let Some((&byte, after)) = rest.split_first() {
            if byte == b'\\'
                && let Escape::Is(letter, used) = escape(rest, true)
            {
                push(letter, out);
                rest = rest.get(used..).unwrap_or_default();
            } else {
                out.push(byte);
                rest = after;
            }
        }
    }

    /// Decodes what does not begin inside an escape.
    fn whole(&mut self, mut raw: &[u8], out: &mut Vec<u8>) {
        while let Some(plain) = memchr::memchr(b'\\', raw) {
            let (before, escaped) = raw.split_at(plain);
            out.extend_from_slice(before);
            match escape(escaped, false) {
                Escape::Is(letter, used) => {
                    push(letter, out);
                    raw = escaped.get(used..).unwrap_or_default();
                }
                Escape::Cut => {
                    if let Some(cut) = self.cut.get_mut(..escaped.len()) {
                        cut.copy_from_slice(escaped);
                        self.length = escaped.len();
                    }
                    return;
                }
            }
        }
        out.extend_from_slice(raw);
    }
}

/// Appends the decoded text of a string that is whole.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut text = Unescape::default();
    text.part(raw, out);
    text.end(out);
}

fn push(letter: char, out: &mut Vec<u8>) {
    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Reads an escape from its backslash on. `end`: nothing follows these bytes.
///
/// Escaped surrogates without their other half become U+FFFD.
fn escape(raw: &[u8], end: bool) -> Escape {
    let lone = Escape::Is(char::REPLACEMENT_CHARACTER, 6);
    match raw {
        [_] | [] => Escape::Cut,
        [_, b'u', digits @ ..] => {
            let Some(unit) = hex(digits) else {
                return if digits.len() < 4 && !end {
                    Escape::Cut
                } else {
                    Escape::Is(char::REPLACEMENT_CHARACTER, raw.len().min(6))
                };
            };
            if !(0xD800..0xDC00).contains(&unit) {
                return char::from_u32(unit).map_or(lone, |letter| Escape::Is(letter, 6));
            }
            match raw.get(6..).unwrap_or_default() {
                [] | [b'\\'] if !end => Escape::Cut,
                [b'\\', b'u', digits @ ..] => match hex(digits) {
                    Some(low @ 0xDC00..0xE000) => {
                        let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                        char::from_u32(code).map_or(lone, |letter| Escape::Is(letter, 12))
                    }
                    None if digits.len() < 4 && !end => Escape::Cut,
                    _ => lone,
                },
                _ => lone,
            }
        }
        [_, letter, ..] => Escape::Is(
            match letter {
                b'b' => '\u{8}',
                b'f' => '\u{C}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                &other => char::from(other),
            },
            2,
        ),
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = digits.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_anywhere_it_is_the_same_text() {
        for (raw, expected) in [
            (r#"plain"#, "plain"),
            (r#"a\n\t\"\\\/\b\f\rz"#, "a\n\t\"\\/\u{8}\u{c}\rz"),
            (r#"\u00e9\uD83D\uDE00!"#, "é😀!"),
            (r#"\ud800x"#, "\u{fffd}x"),
            (r#"\ud800\n"#, "\u{fffd}\n"),
            (r#"\ud800\ud83d\ude00"#, "\u{fffd}😀"),
            (r#"\ud800\ud800"#, "\u{fffd}\u{fffd}"),
            (r#"\udc00\u0041"#, "\u{fffd}A"),
            (r#"é\\u0041"#, "é\\u0041"),
        ] {
            for size in 1..=raw.len() {
                let mut text = Unescape::default();
                let mut out = Vec::new();
                for part in raw.as_bytes().chunks(size) {
                    text.part(part, &mut out);
                }
                text.end(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), expected, "{raw} in parts of {size}");
            }
        }
    }
}
