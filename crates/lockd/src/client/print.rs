//! Output: documents and results as JSON the way scripts know it, and the two streams.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Failure, Outcome};

/// Deeper documents are printed on one line below this level; nobody reads them by eye.
const MAX_INDENTED: usize = 500;

pub(super) fn out(bytes: &[u8]) -> Outcome<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::NobodyReads,
        _ => Failure::Local(format!("write to standard output: {error}")),
    })
}

pub(super) fn complain(text: &str) {
    // If stderr is gone there is nobody left to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A result with its members in the order given; each value is JSON text.
pub(super) fn result(members: &[(&str, String)]) -> String {
    let mut text = String::new();
    write_value(&object(members), Members::AsTheyAre, 0, &mut text);
    text.push('\n');
    text
}

/// An object on one line.
pub(super) fn object(members: &[(&str, String)]) -> String {
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
    format!("{{{}}}", members.join(","))
}

/// A string as JSON text.
pub(super) fn string(text: impl AsRef<str>) -> String {
    Value::from(text.as_ref()).to_string()
}

/// A stored document: members sorted, numbers as they are, two-space indent, final newline.
pub(super) fn document(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len() * 2);
    match text.trim() {
        "" => out.push_str("null"),
        text => write_value(text, Members::Sorted, 0, &mut out),
    }
    out.push('\n');
    out
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Members {
    AsTheyAre,
    /// By name; of members of the same name the last counts.
    Sorted,
}

/// The members of an object in their order, values unread.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs<'de>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

pub(super) fn members(text: &str, order: Members) -> Result<Vec<(String, &RawValue)>, serde_json::Error> {
    let Pairs(pairs) = serde_json::from_str(text)?;
    Ok(match order {
        Members::AsTheyAre => pairs,
        Members::Sorted => pairs.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect(),
    })
}

fn write_value(text: &str, order: Members, depth: usize, out: &mut String) {
    let text = text.trim();
    if depth > MAX_INDENTED {
        out.push_str(text);
        return;
    }
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match text.as_bytes().first() {
        Some(b'{') => match members(text, order) {
            Ok(members) if members.is_empty() => out.push_str("{}"),
            Ok(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    out.push_str(&quoted(name));
                    out.push_str(": ");
                    write_value(value.get(), order, depth + 1, out);
                }
                line(out, depth);
                out.push('}');
            }
            Err(_) => out.push_str(text),
        },
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(items) if items.is_empty() => out.push_str("[]"),
            Ok(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    write_value(item.get(), order, depth + 1, out);
                }
                line(out, depth);
                out.push(']');
            }
            Err(_) => out.push_str(text),
        },
        Some(b'"') => match serde_json::from_str::<Cow<'_, str>>(text) {
            Ok(string) => out.push_str(&quoted(&string)),
            Err(_) => out.push_str(text),
        },
        _ => out.push_str(text),
    }
}

/// A string in quotes. `<`, `>` and `&` are escaped so that the text may stand in HTML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_sorted_and_keep_their_numbers() {
        let text = document(br#"{"b":1.50,"a":[1,{}, []],"c":"<&>","n":12345678901234567890123}"#);
        assert_eq!(
            text,
            "{\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"b\": 1.50,\n  \"c\": \"\\u003c\\u0026\\u003e\",\n  \
             \"n\": 12345678901234567890123\n}\n"
        );
        assert_eq!(document(b""), "null\n");
        assert_eq!(document(b" 7 "), "7\n");
    }

    #[test]
    fn deep_documents_are_no_danger() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(document(deep.as_bytes()).contains("[[[["));
    }
}
