//! The editor: reads a document piece by piece and writes what the program makes of it.
//!
//! The bytes first pass the compactor, which validates them and drops whitespace. What remains is known to be valid, so
//! that the machine behind it only has to find out where values begin and end.

use std::sync::Arc;

use lockd_json::{Compactor, Limits};

use super::{
    edit_error::EditError,
    file_value::FileValues,
    machine::{Machine, OutputLimit, Run},
    program::Code,
    states::{Bounds, States},
};

/// How much of a document is compacted and edited at once: it should stay in the cache in between.
const PIECE: usize = 32 * 1024;

/// What an [`Editor`] refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditLimits {
    /// Largest accepted document, whitespace included.
    pub max_input: u64,
    /// Largest accepted result.
    pub max_output: u64,
    /// Largest accepted number of arrays and objects open at once, in the document and in the result.
    pub max_depth: u32,
}

impl Default for EditLimits {
    /// No limit of size, and the nesting that [`lockd_json::Limits`] accepts.
    fn default() -> Self {
        let Limits { max_bytes, max_depth } = Limits::default();
        EditLimits { max_input: max_bytes, max_output: max_bytes, max_depth }
    }
}

/// What happened to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Bytes submitted, whitespace included.
    pub bytes_read: u64,
    /// Bytes produced.
    pub bytes_written: u64,
}

/// Edits one document after the other.
pub struct Editor {
    code: Arc<Code>,
    limits: EditLimits,
    files: Option<Box<dyn FileValues>>,
    compactor: Compactor,
    compacted: Vec<u8>,
    states: States,
    machine: Machine,
    written: u64,
    failure: Option<EditError>,
}

impl std::fmt::Debug for Editor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Editor").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Editor {
    pub(super) fn new(code: Arc<Code>, limits: EditLimits, files: Option<Box<dyn FileValues>>) -> Self {
        Self::with_states(code.clone(), limits, files, States::new(code, Bounds::default()))
    }

    pub(super) fn with_states(
        code: Arc<Code>,
        limits: EditLimits,
        files: Option<Box<dyn FileValues>>,
        states: States,
    ) -> Self {
        Editor {
            compactor: Compactor::new(Limits { max_bytes: limits.max_input, max_depth: limits.max_depth }),
            compacted: Vec::with_capacity(PIECE),
            machine: Machine::new(states.root()),
            states,
            code,
            limits,
            files,
            written: 0,
            failure: None,
        }
    }

    /// Consumes the next piece of the document and appends what becomes of it to `out`. A few bytes may be held back
    /// until the next call.
    ///
    /// # Errors
    ///
    /// The document cannot be edited, now and on every later call; what was appended to `out` is then worthless.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), EditError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.consume(chunk, out);
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
        }
        result
    }

    /// The document is complete: appends the rest of the result. The editor is then ready for the next document.
    ///
    /// # Errors
    ///
    /// The document cannot be edited or is not complete.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<Summary, EditError> {
        let result = match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.complete(out),
        };
        self.reset();
        result
    }

    /// Forgets a document that was begun.
    pub fn reset(&mut self) {
        self.compactor.reset();
        self.states.begin();
        self.machine.reset(self.states.root());
        self.written = 0;
        self.failure = None;
    }

    fn consume(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), EditError> {
        for piece in chunk.chunks(PIECE) {
            self.compacted.clear();
            let judged = self.compactor.push(piece, &mut self.compacted);
            // What stands before the wrong byte comes first, so that the error does not depend on the pieces.
            self.edit(out)?;
            judged?;
        }
        Ok(())
    }

    fn complete(&mut self, out: &mut Vec<u8>) -> Result<Summary, EditError> {
        self.compacted.clear();
        let judged = self.compactor.finish_and_reset(&mut self.compacted);
        self.edit(out)?;
        Ok(Summary { bytes_read: judged?, bytes_written: self.written })
    }

    fn edit(&mut self, out: &mut Vec<u8>) -> Result<(), EditError> {
        let start = out.len();
        let mut run = Run {
            code: &self.code,
            max_depth: self.limits.max_depth,
            files: &mut self.files,
            states: &mut self.states,
            machine: &mut self.machine,
            input: &self.compacted,
            at: 0,
            from: 0,
            start,
            limit: OutputLimit {
                room: usize::try_from(self.limits.max_output - self.written).unwrap_or(usize::MAX),
                total: self.limits.max_output,
            },
            out,
        };
        let result = run.run();
        self.written += (out.len() - start) as u64;
        match result {
            _ if self.written > self.limits.max_output => {
                Err(EditError::TooLarge { limit: self.limits.max_output })
            }
            result => result,
        }
    }
}
