//! Random documents and conditions for tests: a small tree, written as JSON in many ways, and what the oracle reads of it.

use std::borrow::Cow;

use proptest::prelude::*;

use crate::{
    condition::{Clause, Condition, Edge, Node, Temporal, Test, fold_case},
    oracle::{Json, Kind},
    path::Path,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
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

impl Tree {
    /// Writes it; `style` chooses whitespace and escapes, of which some write characters as numbers, if that is wanted.
    pub(crate) fn write(&self, style: &mut u64, numbers: bool, out: &mut String) {
        let mut pick = |count: u64| {
            *style = style.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*style >> 33) % count
        };
        let space =
            ["", "", "", " ", "\n  ", "\t\r\n                                                         "];
        out.push_str(space[pick(6) as usize]);
        match self {
            Tree::Null => out.push_str("null"),
            Tree::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Tree::Number(number) => out.push_str(number),
            Tree::Text(text) => write_text(text, style, numbers, out),
            Tree::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.write(style, numbers, out);
                }
                out.push(']');
            }
            Tree::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(name, style, numbers, out);
                    out.push(':');
                    value.write(style, numbers, out);
                }
                out.push('}');
            }
        }
    }

    pub(crate) fn json(&self, mut style: u64) -> String {
        let mut out = String::new();
        let numbers = style.is_multiple_of(2);
        self.write(&mut style, numbers, &mut out);
        out
    }
}

fn write_text(text: &str, style: &mut u64, numbers: bool, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        *style = style.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            _ if numbers && (*style >> 33).is_multiple_of(9) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(
        &["a", "b", "c", "0", "1", "2", "01", "", "x/y", "ö😀", "a\"\\b", "long name of a member"][..],
    )
    .prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(
            &["", "a", "b", "ab", "AB", "open", "OPEN", "1", "1.0", "-2", "true", "2025-01-02", "2025-01-02T01:00:00+02:00",
              "2025-01-01T23:00:00Z", " 2025-01-02 ", "straße STRASSE", "\u{212a}elvin\n\"\\", "😀😀"][..]
        ).prop_map(str::to_owned),
        1 => "[aAbB\\\\\"é]{0,200}",
    ]
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        prop::sample::select(&["0", "1", "-2", "1.0", "1e3", "2.5", "12345678901234567890"][..])
            .prop_map(|number| Tree::Number(number.into())),
        text().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(5, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::Array),
            prop::collection::vec((name(), inner), 0..5).prop_map(Tree::Object),
        ]
    })
}

/// A document: usually an object.
pub(crate) fn document() -> impl Strategy<Value = Tree> {
    prop_oneof![
        8 => prop::collection::vec((name(), tree()), 0..6).prop_map(Tree::Object),
        1 => prop::collection::vec(tree(), 0..4).prop_map(Tree::Array),
        1 => tree(),
    ]
}

pub(crate) fn path() -> impl Strategy<Value = Path> {
    let segment = prop_oneof![
        5 => prop::sample::select(&["a", "b", "c", "0", "1", "2", "01", "", "x~1y", "ö😀", "a\"\\b"][..]),
        3 => prop::sample::select(&["*", "[]", "**", "...", "..."][..]),
    ];
    prop::collection::vec(segment, 0..6).prop_map(|segments| {
        let text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        Path::parse(&text).unwrap()
    })
}

