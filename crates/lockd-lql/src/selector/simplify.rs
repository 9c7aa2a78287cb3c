//! Folding of parts that are always true or always false.

use super::{Selector, Term};
use crate::path::{Path, Segment};

enum Truth {
    Always,
    Never,
    Depends(Selector),
}

impl Selector {
    /// The same selector without parts that are trivially true or false. One that is always true becomes empty, one that
    /// is always false becomes `{"and":[{"not":{}}]}`.
    ///
    /// Nodes deeper than [`MAX_DEPTH`](super::MAX_DEPTH) are left as they are; compiling refuses them.
    #[must_use]
    pub fn simplified(&self) -> Selector {
        match fold(self, 1) {
            Truth::Always => Selector::default(),
            Truth::Never => {
                let nothing = Selector { not: Some(Box::default()), ..Selector::default() };
                Selector { and: vec![nothing], ..Selector::default() }
            }
            Truth::Depends(selector) => selector,
        }
    }

    /// Whether the node has no parts, and so is true of every document.
    pub fn is_empty(&self) -> bool {
        *self == Selector::default()
    }
}

fn fold(selector: &Selector, depth: usize) -> Truth {
    if depth > super::MAX_DEPTH {
        return Truth::Depends(selector.clone());
    }
    let mut folded = Selector {
        and: Vec::new(),
        or: Vec::new(),
        not: None,
        eq: selector.eq.clone(),
        contains: selector.contains.clone().filter(|term| !term.is_always_true()),
        icontains: selector.icontains.clone().filter(|term| !term.is_always_true()),
        prefix: selector.prefix.clone().filter(|term| !term.is_always_true()),
        iprefix: selector.iprefix.clone().filter(|term| !term.is_always_true()),
        range: selector.range.clone(),
        date: selector.date.clone(),
        within: selector.within.clone(),
        exists: selector.exists.clone().filter(|pointer| !pointer.is_empty()),
    };
    for part in &selector.and {
        match fold(part, depth + 1) {
            Truth::Always => {}
            Truth::Never => return Truth::Never,
            Truth::Depends(part) => folded.and.push(part),
        }
    }
    let mut chosen = false;
    for branch in &selector.or {
        match fold(branch, depth + 1) {
            Truth::Always => chosen = true,
            Truth::Never => {}
            Truth::Depends(branch) => folded.or.push(branch),
        }
    }
    if chosen {
        folded.or.clear();
    } else if folded.or.is_empty() && !selector.or.is_empty() {
        return Truth::Never;
    }
    match selector.not.as_deref().map(|inner| fold(inner, depth + 1)) {
        None | Some(Truth::Never) => {}
        Some(Truth::Always) => return Truth::Never,
        Some(Truth::Depends(inner)) => folded.not = Some(Box::new(inner)),
    }
    if folded.is_empty() { Truth::Always } else { Truth::Depends(folded) }
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
