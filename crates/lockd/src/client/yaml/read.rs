//! From YAML to JSON text.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::scalar::{Plain, resolve};

/// Deeper documents are refused by servers, too.
const MAX_DEPTH: usize = 500;
/// Aliases can make a short text very long.
const ALIASED_MAX: usize = 32 << 20;

#[derive(Debug)]
enum Node {
    /// As it is written, and as JSON text.
    Scalar(String, String),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<(String, Rc<Node>)>),
}

/// What is being read, from the outside in.
enum Open {
    Sequence(Vec<Rc<Node>>),
    Mapping { members: Vec<(String, Rc<Node>)>, name: Name, merged: Vec<Rc<Node>> },
}

enum Name {
    /// The next node is one.
    Expected,
    Known(String),
    /// The next node's members belong to this mapping.
    Merge,
}

/// The first document as JSON text. Members keep their order.
pub(in super::super) fn to_json(text: &str) -> Result<Vec<u8>, String> {
    let node = first_document(text).map_err(|error| format!("parse yaml: {error}"))?;
    let mut out = String::new();
    match node {
        Some(node) => write(&node, 0, ALIASED_MAX.max(text.len() * 8), &mut out)
            .map_err(|error| format!("parse yaml: {error}"))?,
        None => out.push_str("null"),
    }
    Ok(out.into_bytes())
}

fn first_document(text: &str) -> Result<Option<Rc<Node>>, String> {
    let mut anchors: HashMap<usize, Rc<Node>> = HashMap::new();
    let mut open: Vec<(Open, usize)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error: ScanError| error.to_string())?;
        let at = |reason: String| format!("line {}: {reason}", span.start.line());
        let (node, anchor) = match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => continue,
            Event::DocumentEnd | Event::StreamEnd => return Ok(None),
            Event::Alias(id) => match anchors.get(&id) {
                Some(node) => (Rc::clone(node), 0),
                None => return Err(at("an alias stands inside of what it refers to".into())),
            },
            Event::Scalar(text, style, anchor, tag) => {
                if let Some((Open::Mapping { name: name @ Name::Expected, .. }, _)) = open.last_mut() {
                    let is_merge = style == ScalarStyle::Plain && text == "<<" && tag.is_none();
                    *name = if is_merge { Name::Merge } else { Name::Known(text.to_string()) };
                    if anchor > 0 {
                        let json = serde_json::Value::from(&*text).to_string();
                        anchors.insert(anchor, Rc::new(Node::Scalar(text.to_string(), json)));
                    }
                    continue;
                }
                let json = scalar(&text, style, tag.as_deref()).map_err(at)?;
                (Rc::new(Node::Scalar(text.into_owned(), json)), anchor)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if let Some((Open::Mapping { name: Name::Expected, .. }, _)) = open.last() {
                    return Err(at("a list or a mapping cannot be the name of a member in JSON".into()));
                }
                if open.len() >= MAX_DEPTH {
                    return Err(at(format!("nested more than {MAX_DEPTH} levels deep")));
                }
                let begun = match event {
                    Event::SequenceStart(..) => Open::Sequence(Vec::new()),
                    _ => Open::Mapping { members: Vec::new(), name: Name::Expected, merged: Vec::new() },
                };
                open.push((begun, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((Open::Sequence(items), anchor)) => (Rc::new(Node::Sequence(items)), anchor),
                Some((Open::Mapping { members, merged, .. }, anchor)) => {
                    (Rc::new(Node::Mapping(complete(members, &merged).map_err(at)?)), anchor)
                }
                None => return Err(at("something ends that never began".into())),
            },
        };
        if anchor > 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        match open.last_mut() {
            None => return Ok(Some(node)),
            Some((Open::Sequence(items), _)) => items.push(node),
            Some((Open::Mapping { members, name, merged }, _)) => {
                match std::mem::replace(name, Name::Expected) {
                    Name::Known(name) => members.push((name, node)),
                    Name::Merge => merged.push(node),
                    Name::Expected => match &*node {
                        Node::Scalar(text, _) => *name = Name::Known(text.clone()),
                        _ => {
                            return Err(at(
                                "a list or a mapping cannot be the name of a member in JSON".into()
                            ));
                        }
                    },
                }
            }
        }
    }
    Ok(None)
}

/// A mapping with what `<<` brings in: its own members win, then those that were named first.
fn complete(
    mut members: Vec<(String, Rc<Node>)>,
    merged: &[Rc<Node>],
) -> Result<Vec<(String, Rc<Node>)>, String> {
    let mut names = HashSet::new();
    for (name, _) in &members {
        if !names.insert(name.clone()) {
            return Err(format!("the member {name:?} occurs twice in this mapping"));
        }
    }
    let mut sources = Vec::new();
    for node in merged {
        match &**node {
            Node::Sequence(items) => sources.extend(items.iter()),
            _ => sources.push(node),
        }
    }
    for source in sources {
        let Node::Mapping(others) = &**source else {
            return Err("<< takes a mapping or a list of mappings".into());
        };
        for (name, node) in others {
            if names.insert(name.clone()) {
                members.push((name.clone(), Rc::clone(node)));
            }
        }
    }
    Ok(members)
}