fn test() -> impl Strategy<Value = Test> {
    let words = prop::collection::vec(text(), 1..3).boxed();
    let number = prop::sample::select(&[-2.0, 0.0, 1.0, 1000.0][..]);
    let edge = prop::option::of((number, any::<bool>()).prop_map(|(at, inclusive)| Edge { at, inclusive }));
    let moment = prop::sample::select(&["2025-01-02", "2025-01-01T23:00:00Z"][..])
        .prop_map(|text| Temporal::parse(text).unwrap());
    let instants = prop::option::of(
        (moment.clone(), any::<bool>()).prop_map(|(at, inclusive)| Edge { at: at.instant(), inclusive }),
    );
    prop_oneof![
        4 => (text(), any::<bool>()).prop_map(|(text, fold)| Test::Equals {
            time: if fold { None } else { Temporal::parse(&text) },
            text: if fold { fold_case(&text) } else { text },
            fold_case: fold,
        }),
        2 => (words.clone(), any::<bool>()).prop_map(|(needles, fold)| Test::Contains { needles: folded(needles, fold), fold_case: fold }),
        2 => (words.clone(), any::<bool>()).prop_map(|(needles, fold)| Test::StartsWith { needles: folded(needles, fold), fold_case: fold }),
        1 => words.prop_map(|items| Test::OneOf { items }),
        2 => (edge.clone(), edge).prop_map(|(lower, upper)| Test::Numbers { lower, upper }),
        1 => (prop::option::of(moment), instants.clone(), instants).prop_map(|(equal, lower, upper)| Test::Times { equal, lower, upper }),
        1 => Just(Test::Scalar),
        1 => Just(Test::Present),
        1 => Just(Test::Exists),
    ]
}

fn folded(needles: Vec<String>, fold: bool) -> Vec<String> {
    if fold { needles.iter().map(|needle| fold_case(needle)).collect() } else { needles }
}

pub(crate) fn condition() -> impl Strategy<Value = Condition> {
    condition_of((path(), test()).prop_map(|(path, test)| Clause { path, test }))
}

/// Conditions that only search, most of them everywhere.
pub(crate) fn search() -> impl Strategy<Value = Condition> {
    let needle = prop::sample::select(
        &[
            "a", "ab", "oPen", "str", "SSE", "elvin", "kel", "1", "345", "true", "01t", "\n", "n\"", "\\",
            "-01", "ö", "😀",
        ][..],
    );
    let needles = prop::collection::vec(needle.prop_map(str::to_owned), 1..3);
    let path = prop_oneof![3 => Just(Path::parse("/...").unwrap()), 1 => path()];
    let clause = (path, needles, any::<bool>()).prop_map(|(path, needles, fold_case)| Clause {
        path,
        test: Test::Contains { needles: folded(needles, fold_case), fold_case },
    });
    prop_oneof![4 => condition_of(clause), 1 => condition()]
}

fn condition_of(clause: impl Strategy<Value = Clause>) -> impl Strategy<Value = Condition> {
    prop::collection::vec(clause, 1..6).prop_flat_map(|clauses| {
        let leaf = (0..clauses.len()).prop_map(Node::Clause);
        let root = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Node::All),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Node::Any),
                inner.prop_map(|node| Node::Not(Box::new(node))),
            ]
        });
        (Just(clauses), root).prop_map(|(clauses, root)| Condition { root, clauses })
    })
}

/// Documents of few names and many arrays, where indexes, names and arrays that are looked through meet.
pub(crate) fn dense_document() -> impl Strategy<Value = Tree> {
    let name = prop::sample::select(&["a", "0", "1", "2"][..]).prop_map(str::to_owned);
    let leaf = prop::sample::select(&["1", "2"][..]).prop_map(|number| Tree::Number(number.into()));
    let member = name.clone();
    let tree = leaf.prop_recursive(6, 40, 3, move |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Array),
            2 => prop::collection::vec((member.clone(), inner), 1..4).prop_map(Tree::Object),
        ]
    });
    prop::collection::vec((name, tree), 1..4).prop_map(Tree::Object)
}

/// Conditions of one clause for such documents.
pub(crate) fn dense_condition() -> impl Strategy<Value = Condition> {
    let segment = prop_oneof![
        6 => prop::sample::select(&["a", "0", "1", "2"][..]),
        1 => prop::sample::select(&["...", "[]", "**"][..]),
    ];
    let path = prop::collection::vec(segment, 1..6).prop_map(|segments| {
        Path::parse(&segments.iter().flat_map(|segment| ["/", segment]).collect::<String>()).unwrap()
    });
    let equals = prop::sample::select(&["1", "2"][..]).prop_map(|text| Test::Equals {
        text: text.into(),
        time: None,
        fold_case: false,
    });
    let test = prop_oneof![3 => equals, 1 => Just(Test::Present)];
    (path, test)
        .prop_map(|(path, test)| Condition { root: Node::Clause(0), clauses: vec![Clause { path, test }] })
}
