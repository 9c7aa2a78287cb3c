//! Documents as they stream by: finding tokens in them, judging them, cutting fields out of them.

mod documents;
mod evaluation;
mod long;
mod matcher;
mod probe;
mod project;
mod route;
#[cfg(test)]
mod sample;
mod scan;
mod text;
mod trace;
mod verdict;

pub use documents::{Document, Documents, DocumentsError, Wanted};
pub use matcher::{Candidate, DEFAULT_DEPTH, MatchError, Matcher, Unfinished};
pub use project::{ProjectError, Projector};
pub use scan::{Scanner, Status, Text, Visit, Wish};
