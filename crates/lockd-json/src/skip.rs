//! Passing over arrays and objects whose content does not matter, 64 bytes at a time.

use crate::lanes::{Block, Instructions, Lanes};
use crate::walk::escaped;

/// Finds where an array or object ends, in JSON that has been validated and may come in pieces, cut anywhere.
#[derive(Clone, Debug)]
pub struct Skipper {
    instructions: Instructions,
    place: Place,
}

/// What must be known of the bytes before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Arrays and objects that are open, from the outermost one that is skipped.
    depth: u64,
    /// All bits if the next byte is in a string or ends it.
    in_text: u64,
    /// 1 if the next byte is behind a backslash.
    escaped: u64,
}

impl Default for Skipper {
    fn default() -> Self {
        Self::with_instructions(Instructions::detect())
    }
}

impl Skipper {
    fn with_instructions(instructions: Instructions) -> Self {
        Skipper { instructions, place: Place::default() }
    }

    /// The next byte opens the array or object to be skipped.
    pub fn begin(&mut self) {
        self.place = Place::default();
    }

    /// Goes on with the next piece, which is not empty. Returns the position behind the closing bracket, if it is there.
    pub fn skip(&mut self, input: &[u8]) -> Option<usize> {
        let (blocks, tail) = input.as_chunks();
        if let Some(end) = self.instructions.skip(&mut self.place, blocks) {
            return Some(end);
        }
        if tail.is_empty() {
            return None;
        }
        let mut block = [b' '; size_of::<Block>()];
        block.get_mut(..tail.len())?.copy_from_slice(tail);
        // A backslash at the very end would escape the padding, so what comes first in it decides.
        let mut place = self.place;
        let end = self.instructions.skip(&mut place, &[block]);
        if end.is_none() {
            let row = tail.iter().rev().take_while(|&&byte| byte == b'\\').count();
            let before = if row == tail.len() { self.place.escaped as usize } else { 0 };
            place.escaped = ((row + before) & 1) as u64;
            self.place = place;
        }
        end.map(|end| input.len() - tail.len() + end)
    }
}

/// Goes through blocks until the outermost bracket closes, and returns the position behind it.
#[inline(always)]
pub(crate) fn skip<L: Lanes>(place: &mut Place, blocks: &[Block]) -> Option<usize> {
    let mut now = *place;
    for (index, block) in blocks.iter().enumerate() {
        if let Some(end) = now.step(L::load(block)) {
            return Some(index * size_of::<Block>() + end as usize);
        }
    }
    *place = now;
    None
}

impl Place {
    #[inline(always)]
    fn step<L: Lanes>(&mut self, lanes: L) -> Option<u32> {
        let mut quotes = lanes.equal(b'"');
        let backslashes = lanes.equal(b'\\');
        if backslashes | self.escaped != 0 {
            quotes &= !escaped(backslashes, &mut self.escaped);
        }
        let text = L::parities(quotes) ^ self.in_text;
        self.in_text = (text as i64 >> 63) as u64;
        let open = lanes.equal_folded(b'{') & !text;
        let close = lanes.equal_folded(b'}') & !text;
        if u64::from(close.count_ones()) >= self.depth {
            // It may end here.
            let mut left = close;
            let mut closed = 0;
            while left != 0 {
                let at = left.trailing_zeros();
                left &= left - 1;
                closed += 1;
                let opened = u64::from((open & ((1 << at) - 1)).count_ones());
                if self.depth + opened == closed {
                    return Some(at + 1);
                }
            }
        }
        self.depth = (self.depth + u64::from(open.count_ones())).wrapping_sub(u64::from(close.count_ones()));
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte by byte.
    fn end(input: &[u8]) -> usize {
        let (mut depth, mut in_text, mut escaped) = (0, false, false);
        for (index, &byte) in input.iter().enumerate() {
            if in_text {
                in_text = byte != b'"' || escaped;
                escaped = byte == b'\\' && !escaped;
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return index + 1;
            }
        }
        unreachable!("the input is complete")
    }

    fn document() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(
            &[
                "1",
                "null",
                r#""[\"{\\""#,
                r#""]\\\\\"}""#,
                r#""\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\""#,
                r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
                "[]",
                "{}",
            ][..],
        )
        .prop_map(str::to_owned);
        let value = leaf.prop_recursive(6, 200, 8, |inner| {
            prop::collection::vec(inner, 0..8).prop_map(|values| format!("[{}]", values.join(",")))
        });
        value.prop_map(|value| format!("{{\"a\":{value}}}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_end_is_found(
            document in document(),
            behind in r#"(,"a\[\\\\"|\]|\}|,\[\[){0,50}"#,
            piece in 1usize..200,
        ) {
            let text = [document.as_str(), &behind].concat();
            let expected = end(text.as_bytes());
            prop_assert_eq!(expected, document.len());
            for instructions in Instructions::all() {
                let mut skipper = Skipper::with_instructions(instructions);
                prop_assert_eq!(skipper.skip(text.as_bytes()), Some(expected));
                skipper.begin();
                let mut before = 0;
                let mut found = None;
                for chunk in text.as_bytes().chunks(piece) {
                    if let Some(end) = skipper.skip(chunk) {
                        found = Some(before + end);
                        break;
                    }
                    before += chunk.len();
                }
                prop_assert_eq!(found, Some(expected), "{:?} {}", instructions, piece);
            }
        }
    }
}
