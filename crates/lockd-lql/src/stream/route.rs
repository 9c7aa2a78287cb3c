//! The paths of a program, merged: a tree of steps that a walk through a document follows, many branches at a time.

use std::collections::HashMap;

use crate::path::{Path, Segment};

/// A step in the tree.
pub(crate) type StepId = u32;

/// No step.
pub(crate) const NONE: StepId = StepId::MAX;

/// Above so many names of one step they are looked up by hash.
const FEW: usize = 8;

/// What may follow after some steps have been taken.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) parent: StepId,
    /// Steps to members, by name.
    names: Vec<(Box<[u8]>, StepId)>,
    by_hash: HashMap<Box<[u8]>, StepId>,
    /// Steps to elements, by index: the names that are numbers.
    pub(crate) indexes: Vec<(u64, StepId)>,
    /// The index, if the name that leads here is a number.
    pub(crate) index: Option<u64>,
    pub(crate) any_member: StepId,
    pub(crate) any_element: StepId,
    pub(crate) any_child: StepId,
    /// Taken together with this step, because no level is also any number of levels.
    pub(crate) descendants: StepId,
    /// Having been taken once, it is taken for everything below as well.
    pub(crate) sticky: bool,
    /// The [`mark`]s of the names that lead on, one bit each.
    pub(crate) marks: u64,
    /// The same, or all bits if members of any name lead on.
    pub(crate) marks_of_any: u64,
    /// The paths that end here.
    pub(crate) ends: Vec<u32>,
}

impl Step {
    fn new(parent: StepId) -> Self {
        Step {
            parent,
            names: Vec::new(),
            by_hash: HashMap::new(),
            indexes: Vec::new(),
            index: None,
            any_member: NONE,
            any_element: NONE,
            any_child: NONE,
            descendants: NONE,
            sticky: false,
            marks: 0,
            marks_of_any: 0,
            ends: Vec::new(),
        }
    }

    /// The step to a member.
    #[inline]
    pub(crate) fn named(&self, name: &[u8]) -> StepId {
        if self.by_hash.is_empty() {
            return self.names.iter().find(|(known, _)| same(known, name)).map_or(NONE, |&(_, step)| step);
        }
        self.by_hash.get(name).copied().unwrap_or(NONE)
    }

    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty() || !self.by_hash.is_empty()
    }

    /// Whether it leads to everything below, and by no name or other wildcard.
    pub(crate) fn only_stays(&self) -> bool {
        self.sticky
            && !self.has_names()
            && self.any_member == NONE
            && self.any_element == NONE
            && self.any_child == NONE
    }

    /// Whether it leads to members of an object.
    pub(crate) fn enters_objects(&self) -> bool {
        self.sticky || self.has_names() || self.any_member != NONE || self.any_child != NONE
    }
}

/// A number below 64 that names rarely have in common, and that costs next to nothing.
#[inline(always)]
pub(crate) fn mark(name: &[u8]) -> u32 {
    let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
    (u32::from(first) ^ u32::from(last) << 2).wrapping_add(name.len() as u32) & 63
}

/// Whether two names are the same. Names are short, and this costs less than a call.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    match (a.first_chunk(), b.first_chunk(), a.last_chunk(), b.last_chunk()) {
        (Some(a1), Some(b1), Some(a2), Some(b2)) => {
            word(a1) == word(b1) && word(a2) == word(b2) && (a.len() <= 16 || a == b)
        }
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

/// The tree; step 0 is the root.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    pub(crate) steps: Vec<Step>,
    pub(crate) longest_name: usize,
}

impl Routes {
    /// Merges the paths; path `n` ends at steps that say so.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut routes = Routes { steps: vec![Step::new(NONE)], longest_name: 0 };
        for (number, path) in paths.into_iter().enumerate() {
            let end = path.segments.iter().fold(0, |at, segment| routes.step(at, segment));
            if let Some(step) = routes.steps.get_mut(end as usize) {
                step.ends.push(number as u32);
            }
        }
        for step in &mut routes.steps {
            step.indexes.sort_unstable();
            let any = step.sticky || step.any_member != NONE || step.any_child != NONE;
            step.marks_of_any = if any { u64::MAX } else { step.marks };
        }
        routes
    }

    /// The step that a segment leads to, made if it is new.
    fn step(&mut self, at: StepId, segment: &Segment) -> StepId {
        let new = self.steps.len() as StepId;
        let Some(from) = self.steps.get_mut(at as usize) else { return NONE };
        let slot = match segment {
            Segment::Name { name, index } => {
                let known = from.named(name.as_bytes());
                if known != NONE {
                    return known;
                }
                let name: Box<[u8]> = name.as_bytes().into();
                from.marks |= 1 << mark(&name);
                self.longest_name = self.longest_name.max(name.len());
                if let Some(index) = *index {
                    from.indexes.push((index, new));
                }
                if from.by_hash.is_empty() && from.names.len() < FEW {
                    from.names.push((name, new));
                } else {
                    from.by_hash.extend(from.names.drain(..));
                    from.by_hash.insert(name, new);
                }
                let mut step = Step::new(at);
                step.index = *index;
                self.steps.push(step);
                return new;
            }
            Segment::AnyMember => &mut from.any_member,
            Segment::AnyElement => &mut from.any_element,
            Segment::AnyChild => &mut from.any_child,
            // Any number of levels twice is any number of levels.
            Segment::Descendants if from.sticky => return at,
            Segment::Descendants => &mut from.descendants,
        };
        if *slot == NONE {
            *slot = new;
            let mut step = Step::new(at);
            step.sticky = *segment == Segment::Descendants;
            self.steps.push(step);
            return new;
        }
        *slot
    }
}
