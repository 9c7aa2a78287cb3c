//! What a condition needs from an index: which entries to look up, how to combine what they lead to, and whether that is
//! the answer already or must be checked against the documents.
//!
//! The analysis assumes little about the index. It holds an entry for each value of a document: the names of the members
//! that lead to it, arrays adding none, and the value's string form and kind. It may fold or cut what it holds, as long as
//! it then finds too much and never too little.

use crate::{
    condition::{Clause, Condition, Edge, Instant, Node, Temporal, Test},
    path::{Path, Segment},
};

/// Documents that may satisfy a condition. Never fewer than those that do.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// Every document; the index cannot help.
    Everything,
    Nothing,
    /// Documents that all parts have in common.
    All(Vec<Need>),
    /// Documents of any part.
    Any(Vec<Need>),
    /// Documents with an entry that the probe finds.
    With(Probe),
    /// Documents without such an entry. Those whose root is an array are candidates in any case, because their elements
    /// are judged one by one.
    Without(Probe),
}

/// A look into the index.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub fields: FieldPattern,
    pub keys: Keys,
    /// Whether an entry that is found always satisfies the clause. Otherwise the document must be checked.
    pub exact: bool,
}

/// Which values of a field to find.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// String forms that equal one of the texts.
    Texts { texts: Vec<String>, fold_case: bool },
    /// String forms that start with one of the texts.
    Prefixes { texts: Vec<String>, fold_case: bool },
    /// String forms that contain one of the texts.
    Substrings { texts: Vec<String>, fold_case: bool },
    /// Numbers, and strings that are complete numbers.
    Numbers { lower: Option<Edge<f64>>, upper: Option<Edge<f64>> },
    /// Temporal literals, days standing for midnight in UTC.
    Times { lower: Option<Edge<Instant>>, upper: Option<Edge<Instant>> },
    /// All strings, numbers and booleans.
    Scalars,
    /// Everything but `null`: scalars, arrays and objects.
    NotNull,
    /// Everything.
    Values,
}

/// Which names lead to the values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPattern {
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Name(Box<str>),
    /// The name, or nothing: a number may be an index, and indexes leave no trace.
    MaybeName(Box<str>),
    AnyName,
    MaybeAnyName,
    AnyNames,
}

impl Condition {
    /// What to look up for this condition.
    pub fn index_needs(&self) -> Need {
        self.needs(&self.root, false)
    }

    /// Whether the index alone answers for documents whose root is an object.
    pub fn is_answered_by_index(&self) -> bool {
        match &self.root {
            Node::Always => true,
            _ => self.index_needs().is_exact(),
        }
    }

    fn needs(&self, node: &Node, negated: bool) -> Need {
        match (node, negated) {
            (Node::Always, false) | (Node::Never, true) => Need::Everything,
            (Node::Never, false) | (Node::Always, true) => Need::Nothing,
            (Node::All(parts), false) | (Node::Any(parts), true) => {
                all(parts.iter().map(|part| self.needs(part, negated)))
            }
            (Node::Any(parts), false) | (Node::All(parts), true) => {
                any(parts.iter().map(|part| self.needs(part, negated)))
            }
            (Node::Not(part), _) => self.needs(part, !negated),
            (Node::Clause(index), _) => match self.clauses.get(*index) {
                Some(clause) if negated => without(clause),
                Some(clause) => with(clause),
                None => Need::Everything,
            },
        }
    }
}

impl Need {
    /// Whether the documents found are those that satisfy the condition, provided that their roots are objects.
    pub fn is_exact(&self) -> bool {
        match self {
            Need::Everything => false,
            Need::Nothing => true,
            Need::All(parts) | Need::Any(parts) => parts.iter().all(Need::is_exact),
            Need::With(probe) | Need::Without(probe) => probe.exact,
        }
    }
}

fn all(parts: impl Iterator<Item = Need>) -> Need {
    let mut list = Vec::new();
    for part in parts {
        match part {
            // What the index cannot narrow is checked in the documents.
            Need::Everything => list.push(Need::Everything),
            Need::Nothing => return Need::Nothing,
            Need::All(mut inner) => list.append(&mut inner),
            part => list.push(part),
        }
    }
    if list.iter().all(|part| *part == Need::Everything) {
        return Need::Everything;
    }
    if list.len() == 1 { list.pop().unwrap_or(Need::Everything) } else { Need::All(list) }
}

