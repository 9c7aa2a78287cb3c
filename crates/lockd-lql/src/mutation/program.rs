//! A list of mutations made ready to run: the tree of its paths with all that can be known of it before a document.

use std::{fmt, ops::Range, sync::Arc};

use hashbrown::HashMap;

use crate::{condition::Instant, path::Segment};

use super::{
    editor::{EditLimits, Editor},
    expression::{Edit, Mutations},
    file_value::{FileValue, FileValues},
    literal::Literal,
    routes::{ROOT, RouteId, Routes, Step},
};

/// Mutations made ready to run. Clones share everything.
#[derive(Clone)]
pub struct Program {
    pub(super) code: Arc<Code>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("edits", &self.code.edits.len()).finish_non_exhaustive()
    }
}

impl Program {
    pub(super) fn new(mutations: &Mutations, now: Instant) -> Program {
        Program { code: Arc::new(Code::new(mutations, now)) }
    }

    /// An editor without access to files: a value that stands in one is an error.
    pub fn editor(&self, limits: EditLimits) -> Editor {
        Editor::new(self.code.clone(), limits, None)
    }

    /// An editor for programs with values that stand in files.
    pub fn editor_with_files(&self, limits: EditLimits, files: Box<dyn FileValues>) -> Editor {
        Editor::new(self.code.clone(), limits, Some(files))
    }

    #[cfg(test)]
    pub(super) fn path(&self, route: RouteId) -> String {
        self.code.path(route)
    }
}

/// The place of an edit in the list.
pub(super) type EditId = u32;

/// Behind all edits.
pub(super) const NEVER: EditId = EditId::MAX;

/// No route.
const NOWHERE: RouteId = RouteId::MAX;

/// What is done at the end of a path.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Set(Literal),
    SetFile(FileValue),
    Increment(f64),
    Remove,
}

#[derive(Debug)]
pub(super) struct Code {
    routes: Vec<Route>,
    /// The routes that go on by a name, grouped by the route before them, in the order of names.
    named: Vec<RouteId>,
    /// The same for names that are array indexes: the route before, the index, the route. Sorted.
    indexed: Vec<(RouteId, u64, RouteId)>,
    /// The edits that end at a route, grouped by route, in the order of the list.
    endings: Vec<EditId>,
    pub(super) edits: Vec<(RouteId, Action)>,
    /// Ascending.
    names: Vec<Box<str>>,
    by_name: HashMap<Box<[u8]>, u32>,
    /// One bit for each length that names have, the last one for all that are longer: most names of a document are
    /// ruled out by it.
    lengths: u64,
    /// In bytes.
    pub(super) longest_name: usize,
}

/// A place in the tree of paths.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) parent: RouteId,
    pub(super) step: Step,
    /// No wildcard leads here. Edits at such places create what is missing.
    pub(super) plain: bool,
    named: Range<usize>,
    endings: Range<usize>,
    any_member: RouteId,
    any_element: RouteId,
    any_child: RouteId,
    descendants: RouteId,
    /// The first edit here or below.
    pub(super) first: EditId,
    /// The first increment here or below: nothing else can fail.
    pub(super) first_increment: EditId,
    /// The first edit that creates this place if it is missing.
    pub(super) first_creator: EditId,
    /// The first edit that creates something below, and therefore needs an object here.
    pub(super) first_creator_below: EditId,
    /// There are wildcards before or behind this place.
    wild: bool,
}

/// One step down in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Descent {
    /// To the member of an object that has this name, if the program knows the name.
    Member(Option<u32>),
    /// To an element of an array, if the program knows the index.
    Element(Option<u64>),
}

