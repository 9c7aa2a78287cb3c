//! What is satisfied only if an array turns out to be short of an index.

use super::{Evaluation, Level};

/// An array whose elements are looked at instead of the array, as long as it turns out not to have an element of that
/// index.
#[derive(Clone, Debug, Default)]
pub(super) struct Detour {
    /// The array around it that the same step also went through.
    pub(super) outer: Option<u32>,
    /// The place of the array among the entered containers.
    pub(super) level: usize,
    /// What the step itself depends on.
    pub(super) scope: u32,
    /// Clauses that were satisfied through a member whose name is also this index.
    pub(super) satisfied: Vec<(u64, u32)>,
}

/// The condition that an array has no element of that index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) detour: u32,
    pub(super) index: u64,
}

impl Evaluation {
    pub(super) fn new_detour(&mut self, detour: Detour) -> u32 {
        let index = self.detour_count;
        match self.detours.get_mut(index) {
            Some(place) => {
                // Its list keeps its memory.
                place.satisfied.clear();
                (place.outer, place.level, place.scope) = (detour.outer, detour.level, detour.scope);
            }
            None => self.detours.push(detour),
        }
        self.detour_count += 1;
        index as u32
    }

    /// The detours of an array end with it: what depended on indexes that it does not have is true.
    pub(super) fn end_detours(&mut self, level: Level) -> Option<bool> {
        let mut answer = None;
        for index in level.detours..self.detour_count {
            let Some(detour) = self.detours.get_mut(index) else { break };
            let (outer, scope) = (detour.outer, detour.scope);
            let mut list = std::mem::take(&mut detour.satisfied);
            for &(wanted, clause) in list.iter().filter(|(wanted, _)| *wanted >= level.elements) {
                match outer.and_then(|outer| self.detours.get_mut(outer as usize)) {
                    Some(outer) => outer.put_down(wanted, clause),
                    None => answer = answer.or(self.satisfy(clause, scope)),
                }
            }
            list.clear();
            if let Some(detour) = self.detours.get_mut(index) {
                detour.satisfied = list;
            }
        }
        self.detour_count = level.detours;
        answer
    }
}

impl Detour {
    pub(super) fn put_down(&mut self, index: u64, clause: u32) {
        if self.satisfied.last() == Some(&(index, clause)) {
            return;
        }
        if self.satisfied.len() == self.satisfied.capacity() {
            self.satisfied.sort_unstable();
            self.satisfied.dedup();
        }
        self.satisfied.push((index, clause));
    }
}
