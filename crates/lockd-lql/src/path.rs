//! Paths: JSON pointers with wildcards.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A member of that name; in an array, the element with that index if the name is a number.
    Name { name: Box<str>, index: Option<u64> },
    /// `*`: any member of an object.
    AnyMember,
    /// `[]`: any element of an array.
    AnyElement,
    /// `**`: any direct child.
    AnyChild,
    /// `...`: the node itself and everything below it.
    Descendants,
}

/// A list of steps from the document's root; empty means the root itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path {
    pub segments: Box<[Segment]>,
}

/// A text that should be a path does not start with `/`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("json pointer {pointer:?} must start with '/'")]
pub struct NotAPointer {
    pub pointer: String,
}

impl Path {
    /// Reads a pointer with wildcards. Space around it does not matter; `/` alone and nothing at all are the root.
    ///
    /// # Errors
    ///
    /// The text does not start with `/`.
    pub fn parse(text: &str) -> Result<Path, NotAPointer> {
        let text = text.trim();
        if text.is_empty() || text == "/" {
            return Ok(Path::default());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(NotAPointer { pointer: text.to_owned() });
        };
        let mut segments = Vec::new();
        for part in rest.split('/') {
            let mut name = part;
            let mut elements = 0;
            while let Some(shorter) = name.strip_suffix("[]") {
                name = shorter;
                elements += 1;
            }
            if elements == 0 || !name.is_empty() {
                let segment = Segment::parse(name);
                // Any number of levels twice is any number of levels.
                if segment != Segment::Descendants || segments.last() != Some(&Segment::Descendants) {
                    segments.push(segment);
                }
            }
            segments.extend(std::iter::repeat_n(Segment::AnyElement, elements));
        }
        Ok(Path { segments: segments.into() })
    }

    /// Whether the path means the document itself.
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }
}

impl Segment {
    fn parse(text: &str) -> Segment {
        match text {
            "*" => Segment::AnyMember,
            "**" => Segment::AnyChild,
            "..." => Segment::Descendants,
            _ => {
                let name = unescape(text);
                let index = index(&name);
                Segment::Name { name, index }
            }
        }
    }
}

/// Resolves `~1` and `~0`; any other `~` is itself.
fn unescape(text: &str) -> Box<str> {
    if !text.contains('~') {
        return text.into();
    }
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('~') {
        name.push_str(plain);
        let (letter, skipped) = match after.as_bytes().first() {
            Some(b'0') => ('~', 1),
            Some(b'1') => ('/', 1),
            _ => ('~', 0),
        };
        name.push(letter);
        rest = after.get(skipped..).unwrap_or_default();
    }
    name.push_str(rest);
    name.into()
}

/// The array index that a name stands for; `01` and `+1` are 1.
fn index(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('+').unwrap_or(name);
    // `parse` would take a second sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Writes the pointer that reads back as this path.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("/");
        }
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Name { name, .. } => f.write_str(&name.replace('~', "~0").replace('/', "~1")),
            Segment::AnyMember => f.write_str("*"),
            Segment::AnyElement => f.write_str("[]"),
            Segment::AnyChild => f.write_str("**"),
            Segment::Descendants => f.write_str("..."),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Segment {
        Segment::Name { name: text.into(), index: index(text) }
    }

    fn segments(text: &str) -> Vec<Segment> {
        Path::parse(text).unwrap().segments.into()
    }

    #[test]
    fn the_root_has_three_spellings() {
        for text in ["", "/", "  / "] {
            assert!(Path::parse(text).unwrap().is_root(), "{text:?}");
        }
        assert_eq!(segments("//"), [name(""), name("")]);
        assert_eq!(segments("/a/"), [name("a"), name("")]);
    }

    #[test]
    fn a_path_starts_with_a_slash() {
        let error = Path::parse(" a/b").unwrap_err();
        assert_eq!(error.to_string(), "json pointer \"a/b\" must start with '/'");
    }

    #[test]
    fn lql_24_escapes_are_resolved_and_a_stray_tilde_is_literal() {
        assert_eq!(segments("/x~1y"), [name("x/y")]);
        assert_eq!(segments("/x~0y"), [name("x~y")]);
        assert_eq!(segments("/~01"), [name("~1")]);
        assert_eq!(segments("/a~/~2b/c~"), [name("a~"), name("~2b"), name("c~")]);
        assert_eq!(segments("/ü~1~~0"), [name("ü/~~")]);
    }

    #[test]
    fn wildcards_are_whole_segments() {
        use Segment::*;
        assert_eq!(segments("/*/**/[]/..."), [AnyMember, AnyChild, AnyElement, Descendants]);
        assert_eq!(segments("/a*/***/[]x/....").len(), 4);
        assert!(segments("/a*/***/[]x/....").iter().all(|segment| matches!(segment, Name { .. })));
        assert_eq!(segments("/.../.../a/..."), [Descendants, name("a"), Descendants]);
    }

    #[test]
    fn lql_26_brackets_behind_a_name_are_an_own_segment() {
        use Segment::*;
        assert_eq!(segments("/items[]/x"), segments("/items/[]/x"));
        assert_eq!(segments("/grid[][]"), [name("grid"), AnyElement, AnyElement]);
        assert_eq!(segments("/[][]"), [AnyElement, AnyElement]);
        assert_eq!(segments("/*[]"), [AnyMember, AnyElement]);
    }

    #[test]
    fn numbers_are_names_and_indexes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("01", Some(1)),
            ("+1", Some(1)),
            ("-1", None),
            ("++1", None),
            ("+", None),
            ("", None),
            ("1a", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
        ] {
            assert_eq!(index(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in r"/([a~/*\[\].0-9+ü ]|\.\.\.|\[\]|\*\*){0,12}") {
            let path = Path::parse(&text).unwrap();
            prop_assert_eq!(Path::parse(&path.to_string()).unwrap(), path);
        }
    }
}
