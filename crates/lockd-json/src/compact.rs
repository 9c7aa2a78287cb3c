//! The streaming compactor: validates a document as it arrives and drops the whitespace between its tokens.

use crate::{
    automaton::Automaton,
    invalid::Invalid,
    lanes::{Block, Instructions, Room},
};

/// What a [`Compactor`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest accepted number of submitted bytes, whitespace included.
    pub max_bytes: u64,
    /// Largest accepted number of arrays and objects open at once.
    pub max_depth: u32,
}

impl Default for Limits {
    /// No limit of size, and nesting that costs at most a few kilobytes.
    fn default() -> Self {
        Limits { max_bytes: u64::MAX, max_depth: 100_000 }
    }
}

/// Validates one JSON document (RFC 8259) that arrives in pieces, cut anywhere, and passes it on without the
/// whitespace outside strings.
///
/// Nothing else changes: numbers and escapes keep their spelling, members their order and duplicates, and bytes in
/// strings that are not UTF-8 stay. Memory is one bit per level of nesting.
#[derive(Clone, Debug)]
pub struct Compactor {
    automaton: Automaton,
    instructions: Instructions,
    max_bytes: u64,
    /// Bytes that have been judged, which is all that were submitted except those held.
    judged: u64,
    held: Block,
    held_length: usize,
    failure: Option<Invalid>,
}

impl Compactor {
    /// A compactor for one document.
    pub fn new(limits: Limits) -> Self {
        Self::with_instructions(limits, Instructions::detect())
    }

    pub(crate) fn with_instructions(limits: Limits, instructions: Instructions) -> Self {
        Compactor {
            automaton: Automaton::new(limits.max_depth),
            instructions,
            max_bytes: limits.max_bytes,
            judged: 0,
            held: [0; _],
            held_length: 0,
            failure: None,
        }
    }

    /// Consumes the next piece of the document and appends what remains of it to `out`. Up to 63 bytes at its end
    /// are held back until the next call.
    ///
    /// # Errors
    ///
    /// The document is refused, now and on every later call; what was appended to `out` is then worthless.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.consume(chunk, out);
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
        }
        result
    }

    /// The document is complete: appends what was held back and tells how many bytes were submitted.
    ///
    /// # Errors
    ///
    /// The document was refused before or is not complete.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<u64, Invalid> {
        self.complete(out)
    }

    /// Does what [`Compactor::finish`] does and is then ready for another document, with the memory that it has.
    ///
    /// # Errors
    ///
    /// The document was refused before or is not complete.
    pub fn finish_and_reset(&mut self, out: &mut Vec<u8>) -> Result<u64, Invalid> {
        let result = self.complete(out);
        self.reset();
        result
    }

    /// Forgets a document that was begun, but keeps the memory.
    pub fn reset(&mut self) {
        self.automaton.restart();
        self.judged = 0;
        self.held_length = 0;
        self.failure = None;
    }

    fn complete(&mut self, out: &mut Vec<u8>) -> Result<u64, Invalid> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let submitted = self.judged + self.held_length as u64;
        if let Some((held, padding)) = self.held.split_at_mut_checked(self.held_length) {
            // Whitespace behind a document changes nothing, and in an unfinished one it is still unfinished.
            padding.fill(b' ');
            let length = held.len();
            if self.instructions.walk::<Room<'_>>(&mut self.automaton, &[self.held], out) == 0 {
                let held = self.held.get(..length).unwrap_or_default();
                self.automaton.feed(held, self.judged, out)?;
            }
        }
        self.automaton.finish(submitted)?;
        Ok(submitted)
    }

    fn consume(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        if chunk.len() as u64 > self.max_bytes - self.judged - self.held_length as u64 {
            return Err(Invalid::TooLarge { limit: self.max_bytes });
        }
        if self.held_length > 0 {
            let (_, free) = self.held.split_at_mut(self.held_length);
            let (head, rest) = chunk.split_at(free.len().min(chunk.len()));
            let (filled, free) = free.split_at_mut(head.len());
            filled.copy_from_slice(head);
            self.held_length += head.len();
            if !free.is_empty() {
                return Ok(());
            }
            chunk = rest;
            let held = self.held;
            self.judge(&[held], out)?;
        }
        let (blocks, rest) = chunk.as_chunks();
        self.judge(blocks, out)?;
        if let Some(held) = self.held.get_mut(..rest.len()) {
            held.copy_from_slice(rest);
            self.held_length = rest.len();
        }
        Ok(())
    }

    fn judge(&mut self, mut blocks: &[Block], out: &mut Vec<u8>) -> Result<(), Invalid> {
        while !blocks.is_empty() {
            let walked = self.instructions.walk::<Room<'_>>(&mut self.automaton, blocks, out);
            self.judged += (walked * size_of::<Block>()) as u64;
            blocks = blocks.get(walked..).unwrap_or_default();
            if let Some((block, rest)) = blocks.split_first() {
                self.automaton.feed(block, self.judged, out)?;
                self.judged += size_of::<Block>() as u64;
                blocks = rest;
            }
        }
        Ok(())
    }
}

