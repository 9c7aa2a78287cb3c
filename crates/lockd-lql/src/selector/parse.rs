//! The text form of whole selectors: what its pieces are, and how they are joined.

use super::{
    Selector,
    clause::{Clause, parse_clause},
    clause_path::{Group, first_token, is_keyword, is_list_group},
    shorthand::Shorthand,
    tree::Branch,
};
use crate::{
    error::{Problem, SelectorError, Shown},
    text::{Piece, split_pieces},
};

/// How pieces without an own group are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    #[default]
    And,
    Or,
}

impl Join {
    fn group(self) -> Group {
        match self {
            Join::And => Group::And(None),
            Join::Or => Group::Or(None),
        }
    }
}

/// A piece that says something.
struct Part {
    groups: Vec<Group>,
    clause: Clause,
    /// The piece as if it had been written as a clause with all its groups. Parts are taken in the order of these texts.
    /// Comparisons come after all clauses, so that every selector can be printed in a form that keeps its order.
    order: (bool, String),
    /// Whether the piece names the list at the top that it belongs to.
    placed: bool,
    offset: usize,
}

impl Selector {
    /// Reads the text form; several pieces must all be true.
    ///
    /// # Errors
    ///
    /// The text is not a selector. The error knows the place.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse_joined(text, Join::And)
    }

    /// Reads the text form; pieces that do not say how are joined as told.
    ///
    /// # Errors
    ///
    /// The text is not a selector. The error knows the place.
    pub fn parse_joined(text: &str, join: Join) -> Result<Selector, SelectorError> {
        let mut parts = Vec::new();
        for piece in split_pieces(text)? {
            parts.extend(part(piece)?);
        }
        if parts.len() > 1 {
            for part in parts.iter_mut().filter(|part| !part.placed) {
                part.groups.insert(0, join.group());
                let prefix = if join == Join::And { "and." } else { "or." };
                part.order.1.insert_str(0, prefix);
            }
        }
        parts.sort_by(|a, b| a.order.cmp(&b.order));
        parts.dedup_by(|a, b| a.order == b.order);
        let mut root = Branch::default();
        for part in parts {
            root.insert(&part.groups, part.clause)
                .map_err(|problem| SelectorError::at(problem, part.offset))?;
        }
        let mut selector = root.build();
        if !selector.and.is_empty() && !selector.or.is_empty() {
            // Beside other pieces the alternatives are one more condition.
            let choice = Selector { or: std::mem::take(&mut selector.or), ..Selector::default() };
            selector.and.push(choice);
        }
        selector.checked_depth().map(|selector| selector.simplified())
    }

    /// Reads a list of texts, each a selector of its own, and joins them. Those that are true of everything are left out.
    ///
    /// # Errors
    ///
    /// One of the texts is not a selector. The place in the error is one in that text.
    pub fn parse_list<S: AsRef<str>>(texts: &[S], join: Join) -> Result<Selector, SelectorError> {
        let mut list = Vec::new();
        for text in texts {
            let selector = Selector::parse_joined(text.as_ref(), join)?;
            if !selector.is_empty() {
                list.push(selector);
            }
        }
        let selector = match join {
            Join::And => Selector { and: list, ..Selector::default() },
            Join::Or => Selector { or: list, ..Selector::default() },
        };
        selector.checked_depth().map(|selector| selector.simplified())
    }

    fn checked_depth(self) -> Result<Selector, SelectorError> {
        if self.depth_is_bounded() {
            Ok(self)
        } else {
            Err(SelectorError { problem: Problem::TooDeep, offset: None })
        }
    }
}

/// Reads one piece; nothing for the spellings of "everything".
fn part(piece: Piece<'_>) -> Result<Option<Part>, SelectorError> {
    let Piece { text, offset } = piece;
    let token = first_token(text);
    if is_keyword(token) {
        let placed = is_list_group(token);
        let (path, clause) = parse_clause(text, offset)?;
        let order = (false, text.to_owned());
        return Ok(Some(Part { groups: path.groups, clause, order, placed, offset }));
    }
    if let Some(shorthand) = Shorthand::parse(text, offset) {
        let shorthand = shorthand?;
        let order = (true, shorthand.order());
        let Shorthand { negated, clause } = shorthand;
        let groups = if negated { vec![Group::Not] } else { Vec::new() };
        return Ok(Some(Part { groups, clause, order, placed: false, offset }));
    }
    match text {
        "{}" | "." | "/" => Ok(None),
        _ => Err(SelectorError::at(Problem::InvalidExpression(Shown::new(text)), offset)),
    }
}
