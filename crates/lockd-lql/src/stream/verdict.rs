//! The boolean structure of a condition, decided as soon as enough is known.
//!
//! Clauses become true one by one; what is not true when the document ends is false. Every node therefore has two things:
//! the value that it would have if nothing more came, and whether anything that may come could change it.

use crate::condition::{Condition, Node};

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Part {
    parent: u32,
    kind: Kind,
    /// Its value if no more clauses become true.
    value: bool,
    decided: bool,
    /// Children that could still change.
    open: u32,
    /// Children that are true if no more clauses become true.
    trues: u32,
    children: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Any,
    Not,
    Leaf,
}

/// A condition being decided for one document after the other.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    parts: Vec<Part>,
    /// The parts as they are before a document.
    fresh: Vec<Part>,
    /// For every clause the leaves that it is: the range in `leaves`.
    clauses: Vec<(u32, u32)>,
    leaves: Vec<u32>,
    touched: Vec<u32>,
}

impl Verdict {
    pub(crate) fn new(condition: &Condition) -> Self {
        let mut parts = Vec::new();
        let mut leaves = Vec::new();
        // A stack instead of recursion: nodes to add, and with which parent.
        let mut stack = vec![(&condition.root, NONE)];
        while let Some((node, parent)) = stack.pop() {
            let index = parts.len() as u32;
            let (kind, children): (Kind, &[Node]) = match node {
                Node::Always => (Kind::All, &[]),
                Node::Never => (Kind::Any, &[]),
                Node::All(children) => (Kind::All, children),
                Node::Any(children) => (Kind::Any, children),
                Node::Not(child) => (Kind::Not, std::slice::from_ref(&**child)),
                Node::Clause(clause) => {
                    leaves.push((*clause as u32, index));
                    (Kind::Leaf, &[])
                }
            };
            let children_count = children.len() as u32;
            parts.push(Part {
                parent,
                kind,
                value: false,
                decided: false,
                open: children_count,
                trues: 0,
                children: children_count,
            });
            stack.extend(children.iter().map(|child| (child, index)));
        }
        // Children stand behind their parents.
        for index in (0..parts.len()).rev() {
            let Some(part) = parts.get_mut(index) else { continue };
            part.value = part.value_now();
            part.decided = part.kind != Kind::Leaf && part.open == 0;
            let Part { parent, value, decided, .. } = *part;
            if let Some(parent) = parts.get_mut(parent as usize) {
                parent.trues += u32::from(value);
                // A decided constant below would have been folded away, but must not break anything.
                if decided {
                    parent.open -= 1;
                }
            }
        }
        leaves.sort_unstable();
        let mut clauses = vec![(0, 0); condition.clauses.len()];
        for (place, &(clause, _)) in leaves.iter().enumerate() {
            if let Some((from, to)) = clauses.get_mut(clause as usize) {
                if from == to {
                    *from = place as u32;
                }
                *to = place as u32 + 1;
            }
        }
        let leaves = leaves.into_iter().map(|(_, leaf)| leaf).collect();
        let fresh = parts.clone();
        Verdict { parts, fresh, clauses, leaves, touched: Vec::new() }
    }

    /// Begins a document.
    pub(crate) fn reset(&mut self) {
        for index in self.touched.drain(..) {
            if let (Some(part), Some(fresh)) =
                (self.parts.get_mut(index as usize), self.fresh.get(index as usize))
            {
                *part = *fresh;
            }
        }
    }

    /// The clause is true, said once for a document. Returns the answer if it is known now.
    pub(crate) fn satisfied(&mut self, clause: u32) -> Option<bool> {
        let (from, to) = self.clauses.get(clause as usize).copied().unwrap_or_default();
        for place in from..to {
            let Some(&leaf) = self.leaves.get(place as usize) else { continue };
            self.change(leaf);
        }
        self.parts.first().filter(|root| root.decided).map(|root| root.value)
    }

    /// The answer if nothing more comes.
    pub(crate) fn value(&self) -> bool {
        self.parts.first().is_some_and(|root| root.value)
    }

    /// A leaf becomes true: tells its ancestors as far as that matters to them.
    fn change(&mut self, leaf: u32) {
        let Some(part) = self.parts.get_mut(leaf as usize) else { return };
        (part.value, part.decided) = (true, true);
        self.touched.push(leaf);
        let mut at = part.parent;
        // What the child became, if its value changed; and what it is for good, if it was decided just now.
        let (mut changed, mut decided) = (Some(true), Some(true));
        while let Some(part) = self.parts.get_mut(at as usize) {
            if part.decided || changed.is_none() && decided.is_none() {
                return;
            }
            self.touched.push(at);
            match changed {
                Some(true) => part.trues += 1,
                Some(false) => part.trues -= 1,
                None => {}
            }
            let before = part.value;
            part.value = part.value_now();
            changed = (part.value != before).then_some(part.value);
            if let Some(child) = decided {
                part.open -= 1;
                let rules = match part.kind {
                    Kind::All => !child,
                    Kind::Any => child,
                    Kind::Not | Kind::Leaf => true,
                };
                part.decided = rules || part.open == 0;
            }
            decided = part.decided.then_some(part.value);
            at = part.parent;
        }
    }
}

impl Part {
    fn value_now(&self) -> bool {
        match self.kind {
            Kind::All => self.trues == self.children,
            Kind::Any => self.trues > 0,
            Kind::Not => self.trues == 0,
            Kind::Leaf => false,
        }
    }
}
