//! Field projection: a document cut down to the values that some paths lead to, in one pass.
//!
//! A value that a path ends at is kept whole. An array or object on the way keeps only what is kept of its members and
//! elements; if that is nothing, it goes as well, so that `{"a":{"b":1}}` without `/a/c` is `{}`. The order and the
//! spelling of what is kept stay, only whitespace between tokens is dropped.
//!
//! Paths are those of selectors, with one simplification: a number as a segment is an index when it meets an array, and
//! nothing else; any other name that meets an array is applied to its elements. So one can tell what is kept without
//! knowing the rest of the array, and nothing has to be held back.

use lockd_json::Invalid;
use memchr::memchr2;

use super::{
    matcher::DEFAULT_DEPTH,
    route::{NONE, Routes, StepId},
    scan::{Scanner, Status, Text, Visit, Wish},
};
use crate::path::Path;

/// More steps than this are not followed at once.
const MOST_STATES: usize = 1 << 22;

/// Why a document could not be projected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("byte {offset}: only one document is projected at a time, and a second one begins here")]
    SecondDocument { offset: u64 },
    /// Wildcards met so much nesting that following them all would take too much memory.
    #[error("the wildcards of the fields lead to too many places in this document; use fewer of them")]
    TooManyPlaces,
}

/// Projects one document after the other. After the first few it allocates nothing.
#[derive(Clone, Debug)]
pub struct Projector {
    scanner: Scanner,
    cut: Cut,
}

impl Projector {
    /// A projector for some fields. Without any, only the empty object or array remains of a document.
    pub fn new(fields: &[Path]) -> Self {
        Self::with_depth(fields, DEFAULT_DEPTH)
    }

    /// A projector that refuses documents with more than `max_depth` arrays and objects open at once.
    pub fn with_depth(fields: &[Path], max_depth: u32) -> Self {
        let routes = Routes::new(fields);
        let wild =
            routes.steps.iter().any(|step| step.sticky || step.any_member != NONE || step.any_child != NONE);
        let longest_name = if wild { usize::MAX } else { routes.longest_name.saturating_mul(6) };
        Projector {
            scanner: Scanner::new(max_depth),
            cut: Cut {
                stamps: vec![0; routes.steps.len() * 2],
                routes,
                longest_name,
                stamp: 0,
                next: Vec::new(),
                states: Vec::new(),
                levels: Vec::new(),
                opened: 0,
                names: Vec::new(),
                decoded: Vec::new(),
                begun: false,
                strip: Strip::default(),
                failure: None,
            },
        }
    }

    /// Projects a document that is in memory and appends the result to `out`. If this fails, what was appended is of no
    /// use.
    ///
    /// # Errors
    ///
    /// The document is not valid JSON, or see [`ProjectError`].
    pub fn project(&mut self, document: &[u8], out: &mut Vec<u8>) -> Result<(), ProjectError> {
        self.cut.reset();
        let scanned = self.scanner.scan(document, &mut Run { cut: &mut self.cut, out });
        self.outcome(scanned)
    }

    /// Forgets the document and begins a new one.
    pub fn reset(&mut self) {
        self.scanner.reset();
        self.cut.reset();
    }

    /// The next chunk of the document.
    ///
    /// # Errors
    ///
    /// As [`project`](Self::project); the projector is then of no use until it is reset.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), ProjectError> {
        let scanned = self.scanner.push(chunk, &mut Run { cut: &mut self.cut, out });
        self.outcome(scanned)
    }

    /// The document is complete.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and the document may be incomplete.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ProjectError> {
        let scanned = self.scanner.finish(&mut Run { cut: &mut self.cut, out });
        self.outcome(scanned)
    }

    fn outcome(&self, scanned: Result<Status, Invalid>) -> Result<(), ProjectError> {
        match &self.cut.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(scanned.map(|_| ())?),
        }
    }
}

