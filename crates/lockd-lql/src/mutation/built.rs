//! Values that mutations make out of nothing: what comes to stand where nothing was, or in place of a value whose content
//! no longer matters. They consist of objects and scalars only, and do not depend on the document.

use std::collections::BTreeMap;

use hashbrown::HashSet;

use super::{
    edit_error::{Blocked, Kind},
    literal::{Literal, add},
    program::{Action, Code, EditId, Position},
    routes::{RouteId, Step},
};

/// An edit that cannot be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Impossible {
    pub(super) edit: EditId,
    pub(super) reason: Blocked,
}

/// A value in the order in which it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    /// A member's name, and whether a comma stands before it.
    Name {
        name: u32,
        comma: bool,
    },
    /// What this edit sets.
    Value(EditId),
    Number(f64),
    Null,
}

type NodeId = usize;

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Null,
    Value(EditId),
    Number(f64),
    Object(BTreeMap<u32, NodeId>),
}

/// A value being made.
#[derive(Debug)]
pub(super) struct Built<'a> {
    code: &'a Code,
    nodes: Vec<Node>,
    root: Option<NodeId>,
    /// The value is an element of an array, where `null` takes the place of what is removed.
    element: bool,
    /// How many steps may still be taken. When there are none left, edits are left out.
    left: u64,
}

/// A place in a built value that an edit is done at: the value, and the object and name that it is a member by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Target {
    node: NodeId,
    member: Option<(NodeId, u32)>,
}

impl<'a> Built<'a> {
    /// Where there is nothing yet.
    pub(super) fn absent(code: &'a Code, element: bool, left: u64) -> Self {
        Built { code, nodes: Vec::new(), root: None, element, left }
    }

    /// Where there is a value that is about to be replaced.
    pub(super) fn outdated(code: &'a Code, element: bool, left: u64) -> Self {
        Built { code, nodes: vec![Node::Null], root: Some(0), element, left }
    }

    /// How many steps are left; none if edits had to be left out.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Takes so many steps, if there are enough of them.
    fn step(&mut self, steps: usize) -> bool {
        self.left = self.left.saturating_sub(steps as u64);
        self.left > 0
    }

    /// Does the edits `from..to` that concern a value with these positions, one after the other.
    pub(super) fn run(&mut self, positions: &[Position], from: EditId, to: EditId) -> Result<(), Impossible> {
        let mut edits = Vec::new();
        let mut left: Vec<(RouteId, bool)> = Vec::new();
        for position in positions {
            left.push((position.route, position.indexed));
            while let Some((id, indexed)) = left.pop() {
                let Some(route) = self.code.route(id) else { continue };
                if route.first >= to {
                    continue;
                }
                if !self.step(1 + self.code.endings(id).len()) {
                    return Ok(());
                }
                if !(indexed && route.plain) {
                    let endings = self.code.endings(id);
                    edits.extend(endings.iter().filter(|&&edit| (from..to).contains(&edit)));
                }
                left.extend(self.code.continued(id).map(|next| (next, indexed)));
            }
        }
        // One edit can be below several positions.
        edits.sort_unstable();
        edits.dedup();
        edits.into_iter().try_for_each(|edit| self.edit(positions, edit))
    }

    fn edit(&mut self, positions: &[Position], edit: EditId) -> Result<(), Impossible> {
        let Some((route, action)) = self.code.edits.get(edit as usize) else { return Ok(()) };
        let plain = self.code.route(*route).is_some_and(|route| route.plain);
        // The routes from the first position on the way to the end of the edit's path.
        let mut way = Vec::new();
        let mut at = *route;
        let mut known = 0;
        while self.step(1)
            && let Some(route) = self.code.route(at)
        {
            way.push(at);
            if positions.binary_search_by_key(&at, |position| position.route).is_ok() {
                known = way.len();
                if plain {
                    break;
                }
            }
            if at == route.parent {
                break;
            }
            at = route.parent;
        }
        way.truncate(known);
        way.reverse();
        if plain {
            self.edit_plain(&way, edit, action)
        } else {
            self.edit_wild(positions, &way, edit, action)
        }
    }

    fn edit_plain(&mut self, way: &[RouteId], edit: EditId, action: &Action) -> Result<(), Impossible> {
        let removes = matches!(action, Action::Remove);
        let mut node = self.root;
        let mut member = None;
        for &route in way.get(1..).unwrap_or_default() {
            let Some(Step::Name(name)) = self.code.route(route).map(|route| route.step) else {
                return Ok(());
            };
            let object = match node {
                Some(id) if matches!(self.nodes.get(id), Some(Node::Object(_))) => id,
                _ if removes => return Ok(()),
                existing => self.put(existing, member, Node::Object(BTreeMap::new())),
            };
            node = match self.nodes.get(object) {
                Some(Node::Object(members)) => members.get(&name).copied(),
                _ => None,
            };
            member = Some((object, name));
        }
        match (node, action) {
            (Some(node), _) => self.apply(Target { node, member }, edit, action),
            (None, Action::Remove) => Ok(()),
            (None, Action::Set(_) | Action::SetFile(_)) => {
                self.put(None, member, Node::Value(edit));
                Ok(())
            }
            (None, Action::Increment(delta)) => {
                let number = sum(0.0, *delta, edit)?;
                self.put(None, member, number);
                Ok(())
            }
        }
    }

