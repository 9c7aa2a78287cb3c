//! LQL, a small language about JSON documents: selectors choose them, projections cut fields out of them, mutations edit
//! them. Everything works on streams: one pass, no document tree, memory bounded by nesting depth and by the program.

pub mod condition;
pub mod error;
pub mod index_needs;
pub mod mutation;
#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
pub mod path;
pub mod selector;
pub mod stream;
pub mod temporal;
pub mod text;
