//! From the selector as written to the condition that evaluators run.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher, RandomState},
};

use super::{Clause, Condition, Edge, Instant, Node, Temporal, Test, fold_case};
use crate::{
    error::{Problem, SelectorError},
    path::Path,
    selector::{Bound, Date, Range, Selector, Since, Term},
};

impl Selector {
    /// Compiles the selector. Words such as `today` mean what they mean at `now`, so a condition is for one query only.
    ///
    /// # Errors
    ///
    /// A field is not a path, a clause lacks something or contradicts itself, or nodes are nested too deep.
    pub fn compile(&self, now: Instant) -> Result<Condition, SelectorError> {
        if !self.depth_is_bounded() {
            return Err(SelectorError { problem: Problem::TooDeep, offset: None });
        }
        // Parts that will be folded away are checked too, and then gone before their clauses are counted.
        check(self).map_err(|problem| SelectorError { problem, offset: None })?;
        let selector = self.clone().simplified();
        let mut compiler =
            Compiler { now, clauses: Vec::new(), known: HashMap::new(), hasher: RandomState::new() };
        let root = compiler.node(&selector).map_err(|problem| SelectorError { problem, offset: None })?;
        Ok(Condition { root, clauses: compiler.clauses })
    }

    /// Whether the answer depends on the moment of the query, so that it must not be kept for another one.
    pub fn depends_on_time(&self) -> bool {
        let since = self.date.as_ref().and_then(|date| date.since.as_deref()).and_then(Since::parse);
        matches!(since, Some(Since::Now | Since::Today | Since::Yesterday))
            || self.and.iter().chain(&self.or).chain(self.not.as_deref()).any(Selector::depends_on_time)
    }
}

struct Compiler {
    now: Instant,
    clauses: Vec<Clause>,
    /// The clauses by hash: equal ones are evaluated once.
    known: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
}

impl Compiler {
    fn node(&mut self, selector: &Selector) -> Result<Node, Problem> {
        let mut parts = Vec::new();
        for part in &selector.and {
            parts.push(self.node(part)?);
        }
        if !selector.or.is_empty() {
            let branches = selector.or.iter().map(|branch| self.node(branch)).collect::<Result<_, _>>()?;
            parts.push(any(branches));
        }
        if let Some(inner) = &selector.not {
            parts.push(not(self.node(inner)?));
        }
        self.clauses(selector, &mut parts)?;
        Ok(all(parts))
    }

    /// Adds the clauses of one node. This is apart from the recursion to keep its frames small.
    fn clauses(&mut self, selector: &Selector, parts: &mut Vec<Node>) -> Result<(), Problem> {
        for (name, term) in selector.terms() {
            parts.push(self.clause(path(&term.field, name)?, term_test(name, term)));
        }
        if let Some(range) = &selector.range {
            parts.push(self.clause(path(&range.field, "range")?, range_test(range)));
        }
        if let Some(date) = &selector.date {
            parts.push(self.clause(path(&date.field, "date")?, self.date_test(date)));
        }
        if let Some(within) = &selector.within {
            let items = within.any.clone();
            parts.push(self.clause(path(&within.field, "in")?, Test::OneOf { items }));
        }
        if let Some(pointer) = &selector.exists {
            parts.push(self.clause(path(pointer, "exists")?, Test::Exists));
        }
        Ok(())
    }

    fn clause(&mut self, path: Path, test: Test) -> Node {
        let clause = Clause { path, test };
        let same = self.known.entry(self.hasher.hash_one(Hashed(&clause))).or_default();
        let known = same.iter().find(|index| self.clauses.get(**index) == Some(&clause)).copied();
        Node::Clause(known.unwrap_or_else(|| {
            let index = self.clauses.len();
            same.push(index);
            self.clauses.push(clause);
            index
        }))
    }

