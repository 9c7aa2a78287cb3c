//! Folding of parts that are always true or always false.

use super::{MAX_DEPTH, Selector, Term};
use crate::path::{Path, Segment};

#[derive(Clone, Copy, PartialEq)]
enum Truth {
    Always,
    Never,
    Depends,
}

impl Selector {
    /// The same selector without parts that are trivially true or false. One that is always true becomes empty, one that
    /// is always false becomes `{"and":[{"not":{}}]}`.
    ///
    /// Nodes deeper than [`MAX_DEPTH`] are left as they are; compiling refuses them.
    #[must_use]
    pub fn simplified(mut self) -> Selector {
        match fold(&mut self, MAX_DEPTH) {
            Truth::Always => Selector::default(),
            Truth::Never => {
                let nothing = Selector { not: Some(Box::default()), ..Selector::default() };
                Selector { and: vec![nothing], ..Selector::default() }
            }
            Truth::Depends => self,
        }
    }

    /// Whether the node has no parts, and so is true of every document.
    pub fn is_empty(&self) -> bool {
        self.and.is_empty() && self.or.is_empty() && self.not.is_none() && self.has_no_clauses()
    }

    fn has_no_clauses(&self) -> bool {
        self.terms().next().is_none()
            && self.range.is_none()
            && self.date.is_none()
            && self.within.is_none()
            && self.exists.is_none()
    }
}

/// Takes the trivial parts out of a node.
fn fold(node: &mut Selector, levels: usize) -> Truth {
    let Some(below) = levels.checked_sub(1) else { return Truth::Depends };
    let mut never = false;
    node.and.retain_mut(|part| {
        let truth = fold(part, below);
        never |= truth == Truth::Never;
        truth == Truth::Depends
    });
    if !node.or.is_empty() {
        let mut chosen = false;
        node.or.retain_mut(|branch| {
            let truth = fold(branch, below);
            chosen |= truth == Truth::Always;
            truth == Truth::Depends
        });
        if chosen {
            node.or.clear();
        } else {
            never |= node.or.is_empty();
        }
    }
    if let Some(inner) = &mut node.not {
        let truth = fold(inner, below);
        never |= truth == Truth::Always;
        if truth != Truth::Depends {
            node.not = None;
        }
    }
    if never {
        return Truth::Never;
    }
    for slot in [&mut node.contains, &mut node.icontains, &mut node.prefix, &mut node.iprefix] {
        if slot.as_ref().is_some_and(|term| term.is_always_true()) {
            *slot = None;
        }
    }
    if node.exists.as_ref().is_some_and(|pointer| pointer.is_empty()) {
        node.exists = None;
    }
    if node.is_empty() { Truth::Always } else { Truth::Depends }
}

impl Term {
    /// Whether the term, as one that looks for a part of a text, asks nothing of any document.
    pub(crate) fn is_always_true(&self) -> bool {
        let asks_nothing = self.any.is_empty() && self.value.as_ref().is_none_or(String::is_empty);
        // A missing field is an error to be reported, not a root.
        asks_nothing
            && !self.field.is_empty()
            && Path::parse(&self.field).is_ok_and(|path| reaches_anything(&path))
    }
}

fn reaches_anything(path: &Path) -> bool {
    matches!(&*path.segments, [] | [Segment::AnyMember | Segment::AnyChild | Segment::Descendants])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simplified(json: &str) -> String {
        Selector::from_json(json.as_bytes()).unwrap().simplified().to_json()
    }

    #[test]
    fn trivial_truths_vanish() {
        const ALWAYS: &str = r#"{"contains":{"field":"/..."}}"#;
        const NEVER: &str = r#"{"and":[{"not":{}}]}"#;
        const A: &str = r#"{"exists":"/a"}"#;
        for field in ["/", " / ", "/*", "/**", "/...", "/.../..."] {
            for term in ["contains", "icontains", "prefix", "iprefix"] {
                assert_eq!(simplified(&format!(r#"{{"{term}":{{"field":"{field}"}}}}"#)), "{}");
                assert_eq!(simplified(&format!(r#"{{"{term}":{{"field":"{field}","value":""}}}}"#)), "{}");
                assert_ne!(simplified(&format!(r#"{{"{term}":{{"field":"{field}","value":"x"}}}}"#)), "{}");
            }
        }
        for text in [
            r#"{"contains":{"field":"/[]"}}"#,
            r#"{"contains":{"field":"/a/..."}}"#,
            r#"{"contains":{"field":"/...","any":["x"]}}"#,
            r#"{"eq":{"field":"/..."}}"#,
        ] {
            assert_eq!(simplified(text), text);
        }
        for (text, expected) in [
            ("{}", "{}"),
            ("null", "{}"),
            (NEVER, NEVER),
            (&format!(r#"{{"and":[{ALWAYS},{A}]}}"#), r#"{"and":[{"exists":"/a"}]}"#),
            (&format!(r#"{{"and":[{NEVER},{A}]}}"#), NEVER),
            (&format!(r#"{{"or":[{ALWAYS},{A}]}}"#), "{}"),
            (&format!(r#"{{"or":[{ALWAYS},{A}],"exists":"/b"}}"#), r#"{"exists":"/b"}"#),
            (&format!(r#"{{"or":[{NEVER},{A}]}}"#), r#"{"or":[{"exists":"/a"}]}"#),
            (&format!(r#"{{"or":[{NEVER}]}}"#), NEVER),
            (&format!(r#"{{"not":{ALWAYS}}}"#), NEVER),
            (&format!(r#"{{"not":{NEVER},"exists":"/a"}}"#), A),
            (&format!(r#"{{"not":{{"not":{ALWAYS}}}}}"#), "{}"),
            (&format!(r#"{{"or":[{{"and":[{{"not":{A}}},{NEVER}]}}]}}"#), NEVER),
        ] {
            assert_eq!(simplified(text), expected, "{text}");
        }
    }
}
