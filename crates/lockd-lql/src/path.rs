//! Paths: JSON pointers with wildcards.

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A member of that name; in an array, the element with that index if the name is a number.
    Name { name: Box<str>, index: Option<u64> },
    /// `*`: any member of an object.
    AnyMember,
    /// `[]`: any element of an array.
    AnyElement,
    /// `**`: any direct child.
    AnyChild,
    /// `...`: the node itself and everything below it.
    Descendants,
}

/// A list of steps from the document's root; empty means the root itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path {
    pub segments: Box<[Segment]>,
}
