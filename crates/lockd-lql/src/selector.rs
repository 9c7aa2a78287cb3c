//! The selector as people and SDKs write it: the syntax tree, with the shape of its JSON form.

/// A node: true when every part that it has is true; without parts it is true of every document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    pub and: Vec<Selector>,
    pub or: Vec<Selector>,
    pub not: Option<Box<Selector>>,
    pub eq: Option<Term>,
    pub contains: Option<Term>,
    pub icontains: Option<Term>,
    pub prefix: Option<Term>,
    pub iprefix: Option<Term>,
    pub range: Option<Range>,
    pub date: Option<Date>,
    pub within: Option<Within>,
    pub exists: Option<String>,
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
