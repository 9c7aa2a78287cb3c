//! A list without duplicates, in the order of arrival. Short ones are searched; long ones get an index, because clients decide
//! how many keys one request is about.

use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smallvec::SmallVec;

/// With more values than this there is an index.
const SHORT: usize = 16;

#[derive(Debug)]
pub(super) struct Distinct<T> {
    list: SmallVec<[T; 2]>,
    index: HashSet<T, RandomState>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Distinct<T> {
        Distinct { list: SmallVec::new(), index: HashSet::default() }
    }
}

impl<T: Clone + Eq + Hash> Distinct<T> {
    /// Whether it is new.
    pub(super) fn add(&mut self, value: T) -> bool {
        if self.list.len() <= SHORT {
            if self.list.contains(&value) {
                return false;
            }
            if self.list.len() == SHORT {
                self.index.extend(self.list.iter().cloned());
                self.index.insert(value.clone());
            }
        } else if !self.index.insert(value.clone()) {
            return false;
        }
        self.list.push(value);
        true
    }

    /// Takes the newest out again.
    pub(super) fn pop(&mut self) -> Option<T> {
        let value = self.list.pop()?;
        match self.list.len() {
            SHORT => self.index.clear(),
            length if length > SHORT => {
                self.index.remove(&value);
            }
            _ => {}
        }
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.list.first()
    }
}

impl<T> IntoIterator for Distinct<T> {
    type Item = T;
    type IntoIter = smallvec::IntoIter<[T; 2]>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list; `None` takes one out.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(prop::option::weighted(0.8, 0u8..40), 0..200)) {
            let (mut distinct, mut list) = (Distinct::default(), Vec::new());
            for step in steps {
                match step {
                    None => prop_assert_eq!(distinct.pop(), list.pop()),
                    Some(value) => {
                        prop_assert_eq!(distinct.add(value), !list.contains(&value));
                        if !list.contains(&value) {
                            list.push(value);
                        }
                    }
                }
                prop_assert!(distinct.iter().eq(list.iter()));
            }
        }
    }
}
