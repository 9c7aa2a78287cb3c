//! What a program has to do with a value, by the routes that lead to it: computed when a document first leads there,
//! kept for the next time. Everything about the order of edits is settled here, before the editor sees a byte.
//!
//! A value that an edit replaces or removes may still have to be read, because increments that come before that edit in
//! the list must fail as if it did not exist. Such a value has a state with a limit: only edits before the limit count,
//! and nothing is written.

use std::{ops::Range, sync::Arc};

use hashbrown::HashMap;

use super::{
    built::{Built, Impossible, Token},
    edit_error::Kind,
    program::{Action, Code, Descent, EditId, NEVER, Position},
    routes::RouteId,
};

pub(super) type StateId = u32;

/// No edit concerns the value or anything in it.
pub(super) const DEAD: StateId = 0;

/// How much an editor may keep and do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many states, positions and tokens are kept before all are thrown away.
    pub(super) kept: usize,
    /// What may be spent on one document: some seconds of work.
    pub(super) work: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { kept: 1 << 20, work: 1_000_000_000 }
    }
}

/// What a step costs in which something new is found out. The unit takes about five nanoseconds.
const FINDING: u64 = 50;

/// What it costs to add one delta more to a number.
const SUM: u64 = 4;

/// What is to be done with a value of some kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Nothing, nor with anything in it.
    Keep,
    /// Look at its members or elements.
    Descend,
    /// Add up a number and the deltas of these edits, given as a range of [`States::deltas`].
    Add(Range<usize>),
    /// Write something else instead, then go on in another state without writing.
    Replace { value: Written, below: StateId },
    /// An increment that meets no number.
    NotNumeric(EditId),
    /// An edit that cannot be done whatever the document says here.
    Impossible(Impossible),
}

/// A value to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    /// A range of [`States::tokens`].
    pub(super) tokens: Range<usize>,
    /// How deep its objects nest.
    pub(super) depth: u32,
}

#[derive(Debug)]
struct State {
    positions: Arc<[Position]>,
    limit: EditId,
    /// The value is an element of an array.
    element: bool,
    /// The plain route among the positions: the one that creates members.
    spine: Option<RouteId>,
    /// The edit that removes this member.
    removal: Option<EditId>,
    /// The state in which to read the member if it is removed.
    removed: Option<StateId>,
    has_names: bool,
    has_indexes: bool,
    plans: [Option<Plan>; 4],
    any_member: Option<StateId>,
    any_element: Option<StateId>,
    /// What becomes of a missing member, and of a removed one.
    additions: [Option<Result<Option<Written>, Impossible>>; 2],
}

type Key = (Arc<[Position]>, EditId, bool);

#[derive(Debug)]
pub(super) struct States {
    code: Arc<Code>,
    bounds: Bounds,
    /// What may still be spent on this document.
    left: u64,
    root: StateId,
    states: Vec<State>,
    known: HashMap<Key, StateId>,
    next: HashMap<(StateId, Descent), StateId>,
    pub(super) tokens: Vec<Token>,
    pub(super) deltas: Vec<EditId>,
    /// Of all states, to know when it is enough.
    positions: usize,
    scratch: Vec<Position>,
}

impl States {
    pub(super) fn new(code: Arc<Code>, bounds: Bounds) -> Self {
        let mut states = States {
            code,
            bounds,
            left: bounds.work,
            root: DEAD,
            states: Vec::new(),
            known: HashMap::new(),
            next: HashMap::new(),
            tokens: Vec::new(),
            deltas: Vec::new(),
            positions: 0,
            scratch: Vec::new(),
        };
        states.add(Arc::new([]), NEVER, false);
        let positions = states.code.root();
        states.root = states.find(&positions, NEVER, false);
        states
    }

    /// The state of the document itself.
    pub(super) fn root(&self) -> StateId {
        self.root
    }

    /// Whether there are so many states that they should be trimmed, so many of them being in use.
    pub(super) fn is_full(&self, used: usize) -> bool {
        let size =
            self.states.len() + self.next.len() + self.positions + self.tokens.len() + self.deltas.len();
        size > self.bounds.kept + 64 * used
    }

