//! Strings too long to be looked at in one piece: what tests need of them is kept, in bounded memory.

use super::{probe::fold_into, text::Unescape};

/// Parts are decoded in steps of so many bytes.
pub(crate) const STEP: usize = 16 << 10;

/// One string, part by part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Long {
    unescape: Unescape,
    /// The first bytes, at most as many as wanted and one more.
    pub(crate) head: Vec<u8>,
    head_limit: usize,
    /// The latest bytes: the new ones, and before them as many as a needle may reach back.
    window: Vec<u8>,
    /// The same in lower case.
    lower: Vec<u8>,
    reach: usize,
    folds: bool,
    /// The end of the text where a character was cut.
    cut: Vec<u8>,
    fresh: Vec<u8>,
}

/// What all tests of a string need together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) head: usize,
    /// Length of the longest needle.
    pub(crate) reach: usize,
    pub(crate) folds: bool,
}

impl Long {
    pub(crate) fn begin(&mut self, needs: Needs) {
        self.unescape = Unescape::default();
        self.head.clear();
        self.window.clear();
        self.lower.clear();
        self.cut.clear();
        (self.head_limit, self.reach, self.folds) = (needs.head + 1, needs.reach, needs.folds);
    }

    /// Whether the next part can make a difference.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_whole() || self.reach > 0
    }

    /// Takes at most [`STEP`] bytes; returns what is to be searched, also in lower case if needed.
    pub(crate) fn step(&mut self, raw: &[u8]) -> (&[u8], &[u8]) {
        self.fresh.clear();
        self.unescape.part(raw, &mut self.fresh);
        self.slide()
    }

    /// The string ends; returns what is left to be searched.
    pub(crate) fn end(&mut self) -> (&[u8], &[u8]) {
        self.fresh.clear();
        self.unescape.end(&mut self.fresh);
        self.slide();
        let cut = std::mem::take(&mut self.cut);
        fold_into(&cut, &mut self.lower);
        self.cut = cut;
        self.cut.clear();
        (&self.window, &self.lower)
    }

    /// Whether the head is the whole text.
    pub(crate) fn is_whole(&self) -> bool {
        self.head.len() < self.head_limit
    }

    fn slide(&mut self) -> (&[u8], &[u8]) {
        let room = self.head_limit - self.head.len();
        self.head.extend_from_slice(self.fresh.get(..room).unwrap_or(&self.fresh));
        if self.reach > 0 {
            keep_last(&mut self.window, self.reach - 1);
            self.window.extend_from_slice(&self.fresh);
            if self.folds {
                keep_last(&mut self.lower, self.reach - 1);
                self.cut.extend_from_slice(&self.fresh);
                let whole = self.cut.len() - unfinished(&self.cut);
                fold_into(self.cut.get(..whole).unwrap_or_default(), &mut self.lower);
                self.cut.drain(..whole);
            }
        }
        (&self.window, &self.lower)
    }
}

fn keep_last(buffer: &mut Vec<u8>, count: usize) {
    let drop = buffer.len().saturating_sub(count);
    buffer.drain(..drop);
}

/// How many bytes at the end begin a character that is not complete.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.last_chunk::<3>().map_or(bytes, |last| last);
    for (back, &byte) in last.iter().rev().enumerate() {
        let length = match byte {
            0x80..0xC0 => continue,
            0xC2..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0..0xF5 => 4,
            _ => 1,
        };
        return if back + 1 < length { back + 1 } else { 0 };
    }
    0
}
