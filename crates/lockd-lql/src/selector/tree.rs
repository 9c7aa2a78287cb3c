//! Putting clauses into a tree by their paths: numbered groups meet in one element, unnumbered ones open new ones.

use std::collections::BTreeMap;

use super::{
    Selector,
    clause::Clause,
    clause_path::{Group, Kind},
};
use crate::error::Problem;

#[derive(Debug, Default)]
pub(super) struct Branch {
    and: Elements,
    or: Elements,
    not: Option<Box<Branch>>,
    /// Only its clauses are used.
    clauses: Selector,
}

#[derive(Debug, Default)]
struct Elements {
    numbered: BTreeMap<u32, Branch>,
    /// In the order in which they came.
    unnumbered: Vec<Branch>,
}

impl Elements {
    fn element(&mut self, number: Option<u32>) -> &mut Branch {
        match number {
            Some(number) => self.numbered.entry(number).or_default(),
            None => {
                let index = self.unnumbered.len();
                self.unnumbered.push(Branch::default());
                // The element has just been pushed.
                &mut self.unnumbered[index]
            }
        }
    }

    fn build(self) -> Vec<Selector> {
        self.numbered.into_values().chain(self.unnumbered).map(Branch::build).collect()
    }
}

impl Branch {
    /// Adds a clause below the groups.
    pub(super) fn insert(&mut self, groups: &[Group], clause: Clause) -> Result<(), Problem> {
        let mut branch = self;
        for group in groups {
            branch = match *group {
                Group::And(number) => branch.and.element(number),
                Group::Or(number) => branch.or.element(number),
                Group::Not => branch.not.get_or_insert_default(),
            };
        }
        let clauses = &mut branch.clauses;
        match clause {
            Clause::Term(kind, term) => {
                let slot = match kind {
                    Kind::Contains => &mut clauses.contains,
                    Kind::Icontains => &mut clauses.icontains,
                    Kind::Prefix => &mut clauses.prefix,
                    Kind::Iprefix => &mut clauses.iprefix,
                    _ => &mut clauses.eq,
                };
                place(slot, term, |old, new| {
                    first_difference(&[
                        ("field", old.field == new.field),
                        ("value", old.value == new.value),
                        ("any", old.any == new.any),
                    ])
                    .unwrap_or("ignoreCase")
                })
            }
            Clause::Range(range) => place(&mut clauses.range, range, |old, new| {
                first_difference(&[
                    ("field", old.field == new.field),
                    ("gte", old.gte == new.gte),
                    ("gt", old.gt == new.gt),
                    ("lte", old.lte == new.lte),
                ])
                .unwrap_or("lt")
            }),
            Clause::Date(date) => place(&mut clauses.date, date, |old, new| {
                first_difference(&[
                    ("field", old.field == new.field),
                    ("value", old.value == new.value),
                    ("after", old.after == new.after),
                    ("before", old.before == new.before),
                    ("gte", old.gte == new.gte),
                    ("gt", old.gt == new.gt),
                    ("lte", old.lte == new.lte),
                    ("lt", old.lt == new.lt),
                ])
                .unwrap_or("since")
            }),
            Clause::Within(within) => place(&mut clauses.within, within, |old, new| {
                first_difference(&[("field", old.field == new.field)]).unwrap_or("any")
            }),
            Clause::Exists(pointer) => match &clauses.exists {
                Some(old) if **old != *pointer => Err(Problem::Conflict("exists")),
                _ => {
                    clauses.exists = Some(pointer.into());
                    Ok(())
                }
            },
        }
    }

    pub(super) fn build(self) -> Selector {
        Selector {
            and: self.and.build(),
            or: self.or.build(),
            not: self.not.map(|inner| Box::new(inner.build())),
            ..self.clauses
        }
    }
}

/// Fills a slot; one that is filled already must hold the same.
fn place<T: PartialEq>(
    slot: &mut Option<Box<T>>,
    clause: T,
    difference: impl FnOnce(&T, &T) -> &'static str,
) -> Result<(), Problem> {
    match slot {
        Some(old) if **old != clause => Err(Problem::Conflict(difference(old, &clause))),
        Some(_) => Ok(()),
        None => {
            *slot = Some(Box::new(clause));
            Ok(())
        }
    }
}

fn first_difference(equal: &[(&'static str, bool)]) -> Option<&'static str> {
    equal.iter().find(|(_, equal)| !equal).map(|(name, _)| *name)
}
