//! One document being evaluated: the steps of all paths that its current value has been reached by, and the clauses that
//! its values have satisfied.
//!
//! A path step meets arrays in three ways: as a wildcard, as an index, and otherwise by being left to the elements. The
//! last two exclude each other for one array, but whether an index is valid is known only when the element has come, or
//! the array has ended without it. Until then what the elements satisfy is put down in a [`Detour`] of the array, and
//! counts when the array ends short of the index.

mod detours;
mod strings;

use detours::{Detour, Scope};

use super::{
    long::Long,
    probe::{Lower, Probe},
    route::{Looks, NONE, Routes, StepId},
    scan::Text,
    text::unescape,
    trace::Traces,
    verdict::Verdict,
};
use crate::condition::Condition;

/// More steps than this are not followed at once.
const MOST_STATES: usize = 1 << 22;

/// A step that has been reached.
#[derive(Clone, Copy, Debug)]
struct State {
    step: StepId,
    /// Inside of an array that stood where the step led: only members, indexes and tests are left to its elements.
    through: bool,
    /// The detour of that array, if indexes are among what is left.
    detour: u32,
    /// At an array: the detour that this array is for the state, if indexes are among what it leads to.
    own: u32,
    /// What everything from here on depends on.
    scope: u32,
}

/// A container of the document that has been entered.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Where its states, detours and scopes begin.
    states: usize,
    detours: usize,
    scopes: usize,
    /// How many elements have come, if it is an array.
    elements: u64,
    /// Of the names that lead on.
    looks: Looks,
    /// Its only state leads to everything below, and by itself nowhere else.
    stays: bool,
}

/// The scope of what depends on nothing.
const FREE: u32 = u32::MAX;
const NO_DETOUR: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    routes: Routes,
    probes: Vec<Probe>,
    /// For each clause, what to look for at a glance.
    traces: Vec<Option<Traces>>,
    /// Each clause has that.
    all_traced: bool,
    verdict: Verdict,
    /// The step at which each clause's path ends.
    end_of: Vec<StepId>,
    /// For each step, whether arrays that it leads to are looked through.
    through: Vec<bool>,
    /// For each step, whether all that it leads to is itself, at all that is below; and no test of it takes containers.
    stays: Vec<bool>,
    /// For each step that stays, whether each clause at it has traces.
    traced: Vec<bool>,
    /// Clauses known to be true, and a list of them.
    satisfied: Vec<bool>,
    satisfied_list: Vec<u32>,
    /// For each step, how many clauses that are not yet satisfied are at it or beyond.
    live: Vec<u32>,
    /// Steps that the value which begins was reached by, and the same for all entered containers.
    next: Vec<State>,
    /// `next` is what it was for the value before, the state of a level that stays.
    next_stays: bool,
    states: Vec<State>,
    levels: Vec<Level>,
    /// Of the names that lead on from the innermost level.
    looks: Looks,
    detours: Vec<Detour>,
    detour_count: usize,
    scopes: Vec<Scope>,
    /// When each step was last put into `next`.
    stamps: Vec<u64>,
    stamp: u64,
    overflowed: bool,
    /// There is something to forget.
    begun: bool,
    name: Vec<u8>,
    text: Vec<u8>,
    lower: Lower,
    long: Long,
    /// Clauses that the long string is tested for, with their scopes.
    long_tests: Vec<(u32, u32)>,
}

