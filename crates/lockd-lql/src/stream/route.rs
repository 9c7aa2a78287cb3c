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
    /// Whether members of any name lead on.
    pub(crate) wild: bool,
    /// Of the names that lead on.
    pub(crate) looks: Looks,
    /// The same, or of all names if members of any name lead on.
    pub(crate) looks_of_any: Looks,
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
            wild: false,
            looks: Looks::NONE,
            looks_of_any: Looks::NONE,
            ends: Vec::new(),
        }
    }

    /// The step to a member.
    #[inline(always)]
    pub(crate) fn named(&self, name: &[u8]) -> StepId {
        if !self.by_hash.is_empty() {
            return self.by_hash.get(name).copied().unwrap_or(NONE);
        }
        for (known, step) in &self.names {
            if same(known, name) {
                return *step;
            }
        }
        NONE
    }

    /// Adds a name that it has not.
    fn add_name(&mut self, name: Box<[u8]>, step: StepId) {
        self.looks.add(&name);
        if self.by_hash.is_empty() && self.names.len() < FEW {
            self.names.push((name, step));
        } else {
            self.by_hash.extend(self.names.drain(..));
            self.by_hash.insert(name, step);
        }
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
        self.wild || self.has_names()
    }
}

/// What the names in a set look like: a quick test that most other names do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looks {
    /// The lengths of them, and what their first and last bytes have in common, one bit for each, modulo 64.
    lengths: u64,
    ends: u64,
}

impl Looks {
    pub(crate) const NONE: Looks = Looks { lengths: 0, ends: 0 };
    /// Of all names.
    pub(crate) const ANY: Looks = Looks { lengths: u64::MAX, ends: u64::MAX };

    #[inline(always)]
    fn ends_of(name: &[u8]) -> u32 {
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        (u32::from(first) ^ u32::from(last) << 2) & 63
    }

    #[inline(always)]
    pub(crate) fn pass(self, name: &[u8]) -> bool {
        (self.lengths >> (name.len() & 63)) & (self.ends >> Self::ends_of(name)) & 1 == 1
    }

    fn add(&mut self, name: &[u8]) {
        self.lengths |= 1 << (name.len() & 63);
        self.ends |= 1 << Self::ends_of(name);
    }

    pub(crate) fn join(&mut self, other: Looks) {
        self.lengths |= other.lengths;
        self.ends |= other.ends;
    }
}

/// Whether two names are the same. Names are short, and this costs less than a call.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        8.. => {
            let word = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_le_bytes(*bytes));
            word(a.first_chunk()) == word(b.first_chunk())
                && word(a.last_chunk()) == word(b.last_chunk())
                && (a.len() <= 16 || a == b)
        }
        4.. => {
            let word = |bytes: Option<&[u8; 4]>| bytes.map(|bytes| u32::from_le_bytes(*bytes));
            word(a.first_chunk()) == word(b.first_chunk()) && word(a.last_chunk()) == word(b.last_chunk())
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
            step.wild = step.sticky || step.any_member != NONE || step.any_child != NONE;
            step.looks_of_any = if step.wild { Looks::ANY } else { step.looks };
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
                self.longest_name = self.longest_name.max(name.len());
                if let Some(index) = *index {
                    from.indexes.push((index, new));
                }
                from.add_name(name, new);
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
