//! Why a document could not be edited.

use std::fmt;

use lockd_json::Invalid;

use super::file_value::FileError;

/// Why a document could not be edited. What was written of it until then is worthless.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The document or what becomes of it is larger than the limit.
    #[error("document exceeds {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("mutate stream mode requires top-level JSON object root")]
    NotAnObject,
    /// The document, or what becomes of it, nests deeper than the limit.
    #[error("arrays and objects are nested deeper than {limit} levels")]
    TooDeep { limit: u32 },
    /// An increment met something that it cannot change.
    #[error("increment {path}: {reason}")]
    Increment { path: String, reason: Blocked },
    /// Taken together, the document and the mutations take more work than one request is worth.
    #[error("the mutations take too many steps on this document; send fewer of them at a time")]
    TooComplex,
    /// The document is not JSON.
    #[error(transparent)]
    Invalid(Invalid),
    /// A file that a value is kept in could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<Invalid> for EditError {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::TooLarge { limit } => EditError::TooLarge { limit },
            Invalid::TooDeep { limit, .. } => EditError::TooDeep { limit },
            other => EditError::Invalid(other),
        }
    }
}

/// Why an increment is impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    #[error("the value is not numeric but {0}")]
    NotNumeric(Kind),
    #[error("the result is outside of the range of 64-bit floats")]
    NotFinite,
    #[error("the number is written with more than {limit} digits")]
    TooLong { limit: usize },
}

/// The kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

impl Kind {
    /// The kind of the value that starts with this byte.
    pub(super) fn starting(byte: u8) -> Kind {
        match byte {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::Text,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::Text => "a string",
            Kind::Number => "a number",
            Kind::Bool => "a boolean",
            Kind::Null => "null",
        })
    }
}
