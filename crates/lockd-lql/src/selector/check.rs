//! What a clause must look like, whatever form it was written in.

use super::{Bound, Date, Range, Selector, Term, Within};
use crate::{
    condition::Temporal,
    error::{Problem, Shown},
};

/// The words that `since` understands besides temporal literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Now,
    Today,
    Yesterday,
    Time(Temporal),
}

impl Since {
    pub(crate) fn parse(text: &str) -> Option<Since> {
        let word = text.trim();
        Some(match () {
            () if word.eq_ignore_ascii_case("now") => Since::Now,
            () if word.eq_ignore_ascii_case("today") => Since::Today,
            () if word.eq_ignore_ascii_case("yesterday") => Since::Yesterday,
            () => Since::Time(Temporal::parse(word)?),
        })
    }
}

impl Selector {
    /// Checks the clauses of this node, not those of nested ones.
    pub(crate) fn check_clauses(&self) -> Result<(), Problem> {
        for (name, term) in self.terms() {
            term.check(name)?;
        }
        self.range.iter().try_for_each(|range| range.check())?;
        self.date.iter().try_for_each(|date| date.check())?;
        self.within.iter().try_for_each(|within| within.check())
    }

    /// The string terms of this node with their names.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&'static str, &Term)> {
        [
            ("eq", &self.eq),
            ("contains", &self.contains),
            ("icontains", &self.icontains),
            ("prefix", &self.prefix),
            ("iprefix", &self.iprefix),
        ]
        .into_iter()
        .filter_map(|(name, term)| Some((name, term.as_deref()?)))
    }
}

impl Term {
    pub(crate) fn check(&self, name: &'static str) -> Result<(), Problem> {
        if self.field.is_empty() {
            return Err(Problem::FieldRequired);
        }
        if !self.any.is_empty() {
            if !name.ends_with("contains") {
                return Err(Problem::AnyUnsupported(name));
            }
            if self.value.is_some() {
                return Err(Problem::ValueAndAny(name));
            }
        }
        Ok(())
    }
}

impl Within {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.field.is_empty() {
            return Err(Problem::InField);
        }
        if self.any.is_empty() {
            return Err(Problem::InNoValues);
        }
        if self.any.iter().any(|item| item.trim().is_empty()) {
            return Err(Problem::InBlankValue);
        }
        Ok(())
    }
}

impl Range {
    pub(crate) fn bounds(&self) -> impl Iterator<Item = (&'static str, &Bound)> {
        [("gte", &self.gte), ("gt", &self.gt), ("lte", &self.lte), ("lt", &self.lt)]
            .into_iter()
            .filter_map(|(name, bound)| Some((name, bound.as_ref()?)))
    }

    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.field.is_empty() {
            return Err(Problem::RangeField);
        }
        let (mut numbers, mut times) = (0, 0);
        for (name, bound) in self.bounds() {
            match bound {
                Bound::Number(number) if !number.is_finite() => return Err(Problem::RangeValueType(name)),
                Bound::Number(_) => numbers += 1,
                Bound::Time(text) if text.trim().is_empty() => return Err(Problem::RangeValueRequired(name)),
                Bound::Time(_) => times += 1,
            }
        }
        if numbers + times == 0 {
            return Err(Problem::RangeNoBound);
        }
        if numbers > 0 && times > 0 {
            return Err(Problem::RangeMixed);
        }
        for (_, bound) in self.bounds() {
            if let Bound::Time(text) = bound
                && Temporal::parse(text).is_none()
            {
                return Err(Problem::RangeBound(Shown::new(text)));
            }
        }
        Ok(())
    }
}

impl Date {
    pub(crate) fn comparators(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("value", &self.value),
            ("after", &self.after),
            ("before", &self.before),
            ("gte", &self.gte),
            ("gt", &self.gt),
            ("lte", &self.lte),
            ("lt", &self.lt),
            ("since", &self.since),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.field.is_empty() {
            return Err(Problem::DateField);
        }
        let bounds = [&self.after, &self.before, &self.gte, &self.gt, &self.lte, &self.lt];
        if self.value.is_none() && self.since.is_none() && bounds.iter().all(|bound| bound.is_none()) {
            return Err(Problem::DateNoComparator);
        }
        if self.after.is_some() && self.gt.is_some() {
            return Err(Problem::DateAfterAndGt);
        }
        if self.before.is_some() && self.lt.is_some() {
            return Err(Problem::DateBeforeAndLt);
        }
        if self.since.is_some() && (self.after.is_some() || self.gt.is_some() || self.gte.is_some()) {
            return Err(Problem::DateSinceAndLower);
        }
        if let Some(value) = &self.value
            && Temporal::parse(value).is_none()
        {
            return Err(Problem::DateValue(Shown::new(value)));
        }
        for bound in bounds.into_iter().flatten() {
            if Temporal::parse(bound).is_none() {
                return Err(Problem::DateBound(Shown::new(bound)));
            }
        }
        match &self.since {
            Some(since) if Since::parse(since).is_none() => Err(Problem::DateSince(Shown::new(since))),
            _ => Ok(()),
        }
    }
}
