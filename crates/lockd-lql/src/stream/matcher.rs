//! Evaluating a condition over documents as they stream by: one pass, no tree, and no more of a document read than the
//! answer needs.

use lockd_json::Invalid;

use super::{
    evaluation::Evaluation,
    scan::{Scanner, Text, Visit, Wish},
};
use crate::condition::{Condition, Node};

/// More arrays and objects than this are not open at once unless the caller allows it.
pub const DEFAULT_DEPTH: u32 = 100_000;

/// A document of a stream, or an element of an array that is a document: what a selector selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it begins and ends in the stream.
    pub start: u64,
    pub end: u64,
    pub matched: bool,
}

/// What is known of a candidate whose end has not been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub start: u64,
    /// Whether it matches, if that is known already.
    pub matched: Option<bool>,
}

/// Why a stream could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Wildcards met so much nesting that following them all would take too much memory.
    #[error(
        "byte {offset}: the wildcards of the selector lead to too many places in this document; use fewer of them"
    )]
    TooManyPlaces {
        /// Where that was noticed.
        offset: u64,
    },
}

/// A condition made ready to judge any number of documents. After the first few it allocates nothing.
#[derive(Clone, Debug)]
pub struct Matcher {
    scanner: Scanner,
    judge: Judge,
}

impl Matcher {
    pub fn new(condition: &Condition) -> Self {
        Self::with_depth(condition, DEFAULT_DEPTH)
    }

    /// A matcher that refuses documents with more than `max_depth` arrays and objects open at once.
    pub fn with_depth(condition: &Condition, max_depth: u32) -> Self {
        let constant = match condition.root {
            Node::Always => Some(true),
            Node::Never => Some(false),
            _ => None,
        };
        Matcher {
            scanner: Scanner::new(max_depth),
            judge: Judge {
                evaluation: Evaluation::new(condition),
                constant,
                depth: 0,
                base: 0,
                candidate: None,
            },
        }
    }

    /// Judges one stored document: if it is an array, whether any of its elements matches. Nothing behind the place where
    /// the answer is known is read, or checked.
    ///
    /// # Errors
    ///
    /// The document is not valid JSON, as far as it was read.
    pub fn matches(&mut self, document: &[u8]) -> Result<bool, MatchError> {
        if let Some(constant) = self.judge.constant {
            return Ok(constant);
        }
        self.judge.reset();
        let mut matched = false;
        let mut sink = |candidate: Candidate| {
            matched |= candidate.matched;
            !candidate.matched
        };
        let mut visit = Run { judge: &mut self.judge, sink: &mut sink, eager: true };
        let scanned = self.scanner.scan(document, &mut visit);
        self.judge.failure(&scanned)?;
        scanned?;
        Ok(matched)
    }

    /// Judges all documents of a stream that is in memory. The elements of arrays are documents of their own. The sink
    /// is told about each one and answers whether to go on.
    ///
    /// # Errors
    ///
    /// The stream is not valid JSON; candidates before the error have been told.
    pub fn select(
        &mut self,
        stream: &[u8],
        mut sink: impl FnMut(Candidate) -> bool,
    ) -> Result<(), MatchError> {
        self.judge.reset();
        let mut visit = Run { judge: &mut self.judge, sink: &mut sink, eager: false };
        let scanned = self.scanner.scan(stream, &mut visit);
        self.judge.failure(&scanned)?;
        scanned?;
        Ok(())
    }

    /// Begins a new stream that arrives in chunks.
    pub fn reset(&mut self) {
        self.scanner.reset();
        self.judge.reset();
    }

    /// The next chunk of the stream. Candidates may end, and be told, up to 63 bytes late.
    ///
    /// # Errors
    ///
    /// As [`select`](Self::select).
    pub fn push(&mut self, chunk: &[u8], mut sink: impl FnMut(Candidate) -> bool) -> Result<(), MatchError> {
        let mut visit = Run { judge: &mut self.judge, sink: &mut sink, eager: false };
        let scanned = self.scanner.push(chunk, &mut visit);
        self.judge.failure(&scanned)?;
        scanned?;
        Ok(())
    }

