//! What stands where in a stream of documents: sets of positions, 64 bytes at a time, for those who look into documents
//! without building trees of them.

use crate::{
    automaton::Automaton,
    invalid::Invalid,
    lanes::{Block, Instructions, Lanes},
    walk::Output,
};

/// The outline of 64 bytes; the lowest bit of each set is the first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The first bytes of values and names, and closing brackets.
    pub starts: u64,
    /// Opening brackets of arrays and objects.
    pub open: u64,
    /// Closing brackets of arrays and objects.
    pub close: u64,
    /// Quotes that end a string.
    pub text_ends: u64,
    /// Backslashes, those that are escaped included.
    pub backslashes: u64,
    /// Everything but the whitespace between tokens.
    pub kept: u64,
}

/// Validates documents that follow each other, with or without whitespace between them (RFC 8259, so lines of NDJSON as
/// well), and outlines them.
///
/// Names, values and brackets appear in an outline in the order of the document, so together with the bytes it is all
/// that is needed to read it. Commas and colons do not appear: they have been checked. Memory is one bit per level of
/// nesting.
#[derive(Clone, Debug)]
pub struct Outliner {
    automaton: Automaton,
    instructions: Instructions,
    judged: u64,
}

impl Outliner {
    /// An outliner that refuses to open more than `max_depth` arrays and objects at once.
    pub fn new(max_depth: u32) -> Self {
        Self::with_instructions(max_depth, Instructions::detect())
    }

    fn with_instructions(max_depth: u32, instructions: Instructions) -> Self {
        Outliner { automaton: Automaton::for_stream(max_depth), instructions, judged: 0 }
    }

    /// Begins a new stream.
    pub fn reset(&mut self) {
        self.automaton.restart();
        self.judged = 0;
    }

    /// Outlines the next bytes: one element of `marks` for every block.
    ///
    /// # Errors
    ///
    /// The stream is refused. What was appended to `marks` is the outline of the blocks before the wrong one.
    pub fn outline(&mut self, mut blocks: &[[u8; 64]], marks: &mut Vec<Marks>) -> Result<(), Invalid> {
        while !blocks.is_empty() {
            let walked = self.instructions.walk::<Outline<'_>>(&mut self.automaton, blocks, marks);
            self.judged += (walked * size_of::<Block>()) as u64;
            blocks = blocks.get(walked..).unwrap_or_default();
            if let Some((block, rest)) = blocks.split_first() {
                marks.push(self.automaton.outline(block, self.judged)?);
                self.judged += size_of::<Block>() as u64;
                blocks = rest;
            }
        }
        Ok(())
    }

    /// The stream ends with these bytes, less than 64: outlines them, if there are any, and checks that the last
    /// document is complete.
    ///
    /// # Errors
    ///
    /// The stream is refused.
    pub fn finish(&mut self, tail: &[u8], marks: &mut Vec<Marks>) -> Result<(), Invalid> {
        let mut block = [b' '; size_of::<Block>()];
        if let Some(head) = block.get_mut(..tail.len())
            && !tail.is_empty()
        {
            head.copy_from_slice(tail);
            // Whitespace behind a document changes nothing, and in an unfinished one it is still unfinished.
            if self.instructions.walk::<Outline<'_>>(&mut self.automaton, &[block], marks) == 0 {
                marks.push(self.automaton.outline(tail, self.judged)?);
            }
        }
        self.judged += tail.len() as u64;
        self.automaton.finish(self.judged)
    }

    /// How many bytes have been outlined.
    pub fn judged(&self) -> u64 {
        self.judged
    }
}

/// The vector that outlines are appended to.
#[derive(Debug)]
struct Outline<'a>(&'a mut Vec<Marks>);

impl<'a> Output<'a> for Outline<'a> {
    const STREAM: bool = true;
    type Target = Vec<Marks>;

    fn reserve(target: &'a mut Vec<Marks>, blocks: usize) -> Self {
        target.reserve(blocks);
        Outline(target)
    }

    #[inline(always)]
    fn block<L: Lanes>(&mut self, _: L, _: &Block, marks: Marks) {
        self.0.push(marks);
    }

    fn finish(self) {}
}

#[cfg(test)]
mod tests;