    /// Forgets all states but those that are in use, and replaces these by their new numbers.
    pub(super) fn trim<'a>(&mut self, used: impl Iterator<Item = &'a mut StateId>) {
        let old = std::mem::replace(self, States::new(self.code.clone(), self.bounds));
        self.left = old.left;
        for id in used {
            if let Some(state) = old.states.get(*id as usize) {
                *id = self.find(&state.positions, state.limit, state.element);
            }
        }
    }

    /// A new document begins, with nothing spent on it.
    pub(super) fn begin(&mut self) {
        // What was found out without the means to do so is of no use.
        if self.is_full(0) || self.is_exhausted() {
            self.trim(std::iter::empty());
        }
        self.left = self.bounds.work;
    }

    /// Whether the document takes more work than it may. What the states say from then on is wrong.
    pub(super) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    pub(super) fn spend_on_sums(&mut self, sums: usize) {
        self.left = self.left.saturating_sub(sums as u64 * SUM);
    }

    pub(super) fn spend_on_finding(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps as u64 * FINDING);
    }

    fn find(&mut self, positions: &[Position], limit: EditId, element: bool) -> StateId {
        self.spend_on_finding(positions.len());
        let route = |position: &Position| self.code.route(position.route);
        let concerned = if limit == NEVER {
            !positions.is_empty()
        } else {
            // Only increments can fail.
            positions.iter().filter_map(route).any(|route| route.first_increment < limit)
        };
        if !concerned {
            return DEAD;
        }
        let key: Key = (positions.into(), limit, element);
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let id = self.add(key.0.clone(), limit, element);
        self.known.insert(key, id);
        id
    }

    fn add(&mut self, positions: Arc<[Position]>, limit: EditId, element: bool) -> StateId {
        let id = self.states.len() as StateId;
        let endings: usize = positions.iter().map(|position| self.code.endings(position.route).len()).sum();
        self.spend_on_finding(positions.len() + endings);
        let plain = |position: &&Position| {
            !position.indexed && self.code.route(position.route).is_some_and(|route| route.plain)
        };
        let spine = positions.iter().find(plain).map(|position| position.route);
        let removal = if element {
            None
        } else {
            let removes = |edit: &EditId| matches!(self.code.action(*edit), Some(Action::Remove));
            self.ending(&positions, limit).filter(removes).min()
        };
        let has_names = positions.iter().any(|position| self.code.has_names(position.route));
        let has_indexes = positions.iter().any(|position| self.code.has_indexes(position.route));
        self.positions += positions.len();
        self.states.push(State {
            positions,
            limit,
            element,
            spine,
            removal,
            removed: None,
            has_names,
            has_indexes,
            plans: [const { None }; 4],
            any_member: None,
            any_element: None,
            additions: [None, None],
        });
        id
    }

    /// The edits before `limit` that end at one of the positions, in no order.
    fn ending(&self, positions: &[Position], limit: EditId) -> impl Iterator<Item = EditId> {
        let here = |position: &&Position| {
            let plain = self.code.route(position.route).is_some_and(|route| route.plain);
            !(position.shallow || position.indexed && plain)
        };
        let endings = |position: &Position| self.code.endings(position.route);
        positions.iter().filter(here).flat_map(endings).copied().filter(move |edit| *edit < limit)
    }

    /// Whether it matters which member of the object one looks at.
    pub(super) fn has_names(&self, id: StateId) -> bool {
        self.states.get(id as usize).is_some_and(|state| state.has_names)
    }

    /// The state of a member whose name, if the program knows it, has this number.
    #[inline]
    pub(super) fn member(&mut self, id: StateId, name: Option<u32>) -> StateId {
        let Some(state) = self.states.get(id as usize) else { return DEAD };
        match name {
            Some(_) if state.has_names => self.descend(id, Descent::Member(name)),
            _ => match state.any_member {
                Some(next) => next,
                None => {
                    let next = self.descend(id, Descent::Member(None));
                    if let Some(state) = self.states.get_mut(id as usize) {
                        state.any_member = Some(next);
                    }
                    next
                }
            },
        }
    }

    /// The state of an element.
    pub(super) fn element(&mut self, id: StateId, index: u64) -> StateId {
        let Some(state) = self.states.get(id as usize) else { return DEAD };
        let known = state.has_indexes && {
            self.left = self.left.saturating_sub(state.positions.len() as u64);
            self.code.knows_index(&state.positions, index)
        };
        if known {
            return self.descend(id, Descent::Element(Some(index)));
        }
        if let Some(next) = state.any_element {
            return next;
        }
        let next = self.descend(id, Descent::Element(None));
        if let Some(state) = self.states.get_mut(id as usize) {
            state.any_element = Some(next);
        }
        next
    }

    fn descend(&mut self, id: StateId, descent: Descent) -> StateId {
        if let Some(&next) = self.next.get(&(id, descent)) {
            return next;
        }
        let Some(state) = self.states.get(id as usize) else { return DEAD };
        let limit = state.limit;
        let mut positions = std::mem::take(&mut self.scratch);
        self.code.descend(&state.positions, descent, limit, &mut positions);
        let steps = state.positions.len();
        self.spend_on_finding(steps);
        let next = self.find(&positions, limit, matches!(descent, Descent::Element(_)));
        self.scratch = positions;
        self.next.insert((id, descent), next);
        next
    }

    /// If the member is removed: the state in which to read it.
    pub(super) fn removed(&mut self, id: StateId) -> Option<StateId> {
        let state = self.states.get(id as usize)?;
        let limit = state.removal?;
        if state.removed.is_some() {
            return state.removed;
        }
        let positions = state.positions.clone();
        let removed = Some(self.find(&positions, limit, false));
        if let Some(state) = self.states.get_mut(id as usize) {
            state.removed = removed;
        }
        removed
    }

    /// The route whose names are the members that are created in an object.
    pub(super) fn spine(&self, id: StateId) -> Option<RouteId> {
        let state = self.states.get(id as usize)?;
        let creates =
            |id: &RouteId| self.code.route(*id).is_some_and(|route| route.first_creator_below < state.limit);
        state.spine.filter(creates)
    }

    /// What to write for a member that is not in the document, or was removed from it.
    pub(super) fn addition(&mut self, id: StateId, removed: bool) -> Result<Option<Written>, Impossible> {
        let code = self.code.clone();
        let Some(state) = self.states.get(id as usize) else { return Ok(None) };
        if let Some(Some(known)) = state.additions.get(usize::from(removed)) {
            return known.clone();
        }
        let from = match state.removal {
            Some(removal) if removed => removal + 1,
            None if removed => state.limit,
            _ => 0,
        };
        let mut built = Built::absent(&code, false, self.left / FINDING);
        let result = built.run(&state.positions, from, state.limit).map(|()| self.write(&built));
        self.left = self.left.min(built.left() * FINDING);
        if let Some(place) =
            self.states.get_mut(id as usize).and_then(|state| state.additions.get_mut(usize::from(removed)))
        {
            *place = Some(result.clone());
        }
        result
    }

    fn write(&mut self, built: &Built<'_>) -> Option<Written> {
        let start = self.tokens.len();
        let depth = built.write(&mut self.tokens);
        let tokens = start..self.tokens.len();
        (!tokens.is_empty()).then_some(Written { tokens, depth })
    }

    /// What to do with a value.
    pub(super) fn plan(&mut self, id: StateId, kind: Kind) -> Plan {
        let place = match kind {
            Kind::Object => 0,
            Kind::Array => 1,
            Kind::Number => 2,
            Kind::Text | Kind::Bool | Kind::Null => 3,
        };
        let Some(state) = self.states.get(id as usize) else { return Plan::Keep };
        if let Some(Some(plan)) = state.plans.get(place) {
            return plan.clone();
        }
        let plan = self.make_plan(id, kind);
        if let Some(known) = self.states.get_mut(id as usize).and_then(|state| state.plans.get_mut(place)) {
            *known = Some(plan.clone());
        }
        plan
    }

    fn make_plan(&mut self, id: StateId, kind: Kind) -> Plan {
        let code = self.code.clone();
        let Some(state) = self.states.get(id as usize) else { return Plan::Keep };
        let (positions, limit, element) = (state.positions.clone(), state.limit, state.element);
        let spine = state.spine.and_then(|spine| code.route(spine));
        let mut edits: Vec<EditId> = self.ending(&positions, limit).collect();
        self.spend_on_finding(edits.len());
        edits.sort_unstable();
        // From this edit on there is an object here, whatever was before.
        let becomes_object = match spine {
            Some(spine) if kind != Kind::Object => spine.first_creator_below,
            _ => NEVER,
        };
        let mut replacement = Some(becomes_object).filter(|&edit| edit < limit);
        let start = self.deltas.len();
        for edit in edits {
            if replacement.is_some_and(|replacement| replacement < edit) {
                break;
            }
            match code.action(edit) {
                Some(Action::Increment(_)) if kind == Kind::Number => self.deltas.push(edit),
                Some(Action::Increment(_)) => return Plan::NotNumeric(edit),
                _ => {
                    replacement = Some(edit);
                    break;
                }
            }
        }
        let deltas = start..self.deltas.len();
        if let Some(edit) = replacement {
            // The deltas come again in the state below.
            self.deltas.truncate(start);
            let mut built = Built::outdated(&code, element, self.left / FINDING);
            let result = built.run(&positions, edit, limit);
            self.left = self.left.min(built.left() * FINDING);
            return match result {
                Err(impossible) => Plan::Impossible(impossible),
                Ok(()) => match self.write(&built) {
                    Some(value) => Plan::Replace { value, below: self.find(&positions, edit, element) },
                    None => Plan::Keep,
                },
            };
        }
        let descends = match kind {
            Kind::Object => self.has_names(id) || self.member(id, None) != DEAD,
            Kind::Array => {
                let has_indexes = self.states.get(id as usize).is_some_and(|state| state.has_indexes);
                has_indexes || self.element(id, u64::MAX) != DEAD
            }
            Kind::Number if !deltas.is_empty() => return Plan::Add(deltas),
            _ => false,
        };
        if descends { Plan::Descend } else { Plan::Keep }
    }
}
