//! Selectors in the query part of a URL, one assignment or one clause a parameter.

use std::collections::HashMap;

use super::{
    Selector,
    clause::{Clause, Draft, exists, parse_clause},
    clause_path::{ClausePath, Group, Kind, first_token, is_keyword},
    tree::Branch,
};
use crate::error::{Problem, SelectorError, Shown};

/// The assignments to one clause.
struct Body {
    path: ClausePath,
    draft: Draft,
}

impl Selector {
    /// Reads a selector from the decoded names and values of URL parameters. Other parameters are ignored; if no
    /// parameter belongs to a selector, there is none.
    ///
    /// # Errors
    ///
    /// A parameter whose name starts with a word of the language is no clause and no assignment, or parameters
    /// contradict each other. The place in the error is one in the parameter's name.
    pub fn from_url_parameters<N, V>(
        parameters: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Option<Selector>, SelectorError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut root = Branch::default();
        let mut found = false;
        let mut bodies: Vec<Body> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (name, value) in parameters {
            let (name, value) = (name.as_ref().trim(), value.as_ref());
            if !is_keyword(first_token(name)) {
                continue;
            }
            found = true;
            if name.contains('{') {
                let (path, clause) = parse_clause(name, 0)?;
                insert(&mut root, &path, clause)?;
                continue;
            }
            let (path, rest) = ClausePath::parse_front(name, 0)?;
            let missing_key = || SelectorError::at(Problem::MissingKey(Shown::new(name)), name.len());
            if path.kind == Kind::Exists {
                if let Some((segment, place)) = rest {
                    let problem = Problem::UnexpectedSegment(Shown::new(name), Shown::new(segment));
                    return Err(SelectorError::at(problem, place));
                }
                insert(&mut root, &path, exists(value, 0)?)?;
                continue;
            }
            let (key, place) = rest.filter(|(key, _)| !key.is_empty()).ok_or_else(missing_key)?;
            if let Some((_, more)) = key.split_once('.') {
                let problem = Problem::UnexpectedSegment(Shown::new(name), Shown::new(more));
                return Err(SelectorError::at(problem, place));
            }
            let index = *known.entry(spelling(&path)).or_insert_with(|| {
                bodies.push(Body { draft: Draft::new(path.kind), path });
                bodies.len() - 1
            });
            let Some(body) = bodies.get_mut(index) else { continue };
            let at_key = |problem| SelectorError::at(problem, place);
            let key = body.draft.key(key).map_err(at_key)?;
            if !body.draft.set(key, value).map_err(at_key)? {
                return Err(at_key(Problem::DuplicateValues(Shown::new(name))));
            }
        }
        for Body { path, draft } in bodies {
            let clause = draft.finish().map_err(|problem| SelectorError { problem, offset: None })?;
            insert(&mut root, &path, clause)?;
        }
        let selector = root.build();
        if !selector.depth_is_bounded() {
            return Err(SelectorError { problem: Problem::TooDeep, offset: None });
        }
        Ok(found.then(|| selector.simplified()))
    }
}

fn insert(root: &mut Branch, path: &ClausePath, clause: Clause) -> Result<(), SelectorError> {
    root.insert(&path.groups, clause).map_err(|problem| SelectorError { problem, offset: None })
}

/// One spelling for all ways to write a path.
fn spelling(path: &ClausePath) -> String {
    let mut text = String::new();
    for group in &path.groups {
        let (name, number) = match group {
            Group::And(number) => ("and", *number),
            Group::Or(number) => ("or", *number),
            Group::Not => ("not", None),
        };
        text.push_str(name);
        text.push('.');
        if let Some(number) = number {
            text.push_str(&number.to_string());
            text.push('.');
        }
    }
    text + path.kind.name()
}
