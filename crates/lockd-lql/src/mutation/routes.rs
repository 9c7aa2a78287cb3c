//! The paths of all mutations as one tree, so that what paths have in common is stored and followed once.

use std::collections::HashMap;

use crate::path::{Path, Segment};

use super::mutation_error::MutationError;

/// A place in the tree: the path from the root to it.
pub(super) type RouteId = u32;

pub(super) const ROOT: RouteId = 0;

/// How many places a list of mutations may name in total, which bounds the memory that a request can take.
pub(super) const MAX_SEGMENTS: usize = 1_000_000;

/// How long a path may be, blocks around it included.
pub(super) const MAX_LENGTH: usize = 1_000;

/// The steps that are no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Name(u32),
    AnyMember,
    AnyElement,
    AnyChild,
    Descendants,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) parent: RouteId,
    pub(super) step: Step,
    /// How many steps lead here.
    pub(super) length: usize,
}

/// The tree while expressions are being read.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    /// The root's link means nothing.
    pub(super) links: Vec<Link>,
    /// Names in the order of their first appearance.
    pub(super) names: Vec<(Box<str>, Option<u64>)>,
    known: HashMap<(RouteId, Step), RouteId>,
    known_names: HashMap<Box<str>, u32>,
    segments: usize,
}

impl Default for Routes {
    fn default() -> Self {
        Routes {
            links: vec![Link { parent: ROOT, step: Step::Descendants, length: 0 }],
            names: Vec::new(),
            known: HashMap::new(),
            known_names: HashMap::new(),
            segments: 0,
        }
    }
}

impl Routes {
    /// The place that a path leads to from another one.
    pub(super) fn follow(&mut self, from: RouteId, path: &Path) -> Result<RouteId, MutationError> {
        let length = self.links.get(from as usize).map_or(0, |link| link.length);
        if length + path.segments.len() > MAX_LENGTH {
            return Err(MutationError::PathTooLong { limit: MAX_LENGTH });
        }
        self.segments += path.segments.len();
        if self.segments > MAX_SEGMENTS {
            return Err(MutationError::TooManySegments { limit: MAX_SEGMENTS });
        }
        let mut at = from;
        for (segment, length) in path.segments.iter().zip(length + 1..) {
            let step = match segment {
                Segment::Name { name, index } => Step::Name(self.name(name, *index)),
                Segment::AnyMember => Step::AnyMember,
                Segment::AnyElement => Step::AnyElement,
                Segment::AnyChild => Step::AnyChild,
                Segment::Descendants => Step::Descendants,
            };
            let next = self.links.len() as RouteId;
            at = *self.known.entry((at, step)).or_insert_with(|| {
                self.links.push(Link { parent: at, step, length });
                next
            });
        }
        Ok(at)
    }

    fn name(&mut self, name: &str, index: Option<u64>) -> u32 {
        if let Some(&known) = self.known_names.get(name) {
            return known;
        }
        let id = self.names.len() as u32;
        self.names.push((name.into(), index));
        self.known_names.insert(name.into(), id);
        id
    }
}