impl Evaluation {
    pub(crate) fn new(condition: &Condition) -> Self {
        let routes = Routes::new(condition.clauses.iter().map(|clause| &clause.path));
        let mut live = vec![0; routes.steps.len()];
        for (index, step) in routes.steps.iter().enumerate().rev() {
            // Later steps have been added up already.
            let here = live.get(index).copied().unwrap_or(0) + step.ends.len() as u32;
            if let Some(place) = live.get_mut(index) {
                *place = here;
            }
            if let Some(parent) = live.get_mut(step.parent as usize) {
                *parent += here;
            }
        }
        let probes: Vec<Probe> = condition.clauses.iter().map(|clause| Probe::new(&clause.test)).collect();
        let traces: Vec<Option<Traces>> = probes.iter().map(Probe::traces).collect();
        let mut traced = Vec::with_capacity(routes.steps.len());
        let mut end_of = vec![NONE; condition.clauses.len()];
        let mut through = Vec::with_capacity(routes.steps.len());
        let mut stays = Vec::with_capacity(routes.steps.len());
        for (index, step) in routes.steps.iter().enumerate() {
            let mut tests = step.ends.iter().filter_map(|&clause| condition.clauses.get(clause as usize));
            through.push(step.has_names() || tests.any(|clause| clause.test.descends()));
            let mut tests = step.ends.iter().filter_map(|&clause| condition.clauses.get(clause as usize));
            stays.push(step.only_stays() && tests.all(|clause| clause.test.descends()));
            let has_traces = |&clause: &u32| traces.get(clause as usize).is_some_and(Option::is_some);
            traced.push(stays.last() == Some(&true) && step.ends.iter().all(has_traces));
            for &clause in &step.ends {
                if let Some(place) = end_of.get_mut(clause as usize) {
                    *place = index as StepId;
                }
            }
        }
        Evaluation {
            end_of,
            through,
            stays,
            traced,
            all_traced: !traces.is_empty() && traces.iter().all(Option::is_some),
            traces,
            probes,
            verdict: Verdict::new(condition),
            satisfied: vec![false; condition.clauses.len()],
            satisfied_list: Vec::new(),
            live,
            next: Vec::new(),
            next_stays: false,
            states: Vec::new(),
            levels: Vec::new(),
            looks: Looks::ANY,
            detours: Vec::new(),
            detour_count: 0,
            scopes: Vec::new(),
            stamps: vec![0; routes.steps.len() * 2],
            stamp: 0,
            overflowed: false,
            begun: false,
            name: Vec::new(),
            text: Vec::new(),
            lower: Lower::default(),
            long: Long::default(),
            long_tests: Vec::new(),
            routes,
        }
    }