    /// The stream is complete.
    ///
    /// # Errors
    ///
    /// As [`select`](Self::select), and the last document may be incomplete.
    pub fn finish(&mut self, mut sink: impl FnMut(Candidate) -> bool) -> Result<(), MatchError> {
        let mut visit = Run { judge: &mut self.judge, sink: &mut sink, eager: false };
        let scanned = self.scanner.finish(&mut visit);
        self.judge.failure(&scanned)?;
        scanned?;
        Ok(())
    }

    /// The candidate that has begun and not ended.
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.judge.candidate
    }
}

/// Which documents are candidates, and what became of them.
#[derive(Clone, Debug)]
struct Judge {
    evaluation: Evaluation,
    /// The answer, if it does not depend on the document.
    constant: Option<bool>,
    /// Entered containers.
    depth: usize,
    /// How many of them are not part of the candidate: 1 in an array that is unpacked.
    base: usize,
    candidate: Option<Unfinished>,
}

impl Judge {
    fn reset(&mut self) {
        self.evaluation.reset();
        self.depth = 0;
        self.base = 0;
        self.candidate = None;
    }

    /// Too much was asked for, unless the stream was wrong before that.
    fn failure<T>(&mut self, scanned: &Result<T, Invalid>) -> Result<(), MatchError> {
        if scanned.is_ok() && self.evaluation.overflowed() {
            let offset = self.candidate.map_or(0, |candidate| candidate.start);
            return Err(MatchError::TooManyPlaces { offset });
        }
        Ok(())
    }
}

/// One scan.
struct Run<'a, S> {
    judge: &'a mut Judge,
    sink: &'a mut S,
    /// Stop as soon as a candidate matches.
    eager: bool,
}

impl<S: FnMut(Candidate) -> bool> Run<'_, S> {
    /// What to do when the candidate may have been decided.
    #[inline(always)]
    fn after(&mut self, decided: Option<bool>) -> Wish {
        match decided {
            None => Wish::Enter,
            Some(matched) => self.decided(matched),
        }
    }

    fn decided(&mut self, matched: bool) -> Wish {
        let judge = &mut *self.judge;
        if judge.evaluation.overflowed() {
            return Wish::Stop;
        }
        if let Some(candidate) = &mut judge.candidate {
            candidate.matched = Some(matched);
            if self.eager && (matched || judge.base == 0) {
                (self.sink)(Candidate { start: candidate.start, end: candidate.start, matched });
                return Wish::Stop;
            }
        }
        judge.evaluation.reset();
        judge.depth = judge.base;
        Wish::Leave(judge.base)
    }

    fn begin(&mut self, at: u64) {
        self.judge.candidate = Some(Unfinished { start: at, matched: self.judge.constant });
    }

    /// The candidate ends, if this is its end.
    #[inline(always)]
    fn ended(&mut self, end: u64) -> Wish {
        if self.judge.depth > self.judge.base {
            return Wish::Enter;
        }
        self.finished(end)
    }

    fn finished(&mut self, end: u64) -> Wish {
        let judge = &mut *self.judge;
        if judge.evaluation.overflowed() {
            return Wish::Stop;
        }
        let Some(candidate) = judge.candidate.take() else { return Wish::Enter };
        let matched = candidate.matched.unwrap_or_else(|| judge.evaluation.value());
        judge.evaluation.reset();
        if (self.sink)(Candidate { start: candidate.start, end, matched }) { Wish::Enter } else { Wish::Stop }
    }
}

