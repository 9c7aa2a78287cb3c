//! The compiled selector: what evaluators and index planners work with. Everything that can be prepared is: paths are
//! parsed, case is folded, literals are instants, words such as `today` have become moments.

mod accept;
mod compile;

pub(crate) use accept::within;
pub use accept::{Scalar, fold_case, fold_char};

use crate::path::Path;

/// A compiled selector.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub root: Node,
    /// The clauses that leaves of the tree point at; equal clauses are one.
    pub clauses: Vec<Clause>,
}

/// The boolean structure. Always-true and always-false parts have been folded away, so constants stand at the root only.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Always,
    Never,
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// Index into [`Condition::clauses`].
    Clause(usize),
}

/// True when any value at the path passes the test.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    pub path: Path,
    pub test: Test,
}

/// A test of one value. Those marked *descends* look into arrays at the end of a path, element by element; the others are
/// satisfied by the array itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Descends. The string form equals the text, or both are temporal and mean the same time.
    Equals { text: String, time: Option<Temporal>, fold_case: bool },
    /// Descends. The string form contains one of the needles.
    Contains { needles: Vec<String>, fold_case: bool },
    /// Descends. The string form starts with one of the needles.
    StartsWith { needles: Vec<String>, fold_case: bool },
    /// Descends. The string form is one of the items.
    OneOf { items: Vec<String> },
    /// Descends. A number, or a string that is a complete number, inside all bounds.
    Numbers { lower: Option<Edge<f64>>, upper: Option<Edge<f64>> },
    /// Descends. A temporal literal inside all bounds and equal to `equal`, if given.
    Times { equal: Option<Temporal>, lower: Option<Edge<Instant>>, upper: Option<Edge<Instant>> },
    /// Descends. Any string, number or boolean.
    Scalar,
    /// Anything at all, `null` included.
    Present,
    /// Anything but `null`.
    Exists,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge<T> {
    pub at: T,
    pub inclusive: bool,
}

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i128);

/// A temporal literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporal {
    /// A calendar day: days since the Unix epoch.
    Day(i64),
    /// A moment, and the day that it falls on by its own offset.
    Moment { instant: Instant, local_day: i64 },
}
