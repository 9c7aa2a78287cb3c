//! What the walk remembers between two blocks, and its translation from and to the automaton's state.

use crate::{
    automaton::{State, Word},
    nesting::Window,
};

/// What a block must know of those before it: the state of the automaton in the form the walk works with. Where
/// nothing else is said, a number is the lowest bit of a set: 1 if the first byte belongs to it, else 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carry {
    /// All bits: the first byte continues a string, or ends it.
    pub(crate) in_text: u64,
    /// That string is a member's name.
    pub(crate) in_name: u64,
    /// The first byte is behind a backslash.
    pub(crate) escaped: u64,
    /// So many hexadecimal digits are missing.
    pub(crate) hex_missing: u32,
    /// If bytes of a literal have been seen, so many of this one have,
    pub(crate) matched: u32,
    /// and the first byte continues it.
    pub(crate) word: Word,
    /// The next token follows an opening bracket or the start of the document,
    pub(crate) opened: u64,
    /// the end of a document in a stream, or its start,
    pub(crate) root: u64,
    /// a comma,
    pub(crate) comma: u64,
    /// a colon,
    pub(crate) colon: u64,
    /// a member's name.
    pub(crate) named: u64,
    pub(crate) number: NumberCarry,
    /// The document is complete.
    pub(crate) done: bool,
}

/// The part of [`Carry`] that is about a number that the last byte belonged to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NumberCarry {
    /// There is such a number.
    pub(crate) inside: u64,
    /// Its last byte was a leading zero,
    pub(crate) leading_zero: u64,
    /// `e`,
    pub(crate) exponent: u64,
    /// or another one that a digit must follow: a sign or the point.
    pub(crate) digit_missing: u64,
    /// It is behind the point and not behind `e`.
    pub(crate) fraction: u64,
    /// It is behind the sign of the exponent or a digit of it.
    pub(crate) exponent_digits: u64,
}

impl Carry {
    /// None if the walk cannot go on from this state.
    pub(crate) fn from_state(state: State) -> Option<Carry> {
        let mut carry = Carry::default();
        match state {
            State::Start | State::ElementOrEnd | State::NameOrEnd => carry.opened = 1,
            State::Between => carry.root = 1,
            State::Element | State::Name => carry.comma = 1,
            State::MemberValue => carry.colon = 1,
            State::Colon => carry.named = 1,
            State::CommaOrEnd => {}
            State::Done => return None,
            State::Text { name } | State::Escape { name } | State::Hex { name, .. } => {
                carry.in_text = u64::MAX;
                carry.in_name = u64::from(name);
                match state {
                    State::Escape { .. } => carry.escaped = 1,
                    State::Hex { left, .. } => carry.hex_missing = u32::from(left),
                    _ => {}
                }
            }
            State::Literal { word, matched } => (carry.word, carry.matched) = (word, u32::from(matched)),
            _ => carry.number = NumberCarry::from_state(state),
        }
        Some(carry)
    }

    pub(crate) fn state(&self, window: Window) -> State {
        let object = window.in_object();
        let name = self.in_name == 1;
        if self.done {
            State::Done
        } else if self.in_text != 0 {
            match (self.escaped, self.hex_missing) {
                (0, 0) => State::Text { name },
                (0, missing) => State::Hex { name, left: missing as u8 },
                _ => State::Escape { name },
            }
        } else if self.matched > 0 {
            State::Literal { word: self.word, matched: self.matched as u8 }
        } else if self.number.inside == 1 {
            self.number.state()
        } else if self.root == 1 {
            State::Between
        } else if self.opened == 1 {
            match (window.depth(), object) {
                (0, _) => State::Start,
                (_, true) => State::NameOrEnd,
                (_, false) => State::ElementOrEnd,
            }
        } else if self.comma == 1 {
            if object { State::Name } else { State::Element }
        } else if self.colon == 1 {
            State::MemberValue
        } else if self.named == 1 {
            State::Colon
        } else {
            State::CommaOrEnd
        }
    }
}

impl NumberCarry {
    fn from_state(state: State) -> NumberCarry {
        let mut carry = NumberCarry { inside: 1, ..NumberCarry::default() };
        match state {
            State::Minus => carry.digit_missing = 1,
            State::Zero => carry.leading_zero = 1,
            State::Integer => {}
            State::Point => (carry.digit_missing, carry.fraction) = (1, 1),
            State::Fraction => carry.fraction = 1,
            State::Exponent => carry.exponent = 1,
            State::ExponentSign => (carry.digit_missing, carry.exponent_digits) = (1, 1),
            State::ExponentDigits => carry.exponent_digits = 1,
            _ => carry.inside = 0,
        }
        carry
    }

    /// 1 if the last byte was the leading sign of the number.
    #[inline(always)]
    pub(crate) fn sign(&self) -> u64 {
        self.digit_missing & !(self.fraction | self.exponent_digits)
    }

    fn state(&self) -> State {
        let digit = self.digit_missing == 0;
        if self.exponent == 1 {
            State::Exponent
        } else if self.exponent_digits == 1 {
            if digit { State::ExponentDigits } else { State::ExponentSign }
        } else if self.fraction == 1 {
            if digit { State::Fraction } else { State::Point }
        } else if !digit {
            State::Minus
        } else if self.leading_zero == 1 {
            State::Zero
        } else {
            State::Integer
        }
    }
}