/// A step that has been reached.
#[derive(Clone, Copy, Debug)]
struct State {
    step: StepId,
    /// Inside of an array that stood where the step led: only names are left to its elements.
    through: bool,
}

/// A container of the document that has been entered.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Where its states begin.
    states: usize,
    object: bool,
    /// How many elements have come, if it is an array.
    elements: u64,
    /// It is a member of an object: it has a name.
    named: bool,
    /// Where in `names` the names of all levels up to this one end.
    names: usize,
    /// Something of it has been written.
    begun: bool,
}

/// The state of a projection.
#[derive(Clone, Debug)]
struct Cut {
    routes: Routes,
    longest_name: usize,
    next: Vec<State>,
    states: Vec<State>,
    levels: Vec<Level>,
    /// So many of the levels have been opened in the output.
    opened: usize,
    /// The names of all levels, and of the member at hand, as they are spelled.
    names: Vec<u8>,
    decoded: Vec<u8>,
    /// When each step was last put into `next`.
    stamps: Vec<u64>,
    stamp: u64,
    /// A document has begun.
    begun: bool,
    strip: Strip,
    failure: Option<ProjectError>,
}

impl Cut {
    fn reset(&mut self) {
        self.next.clear();
        self.states.clear();
        self.levels.clear();
        self.names.clear();
        self.opened = 0;
        self.begun = false;
        self.strip = Strip::default();
        self.failure = None;
    }

    /// Where the name of the member at hand begins.
    fn name_start(&self) -> usize {
        self.levels.last().map_or(0, |level| level.names)
    }

    /// Begins to gather what the next value has been reached by.
    fn begin_next(&mut self) {
        self.next.clear();
        self.stamp += 1;
    }

    /// Puts a state into `next`; whether a path ends there.
    fn add(&mut self, state: State) -> bool {
        let mut kept = false;
        let mut state = Some(state);
        while let Some(at) = state.take() {
            let Some(step) = self.routes.steps.get(at.step as usize) else { break };
            let place = at.step as usize * 2 + usize::from(at.through);
            let Some(stamp) = self.stamps.get_mut(place) else { break };
            if *stamp == self.stamp {
                break;
            }
            *stamp = self.stamp;
            self.next.push(at);
            if !at.through {
                kept |= !step.ends.is_empty();
                if step.descendants != NONE {
                    state = Some(State { step: step.descendants, through: false });
                }
            }
        }
        kept
    }

    /// What to do with a value that `next` leads to.
    fn wish(&mut self, kept: bool, out: &mut Vec<u8>) -> Wish {
        if self.next.len() + self.states.len() >= MOST_STATES {
            self.failure = Some(ProjectError::TooManyPlaces);
            return Wish::Stop;
        }
        if kept {
            self.announce(out);
            return Wish::Take;
        }
        if self.next.is_empty() { Wish::Skip } else { Wish::Enter }
    }

    fn member(&mut self, name: Text<'_>, out: &mut Vec<u8>) -> Wish {
        let Some(&level) = self.levels.last() else { return Wish::Skip };
        self.begin_next();
        let mut decoded = std::mem::take(&mut self.decoded);
        let plain = if name.escaped {
            decoded.clear();
            super::text::unescape(name.raw, &mut decoded);
            decoded.as_slice()
        } else {
            name.raw
        };
        let mut kept = false;
        for place in level.states..self.states.len() {
            let Some(&state) = self.states.get(place) else { break };
            let Some(step) = self.routes.steps.get(state.step as usize) else { break };
            let (any_member, any_child, sticky) = (step.any_member, step.any_child, step.sticky);
            let named = step.named(plain);
            let is_index = self.routes.steps.get(named as usize).is_some_and(|step| step.index.is_some());
            if named != NONE && !(state.through && is_index) {
                kept |= self.add(State { step: named, through: false });
            }
            if !state.through {
                kept |= self.add_all([any_member, any_child], sticky, state);
            }
        }
        self.decoded = decoded;
        if !self.next.is_empty() {
            let start = self.name_start();
            self.names.truncate(start);
            self.names.extend_from_slice(name.raw);
        }
        self.wish(kept, out)
    }