fn any(parts: impl Iterator<Item = Need>) -> Need {
    let mut list = Vec::new();
    for part in parts {
        match part {
            Need::Everything => return Need::Everything,
            Need::Nothing => {}
            Need::Any(mut inner) => list.append(&mut inner),
            part => list.push(part),
        }
    }
    match list.len() {
        0 => Need::Nothing,
        1 => list.pop().unwrap_or(Need::Nothing),
        _ => Need::Any(list),
    }
}

fn with(clause: &Clause) -> Need {
    let (fields, exact_path) = FieldPattern::of(&clause.path);
    let probe = |keys, exact_keys| {
        Need::With(Probe { fields: fields.clone(), keys, exact: exact_path && exact_keys })
    };
    match &clause.test {
        Test::Equals { text, time, fold_case } => {
            let texts = probe(Keys::Texts { texts: vec![text.clone()], fold_case: *fold_case }, true);
            let times = time
                .iter()
                .flat_map(|time| moments(*time))
                .map(|(lower, upper)| probe(Keys::Times { lower: Some(lower), upper: Some(upper) }, false));
            any(std::iter::once(texts).chain(times))
        }
        Test::OneOf { items } => probe(Keys::Texts { texts: items.clone(), fold_case: false }, true),
        Test::Contains { needles, fold_case } => {
            probe(Keys::Substrings { texts: needles.clone(), fold_case: *fold_case }, true)
        }
        Test::StartsWith { needles, fold_case } => {
            probe(Keys::Prefixes { texts: needles.clone(), fold_case: *fold_case }, true)
        }
        Test::Numbers { lower, upper } => probe(Keys::Numbers { lower: *lower, upper: *upper }, true),
        Test::Times { equal: None, lower, upper } => {
            probe(Keys::Times { lower: *lower, upper: *upper }, true)
        }
        Test::Times { equal: Some(time), .. } => any(moments(*time)
            .into_iter()
            .map(|(lower, upper)| probe(Keys::Times { lower: Some(lower), upper: Some(upper) }, false))),
        Test::Scalar => probe(Keys::Scalars, true),
        Test::Exists => probe(Keys::NotNull, true),
        Test::Present => probe(Keys::Values, true),
    }
}

/// Only what is found exactly may be left out.
fn without(clause: &Clause) -> Need {
    match with(clause) {
        Need::With(probe) if probe.exact => Need::Without(probe),
        _ => Need::Everything,
    }
}

/// Where to look for literals that mean the same time.
fn moments(time: Temporal) -> Vec<(Edge<Instant>, Edge<Instant>)> {
    /// Offsets from UTC are less than a day.
    const DAY: i128 = 86_400_000_000_000;
    let point = |at: Instant| (Edge { at, inclusive: true }, Edge { at, inclusive: true });
    match time {
        Temporal::Moment { instant, local_day } => {
            let day = Instant::midnight(local_day);
            if day == instant { vec![point(instant)] } else { vec![point(instant), point(day)] }
        }
        Temporal::Day(day) => {
            let midnight = Instant::midnight(day);
            let lower = Edge { at: Instant(midnight.0 - DAY), inclusive: false };
            let upper = Edge { at: Instant(midnight.0 + 2 * DAY), inclusive: false };
            vec![(lower, upper)]
        }
    }
}

impl FieldPattern {
    /// The names that a path can lead along, and whether all values under such names are on the path.
    fn of(path: &Path) -> (FieldPattern, bool) {
        let mut exact = true;
        let mut steps = Vec::new();
        for segment in &path.segments {
            let (step, certain) = match segment {
                Segment::Name { name, index: None } => (Some(Step::Name(name.clone())), true),
                Segment::Name { name, index: Some(_) } => (Some(Step::MaybeName(name.clone())), false),
                Segment::AnyMember => (Some(Step::AnyName), false),
                Segment::AnyElement => (None, false),
                Segment::AnyChild => (Some(Step::MaybeAnyName), false),
                Segment::Descendants => (Some(Step::AnyNames), true),
            };
            exact &= certain;
            if step != Some(Step::AnyNames) || steps.last() != Some(&Step::AnyNames) {
                steps.extend(step);
            }
        }
        (FieldPattern { steps }, exact)
    }

