//! JSON as lockd needs it on the hot path, and nothing more.
//!
//! * [`Compactor`] validates a document of any size as it arrives and drops the whitespace between its tokens. All
//!   other bytes survive untouched, because clients read their state back byte for byte.
//! * [`Outliner`] validates a stream of documents and tells, 64 bytes at a time, what begins and ends where. Whatever
//!   must look into documents stands on it.
//! * [`Skipper`] finds the ends of arrays and objects in validated documents.
//! * [`Object`] reads the small request bodies, where every deviation from the documented members is an error.
//! * [`ObjectWriter`] writes responses.
//!
//! Nothing here builds a document tree, recurses on the native stack or knows about HTTP and leases.

mod automaton;
mod carry;
mod compact;
mod cursor;
mod invalid;
mod lanes;
mod nesting;
mod object;
mod outline;
mod skip;
mod text;
mod walk;
mod write;

pub use compact::{Compactor, Limits, compact};
pub use invalid::{DecodeError, Found, Invalid};
pub use object::Object;
pub use outline::{Marks, Outliner};
pub use skip::Skipper;
pub use write::{ObjectWriter, push_bool, push_int, push_string};
