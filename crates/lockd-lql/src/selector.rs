//! The selector as people and SDKs write it: the syntax tree, with the shape of its JSON form.

mod canonical;
mod check;
mod clause;
mod clause_path;
#[cfg(test)]
mod contract;
mod json;
mod parse;
mod print;
mod read;
mod shorthand;
mod simplify;
mod tree;
mod url;

pub use parse::Join;

pub(crate) use check::Since;

/// How deep selectors may nest: a clause alone is one level, each `and`, `or` and `not` around it adds one.
pub const MAX_DEPTH: usize = 256;

/// A node: true when every part that it has is true; without parts it is true of every document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    pub and: Vec<Selector>,
    pub or: Vec<Selector>,
    pub not: Option<Box<Selector>>,
    // Clauses are boxed because most nodes have one: a node without them must not be large.
    pub eq: Option<Box<Term>>,
    pub contains: Option<Box<Term>>,
    pub icontains: Option<Box<Term>>,
    pub prefix: Option<Box<Term>>,
    pub iprefix: Option<Box<Term>>,
    pub range: Option<Box<Range>>,
    pub date: Option<Box<Date>>,
    pub within: Option<Box<Within>>,
    pub exists: Option<Box<str>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Term {
    pub field: String,
    /// Absent and empty differ: without a value the term asks whether the field is there at all.
    pub value: Option<String>,
    pub any: Vec<String>,
    pub ignore_case: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    pub field: String,
    pub gte: Option<Bound>,
    pub gt: Option<Bound>,
    pub lte: Option<Bound>,
    pub lt: Option<Bound>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    Number(f64),
    /// A temporal literal, as written.
    Time(String),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Date {
    pub field: String,
    pub value: Option<String>,
    pub after: Option<String>,
    pub before: Option<String>,
    pub gte: Option<String>,
    pub gt: Option<String>,
    pub lte: Option<String>,
    pub lt: Option<String>,
    pub since: Option<String>,
}

/// `in`: the field is one of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Within {
    pub field: String,
    pub any: Vec<String>,
}

impl Selector {
    /// Whether no node is deeper than [`MAX_DEPTH`]. Does not look further down than that.
    pub(crate) fn depth_is_bounded(&self) -> bool {
        fn fits(selector: &Selector, levels: usize) -> bool {
            let Some(below) = levels.checked_sub(1) else { return false };
            selector
                .and
                .iter()
                .chain(&selector.or)
                .chain(selector.not.as_deref())
                .all(|inner| fits(inner, below))
        }
        fits(self, MAX_DEPTH)
    }
}
