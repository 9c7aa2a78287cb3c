//! What can be wrong with the text of a mutation. The texts are part of the service's contract.

use crate::{path::NotAPointer, text::SplitError};

/// Why a list of mutations was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MutationError {
    #[error("no field mutations provided")]
    NoneProvided,
    #[error("no valid field mutations parsed")]
    NoneParsed,
    #[error("invalid mutation {0:?} (expected key=value)")]
    NoValue(String),
    #[error("mutation {0:?} missing key path")]
    NoPath(String),
    #[error("remove mutation missing key path")]
    RemoveNoPath,
    #[error("increment mutation missing key path")]
    IncrementNoPath,
    #[error("increment mutation requires non-zero delta")]
    IncrementByZero,
    #[error("increment mutation {0:?} requires finite delta")]
    IncrementNotFinite(String),
    #[error("mutation {0:?} requires finite number")]
    NotFinite(String),
    #[error("mutation path {0:?} must start with '/'")]
    NotAPointer(String),
    #[error("path {0:?} refers to document root")]
    Root(String),
    #[error("brace mutation {0:?} empty")]
    BraceEmpty(String),
    #[error("brace mutation {0:?} produced no expressions")]
    BraceWithoutExpressions(String),
    #[error("brace mutation nests deeper than {limit} levels")]
    BraceTooDeep { limit: usize },
    #[error("brace mutations hold more than {limit} bytes, counted once for every block around them")]
    BracesTooLarge { limit: usize },
    #[error("invalid time literal {0:?}")]
    Time(String),
    #[error("time-prefixed mutation cannot be combined with delete/remove ({0})")]
    TimeRemove(String),
    #[error("time-prefixed mutation does not support {suffix} ({expression})")]
    TimeIncrement { suffix: &'static str, expression: String },
    #[error("file-backed mutations are disabled")]
    FilesDisabled,
    #[error("file-backed mutation cannot be combined with time: ({0})")]
    FileTime(String),
    #[error("file-backed mutation cannot be combined with delete/remove ({0})")]
    FileRemove(String),
    #[error("file-backed mutation cannot be combined with {suffix} ({expression})")]
    FileIncrement { suffix: &'static str, expression: String },
    #[error("file-backed mutation missing file path")]
    FileNoPath,
    #[error("relative file-backed mutation path {0:?} requires file value base dir")]
    FileNoBaseDir(String),
    #[error("file-backed mutation path {0:?} requires a home directory")]
    FileNoHome(String),
    #[error("mutation path has more than {limit} segments")]
    PathTooLong { limit: usize },
    #[error("mutations address more than {limit} path segments")]
    TooManySegments { limit: usize },
    #[error(transparent)]
    Split(#[from] SplitError),
}

impl From<NotAPointer> for MutationError {
    fn from(error: NotAPointer) -> Self {
        MutationError::NotAPointer(error.pointer)
    }
}