    fn element(&mut self, out: &mut Vec<u8>) -> Wish {
        let Some(level) = self.levels.last_mut() else { return Wish::Skip };
        let index = level.elements;
        level.elements += 1;
        let states = level.states;
        self.begin_next();
        let mut kept = false;
        for place in states..self.states.len() {
            let Some(&state) = self.states.get(place) else { break };
            let Some(step) = self.routes.steps.get(state.step as usize) else { break };
            let (any_element, any_child, sticky) = (step.any_element, step.any_child, step.sticky);
            let has_names = step.has_names();
            if !state.through {
                let mut at = step.indexes.partition_point(|&(known, _)| known < index);
                while let Some(&(known, indexed)) =
                    self.routes.steps.get(state.step as usize).and_then(|step| step.indexes.get(at))
                    && known == index
                {
                    kept |= self.add(State { step: indexed, through: false });
                    at += 1;
                }
                kept |= self.add_all([any_element, any_child], sticky, state);
            }
            if has_names && !sticky {
                self.add(State { through: true, ..state });
            }
        }
        self.wish(kept, out)
    }

    fn add_all(&mut self, steps: [StepId; 2], sticky: bool, state: State) -> bool {
        let mut kept = false;
        for step in steps.into_iter().filter(|&step| step != NONE) {
            kept |= self.add(State { step, through: false });
        }
        if sticky {
            kept |= self.add(state);
        }
        kept
    }

    /// Enters a container, if anything in it may be kept.
    fn open(&mut self, object: bool) -> Wish {
        let states = self.states.len();
        for &state in &self.next {
            let Some(step) = self.routes.steps.get(state.step as usize) else { continue };
            let leads_on = match (object, state.through) {
                (true, false) => step.enters_objects(),
                (_, true) => step.has_names(),
                (false, false) => {
                    step.sticky || step.any_element != NONE || step.any_child != NONE || step.has_names()
                }
            };
            if leads_on {
                self.states.push(state);
            }
        }
        let root = self.levels.is_empty();
        if states == self.states.len() && !root {
            return Wish::Skip;
        }
        let named = self.levels.last().is_some_and(|level| level.object);
        let names = if named { self.names.len() } else { self.name_start() };
        self.levels.push(Level { states, object, elements: 0, named, names, begun: false });
        Wish::Enter
    }

    /// The innermost container ended.
    fn close(&mut self, out: &mut Vec<u8>) {
        if self.levels.len() == 1 {
            // Of the whole document something always remains.
            self.open_levels(out);
        }
        let Some(level) = self.levels.pop() else { return };
        self.states.truncate(level.states);
        if self.opened > self.levels.len() {
            self.opened = self.levels.len();
            out.push(if level.object { b'}' } else { b']' });
        }
    }

    /// Writes everything that comes before a value that is kept.
    fn announce(&mut self, out: &mut Vec<u8>) {
        self.open_levels(out);
        let start = self.name_start();
        let Some(level) = self.levels.last_mut() else { return };
        let name = level.object.then(|| self.names.get(start..).unwrap_or_default());
        level.separate(name, out);
    }

    /// Opens the levels in the output that are not yet.
    fn open_levels(&mut self, out: &mut Vec<u8>) {
        if self.opened == self.levels.len() {
            return;
        }
        let before = self.opened.checked_sub(1).and_then(|place| self.levels.get(place));
        let mut start = before.map_or(0, |level| level.names);
        for place in self.opened..self.levels.len() {
            let Some(&level) = self.levels.get(place) else { break };
            let name = level.named.then(|| self.names.get(start..level.names).unwrap_or_default());
            start = level.names;
            if let Some(around) = place.checked_sub(1).and_then(|place| self.levels.get_mut(place)) {
                around.separate(name, out);
            }
            out.push(if level.object { b'{' } else { b'[' });
        }
        self.opened = self.levels.len();
    }
}

