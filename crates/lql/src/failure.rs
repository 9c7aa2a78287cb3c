//! What can go wrong once the command line has been understood, as people read it.

use std::{fmt, io, path::PathBuf};

use lockd_lql::{
    mutation::{EditError, MutationError},
    path::NotAPointer,
    stream::{DocumentsError, ProjectError},
};

#[derive(Debug)]
pub(crate) enum Failure {
    /// The message with the line of the selector and a caret.
    Selector(String),
    Field(NotAPointer),
    Mutation {
        expression: String,
        error: MutationError,
    },
    Open {
        path: PathBuf,
        error: io::Error,
    },
    Read {
        source: String,
        error: io::Error,
    },
    Write(io::Error),
    /// The stream itself.
    Stream {
        source: String,
        error: DocumentsError,
    },
    /// One document of the stream.
    Document {
        source: String,
        start: u64,
        error: DocumentError,
    },
}

/// Why a selected document could not be printed.
#[derive(Debug)]
pub(crate) enum DocumentError {
    Edit(EditError),
    Project(ProjectError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Selector(explained) => f.write_str(explained),
            Failure::Field(NotAPointer { pointer }) => {
                write!(f, "field {pointer:?} must start with '/', like /status or /lines[]/sku")
            }
            Failure::Mutation { expression, error } => {
                let (error, expression) = (beginning(&error.to_string()), beginning(expression));
                write!(f, "{error}\n  in the mutation {expression:?}")
            }
            Failure::Open { path, error } => write!(f, "open {}: {error}", path.display()),
            Failure::Read { source, error } => write!(f, "read {source}: {error}"),
            Failure::Write(error) => write!(f, "write the output: {error}"),
            Failure::Stream { source, error: error @ DocumentsError::TooLarge { .. } } => {
                write!(f, "{source}: {error}; --max-document allows more")
            }
            Failure::Stream { source, error } => write!(f, "{source}: {error}"),
            Failure::Document { source, start, error } => {
                write!(f, "{source}: the document at byte {start}: ")?;
                match error {
                    DocumentError::Edit(EditError::NotAnObject) => f.write_str("only objects can be edited"),
                    DocumentError::Edit(error) => error.fmt(f),
                    DocumentError::Project(error) => error.fmt(f),
                }
            }
        }
    }
}

/// As much of a text as people want to read: generated expressions can be very long.
fn beginning(text: &str) -> String {
    const LETTERS: usize = 400;
    match text.char_indices().nth(LETTERS) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
    }
}
