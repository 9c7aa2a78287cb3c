//! Finding positions in the outline of some blocks, forwards only.

use lockd_json::Marks;

/// A position in the outline of some blocks.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    marks: &'a [Marks],
    block: usize,
    /// What of the block lies ahead.
    ahead: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(marks: &'a [Marks]) -> Self {
        Cursor { marks, block: 0, ahead: u64::MAX }
    }

    /// Finds the next position of a set and stands behind it.
    #[inline(always)]
    pub(super) fn next(&mut self, set: impl Fn(&Marks) -> u64) -> Option<usize> {
        let mut ahead = self.ahead;
        let mut block = self.block;
        while let Some(marks) = self.marks.get(block) {
            let bits = set(marks) & ahead;
            if bits != 0 {
                let at = bits.trailing_zeros();
                self.ahead = u64::MAX << at << 1;
                self.block = block;
                return Some(block * 64 + at as usize);
            }
            ahead = u64::MAX;
            block += 1;
        }
        self.block = block;
        self.ahead = ahead;
        None
    }

    /// Passes so many closing brackets that were not opened on the way. Returns the position of the last one, or how many
    /// are still to pass.
    #[inline(always)]
    pub(super) fn pass(&mut self, mut brackets: usize) -> Result<usize, usize> {
        /// With so many brackets to pass, a block is more likely to pass than to end it.
        const MANY: usize = 4;
        while let Some(marks) = self.marks.get(self.block) {
            let open = marks.open & self.ahead;
            let close = marks.close & self.ahead;
            if brackets > MANY && (close.count_ones() as usize) < brackets {
                brackets = brackets + open.count_ones() as usize - close.count_ones() as usize;
            } else {
                let mut both = open | close;
                while both != 0 {
                    let at = both.trailing_zeros();
                    both &= both - 1;
                    if open >> at & 1 == 1 {
                        brackets += 1;
                        continue;
                    }
                    brackets -= 1;
                    if brackets == 0 {
                        self.ahead = u64::MAX << at << 1;
                        return Ok(self.block * 64 + at as usize);
                    }
                }
            }
            self.ahead = u64::MAX;
            self.block += 1;
        }
        Err(brackets)
    }

    /// Whether there are backslashes between two positions.
    #[inline(always)]
    pub(super) fn escaped(&self, from: usize, to: usize) -> bool {
        let (first, last) = (from / 64, to / 64);
        let head = u64::MAX << (from % 64);
        let tail = !(u64::MAX << (to % 64));
        if first == last {
            return self.marks.get(first).is_some_and(|marks| marks.backslashes & head & tail != 0);
        }
        self.marks.get(first).is_some_and(|marks| marks.backslashes & head != 0)
            || self.marks.get(last).is_some_and(|marks| marks.backslashes & tail != 0)
            || self
                .marks
                .get(first + 1..last.min(self.marks.len()))
                .is_some_and(|all| all.iter().any(|marks| marks.backslashes != 0))
    }
}
