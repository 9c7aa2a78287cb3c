//! The fast path: validating and compacting 64 bytes at a time.
//!
//! Every question of the grammar is turned into one about sets of positions, held as the bits of a `u64`, so that all
//! tokens of a block are checked together. "What follows a comma, after whitespace?" is an addition: the carry runs
//! through the whitespace and stops behind it. Only brackets, escapes and literals are looked at one by one.
//!
//! The walk stops at a block that it does not understand for any reason (an error in it, too many levels of nesting,
//! a document that is a bare number, ...) and leaves it to the [`Automaton`], untouched. It may therefore refuse
//! anything, but what it accepts must be valid and leave the automaton as if it had read the bytes.

use crate::{
    automaton::{Automaton, Word},
    carry::{Carry, NumberCarry},
    lanes::{Block, Lanes},
    nesting::Window,
    outline::Marks,
};

/// What becomes of the blocks that the walk understood.
pub(crate) trait Output<'a>: Sized {
    /// Documents may follow each other; otherwise there is one. The automaton must have been made for the same.
    const STREAM: bool;

    /// Where it goes.
    type Target;

    fn reserve(target: &'a mut Self::Target, blocks: usize) -> Self;

    fn block<L: Lanes>(&mut self, lanes: L, block: &Block, marks: Marks);

    fn finish(self);
}

/// Consumes blocks from the start, hands them to the output, and returns how many it consumed.
#[inline(always)]
pub(crate) fn walk<'a, L: Lanes, O: Output<'a>>(
    automaton: &mut Automaton,
    blocks: &[Block],
    out: &'a mut O::Target,
) -> usize {
    let mut window = automaton.nesting.window();
    let Some(mut carry) = Carry::from_state(automaton.state) else { return 0 };
    let mut output = O::reserve(out, blocks.len());
    let mut walked = 0;
    for block in blocks {
        let lanes = L::load(block);
        let mut next = Step { carry, window };
        let Some(marks) = next.check::<L, O>(lanes, block) else { break };
        output.block(lanes, block, marks);
        Step { carry, window } = next;
        walked += 1;
        if carry.done {
            break;
        }
    }
    output.finish();
    automaton.state = carry.state(window);
    automaton.nesting.set_window(window);
    walked
}

/// Moves a set one position up, with `carry` as its new lowest bit.
#[inline(always)]
fn shifted(set: u64, carry: u64) -> u64 {
    set << 1 | carry
}

/// The positions behind the `runs` that begin at `starts`, and whether one run reaches the end of the block. A start
/// where there is no run is its own end.
#[inline(always)]
fn run_ends(starts: u64, runs: u64) -> (u64, u64) {
    let (sum, overflow) = starts.overflowing_add(runs);
    (sum & !runs, u64::from(overflow))
}

/// The positions above `at`.
#[inline(always)]
fn above(at: u32) -> u64 {
    u64::MAX << 1 << at
}

/// What [`Step::check_brackets`] found.
struct Brackets {
    /// The positions that are directly inside an object before their byte.
    objects: u64,
    /// The brackets that end a document; only looked for in a stream.
    roots: u64,
}

/// The bytes behind a backslash that is not itself behind one. In a row of backslashes only the last is reported,
/// through the byte behind it. `carry` is 1 if the byte before the block was such a backslash.
#[inline(always)]
pub(crate) fn escaped(backslashes: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let first = *carry;
    let rows = backslashes & !first;
    let starts = rows & !(rows << 1);
    // A row escapes the byte behind it if its length is odd: if it starts at an even position and ends behind an
    // even one, or the other way round.
    let (even_ends, _) = run_ends(starts & EVEN, rows);
    let (odd_ends, overflow) = run_ends(starts & !EVEN, rows);
    *carry = overflow;
    even_ends & !EVEN | odd_ends & EVEN | first
}

/// One block being judged. Worthless after a check that failed.
struct Step {
    carry: Carry,
    window: Window,
}

