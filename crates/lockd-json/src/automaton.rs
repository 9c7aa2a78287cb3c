//! The grammar of RFC 8259 as a byte-at-a-time automaton: the truth about what is accepted, and where it fails.
//!
//! The fast path judges 64 bytes at a time and only says "fine" or "not sure"; this automaton has the last word. Its
//! whole memory is one [`State`] and the open brackets, so a document may be cut anywhere between two bytes.

use crate::{
    invalid::{Found, Invalid},
    nesting::Nesting,
    outline::Marks,
};

/// What the next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing but whitespace so far.
    Start,
    /// In a stream of documents: before, between and after them.
    Between,
    /// After `[`.
    ElementOrEnd,
    /// After `,` in an array.
    Element,
    /// After `{`.
    NameOrEnd,
    /// After `,` in an object.
    Name,
    /// After a member's name.
    Colon,
    /// After `:`.
    MemberValue,
    /// After a complete value inside a container.
    CommaOrEnd,
    /// After the complete document.
    Done,
    /// In a string, which is a member's name or not.
    Text { name: bool },
    /// After a backslash.
    Escape { name: bool },
    /// In the digits of `\u`, so many are missing.
    Hex { name: bool, left: u8 },
    /// In `true`, `false` or `null`, so many bytes matched.
    Literal { word: Word, matched: u8 },
    /// After the sign of a number.
    Minus,
    /// After a leading zero.
    Zero,
    /// In the digits before point and exponent.
    Integer,
    /// After the decimal point.
    Point,
    /// In the digits after the point.
    Fraction,
    /// After `e`.
    Exponent,
    /// After the sign of an exponent.
    ExponentSign,
    /// In the digits of an exponent.
    ExponentDigits,
}

impl State {
    fn in_text(self) -> bool {
        matches!(self, State::Text { .. } | State::Escape { .. } | State::Hex { .. })
    }

    fn in_number(self) -> bool {
        use State::{Exponent, ExponentDigits, ExponentSign, Fraction, Integer, Minus, Point, Zero};
        matches!(self, Minus | Zero | Integer | Point | Fraction | Exponent | ExponentSign | ExponentDigits)
    }
}

/// The three literals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    #[default]
    True,
    False,
    Null,
}