    fn date_test(&self, date: &Date) -> Test {
        let time = |text: &Option<String>| text.as_deref().and_then(Temporal::parse).map(Temporal::instant);
        let since = date.since.as_deref().and_then(Since::parse).map(|since| match since {
            Since::Now => self.now,
            Since::Today => Instant::midnight(self.now.day()),
            Since::Yesterday => Instant::midnight(self.now.day().saturating_sub(1)),
            Since::Time(time) => time.instant(),
        });
        let lower =
            [(time(&date.after), false), (time(&date.gt), false), (time(&date.gte), true), (since, true)];
        let upper = [(time(&date.before), false), (time(&date.lt), false), (time(&date.lte), true)];
        Test::Times {
            equal: date.value.as_deref().and_then(Temporal::parse),
            lower: tightest(lower, |a, b| a > b),
            upper: tightest(upper, |a, b| a < b),
        }
    }
}

/// Checks a tree whose depth is bounded.
fn check(selector: &Selector) -> Result<(), Problem> {
    check_node(selector)?;
    selector.and.iter().chain(&selector.or).chain(selector.not.as_deref()).try_for_each(check)
}

fn check_node(selector: &Selector) -> Result<(), Problem> {
    selector.check_clauses()?;
    for (name, term) in selector.terms() {
        path(&term.field, name)?;
    }
    let fields = [
        ("range", selector.range.as_ref().map(|range| &*range.field)),
        ("date", selector.date.as_ref().map(|date| &*date.field)),
        ("in", selector.within.as_ref().map(|within| &*within.field)),
        ("exists", selector.exists.as_deref()),
    ];
    for (name, field) in fields {
        path(field.unwrap_or_default(), name)?;
    }
    Ok(())
}

fn path(field: &str, clause: &'static str) -> Result<Path, Problem> {
    Path::parse(field).map_err(|pointer| Problem::Pointer { clause, pointer })
}

fn term_test(name: &str, term: &Term) -> Test {
    let fold = term.ignore_case || name.starts_with('i');
    let needle = |text: &String| if fold { fold_case(text) } else { text.clone() };
    let value = match &term.value {
        None if term.any.is_empty() => return Test::Present,
        value => value.as_ref(),
    };
    if name == "eq" {
        let text = value.map(needle).unwrap_or_default();
        let time = value.and_then(|text| Temporal::parse(text));
        return Test::Equals { text, time, fold_case: fold };
    }
    if value.is_some_and(String::is_empty) {
        return Test::Scalar;
    }
    let mut needles: Vec<String> = value.into_iter().chain(&term.any).map(needle).collect();
    needles.sort_unstable();
    needles.dedup();
    if name.ends_with("contains") {
        Test::Contains { needles, fold_case: fold }
    } else {
        Test::StartsWith { needles, fold_case: fold }
    }
}

fn range_test(range: &Range) -> Test {
    let number = |bound: &Option<Bound>| match bound {
        Some(Bound::Number(number)) => Some(*number),
        _ => None,
    };
    let time = |bound: &Option<Bound>| match bound {
        Some(Bound::Time(text)) => Temporal::parse(text).map(Temporal::instant),
        _ => None,
    };
    if range.bounds().any(|(_, bound)| matches!(bound, Bound::Number(_))) {
        Test::Numbers {
            lower: tightest([(number(&range.gt), false), (number(&range.gte), true)], |a, b| a > b),
            upper: tightest([(number(&range.lt), false), (number(&range.lte), true)], |a, b| a < b),
        }
    } else {
        Test::Times {
            equal: None,
            lower: tightest([(time(&range.gt), false), (time(&range.gte), true)], |a, b| a > b),
            upper: tightest([(time(&range.lt), false), (time(&range.lte), true)], |a, b| a < b),
        }
    }
}

/// The bound that implies all others. Of two at one place the first counts, so exclusive ones stand first.
fn tightest<T: Copy, const N: usize>(
    bounds: [(Option<T>, bool); N],
    tighter: impl Fn(T, T) -> bool,
) -> Option<Edge<T>> {
    let mut edges = bounds.into_iter().filter_map(|(at, inclusive)| Some(Edge { at: at?, inclusive }));
    let first = edges.next()?;
    Some(edges.fold(first, |best, edge| if tighter(edge.at, best.at) { edge } else { best }))
}

