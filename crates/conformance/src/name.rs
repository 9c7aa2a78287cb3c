//! The names that stand for values in a recording: `${key:a}`, `${xid1}`, `${now+30}` and the like.
//!
//! A name that the client makes up is minted when it is first needed. A name for what the server mints takes the
//! value at its place in the first answer that shows it, and must have the same value from then on.

use std::collections::HashMap;

use crate::fresh;

/// The names of one scenario and what they stand for.
#[derive(Debug)]
pub struct Names {
    scenario: String,
    bound: HashMap<String, String>,
}

enum Piece<'a> {
    Literal(&'a str),
    Name(&'a str),
}

impl Names {
    /// `scenario` must be unique in this run; it becomes part of made-up keys.
    pub fn new(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned(), bound: HashMap::new() }
    }

    /// Fills in the names of a string that the client sends.
    pub fn render(&mut self, template: &str) -> Result<String, String> {
        let mut text = String::with_capacity(template.len());
        for piece in pieces(template)? {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Name(name) => match self.value(name)? {
                    Some(value) => text.push_str(&value),
                    None => return Err(format!("${{{name}}} is sent before any answer has shown it")),
                },
            }
        }
        Ok(text)
    }

    /// Compares a string of an answer with its template and binds the names that are new.
    pub fn compare(&mut self, template: &str, actual: &str) -> Result<(), String> {
        let pieces = pieces(template)?;
        let differs = |names: &Self, why: &str| {
            let known = names.known(template);
            let expected = if known == template { String::new() } else { format!(" ({known:?})") };
            Err(format!("expected {template:?}{expected}, got {actual:?}{why}"))
        };
        let mut rest = actual;
        let mut new = Vec::new();
        for (place, piece) in pieces.iter().enumerate() {
            let value = match piece {
                Piece::Literal(literal) => (*literal).to_owned(),
                // Any correlation id, another one each time.
                Piece::Name(any @ ("cid" | "rfc3339")) => match take(any, rest, &pieces[place + 1..]) {
                    Some(value) if !value.is_empty() => value.to_owned(),
                    _ => return differs(self, &format!(": no {any}")),
                },
                // Any number, another one each time.
                Piece::Name("n") => {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    if digits.is_empty() {
                        return differs(self, ": not a number");
                    }
                    digits
                }
                Piece::Name(name) => {
                    let earlier =
                        new.iter().find(|(other, _)| other == name).map(|(_, value)| String::clone(value));
                    match earlier.or(self.value(name)?) {
                        Some(value) => value,
                        None => {
                            let Some(value) = take(name, rest, &pieces[place + 1..]) else {
                                return differs(self, "");
                            };
                            if let Err(why) = self.acceptable(name, value) {
                                return differs(self, &format!(": {why}"));
                            }
                            new.push(((*name).to_owned(), value.to_owned()));
                            value.to_owned()
                        }
                    }
                }
            };
            match rest.strip_prefix(value.as_str()) {
                Some(after) => rest = after,
                None => return differs(self, ""),
            }
        }
        if !rest.is_empty() {
            return differs(self, "");
        }
        self.bound.extend(new);
        Ok(())
    }

    /// The template with the names that are bound filled in, for messages.
    pub fn known(&self, template: &str) -> String {
        let Ok(pieces) = pieces(template) else { return template.to_owned() };
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Literal(literal) => literal.to_owned(),
                Piece::Name(name) => self.bound.get(name).cloned().unwrap_or_else(|| format!("${{{name}}}")),
            })
            .collect()
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        if let Some(value) = self.bound.get(name) {
            return Ok(Some(value.clone()));
        }
        let minted = if let Some(label) = name.strip_prefix("key:") {
            match label.split_once('*') {
                None => format!("{label}-{}-{}", self.scenario, fresh::run()),
                Some((base, length)) => {
                    let length: usize = length.parse().map_err(|_| format!("${{{name}}} has no length"))?;
                    let key = self.value(&format!("key:{base}"))?.unwrap_or_default();
                    format!("{key}{}", "x".repeat(length.saturating_sub(key.len())))
                }
            }
        } else if let Some(label) = name.strip_prefix("KEY:") {
            self.value(&format!("key:{label}"))?.unwrap_or_default().to_uppercase()
        } else if let Some(name) = name.strip_prefix("upper:") {
            return Ok(self.value(name)?.map(|value| value.to_uppercase()));
        } else if name.starts_with("txn:") {
            fresh::xid()
        } else if server_minted(name).is_some() {
            return Ok(None);
        } else {
            return Err(format!("${{{name}}} is not a known name"));
        };
        if name.starts_with("key:") && !name.contains('*') {
            let fits = (20..=60).contains(&minted.len())
                && minted.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
            if !fits {
                return Err(format!("the made-up key {minted:?} for ${{{name}}} is not 20 to 60 of a-z0-9-"));
            }
        }
        self.bound.insert(name.to_owned(), minted.clone());
        Ok(Some(minted))
    }

    /// Whether the server may have minted this value under this name.
    fn acceptable(&self, name: &str, value: &str) -> Result<(), String> {
        let Some(kind) = server_minted(name) else { return Ok(()) };
        let well_formed = match kind {
            Kind::Xid => fresh::is_xid(value),
            Kind::Uuid => fresh::is_uuid7(value),
            Kind::Etag => fresh::is_etag(value),
            Kind::Opaque => !value.is_empty(),
        };
        if !well_formed {
            return Err(format!("not a well-formed {kind:?}"));
        }
        // Equal documents may have equal ETags; everything else is minted once.
        if matches!(kind, Kind::Xid | Kind::Uuid) {
            let twin = self.bound.iter().find(|(other, bound)| {
                *bound == value && (server_minted(other) == Some(kind) || other.starts_with("txn:"))
            });
            if let Some((other, _)) = twin {
                return Err(format!("that is already the value of ${{{other}}}"));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Xid,
    Uuid,
    Etag,
    Opaque,
}

fn server_minted(name: &str) -> Option<Kind> {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let kind = match &name[..name.len() - digits.len()] {
        "xid" => Kind::Xid,
        "uuid" => Kind::Uuid,
        "etag" => Kind::Etag,
        "cursor" | "boundary" => Kind::Opaque,
        _ => return None,
    };
    (!digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())).then_some(kind)
}

/// The part of `rest` that the unbound name at this place stands for.
fn take<'a>(name: &str, rest: &'a str, following: &[Piece<'_>]) -> Option<&'a str> {
    let end = match server_minted(name) {
        Some(Kind::Xid) => 20,
        Some(Kind::Uuid) => 36,
        _ => match following.first() {
            None => rest.len(),
            Some(Piece::Literal(literal)) => rest.find(literal)?,
            Some(Piece::Name(_)) => return None,
        },
    };
    rest.get(..end)
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            pieces.push(Piece::Literal(&rest[..start]));
        }
        let Some(end) = rest[start..].find('}') else {
            return Err(format!("a name in {template:?} does not end"));
        };
        pieces.push(Piece::Name(&rest[start + 2..start + end]));
        rest = &rest[start + end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    Ok(pieces)
}

/// The offset of `${now+30}` or `${now-1}`, when the whole template is such a name.
pub fn time_offset(template: &str) -> Option<i64> {
    let offset = template.strip_prefix("${now")?.strip_suffix('}')?;
    let digits = offset.strip_prefix(['+', '-'])?;
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    offset.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const XID: &str = "d4ekq9s2b7m0c1r5t8u0";
    const OTHER_XID: &str = "d4ekq9s2b7m0c1r5t8ug";

    #[test]
    fn a_name_keeps_its_first_value() {
        let mut names = Names::new("s-001");
        names.compare("${xid1}", XID).unwrap();
        names.compare("${xid1}", XID).unwrap();
        assert_eq!(names.render("lease ${xid1}").unwrap(), format!("lease {XID}"));
        names.compare("${xid1}", OTHER_XID).unwrap_err();
        names.compare("${xid2}", XID).unwrap_err();
        names.compare("${xid2}", "nonsense").unwrap_err();
        names.compare("${xid2}", OTHER_XID).unwrap();
    }

    #[test]
    fn etags_may_repeat() {
        let mut names = Names::new("s-001");
        names.compare("${etag1}", "abc").unwrap();
        names.compare("${etag2}", "abc").unwrap();
        names.compare("${etag3}", "with \"quotes\"").unwrap_err();
    }

    #[test]
    fn made_up_keys_are_stable_and_fit() {
        let mut names = Names::new("s-001");
        let key = names.render("${key:a}").unwrap();
        assert_eq!(names.render("/${key:a}/B").unwrap(), format!("/{key}/B"));
        names.compare("${key:a}/B", &format!("{key}/B")).unwrap();
        assert_eq!(names.render("${key:a*128}").unwrap().len(), 128);
        assert!(names.render("${key:a*128}").unwrap().starts_with(&key));
        assert_ne!(names.render("${key:b}").unwrap(), key);
        assert_eq!(names.render("${KEY:a}").unwrap(), key.to_uppercase());
    }

    #[test]
    fn mistakes_in_a_recording_are_reported() {
        let mut names = Names::new("s-001");
        names.render("${xid1}").unwrap_err();
        names.render("${nope}").unwrap_err();
        names.render("${key:a").unwrap_err();
        names.compare("${nope}", "x").unwrap_err();
    }

    #[test]
    fn unbound_names_inside_text() {
        let mut names = Names::new("s-001");
        names.compare("a ${etag1}, b ${xid1}!", &format!("a t, b {XID}!")).unwrap();
        assert_eq!(names.render("${etag1} ${xid1}").unwrap(), format!("t {XID}"));
        names.compare("${etag2}x", "y").unwrap_err();
    }

    #[test]
    fn offsets() {
        assert_eq!(time_offset("${now+30}"), Some(30));
        assert_eq!(time_offset("${now-1}"), Some(-1));
        assert_eq!(time_offset("${now}"), None);
        assert_eq!(time_offset("x${now+1}"), None);
    }
}
