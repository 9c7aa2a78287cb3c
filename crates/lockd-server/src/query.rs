//! The query string: form-encoded pairs, the first of a name wins, and pairs that do not decode count as absent.

use std::borrow::Cow;

use smallvec::SmallVec;

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pairs: SmallVec<[Pair<'a>; 4]>,
}

impl<'a> Query<'a> {
    pub(crate) fn parse(raw: Option<&'a str>) -> Query<'a> {
        let pairs = raw.unwrap_or_default().split('&').filter_map(pair).collect();
        Query { pairs }
    }

    /// The value as the client wrote it, decoded. Absent and empty are the same.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// Tells an absent parameter from an empty one.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// `1`, `true`, `on`, `yes` in any case, blanks around it ignored; everything else is false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.get(name).trim();
        ["1", "true", "on", "yes"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
    }
}

fn pair(raw: &str) -> Option<Pair<'_>> {
    if raw.is_empty() || raw.contains(';') {
        return None;
    }
    let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
    Some((decode(name)?, decode(value)?))
}

fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    Some(match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let query =
            Query::parse(Some("key=a&key=b&bad=%zz&semi=1;2&plus=a+b%20c&flag=%20YES&empty=&p%75blic=on"));
        assert_eq!(query.get("key"), "a");
        assert_eq!(query.find("bad"), None);
        assert_eq!(query.find("semi"), None);
        assert_eq!(query.get("plus"), "a b c");
        assert!(query.flag("flag") && query.flag("public") && !query.flag("empty") && !query.flag("absent"));
        assert_eq!(query.find("empty"), Some(""));
        assert_eq!(Query::parse(Some("a=%F")).find("a"), None);
    }
}