/// Compacts a whole document with the default [`Limits`], appending to `out`.
///
/// # Errors
///
/// The document is refused; what was appended to `out` is then worthless.
pub fn compact(input: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let mut compactor = Compactor::new(Limits::default());
    compactor.push(input, out)?;
    compactor.finish(out).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8], limits: Limits, piece: usize) -> Result<Vec<u8>, String> {
        let mut compactor = Compactor::new(limits);
        let mut out = Vec::new();
        for chunk in input.chunks(piece) {
            compactor.push(chunk, &mut out).map_err(|invalid| invalid.to_string())?;
        }
        let consumed = compactor.finish(&mut out).map_err(|invalid| invalid.to_string())?;
        assert_eq!(consumed, input.len() as u64);
        Ok(out)
    }

    fn check(input: &[u8], expected: Result<&[u8], &str>) {
        for piece in [1, 2, 3, 7, 64, 1000] {
            let result = run(input, Limits::default(), piece);
            let result = result.as_ref().map(Vec::as_slice).map_err(String::as_str);
            assert_eq!(result, expected, "{} in pieces of {piece}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn only_whitespace_between_tokens_is_dropped() {
        check(
            b" {\r\n\t\"a b\" : [ 1.0 , 1e400,-0.5E-3, 12345678901234567890 ] } \n",
            Ok(b"{\"a b\":[1.0,1e400,-0.5E-3,12345678901234567890]}"),
        );
        check(br#"["\u2028", "\/", "\ud800"]"#, Ok(br#"["\u2028","\/","\ud800"]"#));
        check(b"{\"a\":1, \"a\":2}", Ok(b"{\"a\":1,\"a\":2}"));
        check(b"[\"\xFF \xED\xA0\x80\"]", Ok(b"[\"\xFF \xED\xA0\x80\"]"));
        check(b"\"a\x7F\"", Ok(b"\"a\x7F\""));
        for scalar in ["0", " -0", "12", "1.5 ", "1e5", "true", "false\n", "null", "\"\"", "[]", "{}"] {
            check(scalar.as_bytes(), Ok(scalar.trim().as_bytes()));
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        check(b"", Err("byte 0: expected a JSON value, found the end of the input"));
        check(b"{\"a\": {\"b\": 1} 1}", Err("byte 15: expected ',' or '}' after a member, found '1'"));
        check(b"[1 2]", Err("byte 3: expected ',' or ']' after an element, found '2'"));
        check(b"[1,]", Err("byte 3: expected an element after ',', found ']'"));
        check(b"{\"a\":1,}", Err("byte 7: expected a member name in double quotes after ',', found '}'"));
        check(b"{\"a\" 1}", Err("byte 5: expected ':' after a member name, found '1'"));
        check(b"{\"a\":}", Err("byte 5: expected a value after ':', found '}'"));
        check(b"{1:2}", Err("byte 1: expected a member name in double quotes or '}', found '1'"));
        check(b"[}", Err("byte 1: expected an element or ']', found '}'"));
        check(b"[1}", Err("byte 2: expected ',' or ']' after an element, found '}'"));
        check(b"{} {}", Err("byte 3: expected nothing after the document, found '{'"));
        check(b"[01]", Err("byte 2: expected no digit after a leading zero, found '1'"));
        check(b"[1.]", Err("byte 3: expected a digit after the decimal point, found ']'"));
        check(b"[-]", Err("byte 2: expected a digit after '-', found ']'"));
        check(b"[1e+]", Err("byte 4: expected a digit in the exponent, found ']'"));
        check(b"[1.2.3]", Err("byte 4: expected ',' or ']' after an element, found '.'"));
        check(b"[NaN]", Err("byte 1: expected an element or ']', found 'N'"));
        check(b"[nul]", Err("byte 4: expected 'null', found ']'"));
        check(b"\xEF\xBB\xBF{}", Err("byte 0: expected a JSON value, found byte 0xEF"));
        check(
            b"\"\x1F\"",
            Err("byte 1: expected control characters in a string to be escaped, found byte 0x1F"),
        );
        check(b"\"\\x\"", Err("byte 2: expected one of \"\\/bfnrtu after a backslash, found 'x'"));
        check(b"\"\\u12G4\"", Err("byte 5: expected four hexadecimal digits after \\u, found 'G'"));
        check(b"\"abc", Err("byte 4: expected '\"' at the end of a string, found the end of the input"));
        check(b"tru", Err("byte 3: expected 'true', found the end of the input"));
    }

    #[test]
    fn limits_are_exact() {
        let limits = Limits { max_bytes: 6, max_depth: 2 };
        assert_eq!(run(b"[[1] ]", limits, 1).unwrap(), b"[[1]]");
        assert_eq!(run(b"[[1]  ]", limits, 1).unwrap_err(), "payload exceeds 6 bytes");
        assert_eq!(run(b"[[1]  ]", limits, 9).unwrap_err(), "payload exceeds 6 bytes");
        let message = "byte 2: arrays and objects are nested deeper than 2 levels";
        assert_eq!(run(b"[[[]]]", limits, 4).unwrap_err(), message);
    }

    #[test]
    fn a_refused_document_stays_refused() {
        let mut compactor = Compactor::new(Limits::default());
        let mut out = Vec::new();
        let failure = compactor.push(&b"[1 2 ".repeat(13), &mut out).unwrap_err();
        assert_eq!(compactor.push(b"]", &mut out), Err(failure.clone()));
        assert_eq!(compactor.finish(&mut out), Err(failure));
    }

    #[test]
    fn a_compactor_can_be_used_again() {
        let documents: [&[u8]; 6] = [b"[1, [{}]]", b"[1 2]", b"{\"a\": ", b"{\"a\": [\"b", b"\"\\", b" 17 "];
        let limits = Limits { max_bytes: 9, max_depth: 3 };
        for first in documents {
            for second in documents {
                let mut compactor = Compactor::new(limits);
                let mut out = Vec::new();
                let _ = compactor.push(first, &mut out);
                let _ = compactor.finish_and_reset(&mut out);
                out.clear();
                let pushed = compactor.push(second, &mut out);
                let finished = compactor.finish_and_reset(&mut out);
                let result = pushed.and(finished).map(|_| out).map_err(|invalid| invalid.to_string());
                assert_eq!(result, run(second, limits, 99));
            }
        }
    }

    #[test]
    fn a_million_brackets_are_no_danger() {
        let bomb = vec![b'['; 1_000_000];
        let mut out = Vec::new();
        assert_eq!(compact(&bomb, &mut out), Err(Invalid::TooDeep { offset: 100_000, limit: 100_000 }));
        let deep = Limits { max_bytes: u64::MAX, max_depth: u32::MAX };
        let nested = ["{\"a\":[".repeat(500_000), "]}".repeat(500_000)].concat();
        assert_eq!(run(nested.as_bytes(), deep, 1 << 16).unwrap(), nested.as_bytes());
    }
}
