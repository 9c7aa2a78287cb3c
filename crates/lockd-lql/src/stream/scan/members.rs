//! The short ways through a document: members that are passed over by their names alone, and arrays and objects that
//! are passed over because a glance at their bytes tells that nothing in them matters.

use super::{Cursor, Mode, Place, Visit, Wish};

/// What comes next in an object.
pub(super) enum Member<'a> {
    /// A member that the visitor must be told of.
    Named { name: &'a [u8], escaped: bool },
    /// The closing bracket, here in the piece.
    None(usize),
    /// That is not in the outline any more; the mode tells where it ended.
    OutOfSight,
}

impl Place {
    /// Passes over members as long as the visitor wants that.
    #[inline(always)]
    pub(super) fn next_member<'a, V: Visit>(
        &mut self,
        cursor: &mut Cursor<'_>,
        outlined: &'a [u8],
        base: usize,
        visit: &V,
    ) -> Member<'a> {
        loop {
            let Some(at) = cursor.next(|marks| marks.starts) else { return Member::OutOfSight };
            if outlined.get(base + at) != Some(&b'"') {
                return Member::None(base + at);
            }
            let Some(end) = cursor.next(|marks| marks.text_ends) else {
                self.start = base + at + 1;
                self.mode = Mode::Name;
                return Member::OutOfSight;
            };
            let name = outlined.get(base + at + 1..base + end).unwrap_or_default();
            let escaped = cursor.escaped(at, end);
            if escaped || !visit.passes_over(name) {
                return Member::Named { name, escaped };
            }
            let Some(at) = cursor.next(|marks| marks.starts) else {
                self.mode = Mode::Value(Wish::Skip);
                return Member::OutOfSight;
            };
            if let Some(b'{' | b'[') = outlined.get(base + at)
                && let Err(brackets) = cursor.pass(1)
            {
                self.mode = Mode::Pass { brackets, taken: false };
                return Member::OutOfSight;
            }
        }
    }
}

/// Glances while some blocks are scanned. What is in a container at which a glance was in vain is not glanced at again,
/// and it is given up when the ends of containers turn out to be too far away, so that the work is bounded however
/// deep documents nest.
#[derive(Default)]
pub(super) struct Glances {
    /// Up to here in the piece something matters.
    seen: usize,
    too_far: u32,
}

/// So many ends may be looked for in vain.
const MOST_TOO_FAR: u32 = 4;

impl Glances {
    /// The end of the container that begins at `at`, and that the visitor wants, if a glance tells that nothing in it
    /// matters. The cursor then stands behind it.
    #[inline(always)]
    pub(super) fn over<V: Visit>(
        &mut self,
        cursor: &mut Cursor<'_>,
        outlined: &[u8],
        base: usize,
        at: usize,
        visit: &mut V,
    ) -> Option<usize> {
        let object = match outlined.get(at) {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => return None,
        };
        if !visit.glances(object) || at < self.seen || self.too_far > MOST_TOO_FAR {
            return None;
        }
        let mut ahead = *cursor;
        let Ok(end) = ahead.pass(1) else {
            self.too_far += 1;
            return None;
        };
        let end = base + end + 1;
        if visit.glance(outlined.get(at..end).unwrap_or_default()) {
            self.seen = end;
            return None;
        }
        *cursor = ahead;
        Some(end)
    }
}
