//! Documents as they stream by: finding tokens in them, judging them, cutting fields out of them.

mod evaluation;
mod long;
mod matcher;
mod probe;
mod route;
#[cfg(test)]
mod sample;
mod scan;
mod text;
mod verdict;

pub use matcher::{Candidate, DEFAULT_DEPTH, MatchError, Matcher, Unfinished};
pub use scan::{Scanner, Status, Text, Visit, Wish};
