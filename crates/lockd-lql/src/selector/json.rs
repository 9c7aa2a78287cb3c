//! The JSON form of selectors, read leniently: unknown members are ignored, names match in any letter case, `null` is
//! absent.

use super::{
    Bound, Date, MAX_DEPTH, Range, Selector, Term, Within,
    read::{Reader, Token},
};
use crate::{
    error::{Problem, SelectorError},
    text::shortest_positional,
};

impl Selector {
    /// Reads the JSON form. `{}` and `null` are the empty selector.
    ///
    /// # Errors
    ///
    /// The text is not JSON, a member has the wrong type, a clause lacks something or contradicts itself, or nodes are
    /// nested deeper than [`MAX_DEPTH`].
    pub fn from_json(source: &[u8]) -> Result<Selector, SelectorError> {
        let mut reader = Reader::new(source);
        let offset = reader.offset();
        let selector = match reader.token()? {
            Token::Null => Selector::default(),
            Token::Object => tree(&mut reader)?,
            _ => return Err(SelectorError::at(Problem::NotAnObject, offset)),
        };
        reader.end()?;
        Ok(selector)
    }
}

/// What has been opened and not yet closed.
enum Open {
    Node { node: Selector, first: bool },
    List { list: Vec<Selector>, first: bool, group: ListGroup },
}

#[derive(Clone, Copy)]
enum ListGroup {
    And,
    Or,
}

impl Open {
    fn node() -> Open {
        Open::Node { node: Selector::default(), first: true }
    }

    /// Puts a finished node where it belongs: into a list, or under `not`.
    fn take(&mut self, inner: Selector) {
        match self {
            Open::Node { node, .. } => node.not = Some(Box::new(inner)),
            // Empty elements are true; nothing is gained by keeping many.
            Open::List { list, .. } if inner.is_empty() && list.last().is_some_and(Selector::is_empty) => {}
            Open::List { list, .. } => list.push(inner),
        }
    }
}

/// Reads the nodes below the brace that was stepped into. What is open is kept on the heap: how deep a client nests must
/// not matter to the stack.
fn tree(reader: &mut Reader<'_>) -> Result<Selector, SelectorError> {
    let mut outer: Vec<Open> = Vec::new();
    let mut depth = 1;
    let mut current = Open::node();
    loop {
        let opened = match &mut current {
            Open::Node { node, first } => match reader.next_member(first)? {
                Some(name) => member(reader, node, &name.to_ascii_lowercase())?,
                None => {
                    let node = std::mem::take(node);
                    let Some(parent) = outer.pop() else { return Ok(node) };
                    current = parent;
                    current.take(node);
                    depth -= 1;
                    None
                }
            },
            Open::List { list, first, group } => {
                if reader.next_element(first)? {
                    let offset = reader.offset();
                    match reader.token()? {
                        Token::Null => {
                            current.take(Selector::default());
                            None
                        }
                        Token::Object => Some(Open::node()),
                        _ => return Err(wrong_list(*group, offset)),
                    }
                } else {
                    let (list, group) = (std::mem::take(list), *group);
                    if let Some(parent) = outer.pop() {
                        current = parent;
                    }
                    if let Open::Node { node, .. } = &mut current {
                        match group {
                            ListGroup::And => node.and = list,
                            ListGroup::Or => node.or = list,
                        }
                    }
                    None
                }
            }
        };
        if let Some(opened) = opened {
            if let Open::Node { .. } = opened {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(SelectorError::at(Problem::TooDeep, reader.offset()));
                }
            }
            outer.push(std::mem::replace(&mut current, opened));
        }
    }
}

fn wrong_list(group: ListGroup, offset: usize) -> SelectorError {
    let member = match group {
        ListGroup::And => "and",
        ListGroup::Or => "or",
    };
    SelectorError::at(Problem::MemberType { member, expected: "an array of selectors" }, offset)
}

