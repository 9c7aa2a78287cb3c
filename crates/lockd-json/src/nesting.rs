//! The open arrays and objects of a document: one bit per level, so that a hostile document costs bits, not frames.

/// A stack of bits. Bit 1 is an object, bit 0 an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nesting {
    /// The innermost 1 to 64 levels, innermost lowest; 0 when none is open.
    top: u64,
    /// The levels outside of `top`, 64 to a word.
    outer: Vec<u64>,
    depth: u32,
    max_depth: u32,
}

/// The innermost levels, which can be opened and closed without touching the rest of the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    top: u64,
    depth: u32,
    /// No level can be opened at this depth,
    ceiling: u32,
    /// nor closed at this one.
    floor: u32,
}

impl Nesting {
    pub(crate) fn new(max_depth: u32) -> Self {
        Nesting { top: 0, outer: Vec::new(), depth: 0, max_depth }
    }

    /// Closes everything, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.top = 0;
        self.depth = 0;
        self.outer.clear();
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn max_depth(&self) -> u32 {
        self.max_depth
    }

    /// Whether the innermost open container is an object. False when none is open.
    pub(crate) fn in_object(&self) -> bool {
        self.top & 1 == 1
    }

    /// Opens a container; false when the limit forbids it.
    pub(crate) fn open(&mut self, object: bool) -> bool {
        if self.depth >= self.max_depth {
            return false;
        }
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.top);
        }
        self.top = self.top << 1 | u64::from(object);
        self.depth += 1;
        true
    }

    /// Closes the innermost container; false when it is not of this kind or none is open.
    pub(crate) fn close(&mut self, object: bool) -> bool {
        if self.depth == 0 || self.in_object() != object {
            return false;
        }
        self.top >>= 1;
        self.depth -= 1;
        if self.depth.is_multiple_of(64) {
            self.top = self.outer.pop().unwrap_or(0);
        }
        true
    }

    pub(crate) fn window(&self) -> Window {
        let outside = u32::try_from(self.outer.len() * 64).unwrap_or(u32::MAX);
        Window {
            top: self.top,
            depth: self.depth,
            ceiling: self.max_depth.min(outside.saturating_add(64)),
            floor: if outside == 0 { 0 } else { outside + 1 },
        }
    }

    /// Replaces the innermost levels by what became of a [`Window`] on them.
    pub(crate) fn set_window(&mut self, window: Window) {
        self.top = window.top;
        self.depth = window.depth;
    }
}

impl Window {
    #[inline(always)]
    pub(crate) fn depth(self) -> u32 {
        self.depth
    }

    #[inline(always)]
    pub(crate) fn in_object(self) -> bool {
        self.top & 1 == 1
    }

    /// Opens a container; false when the limit forbids it or the window is full.
    #[inline(always)]
    pub(crate) fn open(&mut self, object: bool) -> bool {
        let possible = self.depth < self.ceiling;
        self.top = self.top << 1 | u64::from(object);
        self.depth += 1;
        possible
    }

    /// Closes a container; false when it is not of this kind, none is open, or the next one is outside the window.
    #[inline(always)]
    pub(crate) fn close(&mut self, object: bool) -> bool {
        let possible = self.depth > self.floor && self.in_object() == object;
        self.top >>= 1;
        self.depth = self.depth.wrapping_sub(1);
        possible
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

    #[test]
    fn a_window_either_does_the_same_or_gives_up() {
        for depth in [0u32, 1, 2, 63, 64, 65, 66, 127, 128, 129] {
            let mut nesting = Nesting::new(129);
            for level in 0..depth {
                nesting.open(level % 3 == 0);
            }
            let mut closing = nesting.clone();
            let mut window = nesting.window();
            while window.depth() > 0 {
                let object = window.in_object();
                if !window.close(object) {
                    assert_eq!(nesting.outer.len() * 64 + 1, closing.depth() as usize);
                    break;
                }
                assert!(closing.close(object));
                let mut replaced = nesting.clone();
                replaced.set_window(window);
                assert_eq!((replaced.top, replaced.depth), (closing.top, closing.depth));
                assert_eq!(replaced.outer, closing.outer);
            }
            assert!(!nesting.window().close(!nesting.in_object()));
            let mut opening = nesting.clone();
            let mut window = nesting.window();
            while window.open(true) {
                assert!(opening.open(true));
                let mut replaced = nesting.clone();
                replaced.set_window(window);
                assert_eq!(
                    (replaced.top, replaced.depth, &replaced.outer),
                    (opening.top, opening.depth, &opening.outer)
                );
            }
            assert!(opening.depth() == 129 || opening.depth().is_multiple_of(64));
        }
    }
}
