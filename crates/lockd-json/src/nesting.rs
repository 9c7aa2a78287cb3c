//! The open arrays and objects of a document: one bit per level, so that a hostile document costs bits, not frames.

use smallvec::SmallVec;

/// A stack of bits. Bit 1 is an object, bit 0 an array.
#[derive(Clone, Debug)]
pub(crate) struct Nesting {
    words: SmallVec<[u64; 2]>,
    depth: u32,
    max_depth: u32,
}

impl Nesting {
    pub(crate) fn new(max_depth: u32) -> Self {
        // Two words are there from the start: the usual document never grows the stack.
        Nesting { words: SmallVec::from_buf([0; 2]), depth: 0, max_depth }
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn max_depth(&self) -> u32 {
        self.max_depth
    }

    /// Whether the innermost open container is an object. False when none is open.
    #[inline]
    pub(crate) fn in_object(&self) -> bool {
        let Some(level) = self.depth.checked_sub(1) else { return false };
        self.word(level / 64) >> (level % 64) & 1 == 1
    }

    /// Opens a container; false when the limit forbids it.
    #[inline]
    pub(crate) fn open(&mut self, object: bool) -> bool {
        if self.depth >= self.max_depth {
            return false;
        }
        let (index, bit) = ((self.depth / 64) as usize, self.depth % 64);
        if index >= self.words.len() {
            self.words.push(0);
        }
        if let Some(word) = self.words.get_mut(index) {
            *word = *word & !(1 << bit) | u64::from(object) << bit;
        }
        self.depth += 1;
        true
    }

    /// Closes the innermost container; false when it is not of this kind or none is open.
    #[inline]
    pub(crate) fn close(&mut self, object: bool) -> bool {
        if self.depth == 0 || self.in_object() != object {
            return false;
        }
        self.depth -= 1;
        true
    }

    #[inline]
    fn word(&self, index: u32) -> u64 {
        self.words.get(index as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_kinds_across_words_and_respects_the_limit() {
        let mut nesting = Nesting::new(200);
        for level in 0..200 {
            assert!(nesting.open(level % 3 == 0));
        }
        assert!(!nesting.open(true));
        for level in (0..200).rev() {
            assert_eq!(nesting.in_object(), level % 3 == 0);
            assert!(!nesting.close(level % 3 != 0));
            assert!(nesting.close(level % 3 == 0));
        }
        assert!(!nesting.close(true) && !nesting.close(false) && !nesting.in_object());
    }
}