/// Reads a member of a node, or steps into it if it holds nodes.
fn member(reader: &mut Reader<'_>, node: &mut Selector, name: &str) -> Result<Option<Open>, SelectorError> {
    let offset = reader.offset();
    match name {
        "and" | "or" => {
            let group = if name == "and" { ListGroup::And } else { ListGroup::Or };
            match (reader.token()?, group) {
                (Token::Array, group) => {
                    return Ok(Some(Open::List { list: Vec::new(), first: true, group }));
                }
                (Token::Null, ListGroup::And) => node.and.clear(),
                (Token::Null, ListGroup::Or) => node.or.clear(),
                _ => return Err(wrong_list(group, offset)),
            }
        }
        "not" => match reader.token()? {
            Token::Object => return Ok(Some(Open::node())),
            Token::Null => node.not = None,
            _ => {
                let problem = Problem::MemberType { member: "not", expected: "a selector object" };
                return Err(SelectorError::at(problem, offset));
            }
        },
        "eq" => node.eq = term(reader, offset, "eq")?,
        "contains" => node.contains = term(reader, offset, "contains")?,
        "icontains" => node.icontains = term(reader, offset, "icontains")?,
        "prefix" => node.prefix = term(reader, offset, "prefix")?,
        "iprefix" => node.iprefix = term(reader, offset, "iprefix")?,
        "range" => node.range = range(reader, offset)?,
        "date" => node.date = date(reader, offset)?,
        "in" => node.within = within(reader, offset)?,
        "exists" => {
            let pointer = text(reader, Problem::MemberType { member: "exists", expected: "a JSON pointer" })?;
            node.exists = pointer.filter(|pointer| !pointer.is_empty()).map(String::into_boxed_str);
        }
        _ => skip(reader)?,
    }
    Ok(None)
}

fn term(
    reader: &mut Reader<'_>,
    start: usize,
    name: &'static str,
) -> Result<Option<Box<Term>>, SelectorError> {
    if !clause_object(reader, start, name)? {
        return Ok(None);
    }
    let mut term = Term::default();
    each_member(reader, |reader, member, offset| {
        match member {
            "field" => term.field = text(reader, Problem::FieldType(name))?.unwrap_or_default(),
            "value" => {
                term.value = Some(match reader.token()? {
                    Token::Null => String::new(),
                    token => scalar(&token, Problem::ValueType, offset)?,
                });
            }
            "any" => term.any = any(reader, offset)?,
            "ignorecase" => {
                term.ignore_case = match reader.token()? {
                    Token::Null => false,
                    Token::Bool(flag) => flag,
                    Token::Text(word) => {
                        ignore_case_word(&word).ok_or(SelectorError::at(Problem::IgnoreCaseWord, offset))?
                    }
                    _ => return Err(SelectorError::at(Problem::IgnoreCaseType, offset)),
                }
            }
            _ => skip(reader)?,
        }
        Ok(())
    })?;
    term.check(name).map_err(|problem| SelectorError::at(problem, start))?;
    Ok(Some(Box::new(term)))
}

/// Reads the spellings of a flag.
pub(super) fn ignore_case_word(word: &str) -> Option<bool> {
    let word = word.trim();
    let is = |spelling: &str| word.eq_ignore_ascii_case(spelling);
    if is("true") || is("t") { Some(true) } else { (is("false") || is("f")).then_some(false) }
}

fn any(reader: &mut Reader<'_>, offset: usize) -> Result<Vec<String>, SelectorError> {
    let mut items = Vec::new();
    match reader.token()? {
        Token::Null => return Ok(items),
        Token::Text(list) => items.extend(split_any(&list)),
        Token::Array => {
            let mut first = true;
            while reader.next_element(&mut first)? {
                let offset = reader.offset();
                let item = match reader.token()? {
                    Token::Null => continue,
                    token => scalar(&token, Problem::AnyType, offset)?,
                };
                let item = item.trim();
                if !item.is_empty() {
                    items.push(item.to_owned());
                }
            }
        }
        token => items.push(scalar(&token, Problem::AnyType, offset)?),
    }
    if items.is_empty() { Err(SelectorError::at(Problem::AnyEmpty, offset)) } else { Ok(items) }
}

/// Cuts a list of alternatives at `|`; empty ones are dropped.
pub(super) fn split_any(list: &str) -> impl Iterator<Item = String> {
    list.split('|').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned)
}

fn scalar(token: &Token<'_>, otherwise: Problem, offset: usize) -> Result<String, SelectorError> {
    match token {
        Token::Text(text) => Ok(text.clone().into_owned()),
        Token::Number(literal) => match finite(literal) {
            Some(number) => Ok(shortest_positional(number)),
            None => Err(SelectorError::at(Problem::NotFinite("number too large"), offset)),
        },
        Token::Bool(flag) => Ok(flag.to_string()),
        Token::Null | Token::Array | Token::Object => Err(SelectorError::at(otherwise, offset)),
    }
}

fn finite(literal: &str) -> Option<f64> {
    literal.parse().ok().filter(|number: &f64| number.is_finite())
}

