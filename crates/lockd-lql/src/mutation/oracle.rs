//! The semantics of mutations the obvious way: a tree of the document, edited by one mutation after the other. It keeps
//! the text of everything, the order of members, and members that repeat a name.

use std::collections::BTreeSet;

use crate::path::{Path, Segment};

use super::literal::{Literal, add, push_number};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// As written.
    Scalar(String),
    Array(Vec<Tree>),
    Object(Vec<Member>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// As written, with quotes.
    pub(super) raw: String,
    pub(super) value: Tree,
    /// A mutation has created it.
    pub(super) new: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Set(String),
    Increment(f64),
    Remove,
}

impl Member {
    fn name(&self) -> String {
        serde_json::from_str(&self.raw).unwrap()
    }
}

impl Tree {
    /// Without whitespace.
    pub(super) fn print(&self) -> String {
        match self {
            Tree::Scalar(raw) => raw.clone(),
            Tree::Array(elements) => {
                format!("[{}]", elements.iter().map(Tree::print).collect::<Vec<_>>().join(","))
            }
            Tree::Object(members) => {
                let print = |member: &Member| format!("{}:{}", member.raw, member.value.print());
                format!("{{{}}}", members.iter().map(print).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// None if the mutation is impossible; the tree is then worthless.
    pub(super) fn change(&mut self, path: &Path, change: &Change) -> Option<()> {
        if path.segments.iter().all(|segment| matches!(segment, Segment::Name { .. })) {
            return self.change_plain(&path.segments, change);
        }
        let mut found = BTreeSet::new();
        self.find(&path.segments, &mut Vec::new(), &mut found);
        // From the end to the start, and what is inside before what is around it, so that places stay valid.
        found.iter().rev().try_for_each(|place| self.change_at(place, change))
    }

    fn change_plain(&mut self, segments: &[Segment], change: &Change) -> Option<()> {
        let (Tree::Object(members), [Segment::Name { name, .. }, rest @ ..]) = (self, segments) else {
            unreachable!("objects are made before they are entered");
        };
        let removes = matches!(change, Change::Remove);
        if rest.is_empty() && removes {
            members.retain(|member| member.name() != **name);
            return Some(());
        }
        if !removes && members.iter().all(|member| member.name() != **name) {
            let value = match change {
                Change::Increment(_) if rest.is_empty() => Tree::Scalar("0".into()),
                _ => Tree::Scalar("null".into()),
            };
            let raw = serde_json::to_string(&**name).unwrap();
            members.push(Member { raw, value, new: true });
            let first = members.iter().position(|member| member.new).unwrap();
            members[first..].sort_by_key(Member::name);
        }
        for member in members.iter_mut().filter(|member| member.name() == **name) {
            if rest.is_empty() {
                member.value.apply(change)?;
                continue;
            }
            if !matches!(member.value, Tree::Object(_)) {
                if removes {
                    continue;
                }
                member.value = Tree::Object(Vec::new());
            }
            member.value.change_plain(rest, change)?;
        }
        Some(())
    }

    fn apply(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::Set(value) => *self = Tree::Scalar(value.clone()),
            Change::Increment(delta) => {
                let Tree::Scalar(raw) = self else { return None };
                let number = serde_json::from_str::<serde_json::Value>(raw).ok()?.as_f64()?;
                let mut out = Vec::new();
                push_number(&mut out, add(number, *delta)?);
                *raw = String::from_utf8(out).unwrap();
            }
            Change::Remove => *self = Tree::Scalar("null".into()),
        }
        Some(())
    }

    fn children(&self) -> impl Iterator<Item = (Option<String>, usize, &Tree)> {
        let (members, elements): (&[Member], &[Tree]) = match self {
            Tree::Scalar(_) => (&[], &[]),
            Tree::Array(elements) => (&[], elements),
            Tree::Object(members) => (members, &[]),
        };
        let members = members.iter().enumerate().map(|(place, m)| (Some(m.name()), place, &m.value));
        members.chain(elements.iter().enumerate().map(|(place, element)| (None, place, element)))
    }

    fn find(&self, segments: &[Segment], here: &mut Vec<usize>, found: &mut BTreeSet<Vec<usize>>) {
        let Some((segment, rest)) = segments.split_first() else {
            found.insert(here.clone());
            return;
        };
        let descendants = *segment == Segment::Descendants;
        if descendants && !rest.is_empty() {
            self.find(rest, here, found);
        }
        for (member, place, child) in self.children() {
            here.push(place);
            let matches = match (segment, &member) {
                (Segment::Name { name, .. }, Some(member)) => **name == **member,
                (Segment::Name { index, .. }, None) => *index == Some(place as u64),
                (Segment::AnyMember, member) => member.is_some(),
                (Segment::AnyElement, member) => member.is_none(),
                (Segment::AnyChild, _) => true,
                (Segment::Descendants, _) => false,
            };
            if matches {
                child.find(rest, here, found);
            }
            if descendants {
                if rest.is_empty() {
                    found.insert(here.clone());
                }
                child.find(segments, here, found);
            }
            here.pop();
        }
    }

    fn change_at(&mut self, place: &[usize], change: &Change) -> Option<()> {
        match (place, self) {
            ([], tree) => tree.apply(change),
            ([last], Tree::Object(members)) if matches!(change, Change::Remove) => {
                members.remove(*last);
                Some(())
            }
            ([first, rest @ ..], Tree::Object(members)) => members[*first].value.change_at(rest, change),
            ([first, rest @ ..], Tree::Array(elements)) => elements[*first].change_at(rest, change),
            (_, Tree::Scalar(_)) => unreachable!("what is inside is changed first"),
        }
    }
}

/// What a literal is in JSON.
pub(super) fn json(literal: &str) -> String {
    let mut out = Vec::new();
    Literal::parse(literal).unwrap().push(&mut out);
    String::from_utf8(out).unwrap()
}