impl Step {
    /// What stands where in the block, or `None` if it is not understood.
    #[inline(always)]
    fn check<'a, L: Lanes, O: Output<'a>>(&mut self, lanes: L, block: &Block) -> Option<Marks> {
        let all_quotes = lanes.equal(b'"');
        let backslashes = lanes.equal(b'\\');
        let control = lanes.at_most(0x1F);
        if self.carry.in_text & !self.carry.escaped == u64::MAX
            && self.carry.hex_missing == 0
            && all_quotes | backslashes | control == 0
        {
            // Inside a long string.
            return Some(Marks { kept: u64::MAX, ..Marks::default() });
        }

        let mut quotes = all_quotes;
        if backslashes | self.carry.escaped != 0 || self.carry.hex_missing != 0 {
            let escaped = escaped(backslashes, &mut self.carry.escaped);
            self.check_escapes(escaped & !backslashes, block)?;
            quotes &= !escaped;
        }
        // From an opening quote to the last byte before the closing one.
        let began_in_text = self.carry.in_text;
        let text = L::parities(quotes) ^ began_in_text;
        self.carry.in_text = (text as i64 >> 63) as u64;
        let openings = quotes & text;

        let white = lanes.whitespace() & !text;
        let open = lanes.equal_folded(b'{') & !text;
        let close = lanes.equal_folded(b'}') & !text;
        let comma = lanes.equal(b',') & !text;
        let colon = lanes.equal(b':') & !text;
        let scalars = !(white | open | close | comma | colon | quotes | text);

        if self.window.depth() == 0 {
            if O::STREAM {
                self.check_between(began_in_text)?;
            } else {
                self.check_outermost(white, open, quotes)?;
            }
        }
        let Brackets { objects, roots } = self.check_brackets::<O>(open, close, white, block)?;

        let continued = u64::from(self.carry.matched > 0) | self.carry.number.inside;
        let scalar_starts = scalars & !shifted(scalars, continued);
        let follow = |set: u64, carry: &mut u64| {
            let (behind, overflow) = run_ends(shifted(set, *carry), white);
            *carry = set >> 63 | overflow;
            behind
        };
        let after_open = follow(open, &mut self.carry.opened);
        let after_comma = follow(comma, &mut self.carry.comma);
        let after_colon = follow(colon, &mut self.carry.colon);
        let mut expecting = after_open | after_comma | after_colon;
        let mut wrong = control & text;
        if O::STREAM {
            // Between documents the walk understands only the bracket that begins the next one.
            let after_root = follow(roots, &mut self.carry.root);
            wrong |= after_root & !open;
            expecting |= after_root;
        }
        wrong |= (openings | scalar_starts | open) & !expecting;
        wrong |= (comma | colon) & expecting;
        wrong |= close & (after_comma | after_colon);

        // Where an object expects a member, there is a name, or the object ends; and colons follow names only.
        let members = (after_open | after_comma) & objects;
        wrong |= members & !(openings | close);
        let names = openings & members;
        let (name_ends, in_name) = run_ends(names | self.carry.in_name, text);
        self.carry.in_name = in_name;
        wrong |= colon ^ follow(name_ends, &mut self.carry.named);

        if scalars != 0 || continued != 0 {
            wrong |= self.wrong_scalars(lanes, block, scalars, scalar_starts)?;
        }
        let starts = openings | scalar_starts | open | close;
        let marks = Marks { starts, open, close, text_ends: quotes & !text, backslashes, kept: !white };
        if wrong == 0 { Some(marks) } else { None }
    }

