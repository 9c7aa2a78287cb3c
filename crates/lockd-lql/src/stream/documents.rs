//! The documents of a stream, with their bytes: a stream goes in in chunks, the wanted documents come out whole.
//!
//! Documents that lie in one chunk are not copied. Of a document that does not, the bytes are held until it has ended or
//! is known to be unwanted; how many is limited.

use std::ops::Range;

use super::matcher::{Candidate, DEFAULT_DEPTH, MatchError, Matcher, Unfinished};
use crate::condition::Condition;

/// A matcher tells of the end of a document less than so many bytes late, and may not know of one that has just begun.
const LATE: u64 = 64;

/// Which documents of a stream are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Matching,
    /// Those that do not match.
    Others,
    All,
}

impl Wanted {
    fn includes(self, matched: bool) -> bool {
        match self {
            Wanted::Matching => matched,
            Wanted::Others => !matched,
            Wanted::All => true,
        }
    }
}

/// A wanted document of a stream, or element of an array that is a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// From its first byte to its last, as it stands in the stream.
    pub json: &'a [u8],
    /// Where it begins in the stream.
    pub start: u64,
    pub matched: bool,
}

/// Why the documents of a stream could not be told apart or judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentsError {
    #[error(transparent)]
    Match(#[from] MatchError),
    #[error("byte {start}: the document that begins here is larger than {limit} bytes")]
    TooLarge { start: u64, limit: u64 },
}

/// Picks documents out of a stream.
#[derive(Clone, Debug)]
pub struct Documents {
    matcher: Matcher,
    wanted: Wanted,
    limit: u64,
    /// The last bytes of the chunks before, from this offset on.
    held: Vec<u8>,
    held_from: u64,
    /// How much of the stream has come.
    seen: u64,
}

impl Documents {
    /// Documents of which one that does not fit into a chunk may have up to `limit` bytes.
    pub fn new(condition: &Condition, wanted: Wanted, limit: u64) -> Self {
        Self::with_depth(condition, wanted, limit, DEFAULT_DEPTH)
    }

    /// The same with a limit of the number of arrays and objects open at once.
    pub fn with_depth(condition: &Condition, wanted: Wanted, limit: u64, max_depth: u32) -> Self {
        let matcher = Matcher::with_depth(condition, max_depth);
        Documents { matcher, wanted, limit, held: Vec::new(), held_from: 0, seen: 0 }
    }

    /// Begins a new stream.
    pub fn reset(&mut self) {
        self.matcher.reset();
        self.held.clear();
        (self.held_from, self.seen) = (0, 0);
    }

    /// The next chunk of the stream. The sink is given the wanted documents that have ended, and answers whether to go on.
    ///
    /// # Errors
    ///
    /// The stream is not valid JSON, or a wanted document is too large. Wanted documents before that have been given.
    pub fn push(
        &mut self,
        chunk: &[u8],
        mut sink: impl FnMut(Document<'_>) -> bool,
    ) -> Result<(), DocumentsError> {
        let Documents { matcher, wanted, limit, held, held_from, seen } = self;
        let mut window = Window { held, held_from: *held_from, chunk, chunk_from: *seen };
        let mut failure = None;
        matcher.push(chunk, |candidate| window.offer(candidate, *wanted, *limit, &mut failure, &mut sink))?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        *seen += chunk.len() as u64;
        let unfinished = matcher.unfinished();
        self.hold(chunk, unfinished)
    }

    /// The stream is complete.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and the last document may be incomplete.
    pub fn finish(&mut self, mut sink: impl FnMut(Document<'_>) -> bool) -> Result<(), DocumentsError> {
        let Documents { matcher, wanted, limit, held, held_from, seen } = self;
        let mut window = Window { held, held_from: *held_from, chunk: &[], chunk_from: *seen };
        let mut failure = None;
        matcher.finish(|candidate| window.offer(candidate, *wanted, *limit, &mut failure, &mut sink))?;
        failure.map_or(Ok(()), Err)
    }

    /// Keeps what may be part of a wanted document.
    fn hold(&mut self, chunk: &[u8], unfinished: Option<Unfinished>) -> Result<(), DocumentsError> {
        let mut from = self.seen.saturating_sub(LATE);
        if let Some(Unfinished { start, matched }) = unfinished
            && matched.is_none_or(|matched| self.wanted.includes(matched))
        {
            if self.seen - start.min(self.seen) > self.limit.saturating_add(LATE) {
                return Err(DocumentsError::TooLarge { start, limit: self.limit });
            }
            from = from.min(start);
        }
        let chunk_from = self.seen - chunk.len() as u64;
        if from >= chunk_from {
            self.held.clear();
            self.held_from = from;
            self.held.extend_from_slice(chunk.get((from - chunk_from) as usize..).unwrap_or_default());
            return Ok(());
        }
        // What was copied in for a document that ended is part of the chunk.
        self.held.truncate((chunk_from - self.held_from) as usize);
        let unneeded = from.saturating_sub(self.held_from) as usize;
        // Held bytes move only if that is worth it, so that they do not move once a chunk.
        if unneeded > self.held.len() / 2 {
            self.held.drain(..unneeded.min(self.held.len()));
            self.held_from += unneeded as u64;
        }
        self.held.extend_from_slice(chunk);
        Ok(())
    }
}

/// What is at hand of the stream.
struct Window<'a> {
    held: &'a mut Vec<u8>,
    held_from: u64,
    chunk: &'a [u8],
    chunk_from: u64,
}

impl Window<'_> {
    /// Gives a document to the sink, if it is wanted. Whether to go on.
    fn offer(
        &mut self,
        candidate: Candidate,
        wanted: Wanted,
        limit: u64,
        failure: &mut Option<DocumentsError>,
        sink: &mut impl FnMut(Document<'_>) -> bool,
    ) -> bool {
        let Candidate { start, end, matched } = candidate;
        if !wanted.includes(matched) {
            return true;
        }
        if end - start > limit {
            *failure = Some(DocumentsError::TooLarge { start, limit });
            return false;
        }
        sink(Document { json: self.bytes(start..end), start, matched })
    }

    fn bytes(&mut self, range: Range<u64>) -> &[u8] {
        if let (Some(start), Some(end)) =
            (range.start.checked_sub(self.chunk_from), range.end.checked_sub(self.chunk_from))
        {
            return self.chunk.get(start as usize..end as usize).unwrap_or_default();
        }
        let held_to = self.held_from + self.held.len() as u64;
        if range.end > held_to {
            // Nothing of the chunk has been copied yet, or less than is needed now.
            let from = held_to.saturating_sub(self.chunk_from) as usize;
            let to = range.end.saturating_sub(self.chunk_from) as usize;
            self.held.extend_from_slice(self.chunk.get(from..to).unwrap_or_default());
        }
        let start = range.start.saturating_sub(self.held_from) as usize;
        let end = range.end.saturating_sub(self.held_from) as usize;
        self.held.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