impl Level {
    /// Writes what stands before a value in this container.
    fn separate(&mut self, name: Option<&[u8]>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            out.push(b',');
        }
        if let Some(name) = name {
            out.push(b'"');
            out.extend_from_slice(name);
            out.extend_from_slice(b"\":");
        }
    }
}

/// Drops whitespace between tokens of values that come in parts.
#[derive(Clone, Copy, Debug, Default)]
struct Strip {
    in_text: bool,
    /// The byte before was a backslash in a string.
    escaped: bool,
}

impl Strip {
    fn push(&mut self, mut part: &[u8], out: &mut Vec<u8>) {
        while let Some(&first) = part.first() {
            if self.escaped {
                out.push(first);
                self.escaped = false;
                part = part.get(1..).unwrap_or_default();
                continue;
            }
            let length = if self.in_text {
                let found = memchr2(b'"', b'\\', part);
                match found.and_then(|at| part.get(at)) {
                    Some(b'"') => self.in_text = false,
                    Some(_) => self.escaped = true,
                    None => {}
                }
                let length = found.map_or(part.len(), |at| at + 1);
                out.extend_from_slice(part.get(..length).unwrap_or_default());
                length
            } else {
                // Runs without whitespace are as long as the whole part in compact documents, up to the next string.
                let length =
                    part.iter().position(|byte| *byte <= b' ' || *byte == b'"').unwrap_or(part.len());
                out.extend_from_slice(part.get(..length).unwrap_or_default());
                match part.get(length) {
                    Some(b'"') => {
                        out.push(b'"');
                        self.in_text = true;
                        length + 1
                    }
                    Some(_) => length + 1,
                    None => length,
                }
            };
            part = part.get(length..).unwrap_or_default();
        }
    }
}

/// One scan.
struct Run<'a> {
    cut: &'a mut Cut,
    out: &'a mut Vec<u8>,
}

impl Visit for Run<'_> {
    fn document(&mut self, at: u64) -> Wish {
        if std::mem::replace(&mut self.cut.begun, true) {
            self.cut.failure = Some(ProjectError::SecondDocument { offset: at });
            return Wish::Stop;
        }
        self.cut.begin_next();
        match self.cut.add(State { step: 0, through: false }) {
            true => Wish::Take,
            false => Wish::Enter,
        }
    }

    fn name(&mut self, name: Text<'_>) -> Wish {
        self.cut.member(name, self.out)
    }

    fn longest_name(&self) -> usize {
        self.cut.longest_name
    }

    fn element(&mut self, _: u64) -> Wish {
        self.cut.element(self.out)
    }

    fn open(&mut self, object: bool) -> Wish {
        self.cut.open(object)
    }

    fn close(&mut self, _: u64) -> Wish {
        self.cut.close(self.out);
        Wish::Enter
    }

    fn passed(&mut self, _: u64) -> Wish {
        Wish::Enter
    }

    fn text(&mut self, _: Text<'_>, _: bool, last: Option<u64>) -> Wish {
        if last.is_some() {
            self.nothing_of_it();
        }
        Wish::Enter
    }

    fn scalar(&mut self, _: &[u8], _: bool, _: u64) -> Wish {
        self.nothing_of_it();
        Wish::Enter
    }

    fn raw(&mut self, part: &[u8]) {
        self.cut.strip.push(part, self.out);
    }

    fn document_end(&mut self, _: u64) -> Wish {
        Wish::Enter
    }
}

impl Run<'_> {
    /// A scalar that no path ends at. If it is the document, something has to remain of it all the same.
    fn nothing_of_it(&mut self) {
        if self.cut.levels.is_empty() {
            self.out.extend_from_slice(b"null");
        }
    }
}

#[cfg(test)]
mod tests;
