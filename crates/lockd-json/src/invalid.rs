//! What can be wrong with a document or a request body, said so that its author can find and fix it.

use std::fmt;

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The submitted bytes, whitespace included, are more than the limit.
    #[error("payload exceeds {limit} bytes")]
    TooLarge {
        /// The largest accepted number of bytes.
        limit: u64,
    },
    /// More arrays and objects are open at once than the limit.
    #[error("byte {offset}: arrays and objects are nested deeper than {limit} levels")]
    TooDeep {
        /// Position of the bracket that is one too many.
        offset: u64,
        /// The deepest accepted nesting.
        limit: u32,
    },
    /// The bytes do not follow the grammar of RFC 8259.
    #[error("byte {offset}: expected {expected}, found {found}")]
    Syntax {
        /// Position of the first byte that cannot be part of a document.
        offset: u64,
        /// What could have stood there.
        expected: &'static str,
        /// What stood there.
        found: Found,
    },
}

/// What was met instead of the expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This byte.
    Byte(u8),
    /// The input ended.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Found::Byte(byte @ (b' ' | b'!'..=b'~')) => write!(f, "'{}'", char::from(byte)),
            Found::Byte(byte) => write!(f, "byte 0x{byte:02X}"),
            Found::End => f.write_str("the end of the input"),
        }
    }
}

/// Why a request body was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No bytes at all, or only whitespace.
    #[error("the body is empty, expected a JSON object")]
    Empty,
    /// Not JSON, or something follows the object.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A JSON value of another type.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The type that was found, with its article.
        found: &'static str,
    },
    /// A member that the request does not have.
    #[error("unknown member {name:?}")]
    UnknownMember {
        /// Its name, cut if long.
        name: String,
    },
    /// A member with a value of another type.
    #[error("member {name:?}: expected {expected}, found {found}")]
    WrongType {
        /// The name of the member.
        name: String,
        /// The type it should have, with its article.
        expected: &'static str,
        /// The beginning of what was found.
        found: String,
    },
}