    /// Writes a value over an existing one, or as a new member, or as the root.
    fn put(&mut self, existing: Option<NodeId>, member: Option<(NodeId, u32)>, value: Node) -> NodeId {
        if let Some(id) = existing
            && let Some(node) = self.nodes.get_mut(id)
        {
            *node = value;
            return id;
        }
        let id = self.nodes.len();
        self.nodes.push(value);
        match member {
            Some((object, name)) => {
                if let Some(Node::Object(members)) = self.nodes.get_mut(object) {
                    members.insert(name, id);
                }
            }
            None => self.root = Some(id),
        }
        id
    }

    fn edit_wild(
        &mut self,
        positions: &[Position],
        way: &[RouteId],
        edit: EditId,
        action: &Action,
    ) -> Result<(), Impossible> {
        let Some(root) = self.root else { return Ok(()) };
        let root = Target { node: root, member: None };
        let mut targets = Vec::new();
        let mut seen = HashSet::new();
        let mut left = Vec::new();
        for (at, route) in way.iter().enumerate() {
            if let Ok(found) = positions.binary_search_by_key(route, |position| position.route) {
                let shallow = positions.get(found).is_some_and(|position| position.shallow);
                left.push((root, at, shallow));
            }
        }
        while let Some(place) = left.pop() {
            if !self.step(1) {
                return Ok(());
            }
            if !seen.insert(place) {
                continue;
            }
            let (target, at, shallow) = place;
            let Some(step) = way.get(at).and_then(|route| self.code.route(*route)).map(|route| route.step)
            else {
                continue;
            };
            let next = way.get(at + 1).and_then(|route| self.code.route(*route)).map(|route| route.step);
            if next.is_none() && !shallow {
                targets.push(target);
            }
            if next == Some(Step::Descendants) {
                left.push((target, at + 1, true));
            }
            let Some(Node::Object(members)) = self.nodes.get(target.node) else { continue };
            for (&name, &node) in members {
                let below = Target { node, member: Some((target.node, name)) };
                if step == Step::Descendants {
                    left.push((below, at, false));
                }
                if matches!(next, Some(Step::AnyMember | Step::AnyChild)) || next == Some(Step::Name(name)) {
                    left.push((below, at + 1, false));
                }
            }
        }
        targets.sort_unstable();
        targets.dedup();
        targets.into_iter().try_for_each(|target| self.apply(target, edit, action))
    }

    fn apply(&mut self, target: Target, edit: EditId, action: &Action) -> Result<(), Impossible> {
        let Some(node) = self.nodes.get_mut(target.node) else { return Ok(()) };
        match action {
            Action::Set(_) | Action::SetFile(_) => *node = Node::Value(edit),
            Action::Increment(delta) => *node = sum(number(self.code, node, edit)?, *delta, edit)?,
            Action::Remove => match target.member {
                Some((object, name)) => {
                    if let Some(Node::Object(members)) = self.nodes.get_mut(object) {
                        members.remove(&name);
                    }
                }
                None if self.element => *node = Node::Null,
                None => self.root = None,
            },
        }
        Ok(())
    }

    /// Appends the value, if there is one, and tells how deep its objects nest.
    pub(super) fn write(&self, tokens: &mut Vec<Token>) -> u32 {
        let Some(root) = self.root else { return 0 };
        let mut open = Vec::new();
        self.begin(root, tokens, &mut open);
        let mut deepest = open.len();
        while let Some((members, comma)) = open.last_mut() {
            let Some((&name, &id)) = members.next() else {
                tokens.push(Token::Close);
                open.pop();
                continue;
            };
            tokens.push(Token::Name { name, comma: *comma });
            *comma = true;
            self.begin(id, tokens, &mut open);
            deepest = deepest.max(open.len());
        }
        deepest as u32
    }

    fn begin<'b>(
        &'b self,
        id: NodeId,
        tokens: &mut Vec<Token>,
        open: &mut Vec<(std::collections::btree_map::Iter<'b, u32, NodeId>, bool)>,
    ) {
        tokens.push(match self.nodes.get(id) {
            None | Some(Node::Null) => Token::Null,
            Some(Node::Value(edit)) => Token::Value(*edit),
            Some(Node::Number(number)) => Token::Number(*number),
            Some(Node::Object(members)) => {
                open.push((members.iter(), false));
                Token::Open
            }
        });
    }
}

fn number(code: &Code, node: &Node, edit: EditId) -> Result<f64, Impossible> {
    let kind = match node {
        Node::Null => Kind::Null,
        Node::Object(_) => Kind::Object,
        Node::Number(number) => return Ok(*number),
        Node::Value(set) => match code.action(*set) {
            Some(Action::Set(literal)) => match Literal::number(literal) {
                Ok(number) => return Ok(number),
                Err(kind) => kind,
            },
            _ => Kind::Text,
        },
    };
    Err(Impossible { edit, reason: Blocked::NotNumeric(kind) })
}

fn sum(number: f64, delta: f64, edit: EditId) -> Result<Node, Impossible> {
    match add(number, delta) {
        Some(sum) => Ok(Node::Number(sum)),
        None => Err(Impossible { edit, reason: Blocked::NotFinite }),
    }
}
