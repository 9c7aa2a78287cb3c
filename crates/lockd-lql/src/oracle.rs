//! Evaluation written for obviousness instead of speed: it walks a document tree and follows the rules one by one. Faster
//! evaluators are compared with it. Only tests and benchmarks use it.

#[cfg(test)]
pub(crate) mod contract;

use std::borrow::Cow;

use crate::{
    condition::{Clause, Condition, Node, Scalar},
    path::Segment,
};

/// A document tree.
pub trait Json: Sized {
    fn kind(&self) -> Kind<'_>;
    /// The members of an object in their order, repeated names included; nothing for other values.
    fn members(&self) -> impl Iterator<Item = (&str, &Self)>;
    /// The elements of an array; nothing for other values.
    fn elements(&self) -> &[Self];
}

/// What a node of a document tree is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    Text(&'a str),
    Number(Cow<'a, str>),
    Bool(bool),
    Null,
    Array,
    Object,
}

impl Kind<'_> {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Kind::Text(text) => Scalar::Text(text),
            Kind::Number(literal) => Scalar::Number(literal),
            Kind::Bool(flag) => Scalar::Bool(*flag),
            Kind::Null => Scalar::Null,
            Kind::Array => Scalar::Array,
            Kind::Object => Scalar::Object,
        }
    }
}

impl Json for serde_json::Value {
    fn kind(&self) -> Kind<'_> {
        match self {
            serde_json::Value::Null => Kind::Null,
            serde_json::Value::Bool(flag) => Kind::Bool(*flag),
            serde_json::Value::Number(number) => Kind::Number(Cow::Owned(number.to_string())),
            serde_json::Value::String(text) => Kind::Text(text),
            serde_json::Value::Array(_) => Kind::Array,
            serde_json::Value::Object(_) => Kind::Object,
        }
    }

    fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    fn elements(&self) -> &[Self] {
        self.as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

/// Whether a stored document satisfies the condition. The elements of an array at the root are candidates of their own.
pub fn matches<J: Json>(condition: &Condition, document: &J) -> bool {
    match document.kind() {
        Kind::Array if condition.root != Node::Always => {
            document.elements().iter().any(|element| candidate_matches(condition, element))
        }
        _ => candidate_matches(condition, document),
    }
}

/// Whether one candidate satisfies the condition: only objects can, unless every document does.
pub fn candidate_matches<J: Json>(condition: &Condition, candidate: &J) -> bool {
    condition.root == Node::Always
        || (candidate.kind() == Kind::Object && node_matches(&condition.root, condition, candidate))
}

fn node_matches<J: Json>(node: &Node, condition: &Condition, document: &J) -> bool {
    match node {
        Node::Always => true,
        Node::Never => false,
        Node::All(parts) => parts.iter().all(|part| node_matches(part, condition, document)),
        Node::Any(parts) => parts.iter().any(|part| node_matches(part, condition, document)),
        Node::Not(part) => !node_matches(part, condition, document),
        Node::Clause(index) => {
            condition.clauses.get(*index).is_some_and(|clause| clause_matches(clause, document))
        }
    }
}

fn clause_matches<J: Json>(clause: &Clause, document: &J) -> bool {
    let mut values = Vec::new();
    resolve(document, &clause.path.segments, &mut values);
    if clause.test.descends() {
        values = values.into_iter().flat_map(with_elements).collect();
    }
    values.into_iter().any(|value| clause.test.accepts(value.kind().scalar()))
}

/// A value, and if it is an array all that is in it and in arrays within.
fn with_elements<J: Json>(value: &J) -> Vec<&J> {
    let mut all = vec![value];
    all.extend(value.elements().iter().flat_map(with_elements));
    all
}

/// Collects the values that a path leads to.
pub fn resolve<'a, J: Json>(value: &'a J, path: &[Segment], values: &mut Vec<&'a J>) {
    let Some((step, rest)) = path.split_first() else { return values.push(value) };
    let members = value.members();
    let elements = value.elements();
    match step {
        Segment::Name { name, index } => {
            members
                .filter(|(member, _)| *member == &**name)
                .for_each(|(_, inner)| resolve(inner, rest, values));
            let indexed = index.and_then(|index| elements.get(usize::try_from(index).ok()?));
            match indexed {
                Some(element) => resolve(element, rest, values),
                // Arrays are looked through: the step is left for their elements.
                None => elements.iter().for_each(|element| resolve(element, path, values)),
            }
        }
        Segment::AnyMember => members.for_each(|(_, inner)| resolve(inner, rest, values)),
        Segment::AnyElement => elements.iter().for_each(|element| resolve(element, rest, values)),
        Segment::AnyChild => {
            members.for_each(|(_, inner)| resolve(inner, rest, values));
            elements.iter().for_each(|element| resolve(element, rest, values));
        }
        Segment::Descendants => {
            resolve(value, rest, values);
            members.for_each(|(_, inner)| resolve(inner, path, values));
            elements.iter().for_each(|element| resolve(element, path, values));
        }
    }
}