/// True when all parts are.
fn all(parts: Vec<Node>) -> Node {
    let mut flat = Vec::new();
    for part in parts {
        match part {
            Node::Always => {}
            Node::Never => return Node::Never,
            Node::All(mut inner) => flat.append(&mut inner),
            part => flat.push(part),
        }
    }
    single(flat, Node::Always, Node::All)
}

/// True when one part is.
fn any(parts: Vec<Node>) -> Node {
    let mut flat = Vec::new();
    for part in parts {
        match part {
            Node::Never => {}
            Node::Always => return Node::Always,
            Node::Any(mut inner) => flat.append(&mut inner),
            part => flat.push(part),
        }
    }
    single(flat, Node::Never, Node::Any)
}

fn single(mut parts: Vec<Node>, none: Node, several: fn(Vec<Node>) -> Node) -> Node {
    match parts.len() {
        0 => none,
        1 => parts.pop().unwrap_or(none),
        _ => several(parts),
    }
}

fn not(part: Node) -> Node {
    match part {
        Node::Always => Node::Never,
        Node::Never => Node::Always,
        Node::Not(inner) => *inner,
        part => Node::Not(Box::new(part)),
    }
}

/// A clause that can be hashed: numbers by their bits.
struct Hashed<'a>(&'a Clause);

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Clause { path, test } = self.0;
        path.hash(state);
        std::mem::discriminant(test).hash(state);
        match test {
            Test::Equals { text, fold_case, .. } => (text, fold_case).hash(state),
            Test::Contains { needles, fold_case } | Test::StartsWith { needles, fold_case } => {
                (needles, fold_case).hash(state);
            }
            Test::OneOf { items } => items.hash(state),
            Test::Numbers { lower, upper } => {
                for edge in [lower, upper] {
                    edge.map(|edge| (edge.at.to_bits(), edge.inclusive)).hash(state);
                }
            }
            Test::Times { lower, upper, .. } => {
                for edge in [lower, upper] {
                    edge.map(|edge| (edge.at.0, edge.inclusive)).hash(state);
                }
            }
            Test::Scalar | Test::Present | Test::Exists => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_735_825_445_000_000_000); // 2025-01-02T13:44:05Z

    fn compile(json: &str) -> Condition {
        Selector::from_json(json.as_bytes()).unwrap().compile(NOW).unwrap()
    }

    fn test(json: &str) -> Test {
        let condition = compile(json);
        assert_eq!(condition.root, Node::Clause(0));
        condition.clauses.into_iter().next().unwrap().test
    }

    #[test]
    fn constants_and_nesting_are_folded() {
        for (json, expected) in [
            ("{}", Node::Always),
            (r#"{"prefix":{"field":"/"}}"#, Node::Always),
            (r#"{"not":{"contains":{"field":"/*","value":""}}}"#, Node::Never),
            (
                r#"{"and":[{"and":[{"exists":"/a"}]},{}],"exists":"/b"}"#,
                Node::All(vec![Node::Clause(0), Node::Clause(1)]),
            ),
            (
                r#"{"or":[{"or":[{"exists":"/a"},{"exists":"/b"}]},{"exists":"/c"},{"not":{}}]}"#,
                Node::Any(vec![Node::Clause(0), Node::Clause(1), Node::Clause(2)]),
            ),
            (r#"{"not":{"not":{"exists":"/a"}}}"#, Node::Clause(0)),
            (r#"{"or":[{"not":{}}]}"#, Node::Never),
            (r#"{"or":[{"exists":"/a"},{}]}"#, Node::Always),
        ] {
            assert_eq!(compile(json).root, expected, "{json}");
        }
    }

    #[test]
    fn equal_clauses_are_one() {
        let condition = compile(
            r#"{"and":[{"eq":{"field":"/a","value":"1"}},{"not":{"eq":{"field":" /a","value":1.0}}}]}"#,
        );
        assert_eq!(condition.root, Node::All(vec![Node::Clause(0), Node::Not(Box::new(Node::Clause(0)))]));
        assert_eq!(condition.clauses.len(), 1);
    }

    #[test]
    fn of_several_bounds_the_tightest_counts() {
        assert_eq!(
            test(r#"{"range":{"field":"/n","gte":1,"gt":1,"lte":3,"lt":4}}"#),
            Test::Numbers {
                lower: Some(Edge { at: 1.0, inclusive: false }),
                upper: Some(Edge { at: 3.0, inclusive: true }),
            }
        );
    }

    #[test]
    fn lql_33_words_for_times_are_evaluated_at_each_compilation() {
        let lower = |word: &str, now| {
            let json = format!(r#"{{"date":{{"field":"/at","since":"{word}"}}}}"#);
            let selector = Selector::from_json(json.as_bytes()).unwrap();
            assert!(selector.depends_on_time());
            let condition = selector.compile(now).unwrap();
            match &condition.clauses[0].test {
                Test::Times { equal: None, lower: Some(Edge { at, inclusive: true }), upper: None } => {
                    at.to_string()
                }
                test => panic!("{test:?}"),
            }
        };
        assert_eq!(lower("NOW", NOW), "2025-01-02T13:44:05Z");
        assert_eq!(lower("Today", NOW), "2025-01-02T00:00:00Z");
        assert_eq!(lower("yesterday", NOW), "2025-01-01T00:00:00Z");
        assert_eq!(lower("yesterday", Instant(NOW.0 + 86_400_000_000_000)), "2025-01-02T00:00:00Z");
        let fixed = Selector::parse("date{f=/at,since=2025-01-01}").unwrap();
        assert!(!fixed.depends_on_time());
    }

    #[test]
    fn case_is_folded_once() {
        let fold = |json: &str| match test(json) {
            Test::Contains { needles, fold_case: true } | Test::StartsWith { needles, fold_case: true } => {
                needles
            }
            Test::Equals { text, fold_case: true, .. } => vec![text],
            test => panic!("{test:?}"),
        };
        assert_eq!(fold(r#"{"icontains":{"field":"/a","any":"B|Ä|b"}}"#), ["b", "ä"]);
        assert_eq!(fold(r#"{"iprefix":{"field":"/a","value":"B"}}"#), ["b"]);
        assert_eq!(fold(r#"{"prefix":{"field":"/a","value":"B","ignoreCase":"t"}}"#), ["b"]);
        assert_eq!(fold(r#"{"eq":{"field":"/a","value":"B","ignoreCase":true}}"#), ["b"]);
    }

    #[test]
    fn a_field_must_be_a_pointer() {
        let error =
            |json: &str| Selector::from_json(json.as_bytes()).unwrap().compile(NOW).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"eq":{"field":"status","value":"x"}}"#),
            "eq.field: json pointer \"status\" must start with '/'"
        );
        assert_eq!(
            error(r#"{"and":[{"or":[{},{"exists":"n"}]}]}"#),
            "exists.field: json pointer \"n\" must start with '/'"
        );
    }

    #[test]
    fn hand_made_trees_are_checked_too() {
        let mut deep = Selector::default();
        for _ in 0..300 {
            deep = Selector { not: Some(Box::new(deep)), ..Selector::default() };
        }
        assert_eq!(deep.compile(NOW).unwrap_err().problem, Problem::TooDeep);
        let range = Range { field: "/a".into(), gt: Some(Bound::Number(f64::NAN)), ..Range::default() };
        let selector = Selector { range: Some(Box::new(range)), ..Selector::default() };
        assert_eq!(selector.compile(NOW).unwrap_err().problem, Problem::RangeValueType("gt"));
    }
}