    /// Forgets the document.
    pub(crate) fn reset(&mut self) {
        if !self.begun {
            return;
        }
        self.begun = false;
        self.verdict.reset();
        while let Some(clause) = self.satisfied_list.pop() {
            if let Some(satisfied) = self.satisfied.get_mut(clause as usize) {
                *satisfied = false;
            }
            self.count_live(clause, 1);
        }
        self.next.clear();
        self.next_stays = false;
        self.states.clear();
        self.levels.clear();
        self.looks = Looks::ANY;
        self.scopes.clear();
        self.detour_count = 0;
        self.overflowed = false;
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(crate) fn longest_name(&self) -> usize {
        // Every character may be written as an escape of six bytes.
        self.routes.longest_name.saturating_mul(6)
    }

    /// The answer if nothing more comes.
    pub(crate) fn value(&self) -> bool {
        self.verdict.value()
    }

    /// The document begins; it is an object.
    pub(crate) fn root(&mut self) -> Option<bool> {
        self.begun = true;
        self.begin_next(0);
        self.add(State { step: 0, through: false, detour: NO_DETOUR, own: NO_DETOUR, scope: FREE });
        match self.open(true) {
            Ok(true) => None,
            Ok(false) => Some(self.value()),
            Err(decided) => Some(decided),
        }
    }

    /// Whether members of this name, in which nothing is escaped, lead nowhere from the innermost level.
    #[inline(always)]
    pub(crate) fn passes_over(&self, name: &[u8]) -> bool {
        !self.looks.pass(name)
    }

    /// A member begins; whether its value matters.
    pub(crate) fn member(&mut self, name: Text<'_>) -> bool {
        let Some(level) = self.levels.last() else { return false };
        if level.stays {
            let level = *level;
            return self.stay(level);
        }
        let (states, scopes) = (level.states, level.scopes);
        self.begin_next(scopes);
        if !name.escaped {
            self.follow(states, name.raw);
        } else {
            let mut decoded = std::mem::take(&mut self.name);
            decoded.clear();
            unescape(name.raw, &mut decoded);
            self.follow(states, &decoded);
            self.name = decoded;
        }
        !self.next.is_empty()
    }

    /// Takes the steps to a member from the states of the innermost level.
    #[inline(always)]
    fn follow(&mut self, states: usize, name: &[u8]) {
        for place in states..self.states.len() {
            let Some(&state) = self.states.get(place) else { break };
            let Some(step) = self.routes.steps.get(state.step as usize) else { break };
            let (wild, any_member, any_child, sticky) =
                (step.wild, step.any_member, step.any_child, step.sticky);
            let named = step.named(name);
            if named != NONE {
                self.add_named(state, named);
            }
            if wild && !state.through {
                let whole = State { detour: NO_DETOUR, own: NO_DETOUR, ..state };
                if any_member != NONE {
                    self.add(State { step: any_member, ..whole });
                }
                if any_child != NONE {
                    self.add(State { step: any_child, ..whole });
                }
                if sticky {
                    self.add(whole);
                }
            }
        }
    }

    /// A member or element of a level that stays begins.
    #[inline(always)]
    fn stay(&mut self, level: Level) -> bool {
        if !self.next_stays {
            self.begin_next(level.scopes);
            self.next.extend(self.states.get(level.states).copied());
            self.next_stays = true;
        }
        true
    }

    /// An element begins; whether it matters.
    pub(crate) fn element(&mut self) -> bool {
        let Some(level) = self.levels.last_mut() else { return false };
        let index = level.elements;
        level.elements += 1;
        let level = *level;
        if level.stays {
            return self.stay(level);
        }
        self.begin_next(level.scopes);
        for place in level.states..self.states.len() {
            let Some(&state) = self.states.get(place) else { break };
            let Some(step) = self.routes.steps.get(state.step as usize) else { break };
            let (any_element, any_child, sticky) = (step.any_element, step.any_child, step.sticky);
            let mut at = step.indexes.partition_point(|&(known, _)| known < index);
            while let Some(&(known, indexed)) =
                self.routes.steps.get(state.step as usize).and_then(|step| step.indexes.get(at))
                && known == index
            {
                self.add_depending(state, indexed, index);
                at += 1;
            }
            if !state.through {
                let whole = State { detour: NO_DETOUR, own: NO_DETOUR, ..state };
                if any_element != NONE {
                    self.add(State { step: any_element, ..whole });
                }
                if any_child != NONE {
                    self.add(State { step: any_child, ..whole });
                }
                if sticky {
                    self.add(whole);
                    continue;
                }
            }
            if self.through.get(state.step as usize) == Some(&true) {
                self.add(State { through: true, detour: state.own, own: NO_DETOUR, ..state });
            }
        }
        !self.next.is_empty()
    }

    /// Whether it is of use to glance at the container that begins. It is the candidate itself, or `inside` of it.
    #[inline(always)]
    pub(crate) fn glances(&self, inside: bool) -> bool {
        self.all_traced || inside && self.traced_state().is_some()
    }

    /// The only step that the container was reached by, if all that it leads to is looked for at a glance.
    fn traced_state(&self) -> Option<StepId> {
        match self.next.as_slice() {
            &[State { step, through: false, .. }] if self.traced.get(step as usize) == Some(&true) => {
                Some(step)
            }
            _ => None,
        }
    }

    /// Whether anything in the container can satisfy a clause, as far as its bytes tell.
    pub(crate) fn glance(&self, json: &[u8]) -> bool {
        let possible = |clause: u32| {
            self.satisfied.get(clause as usize) == Some(&false)
                && self
                    .traces
                    .get(clause as usize)
                    .and_then(Option::as_ref)
                    .is_none_or(|traces| traces.may_be_in(json) || traces.may_be_hidden_in(json))
        };
        if self.all_traced {
            return (0..self.traces.len() as u32).any(possible);
        }
        let step = self.traced_state().and_then(|step| self.routes.steps.get(step as usize));
        step.is_none_or(|step| step.ends.iter().copied().any(possible))
    }

    /// The value is a container. Whether anything in it matters, or the answer if that is known now.
    pub(crate) fn open(&mut self, object: bool) -> Result<bool, bool> {
        if self.overflowed {
            return Err(false);
        }
        if let &[state] = self.next.as_slice()
            && self.next_stays
            && let Some(level) = self.levels.last()
            && level.stays
        {
            let level = Level { states: self.states.len(), elements: 0, ..*level };
            self.looks = level.looks;
            self.states.push(state);
            self.levels.push(level);
            return Ok(true);
        }
        if let &[state] = self.next.as_slice()
            && object
            && !state.through
            && let Some(step) = self.routes.steps.get(state.step as usize)
            && step.ends.is_empty()
        {
            // A way through an object is all that most containers are.
            if !step.enters_objects() || self.live.get(state.step as usize) == Some(&0) {
                return Ok(false);
            }
            let (states, looks) = (self.states.len(), step.looks_of_any);
            self.states.push(State { own: NO_DETOUR, ..state });
            self.looks = looks;
            self.levels.push(Level {
                states,
                detours: self.detour_count,
                scopes: self.scopes.len(),
                elements: 0,
                looks,
                stays: self.stays.get(state.step as usize) == Some(&true),
            });
            return Ok(true);
        }
        let mut level = Level {
            states: self.states.len(),
            detours: self.detour_count,
            scopes: self.scopes.len(),
            elements: 0,
            looks: Looks::NONE,
            stays: false,
        };
        for place in 0..self.next.len() {
            let Some(&state) = self.next.get(place) else { break };
            let ends = self.routes.steps.get(state.step as usize).map_or(0, |step| step.ends.len());
            if ends == 0 || state.through {
                continue;
            }
            for end in 0..ends {
                if let Some(clause) = self.end(state.step, end)
                    && self.probes.get(clause as usize).is_some_and(Probe::takes_containers)
                    && let Some(decided) = self.satisfy(clause, state.scope)
                {
                    return Err(decided);
                }
            }
        }
        for place in 0..self.next.len() {
            let Some(&state) = self.next.get(place) else { break };
            let Some(step) = self.routes.steps.get(state.step as usize) else { break };
            if self.live.get(state.step as usize) == Some(&0) {
                continue;
            }
            let leads_on = match (object, state.through) {
                (true, false) => step.enters_objects(),
                (true, true) => step.has_names(),
                (false, false) => {
                    step.sticky
                        || step.any_element != NONE
                        || step.any_child != NONE
                        || self.through.get(state.step as usize) == Some(&true)
                }
                (false, true) => self.through.get(state.step as usize) == Some(&true),
            };
            if !leads_on {
                continue;
            }
            level.looks.join(if state.through { step.looks } else { step.looks_of_any });
            let own = if object || step.indexes.is_empty() {
                NO_DETOUR
            } else {
                self.new_detour(Detour {
                    outer: (state.through && state.detour != NO_DETOUR).then_some(state.detour),
                    level: self.levels.len(),
                    scope: state.scope,
                    satisfied: Vec::new(),
                })
            };
            self.states.push(State { own, ..state });
        }
        match self.states.get(level.states..) {
            Some(&[state]) => {
                level.stays = !state.through && self.stays.get(state.step as usize) == Some(&true);
            }
            Some([_, ..]) => {}
            _ => return Ok(false),
        }
        self.looks = level.looks;
        self.levels.push(level);
        Ok(true)
    }

    /// The innermost container ended. The answer, if that decides it.
    #[inline]
    pub(crate) fn close(&mut self) -> Option<bool> {
        let level = self.levels.pop()?;
        self.looks = self.levels.last().map_or(Looks::ANY, |level| level.looks);
        self.states.truncate(level.states);
        let mut decided = None;
        if self.detour_count > level.detours {
            decided = self.end_detours(level);
        }
        self.scopes.truncate(level.scopes);
        decided
    }

    /// The value is a number or literal. The answer, if that decides it.
    pub(crate) fn scalar(&mut self, literal: &[u8], whole: bool) -> Option<bool> {
        self.lower.forget();
        self.test_all(|probe, lower| probe.scalar(literal, whole, lower))
    }

    /// Runs the tests of all states on a value.
    #[inline(always)]
    fn test_all(&mut self, mut passes: impl FnMut(&Probe, &mut Lower) -> bool) -> Option<bool> {
        for place in 0..self.next.len() {
            let Some(&state) = self.next.get(place) else { break };
            let ends = self.routes.steps.get(state.step as usize).map_or(0, |step| step.ends.len());
            for end in 0..ends {
                let Some(clause) = self.end(state.step, end) else { continue };
                if let Some(probe) = self.probes.get(clause as usize)
                    && passes(probe, &mut self.lower)
                    && let Some(decided) = self.satisfy(clause, state.scope)
                {
                    return Some(decided);
                }
            }
        }
        None
    }

    /// A clause whose path ends at the step, unless it is satisfied already.
    #[inline(always)]
    fn end(&self, step: StepId, number: usize) -> Option<u32> {
        let clause = *self.routes.steps.get(step as usize)?.ends.get(number)?;
        (self.satisfied.get(clause as usize) == Some(&false)).then_some(clause)
    }

    #[inline(always)]
    fn begin_next(&mut self, scopes: usize) {
        self.next.clear();
        self.next_stays = false;
        self.stamp += 1;
        self.scopes.truncate(scopes);
    }

    /// The step to a member. In an array that was looked through, an index of the array is no name for its elements.
    fn add_named(&mut self, state: State, step: StepId) {
        match self.routes.steps.get(step as usize).and_then(|step| step.index) {
            Some(index) if state.through => self.add_depending(state, step, index),
            _ => self.add(State { step, through: false, detour: NO_DETOUR, own: NO_DETOUR, ..state }),
        }
    }

    /// A step that is taken only if no array that was looked through has an element of this index.
    fn add_depending(&mut self, state: State, step: StepId, index: u64) {
        let mut scope = state.scope;
        if state.through && state.detour != NO_DETOUR {
            let mut around = Some(state.detour);
            while let Some(detour) = around.and_then(|detour| self.detours.get(detour as usize)) {
                if self.levels.get(detour.level).is_some_and(|level| index < level.elements) {
                    return;
                }
                around = detour.outer;
            }
            scope = self.scopes.len() as u32;
            self.scopes.push(Scope { detour: state.detour, index });
        }
        self.add(State { step, through: false, detour: NO_DETOUR, own: NO_DETOUR, scope });
    }

    /// Puts a state into `next`, unless it leads to nothing that is still wanted.
    #[inline(always)]
    fn add(&mut self, state: State) {
        if self.live.get(state.step as usize).is_none_or(|&live| live == 0) {
            return;
        }
        let Some(stamp) = self.stamps.get_mut(state.step as usize * 2 + usize::from(state.through)) else {
            return;
        };
        if *stamp == self.stamp {
            let known = self.next.iter().any(|other| {
                other.step == state.step
                    && other.through == state.through
                    && (other.scope == FREE && !other.through
                        || other.scope == state.scope && other.detour == state.detour)
            });
            if known {
                return;
            }
        }
        *stamp = self.stamp;
        if self.next.len() + self.states.len() >= MOST_STATES {
            self.overflowed = true;
            return;
        }
        self.next.push(state);
        if !state.through
            && let Some(step) = self.routes.steps.get(state.step as usize)
            && step.descendants != NONE
        {
            self.add_descendants(State { step: step.descendants, ..state });
        }
    }

    /// Not in line with [`add`](Self::add), which calls it.
    fn add_descendants(&mut self, state: State) {
        self.add(state);
    }

    /// A clause is satisfied, if what it depends on comes true. The answer, if that decides it.
    fn satisfy(&mut self, clause: u32, scope: u32) -> Option<bool> {
        if let Some(scope) = self.scopes.get(scope as usize) {
            if let Some(detour) = self.detours.get_mut(scope.detour as usize) {
                detour.put_down(scope.index, clause);
            }
            return None;
        }
        let satisfied = self.satisfied.get_mut(clause as usize)?;
        if *satisfied {
            return None;
        }
        *satisfied = true;
        self.satisfied_list.push(clause);
        let decided = self.verdict.satisfied(clause);
        self.count_live(clause, -1);
        decided
    }

    fn count_live(&mut self, clause: u32, change: i32) {
        let mut at = self.end_of.get(clause as usize).copied().unwrap_or(NONE);
        while let Some(live) = self.live.get_mut(at as usize) {
            *live = live.wrapping_add_signed(change);
            at = self.routes.steps.get(at as usize).map_or(NONE, |step| step.parent);
        }
    }
}