fn range(reader: &mut Reader<'_>, start: usize) -> Result<Option<Box<Range>>, SelectorError> {
    if !clause_object(reader, start, "range")? {
        return Ok(None);
    }
    let mut range = Range::default();
    each_member(reader, |reader, member, offset| {
        match member {
            "field" => range.field = text(reader, Problem::FieldType("range"))?.unwrap_or_default(),
            "gte" => range.gte = bound(reader, offset, "gte")?,
            "gt" => range.gt = bound(reader, offset, "gt")?,
            "lte" => range.lte = bound(reader, offset, "lte")?,
            "lt" => range.lt = bound(reader, offset, "lt")?,
            _ => skip(reader)?,
        }
        Ok(())
    })?;
    range.check().map_err(|problem| SelectorError::at(problem, start))?;
    Ok(Some(Box::new(range)))
}

fn bound(reader: &mut Reader<'_>, offset: usize, name: &'static str) -> Result<Option<Bound>, SelectorError> {
    let problem = match reader.token()? {
        Token::Null => return Ok(None),
        Token::Number(literal) => match finite(literal) {
            Some(number) => return Ok(Some(Bound::Number(number))),
            None => Problem::RangeValueType(name),
        },
        Token::Text(text) if text.trim().is_empty() => Problem::RangeValueRequired(name),
        Token::Text(text) => return Ok(Some(Bound::Time(text.into_owned()))),
        Token::Bool(_) | Token::Array | Token::Object => Problem::RangeValueType(name),
    };
    Err(SelectorError::at(problem, offset))
}

fn date(reader: &mut Reader<'_>, start: usize) -> Result<Option<Box<Date>>, SelectorError> {
    if !clause_object(reader, start, "date")? {
        return Ok(None);
    }
    let mut date = Date::default();
    each_member(reader, |reader, member, _| {
        let mut text = |name| {
            // An empty text is as good as none.
            Ok::<_, SelectorError>(text(reader, Problem::DateType(name))?.filter(|text| !text.is_empty()))
        };
        match member {
            "field" => date.field = text("field")?.unwrap_or_default(),
            "value" => date.value = text("value")?,
            "after" => date.after = text("after")?,
            "before" => date.before = text("before")?,
            "gte" => date.gte = text("gte")?,
            "gt" => date.gt = text("gt")?,
            "lte" => date.lte = text("lte")?,
            "lt" => date.lt = text("lt")?,
            "since" => date.since = text("since")?,
            _ => skip(reader)?,
        }
        Ok(())
    })?;
    date.check().map_err(|problem| SelectorError::at(problem, start))?;
    Ok(Some(Box::new(date)))
}

fn within(reader: &mut Reader<'_>, start: usize) -> Result<Option<Box<Within>>, SelectorError> {
    if !clause_object(reader, start, "in")? {
        return Ok(None);
    }
    let mut within = Within::default();
    each_member(reader, |reader, member, offset| {
        match member {
            "field" => within.field = text(reader, Problem::FieldType("in"))?.unwrap_or_default(),
            "any" => {
                within.any.clear();
                match reader.token()? {
                    Token::Null => return Ok(()),
                    Token::Array => {}
                    _ => return Err(SelectorError::at(Problem::InAnyType, offset)),
                }
                let mut first = true;
                while reader.next_element(&mut first)? {
                    let offset = reader.offset();
                    match reader.token()? {
                        Token::Text(item) => within.any.push(item.into_owned()),
                        _ => return Err(SelectorError::at(Problem::InAnyType, offset)),
                    }
                }
            }
            _ => skip(reader)?,
        }
        Ok(())
    })?;
    within.check().map_err(|problem| SelectorError::at(problem, start))?;
    Ok(Some(Box::new(within)))
}

/// Steps into the object of a clause; `null` is no clause.
fn clause_object(
    reader: &mut Reader<'_>,
    offset: usize,
    member: &'static str,
) -> Result<bool, SelectorError> {
    match reader.token()? {
        Token::Null => Ok(false),
        Token::Object => Ok(true),
        _ => Err(SelectorError::at(Problem::MemberType { member, expected: "an object" }, offset)),
    }
}

/// Calls `read` for each member of the object that was stepped into, with its name in lower case and the place of its
/// value, which it must read.
fn each_member<'a>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>, &str, usize) -> Result<(), SelectorError>,
) -> Result<(), SelectorError> {
    let mut first = true;
    while let Some(name) = reader.next_member(&mut first)? {
        let offset = reader.offset();
        read(reader, &name.to_ascii_lowercase(), offset)?;
    }
    Ok(())
}

fn text(reader: &mut Reader<'_>, otherwise: Problem) -> Result<Option<String>, SelectorError> {
    let offset = reader.offset();
    match reader.token()? {
        Token::Null => Ok(None),
        Token::Text(text) => Ok(Some(text.into_owned())),
        _ => Err(SelectorError::at(otherwise, offset)),
    }
}

fn skip(reader: &mut Reader<'_>) -> Result<(), SelectorError> {
    let token = reader.token()?;
    reader.skip(&token)
}