/// JSON text of a scalar. Quotes and `!!str` make everything a text; tags of other kinds say what must be there.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<String, String> {
    let quoted = || serde_json::Value::from(text).to_string();
    let wanted = tag.filter(|tag| tag.handle == "tag:yaml.org,2002:").map(|tag| tag.suffix.as_str());
    let resolved = match (style, wanted, tag) {
        (_, Some("str" | "binary" | "timestamp"), _) => return Ok(quoted()),
        (ScalarStyle::Plain, ..) | (_, Some("int" | "float" | "bool" | "null"), _) => resolve(text),
        _ => return Ok(quoted()),
    };
    match (resolved, wanted) {
        (Plain::Unbounded, _) => Err(format!("{text} has no form in JSON")),
        (Plain::Null, None | Some("null")) => Ok("null".into()),
        (Plain::Bool(on), None | Some("bool")) => Ok(on.to_string()),
        (Plain::Number(number), Some("int")) if number.contains(['.', 'e', 'E']) => {
            Err(format!("{text:?} is not an integer"))
        }
        (Plain::Number(number), None | Some("int" | "float")) => Ok(number),
        (Plain::Text, None) => Ok(quoted()),
        (_, Some(kind @ ("int" | "float" | "bool" | "null"))) => {
            Err(format!("{text:?} is not of type {kind}"))
        }
        (_, Some(_)) => Ok(quoted()),
    }
}

fn write(node: &Node, depth: usize, limit: usize, out: &mut String) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested more than {MAX_DEPTH} levels deep"));
    }
    if out.len() > limit {
        return Err("its aliases make it too large".into());
    }
    match node {
        Node::Scalar(_, json) => out.push_str(json),
        Node::Sequence(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, depth + 1, limit, out)?;
            }
            out.push(']');
        }
        Node::Mapping(members) => {
            out.push('{');
            for (place, (name, value)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, depth + 1, limit, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        String::from_utf8(to_json(text).unwrap()).unwrap()
    }

    fn error(text: &str) -> String {
        to_json(text).unwrap_err()
    }

    #[test]
    fn the_first_document_becomes_json() {
        let text = "count: 2\ntags: [a, b]\nn: 18446744073709551616\n---\nother: [\n";
        assert_eq!(json(text), r#"{"count":2,"tags":["a","b"],"n":18446744073709551616}"#);
        for empty in ["", "\n", "# nothing\n", "---\n", "~"] {
            assert_eq!(json(empty), "null", "{empty:?}");
        }
        assert_eq!(json("just text"), "\"just text\"");
        assert!(error("a: [").starts_with("parse yaml: "));
        assert!(error("a: .inf").contains(".inf has no form in JSON"));
    }

    #[test]
    fn plain_words_have_types_and_quoted_ones_do_not() {
        assert_eq!(
            json("a: yes\nb: 'yes'\nc: \"0777\"\nd: 0777\ne: |\n  no\n"),
            "{\"a\":true,\"b\":\"yes\",\"c\":\"0777\",\"d\":511,\"e\":\"no\\n\"}"
        );
        assert_eq!(
            json("[!!str 12, !!int '12', !!float 1, !!bool 'no', !local x]"),
            r#"["12",12,1,false,"x"]"#
        );
        assert!(error("!!int x").contains("\"x\" is not of type int"));
        assert!(error("!!int 1.5").contains("\"1.5\" is not an integer"));
    }

    #[test]
    fn names_of_members_stay_text() {
        assert_eq!(
            json("n: 1\non: 2\n1: 3\n0x10: 4\ntrue: 5\n~: 6"),
            r#"{"n":1,"on":2,"1":3,"0x10":4,"true":5,"~":6}"#
        );
        assert!(error("? [a]\n: 1").contains("cannot be the name of a member"));
        assert!(error("a: 1\na: 2").contains("the member \"a\" occurs twice"));
    }

    #[test]
    fn aliases_and_merges_are_written_out() {
        let text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  x: 3\nlist: [*b, &s 7, *s]\n*s : 8\n";
        assert_eq!(
            json(text),
            r#"{"base":{"x":1,"y":2},"one":{"x":3,"y":2},"list":[{"x":1,"y":2},7,7],"7":8}"#
        );
        assert_eq!(
            json("a: &a {k: 1}\nb: &b {k: 2, l: 3}\nc: {<<: [*a, *b]}"),
            r#"{"a":{"k":1},"b":{"k":2,"l":3},"c":{"k":1,"l":3}}"#
        );
        assert!(error("a: &a [*a]").contains("inside of what it refers to"));
        assert!(error("{<<: 1}").contains("<< takes a mapping"));
    }

    #[test]
    fn what_is_meant_to_hurt_does_not() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(error(&bomb).contains("too large"));
        assert!(error(&"[".repeat(5000)).contains("parse yaml: "));
    }
}