impl<S: FnMut(Candidate) -> bool> Visit for Run<'_, S> {
    fn document(&mut self, at: u64) -> Wish {
        self.begin(at);
        self.judge.base = 0;
        Wish::Enter
    }

    #[inline(always)]
    fn name(&mut self, name: Text<'_>) -> Wish {
        match self.judge.evaluation.member(name) {
            true => Wish::Enter,
            false => Wish::Skip,
        }
    }

    #[inline(always)]
    fn passes_over(&self, name: &[u8]) -> bool {
        self.judge.evaluation.passes_over(name)
    }

    #[inline(always)]
    fn glances(&self, object: bool) -> bool {
        let judge = &*self.judge;
        // What is not an object is no candidate, and an array around candidates is not part of them.
        judge.evaluation.glances(judge.depth > judge.base)
            && (judge.depth > judge.base || object && judge.constant.is_none())
    }

    fn glance(&mut self, json: &[u8]) -> bool {
        self.judge.evaluation.glance(json)
    }

    fn longest_name(&self) -> usize {
        self.judge.evaluation.longest_name()
    }

    #[inline(always)]
    fn element(&mut self, at: u64) -> Wish {
        if self.judge.depth > self.judge.base {
            return match self.judge.evaluation.element() {
                true => Wish::Enter,
                false => Wish::Skip,
            };
        }
        self.begin(at);
        Wish::Enter
    }

    #[inline(always)]
    fn open(&mut self, object: bool) -> Wish {
        let judge = &mut *self.judge;
        if judge.depth > judge.base {
            let wish = judge.evaluation.open(object);
            return match wish {
                Ok(true) => {
                    judge.depth += 1;
                    Wish::Enter
                }
                Ok(false) => Wish::Skip,
                Err(matched) => {
                    judge.depth += 1;
                    self.decided(matched)
                }
            };
        }
        if !object && judge.depth == 0 {
            // The elements are the candidates, not the array.
            judge.candidate = None;
            judge.depth = 1;
            judge.base = 1;
            return Wish::Enter;
        }
        if !object || judge.constant.is_some() {
            // Decided: false for arrays unless everything is true.
            if let Some(candidate) = &mut judge.candidate {
                candidate.matched = Some(judge.constant == Some(true));
            }
            return Wish::Skip;
        }
        judge.depth += 1;
        match judge.evaluation.root() {
            None => Wish::Enter,
            Some(matched) => self.decided(matched),
        }
    }

    #[inline(always)]
    fn close(&mut self, end: u64) -> Wish {
        self.judge.depth -= 1;
        if self.judge.depth < self.judge.base {
            // The end of an array that was unpacked.
            self.judge.base = 0;
            return Wish::Enter;
        }
        if self.judge.depth == self.judge.base {
            return self.finished(end);
        }
        let decided = self.judge.evaluation.close();
        self.after(decided)
    }

    #[inline(always)]
    fn passed(&mut self, end: u64) -> Wish {
        self.ended(end)
    }

    #[inline(always)]
    fn text(&mut self, part: Text<'_>, first: bool, last: Option<u64>) -> Wish {
        if self.judge.depth > self.judge.base {
            let decided = self.judge.evaluation.text(part, first, last.is_some());
            return self.after(decided);
        }
        last.map_or(Wish::Enter, |end| self.not_an_object(end))
    }

    #[inline(always)]
    fn scalar(&mut self, literal: &[u8], whole: bool, end: u64) -> Wish {
        if self.judge.depth > self.judge.base {
            let decided = self.judge.evaluation.scalar(literal, whole);
            return self.after(decided);
        }
        self.not_an_object(end)
    }

    fn raw(&mut self, _: &[u8]) {}

    fn document_end(&mut self, _: u64) -> Wish {
        Wish::Enter
    }
}

impl<S: FnMut(Candidate) -> bool> Run<'_, S> {
    /// A candidate that is a string, number or literal ends.
    fn not_an_object(&mut self, end: u64) -> Wish {
        if let Some(candidate) = &mut self.judge.candidate {
            candidate.matched = Some(self.judge.constant == Some(true));
        }
        self.finished(end)
    }
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;