    /// The names, if there is only one list of them.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Name(name) => Some(&**name),
                _ => None,
            })
            .collect()
    }

    /// Whether the names are among those of the pattern. Takes time proportional to both lengths.
    pub fn matches(&self, names: &[&str]) -> bool {
        // For each number of names, whether the steps so far can account for them.
        let mut reached = vec![false; names.len() + 1];
        reached[0] = true;
        for step in &self.steps {
            let before = reached.clone();
            let optional = matches!(step, Step::MaybeName(_) | Step::MaybeAnyName | Step::AnyNames);
            if !optional {
                reached.fill(false);
            }
            for (at, name) in names.iter().enumerate() {
                let from = if *step == Step::AnyNames { reached[at] } else { before[at] };
                let accepts = match step {
                    Step::Name(wanted) | Step::MaybeName(wanted) => **wanted == **name,
                    Step::AnyName | Step::MaybeAnyName | Step::AnyNames => true,
                };
                reached[at + 1] |= from && accepts;
            }
        }
        reached[names.len()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{
        condition::{Scalar, fold_case},
        oracle::{
            self, Json,
            contract::{NOW, documents, selectors},
        },
        selector::Selector,
        text::float_literal,
    };

    fn needs(text: &str) -> Need {
        Selector::parse(text).unwrap().compile(NOW).unwrap().index_needs()
    }

    fn probe(names: &[&str], keys: Keys) -> Probe {
        let steps = names.iter().map(|&name| Step::Name(name.into())).collect();
        Probe { fields: FieldPattern { steps }, keys, exact: true }
    }

    fn texts(texts: &[&str]) -> Keys {
        Keys::Texts { texts: texts.iter().map(|&text| text.into()).collect(), fold_case: false }
    }

    #[test]
    fn what_is_looked_up() {
        let open = probe(&["status"], texts(&["open"]));
        let deleted = probe(&["deleted"], Keys::NotNull);
        assert_eq!(needs("/status=open"), Need::With(open.clone()));
        assert_eq!(
            needs("/status=open,not.exists{/deleted}"),
            Need::All(vec![Need::Without(deleted.clone()), Need::With(open.clone())])
        );
        assert_eq!(
            needs("or.in{f=/a/b,a=x|y},or.eq{f=/status,v=open}"),
            Need::Any(vec![Need::With(open.clone()), Need::With(probe(&["a", "b"], texts(&["x", "y"])))])
        );
        assert_eq!(needs(""), Need::Everything);
        assert_eq!(needs("not.contains{f=/}"), Need::Nothing);
        // What cannot be found exactly cannot be left out.
        assert_eq!(needs("not.eq{f=/l[],v=1}"), Need::Everything);
        assert_eq!(needs("/t!=2025-01-02"), Need::Everything);
        assert!(
            matches!(needs("/status=open,not.eq{f=/l[],v=1}"), Need::All(parts) if parts.contains(&Need::With(open)))
        );
    }

    #[test]
    fn what_must_be_checked() {
        let answered =
            |text: &str| Selector::parse(text).unwrap().compile(NOW).unwrap().is_answered_by_index();
        for text in ["", "/a=1", "/a!=1,/b>5", "contains{f=/.../x,v=y}", "or.exists{/a},or.not.exists{/b/c}"]
        {
            assert!(answered(text), "{text}");
        }
        for text in ["/a/0=1", "/a[]=1", "/a/*=1", "/a/**=1", "/t=2025-01-02", "/a=1,not.eq{f=/b/*,v=1}"] {
            assert!(!answered(text), "{text}");
        }
    }

    #[test]
    fn patterns_of_names() {
        let matches =
            |path: &str, names: &[&str]| FieldPattern::of(&Path::parse(path).unwrap()).0.matches(names);
        assert!(matches("/", &[]) && !matches("/", &["a"]));
        assert!(
            matches("/a/b", &["a", "b"]) && !matches("/a/b", &["a"]) && !matches("/a/b", &["a", "b", "c"])
        );
        assert!(
            matches("/a[]/b", &["a", "b"])
                && matches("/a/0/b", &["a", "b"])
                && matches("/a/0/b", &["a", "0", "b"])
        );
        assert!(matches("/*/b", &["x", "b"]) && !matches("/*/b", &["b"]));
        assert!(
            matches("/**/b", &["x", "b"]) && matches("/**/b", &["b"]) && !matches("/**/b", &["x", "y", "b"])
        );
        assert!(
            matches("/.../b/...", &["x", "b", "y", "z"])
                && matches("/.../b/...", &["b"])
                && !matches("/.../b", &["b", "c"])
        );
        assert!(matches("/...", &[]));
    }

    /// An index of one document: its values and the names that lead to them.
    fn index<'a>(value: &'a Value, names: &mut Vec<&'a str>, entries: &mut Vec<(Vec<&'a str>, &'a Value)>) {
        entries.push((names.clone(), value));
        value.elements().iter().for_each(|element| index(element, names, entries));
        for (name, inner) in value.members() {
            names.push(name);
            index(inner, names, entries);
            names.pop();
        }
    }

    fn finds(probe: &Probe, entries: &[(Vec<&str>, &Value)]) -> bool {
        let test = match probe.keys.clone() {
            Keys::Texts { texts, fold_case: true } => Test::StartsWith { needles: texts, fold_case: true },
            Keys::Texts { texts, .. } => Test::OneOf { items: texts },
            Keys::Prefixes { texts, fold_case } => Test::StartsWith { needles: texts, fold_case },
            Keys::Substrings { texts, fold_case } => Test::Contains { needles: texts, fold_case },
            Keys::Numbers { lower, upper } => Test::Numbers { lower, upper },
            Keys::Times { lower, upper } => Test::Times { equal: None, lower, upper },
            Keys::Scalars => Test::Scalar,
            Keys::NotNull => Test::Exists,
            Keys::Values => Test::Present,
        };
        let equal_length = |value: &Value| match &probe.keys {
            Keys::Texts { texts, fold_case: true } => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                texts.contains(&fold_case(&text))
            }
            _ => true,
        };
        entries.iter().any(|(names, value)| {
            let number = value.to_string();
            let scalar = match value {
                Value::Null => Scalar::Null,
                Value::Bool(flag) => Scalar::Bool(*flag),
                Value::Number(_) => Scalar::Number(&number),
                Value::String(text) => Scalar::Text(text),
                Value::Array(_) => Scalar::Array,
                Value::Object(_) => Scalar::Object,
            };
            probe.fields.matches(names) && test.accepts(scalar) && equal_length(value)
        })
    }

    fn is_candidate(need: &Need, document: &Value, entries: &[(Vec<&str>, &Value)]) -> bool {
        match need {
            Need::Everything => true,
            Need::Nothing => false,
            Need::All(parts) => parts.iter().all(|part| is_candidate(part, document, entries)),
            Need::Any(parts) => parts.iter().any(|part| is_candidate(part, document, entries)),
            Need::With(probe) => finds(probe, entries),
            Need::Without(probe) => document.is_array() || !finds(probe, entries),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn lql_35_candidates_of_the_index_include_all_that_match(selector in selectors(), document in documents()) {
            let Ok(selector) = Selector::from_json(selector.to_string().as_bytes()) else { return Ok(()) };
            let condition = selector.compile(NOW).unwrap();
            let mut entries = Vec::new();
            index(&document, &mut Vec::new(), &mut entries);
            let need = condition.index_needs();
            let candidate = is_candidate(&need, &document, &entries);
            let matches = oracle::matches(&condition, &document);
            prop_assert!(candidate || !matches, "{:?}", need);
            if condition.is_answered_by_index() && document.is_object() {
                prop_assert_eq!(candidate, matches, "{:?}", need);
            }
        }
    }

    #[test]
    fn numeric_strings_are_in_the_numbers_of_the_index() {
        assert_eq!(float_literal("0x10p0"), Some(16.0));
        let document: Value = serde_json::json!({"n": ["0x10p0"]});
        let mut entries = Vec::new();
        index(&document, &mut Vec::new(), &mut entries);
        assert!(is_candidate(&needs("/n>15"), &document, &entries));
    }
}