impl Word {
    pub(crate) fn bytes(self) -> &'static [u8] {
        match self {
            Word::True => b"true",
            Word::False => b"false",
            Word::Null => b"null",
        }
    }

    pub(crate) fn length(self) -> u32 {
        self.bytes().len() as u32
    }

    /// The bytes as one number, the first one lowest.
    pub(crate) fn code(self) -> u64 {
        self.bytes().iter().rev().fold(0, |code, &byte| code << 8 | u64::from(byte))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Automaton {
    pub(crate) state: State,
    pub(crate) nesting: Nesting,
    /// The state behind a complete document.
    after_root: State,
}

impl Automaton {
    pub(crate) fn new(max_depth: u32) -> Self {
        Automaton { state: State::Start, nesting: Nesting::new(max_depth), after_root: State::Done }
    }

    /// For any number of documents, one behind the other.
    pub(crate) fn for_stream(max_depth: u32) -> Self {
        Automaton { state: State::Between, nesting: Nesting::new(max_depth), after_root: State::Between }
    }

    /// Back to the start, keeping the memory.
    pub(crate) fn restart(&mut self) {
        self.nesting.clear();
        self.state = if self.after_root == State::Between { State::Between } else { State::Start };
    }

    /// Consumes `input`, whose first byte is byte `offset` of the document, and appends what is not whitespace
    /// between tokens.
    pub(crate) fn feed(&mut self, input: &[u8], offset: u64, out: &mut Vec<u8>) -> Result<(), Invalid> {
        for (index, &byte) in input.iter().enumerate() {
            match self.step(byte) {
                Ok(true) => out.push(byte),
                Ok(false) => {}
                Err(fault) => return Err(self.explain(fault, offset + index as u64, Found::Byte(byte))),
            }
        }
        Ok(())
    }

    /// The length of the array or object that `input` starts with.
    pub(crate) fn container_length(mut self, input: &[u8], offset: u64) -> Result<usize, Invalid> {
        for (index, &byte) in input.iter().enumerate() {
            if let Err(fault) = self.step(byte) {
                return Err(self.explain(fault, offset + index as u64, Found::Byte(byte)));
            }
            if self.state == State::Done {
                return Ok(index + 1);
            }
        }
        self.finish(offset + input.len() as u64).map(|()| input.len())
    }

    /// The input is at its end: is the document?
    pub(crate) fn finish(&self, offset: u64) -> Result<(), Invalid> {
        let number_may_end =
            matches!(self.state, State::Zero | State::Integer | State::Fraction | State::ExponentDigits);
        if self.state == self.after_root || number_may_end && self.nesting.depth() == 0 {
            return Ok(());
        }
        Err(self.explain(Fault::Unexpected, offset, Found::End))
    }

    /// Consumes `input`, at most 64 bytes, and tells what stands where in it.
    pub(crate) fn outline(&mut self, input: &[u8], offset: u64) -> Result<Marks, Invalid> {
        let mut marks = Marks::default();
        for (index, &byte) in input.iter().enumerate() {
            let bit = 1u64 << (index & 63);
            let before = self.state;
            match self.step(byte) {
                Ok(true) => marks.kept |= bit,
                Ok(false) => continue,
                Err(fault) => return Err(self.explain(fault, offset + index as u64, Found::Byte(byte))),
            }
            if before.in_text() {
                match self.state {
                    State::Escape { .. } => marks.backslashes |= bit,
                    after if !after.in_text() => marks.text_ends |= bit,
                    _ if byte == b'\\' => marks.backslashes |= bit,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' | b'[' => marks.open |= bit,
                b'}' | b']' => marks.close |= bit,
                _ => {}
            }
            let starts = match self.state {
                State::Literal { matched, .. } => matched == 1,
                State::Minus => true,
                State::Zero | State::Integer => !before.in_number(),
                after => after.in_text(),
            };
            if starts {
                marks.starts |= bit;
            }
        }
        marks.starts |= marks.open | marks.close;
        Ok(marks)
    }

    /// Consumes one byte; true if it belongs to the compacted document.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<bool, Fault> {
        let next = match (self.state, byte) {
            (State::Text { name: true }, b'"') => State::Colon,
            (State::Text { name: false }, b'"') => self.after_value(),
            (State::Text { name }, b'\\') => State::Escape { name },
            (State::Text { .. }, 0..=0x1F) => return Err(Fault::Unexpected),
            (state @ State::Text { .. }, _) => state,
            (State::Escape { name }, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                State::Text { name }
            }
            (State::Escape { name }, b'u') => State::Hex { name, left: 4 },
            (State::Hex { name, left }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => match left {
                0 | 1 => State::Text { name },
                _ => State::Hex { name, left: left - 1 },
            },
            (State::Literal { word, matched }, _) => {
                let bytes = word.bytes();
                if bytes.get(usize::from(matched)) != Some(&byte) {
                    return Err(Fault::Unexpected);
                }
                if usize::from(matched) + 1 == bytes.len() {
                    self.after_value()
                } else {
                    State::Literal { word, matched: matched + 1 }
                }
            }
            (State::Minus, b'0') => State::Zero,
            (State::Minus, b'1'..=b'9') => State::Integer,
            (State::Zero | State::Integer, b'.') => State::Point,
            (State::Zero | State::Integer | State::Fraction, b'e' | b'E') => State::Exponent,
            (State::Integer, b'0'..=b'9') => State::Integer,
            (State::Point | State::Fraction, b'0'..=b'9') => State::Fraction,
            (State::Exponent, b'+' | b'-') => State::ExponentSign,
            (State::Exponent | State::ExponentSign | State::ExponentDigits, b'0'..=b'9') => {
                State::ExponentDigits
            }
            (State::Zero, b'0'..=b'9') => return Err(Fault::Unexpected),
            (State::Zero | State::Integer | State::Fraction | State::ExponentDigits, _) => {
                // A number ends where something else begins.
                if self.after_root == State::Between
                    && self.nesting.depth() == 0
                    && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'{' | b'[')
                {
                    // `1-2` and `1x` are not two documents.
                    return Err(Fault::Unexpected);
                }
                return self.between_tokens(self.after_value(), byte);
            }
            (
                State::Escape { .. }
                | State::Hex { .. }
                | State::Minus
                | State::Point
                | State::Exponent
                | State::ExponentSign,
                _,
            ) => return Err(Fault::Unexpected),
            (state, _) => return self.between_tokens(state, byte),
        };
        self.state = next;
        Ok(true)
    }

    fn between_tokens(&mut self, state: State, byte: u8) -> Result<bool, Fault> {
        use State::{Between, Colon, CommaOrEnd, Element, ElementOrEnd, MemberValue, Name, NameOrEnd, Start};
        let next = match (state, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {
                self.state = state;
                return Ok(false);
            }
            (Name | NameOrEnd, b'"') => State::Text { name: true },
            (Colon, b':') => MemberValue,
            (CommaOrEnd, b',') => {
                if self.nesting.in_object() {
                    Name
                } else {
                    Element
                }
            }
            (CommaOrEnd | ElementOrEnd, b']') | (CommaOrEnd | NameOrEnd, b'}') => {
                if !self.nesting.close(byte == b'}') {
                    self.state = state;
                    return Err(Fault::Unexpected);
                }
                self.after_value()
            }
            (Start | Between | Element | ElementOrEnd | MemberValue, _) => match byte {
                b'"' => State::Text { name: false },
                b'{' | b'[' => {
                    if !self.nesting.open(byte == b'{') {
                        return Err(Fault::TooDeep);
                    }
                    if byte == b'{' { NameOrEnd } else { ElementOrEnd }
                }
                b't' => State::Literal { word: Word::True, matched: 1 },
                b'f' => State::Literal { word: Word::False, matched: 1 },
                b'n' => State::Literal { word: Word::Null, matched: 1 },
                b'-' => State::Minus,
                b'0' => State::Zero,
                b'1'..=b'9' => State::Integer,
                _ => return Err(Fault::Unexpected),
            },
            _ => {
                self.state = state;
                return Err(Fault::Unexpected);
            }
        };
        self.state = next;
        Ok(true)
    }

    fn after_value(&self) -> State {
        if self.nesting.depth() == 0 { self.after_root } else { State::CommaOrEnd }
    }

    fn explain(&self, fault: Fault, offset: u64, found: Found) -> Invalid {
        if fault == Fault::TooDeep {
            return Invalid::TooDeep { offset, limit: self.nesting.max_depth() };
        }
        let expected = match self.state {
            State::Zero if matches!(found, Found::Byte(b'0'..=b'9')) => "no digit after a leading zero",
            State::Start | State::Between => "a JSON value",
            State::Zero | State::Integer | State::Fraction | State::ExponentDigits
                if self.nesting.depth() == 0 =>
            {
                "whitespace between the number and what follows it"
            }
            State::ElementOrEnd => "an element or ']'",
            State::Element => "an element after ','",
            State::NameOrEnd => "a member name in double quotes or '}'",
            State::Name => "a member name in double quotes after ','",
            State::Colon => "':' after a member name",
            State::MemberValue => "a value after ':'",
            State::CommaOrEnd | State::Zero | State::Integer | State::Fraction | State::ExponentDigits
                if self.nesting.in_object() =>
            {
                "',' or '}' after a member"
            }
            State::CommaOrEnd | State::Zero | State::Integer | State::Fraction | State::ExponentDigits => {
                "',' or ']' after an element"
            }
            State::Done => "nothing after the document",
            State::Text { .. } if found == Found::End => "'\"' at the end of a string",
            State::Text { .. } => "control characters in a string to be escaped",
            State::Escape { .. } => r#"one of "\/bfnrtu after a backslash"#,
            State::Hex { .. } => r"four hexadecimal digits after \u",
            State::Literal { word: Word::True, .. } => "'true'",
            State::Literal { word: Word::False, .. } => "'false'",
            State::Literal { word: Word::Null, .. } => "'null'",
            State::Minus => "a digit after '-'",
            State::Point => "a digit after the decimal point",
            State::Exponent | State::ExponentSign => "a digit in the exponent",
        };
        Invalid::Syntax { offset, expected, found }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Unexpected,
    TooDeep,
}
