//! Mutations: ordered lists of edits of one object document, applied to a stream into a stream.
//!
//! * [`Mutations`] is a list of expressions, read from text;
//! * [`Program`] is the list made ready to run: all expressions at once, in one pass, whatever their number;
//! * [`Editor`] runs a program over one document after the other. What a program does not touch passes through byte for
//!   byte, only without the whitespace between tokens.
//!
//! ```
//! use lockd_lql::{condition::Instant, mutation::{EditLimits, Mutations, ParseOptions}};
//!
//! let mutations = Mutations::parse_list(&["/status=done", "/tries++", "rm:/lock"], &ParseOptions::default())?;
//! let mut editor = mutations.compile(Instant(0)).editor(EditLimits::default());
//! let mut out = Vec::new();
//! editor.push(br#"{"id": 7.0, "tries": 2, "lock": "me"}"#, &mut out)?;
//! editor.finish(&mut out)?;
//! assert_eq!(out, br#"{"id":7.0,"tries":3,"status":"done"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod attacks;
mod built;
mod edit_error;
mod editor;
mod expression;
mod file_value;
mod literal;
mod machine;
mod mutation_error;
#[cfg(test)]
mod oracle;
mod program;
mod routes;
mod scan;
mod states;
#[cfg(test)]
mod tests;

pub use edit_error::{Blocked, EditError, Kind};
pub use editor::{EditLimits, Editor, Summary};
pub use expression::{Mutations, ParseOptions};
pub use file_value::{FileAccess, FileEncoding, FileError, FileValue, FileValues, LocalFiles};
pub use mutation_error::MutationError;
pub use program::Program;
