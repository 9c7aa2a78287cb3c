//! Any selector over any stream: the properties that the tests of lockd-lql state for streams, and the same answers as the
//! plain evaluator gives for a tree of the document.
#![no_main]

#[path = "../../crates/lockd-lql/tests/properties/stream.rs"]
mod stream;

use std::borrow::Cow;

use lockd_lql::{
    oracle::{self, Json, Kind},
    stream::Matcher,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(input) = stream::Input::new(data) else { return };
    stream::holds(&input);
    let mut matcher = Matcher::new(&input.condition);
    let mut candidates = Vec::new();
    let _ = matcher.select(input.stream, |candidate| {
        candidates.push(candidate);
        true
    });
    for candidate in candidates {
        let document = &input.stream[candidate.start as usize..candidate.end as usize];
        if let Some(tree) = tree(document) {
            let expected = oracle::candidate_matches(&input.condition, &tree);
            assert_eq!(candidate.matched, expected, "{:?}", String::from_utf8_lossy(document));
        }
    }
});

/// A document with its numbers as they are spelled and all its members.
enum Tree {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Json for Tree {
    fn kind(&self) -> Kind<'_> {
        match self {
            Tree::Null => Kind::Null,
            Tree::Bool(flag) => Kind::Bool(*flag),
            Tree::Number(number) => Kind::Number(Cow::Borrowed(number)),
            Tree::Text(text) => Kind::Text(text),
            Tree::Array(_) => Kind::Array,
            Tree::Object(_) => Kind::Object,
        }
    }

    fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        let members: &[(String, Tree)] = if let Tree::Object(members) = self { members } else { &[] };
        members.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn elements(&self) -> &[Self] {
        if let Tree::Array(elements) = self { elements } else { &[] }
    }
}

/// Builds the tree of a valid document; none if it nests deep or has escapes that are no text.
fn tree(document: &[u8]) -> Option<Tree> {
    let mut compact = Vec::new();
    lockd_json::compact(document, &mut compact).ok()?;
    value(&mut compact.as_slice(), 100)
}

fn value(rest: &mut &[u8], levels: usize) -> Option<Tree> {
    let levels = levels.checked_sub(1)?;
    match *rest.first()? {
        b'{' => {
            let mut members = Vec::new();
            while next(rest)? != b'}' && (!members.is_empty() || rest.first() != Some(&b'}')) {
                let Tree::Text(name) = text(rest)? else { return None };
                next(rest)?;
                members.push((name, value(rest, levels)?));
            }
            if members.is_empty() {
                next(rest)?;
            }
            Some(Tree::Object(members))
        }
        b'[' => {
            let mut elements = Vec::new();
            while next(rest)? != b']' && (!elements.is_empty() || rest.first() != Some(&b']')) {
                elements.push(value(rest, levels)?);
            }
            if elements.is_empty() {
                next(rest)?;
            }
            Some(Tree::Array(elements))
        }
        b'"' => text(rest),
        _ => {
            let length = rest.iter().position(|byte| b",]}".contains(byte)).unwrap_or(rest.len());
            let literal = std::str::from_utf8(&rest[..length]).ok()?;
            *rest = &rest[length..];
            Some(match literal {
                "null" => Tree::Null,
                "true" => Tree::Bool(true),
                "false" => Tree::Bool(false),
                number => Tree::Number(number.to_owned()),
            })
        }
    }
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

fn text(rest: &mut &[u8]) -> Option<Tree> {
    let mut length = 1;
    while rest.get(length)? != &b'"' {
        length += if rest[length] == b'\\' { 2 } else { 1 };
    }
    let text = serde_json::from_slice(rest.get(..=length)?).ok()?;
    *rest = &rest[length + 1..];
    Some(Tree::Text(text))
}