/// A route that a value of a document is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) route: RouteId,
    /// The route ends with `...` and this value is where it began, not below.
    pub(super) shallow: bool,
    /// The way led through an element of an array by its number, which plain paths do not go.
    pub(super) indexed: bool,
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl Code {
    fn new(mutations: &Mutations, now: Instant) -> Code {
        let Routes { links, names, .. } = &mutations.routes;
        let mut order: Vec<usize> = (0..names.len()).collect();
        let name_text = |id: usize| names.get(id).map_or("", |(text, _)| text);
        order.sort_unstable_by_key(|&id| name_text(id));
        let mut ranks = vec![0u32; names.len()];
        for (rank, &id) in order.iter().enumerate() {
            if let Some(place) = ranks.get_mut(id) {
                *place = rank as u32;
            }
        }
        let mut code = Code {
            routes: Vec::with_capacity(links.len()),
            named: Vec::new(),
            indexed: Vec::new(),
            endings: (0..mutations.edits.len() as EditId).collect(),
            edits: Vec::with_capacity(mutations.edits.len()),
            names: order.iter().map(|&id| name_text(id).into()).collect(),
            by_name: HashMap::new(),
            lengths: names.iter().fold(0, |lengths, (text, _)| lengths | length_bit(text.len())),
            longest_name: names.iter().map(|(text, _)| text.len()).max().unwrap_or(0),
        };
        code.by_name =
            code.names.iter().zip(0..).map(|(name, rank)| (name.as_bytes().into(), rank)).collect();
        for (id, link) in (0..).zip(links) {
            let step = match link.step {
                Step::Name(name) => Step::Name(ranks.get(name as usize).copied().unwrap_or(0)),
                wildcard => wildcard,
            };
            code.add_route(id, link.parent, step);
            if let Step::Name(name) = link.step {
                code.named.push(id);
                if let Some((_, Some(index))) = names.get(name as usize) {
                    code.indexed.push((link.parent, *index, id));
                }
            }
        }
        for (route, edit) in &mutations.edits {
            let action = match edit {
                Edit::Set(literal) => Action::Set(literal.clone()),
                Edit::SetNow => Action::Set(Literal::Text(now.to_string().into())),
                Edit::SetFile(value) => Action::SetFile(value.clone()),
                Edit::Increment(delta) => Action::Increment(*delta),
                Edit::Remove => Action::Remove,
            };
            code.edits.push((*route, action));
        }
        code.group();
        code.look_ahead();
        code
    }

    fn add_route(&mut self, id: RouteId, parent: RouteId, step: Step) {
        let plain = match self.routes.get_mut(parent as usize) {
            // Only the root comes before its parent, which is itself.
            None => true,
            Some(parent) => {
                match step {
                    Step::Name(_) => {}
                    Step::AnyMember => parent.any_member = id,
                    Step::AnyElement => parent.any_element = id,
                    Step::AnyChild => parent.any_child = id,
                    Step::Descendants => parent.descendants = id,
                }
                parent.plain && matches!(step, Step::Name(_))
            }
        };
        // The root is not reached by `...`, whatever its link says.
        let step = if id == ROOT { Step::AnyChild } else { step };
        self.routes.push(Route {
            parent,
            step,
            plain,
            named: 0..0,
            endings: 0..0,
            any_member: NOWHERE,
            any_element: NOWHERE,
            any_child: NOWHERE,
            descendants: NOWHERE,
            first: NEVER,
            first_increment: NEVER,
            first_creator: NEVER,
            first_creator_below: NEVER,
            wild: !plain,
        });
    }

    /// Brings together what belongs to the same route.
    fn group(&mut self) {
        let routes = &self.routes;
        let key = |id: &RouteId| {
            routes.get(*id as usize).map(|route| match route.step {
                Step::Name(rank) => (route.parent, rank),
                _ => (route.parent, 0),
            })
        };
        self.named.sort_unstable_by_key(key);
        self.indexed.sort_unstable();
        let edits = &self.edits;
        let place = |id: &EditId| edits.get(*id as usize).map_or(ROOT, |(route, _)| *route);
        self.endings.sort_by_key(place);
        let mut start = 0;
        for group in self.endings.chunk_by(|a, b| place(a) == place(b)) {
            let end = start + group.len();
            if let Some(route) = group.first().and_then(|id| self.routes.get_mut(place(id) as usize)) {
                route.endings = start..end;
            }
            start = end;
        }
        let parents: Vec<_> =
            self.named.iter().map(|id| self.route(*id).map_or(ROOT, |r| r.parent)).collect();
        let mut start = 0;
        for group in parents.chunk_by(|a, b| a == b) {
            let end = start + group.len();
            if let Some(route) = group.first().and_then(|id| self.routes.get_mut(*id as usize)) {
                route.named = start..end;
            }
            start = end;
        }
    }

    /// Tells every route what is at and below it. Routes stand behind the ones they continue.
    fn look_ahead(&mut self) {
        for (id, (route, action)) in (0..).zip(&self.edits) {
            let Some(route) = self.routes.get_mut(*route as usize) else { continue };
            route.first = route.first.min(id);
            if matches!(action, Action::Increment(_)) {
                route.first_increment = route.first_increment.min(id);
            }
            if route.plain && !matches!(action, Action::Remove) {
                route.first_creator = route.first_creator.min(id);
            }
        }
        for id in (1..self.routes.len()).rev() {
            let Some((before, [route, ..])) = self.routes.split_at_mut_checked(id) else { continue };
            let Some(parent) = before.get_mut(route.parent as usize) else { continue };
            parent.first = parent.first.min(route.first);
            parent.first_increment = parent.first_increment.min(route.first_increment);
            parent.first_creator = parent.first_creator.min(route.first_creator);
            parent.first_creator_below = parent.first_creator_below.min(route.first_creator);
            parent.wild |= route.wild;
        }
    }

    pub(super) fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id as usize)
    }

    pub(super) fn action(&self, id: EditId) -> Option<&Action> {
        self.edits.get(id as usize).map(|(_, action)| action)
    }

    pub(super) fn name(&self, name: u32) -> &str {
        self.names.get(name as usize).map_or("", |name| name)
    }

    /// The number of a name, if it occurs in the program.
    pub(super) fn name_of(&self, decoded: &[u8]) -> Option<u32> {
        if self.lengths & length_bit(decoded.len()) == 0 {
            return None;
        }
        self.by_name.get(decoded).copied()
    }

    pub(super) fn has_names(&self, route: RouteId) -> bool {
        self.route(route).is_some_and(|route| !route.named.is_empty())
    }

    /// The routes that continue one by a name, in the order of names, each with its name.
    pub(super) fn named(&self, route: RouteId) -> impl ExactSizeIterator<Item = (u32, RouteId)> {
        let range = self.route(route).map_or(0..0, |route| route.named.clone());
        let routes = self.named.get(range).unwrap_or_default();
        routes.iter().map(|&id| match self.route(id) {
            Some(Route { step: Step::Name(name), .. }) => (*name, id),
            _ => (0, id),
        })
    }

    /// Where in [`Code::named`] of a route a name stands.
    pub(super) fn slot(&self, route: RouteId, name: u32) -> Option<usize> {
        let range = self.route(route)?.named.clone();
        let routes = self.named.get(range)?;
        let key = |id: &RouteId| match self.route(*id)?.step {
            Step::Name(name) => Some(name),
            _ => None,
        };
        routes.binary_search_by_key(&Some(name), key).ok()
    }

    fn named_child(&self, route: RouteId, name: u32) -> Option<RouteId> {
        let slot = self.slot(route, name)?;
        self.named.get(self.route(route)?.named.start + slot).copied()
    }

    /// Whether an index of an array element leads on from a route.
    pub(super) fn has_indexes(&self, route: RouteId) -> bool {
        let at = self.indexed.partition_point(|&(from, ..)| from < route);
        self.indexed.get(at).is_some_and(|&(from, ..)| from == route)
    }

    /// Whether the index leads on from some route.
    pub(super) fn knows_index(&self, routes: &[Position], index: u64) -> bool {
        routes.iter().any(|position| !self.indexed_from(position.route, index).is_empty())
    }

    fn indexed_from(&self, route: RouteId, index: u64) -> &[(RouteId, u64, RouteId)] {
        let start = self.indexed.partition_point(|&(from, at, _)| (from, at) < (route, index));
        let rest = self.indexed.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|&&(from, at, _)| (from, at) == (route, index)).count();
        rest.get(..length).unwrap_or_default()
    }

    /// All routes that continue one.
    pub(super) fn continued(&self, route: RouteId) -> impl Iterator<Item = RouteId> {
        let wildcards = self.route(route).map(|r| [r.any_member, r.any_element, r.any_child, r.descendants]);
        let wildcards = wildcards.into_iter().flatten().filter(|&id| id != NOWHERE);
        self.named(route).map(|(_, id)| id).chain(wildcards)
    }

    /// The edits that end at a route, in the order of the list.
    pub(super) fn endings(&self, route: RouteId) -> &[EditId] {
        let range = self.route(route).map_or(0..0, |route| route.endings.clone());
        self.endings.get(range).unwrap_or_default()
    }

    /// The positions of the document itself.
    pub(super) fn root(&self) -> Vec<Position> {
        let mut positions = Vec::new();
        self.arrive(Position { route: ROOT, shallow: false, indexed: false }, NEVER, &mut positions);
        positions
    }

    /// The positions of a value below one with positions `from`, sorted. Those that no edit before `limit` needs are
    /// left out.
    pub(super) fn descend(
        &self,
        from: &[Position],
        descent: Descent,
        limit: EditId,
        into: &mut Vec<Position>,
    ) {
        into.clear();
        for &position in from {
            let Some(route) = self.route(position.route) else { continue };
            let mut arrive = |route, indexed| {
                self.arrive(Position { route, shallow: false, indexed }, limit, into);
            };
            match descent {
                Descent::Member(name) => {
                    if let Some(child) = name.and_then(|name| self.named_child(position.route, name)) {
                        arrive(child, position.indexed);
                    }
                    arrive(route.any_member, false);
                }
                Descent::Element(index) => {
                    if let Some(index) = index {
                        for &(_, _, child) in self.indexed_from(position.route, index) {
                            arrive(child, true);
                        }
                    }
                    arrive(route.any_element, false);
                }
            }
            arrive(route.any_child, false);
            if route.step == Step::Descendants {
                arrive(position.route, false);
            }
        }
        into.sort_unstable();
        // The deep one comes first, and it is all that the shallow one is.
        into.dedup_by_key(|position| position.route);
    }

    /// Adds a position and those that `...` reaches from it in no step.
    fn arrive(&self, position: Position, limit: EditId, into: &mut Vec<Position>) {
        let mut next = Some(position);
        while let Some(mut position) = next.take() {
            let Some(route) = self.route(position.route) else { return };
            if route.first >= limit || position.indexed && !route.wild {
                return;
            }
            position.indexed &= route.plain;
            into.push(position);
            if route.descendants != NOWHERE {
                next = Some(Position { route: route.descendants, shallow: true, indexed: false });
            }
        }
    }

    /// The pointer that leads to a route.
    pub(super) fn path(&self, route: RouteId) -> String {
        let mut steps = Vec::new();
        let mut at = route;
        while at != ROOT
            && let Some(route) = self.route(at)
        {
            steps.push(match route.step {
                Step::Name(name) => Segment::Name { name: self.name(name).into(), index: None },
                Step::AnyMember => Segment::AnyMember,
                Step::AnyElement => Segment::AnyElement,
                Step::AnyChild => Segment::AnyChild,
                Step::Descendants => Segment::Descendants,
            });
            at = route.parent;
        }
        steps.iter().rev().map(|step| format!("/{step}")).collect()
    }
}