    /// Looks at what stands behind backslashes.
    #[inline(always)]
    fn check_escapes(&mut self, escaped: u64, block: &Block) -> Option<()> {
        let (missing, _) = block.split_at_checked(self.carry.hex_missing as usize)?;
        self.carry.hex_missing = 0;
        if !missing.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut left = escaped;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            match block[at & 63] {
                b'"' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => {
                    let rest = block.get(at + 1..)?;
                    let digits = match rest.first_chunk::<4>() {
                        Some(digits) => digits,
                        None => {
                            self.carry.hex_missing = 4 - rest.len() as u32;
                            rest
                        }
                    };
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Outside of all brackets the walk understands only what leads to the first bracket, and the inside of a string.
    #[inline(always)]
    fn check_outermost(&self, white: u64, open: u64, quotes: u64) -> Option<()> {
        let first = !white & white.wrapping_add(1);
        let understood = if self.carry.opened == 1 {
            white == u64::MAX || open & first != 0
        } else {
            self.carry.in_text == u64::MAX && quotes == 0
        };
        understood.then_some(())
    }

    /// In a stream, a block outside of all brackets must begin between documents.
    #[inline(always)]
    fn check_between(&self, in_text: u64) -> Option<()> {
        let between = in_text | u64::from(self.carry.matched) | self.carry.number.inside == 0;
        between.then_some(())
    }

    /// Opens and closes brackets.
    #[inline(always)]
    fn check_brackets<'a, O: Output<'a>>(
        &mut self,
        open: u64,
        close: u64,
        white: u64,
        block: &Block,
    ) -> Option<Brackets> {
        let mut roots = 0;
        let mut inside = if self.window.in_object() { u64::MAX } else { 0 };
        let mut objects = inside;
        let mut left = open | close;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            // The only difference between square brackets and braces.
            let object = block[(at & 63) as usize] & 0x20 != 0;
            if open >> at & 1 == 1 {
                if !self.window.open(object) {
                    return None;
                }
            } else {
                if !self.window.close(object) {
                    return None;
                }
                if self.window.depth() == 0 {
                    if O::STREAM {
                        roots |= 1 << at;
                    } else {
                        self.carry.done = true;
                        if above(at) & !white != 0 {
                            return None;
                        }
                    }
                }
            }
            let now = if self.window.in_object() { u64::MAX } else { 0 };
            objects ^= (inside ^ now) & above(at);
            inside = now;
        }
        Some(Brackets { objects, roots })
    }

    /// The positions where a number or literal is not as it should be.
    #[inline(always)]
    fn wrong_scalars<L: Lanes>(&mut self, lanes: L, block: &Block, scalars: u64, starts: u64) -> Option<u64> {
        let digits = lanes.digits() & scalars;
        let minus = lanes.equal(b'-') & scalars;
        // Whatever begins with neither digit nor sign must be a literal.
        let literals = self.literals(starts & !(digits | minus), block)?;
        let numbers = scalars & !literals;
        let mut wrong = numbers & literals << 1;

        let before = self.carry.number;
        let starts = numbers & !shifted(numbers, before.inside);
        let signs = minus & starts;
        wrong |= shifted(signs, before.sign()) & !digits;
        let leading_zeros = lanes.equal(b'0') & (starts & digits | shifted(signs, before.sign()));
        wrong |= shifted(leading_zeros, before.leading_zero) & digits;
        self.carry.number = NumberCarry {
            inside: numbers >> 63,
            leading_zero: leading_zeros >> 63,
            digit_missing: signs >> 63,
            ..NumberCarry::default()
        };
        let others = numbers & !(digits | signs);
        if others | before.fraction | before.exponent | before.exponent_digits != 0 {
            wrong |= self.wrong_decimals(lanes, before, others, digits);
        }
        Some(wrong)
    }

    /// The positions where a fraction or an exponent is not as it should be. `others` are the bytes of numbers that
    /// are neither digits nor leading signs.
    #[inline(always)]
    fn wrong_decimals<L: Lanes>(&mut self, lanes: L, before: NumberCarry, others: u64, digits: u64) -> u64 {
        let point = lanes.equal(b'.') & others;
        let exponent = lanes.equal_folded(b'e') & others;
        let after_exponent = shifted(exponent, before.exponent);
        let signs = (lanes.equal(b'+') | lanes.equal(b'-')) & others & after_exponent;
        let mut wrong = others & !(point | exponent | signs);
        wrong |= after_exponent & !(digits | signs);
        wrong |= shifted(point | signs, before.digit_missing) & !digits;

        let (fraction_ends, fraction) = run_ends(shifted(point, before.fraction), digits);
        let exponent_starts = after_exponent & digits | shifted(signs, before.exponent_digits);
        let (exponent_ends, exponent_digits) = run_ends(exponent_starts, digits);
        wrong |= (fraction_ends | exponent_ends) & point;
        wrong |= exponent_ends & exponent;

        let number = &mut self.carry.number;
        number.exponent = exponent >> 63;
        number.digit_missing |= (point | signs) >> 63;
        number.fraction = point >> 63 | fraction;
        number.exponent_digits = signs >> 63 | exponent_digits;
        wrong
    }

    /// The bytes of `true`, `false` and `null`, which begin at `starts` or before the block.
    #[inline(always)]
    fn literals(&mut self, starts: u64, block: &Block) -> Option<u64> {
        let mut literals = 0;
        if self.carry.matched > 0 {
            let seen = self.carry.matched;
            let missing = self.carry.word.length() - seen;
            if prefix(block, 0, missing) != self.carry.word.code() >> (8 * seen) {
                return None;
            }
            literals = lowest(missing);
            self.carry.matched = 0;
        }
        let mut left = starts;
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            let word = match block[(at & 63) as usize] {
                b't' => Word::True,
                b'f' => Word::False,
                b'n' => Word::Null,
                _ => return None,
            };
            let here = word.length().min(64 - at);
            if prefix(block, at, here) != word.code() & lowest(8 * here) {
                return None;
            }
            if here < word.length() {
                (self.carry.word, self.carry.matched) = (word, here);
            }
            literals |= lowest(here) << at;
        }
        Some(literals)
    }
}

/// A set of the `count` lowest positions, less than 64.
#[inline(always)]
fn lowest(count: u32) -> u64 {
    (1 << count) - 1
}

/// Up to 8 bytes of a block from a place on, the first one lowest.
#[inline(always)]
fn prefix(block: &Block, at: u32, count: u32) -> u64 {
    let at = at as usize;
    // Near the end of the block, the last 8 bytes contain what is wanted.
    let from = at.min(56);
    let word =
        block.get(from..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    word >> (8 * (at - from)) & lowest(8 * count)
}

#[cfg(test)]
mod tests;
