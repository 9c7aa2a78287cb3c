//! Store URLs: which adapter, where, and with which options. Parsing looks at nothing outside the text.

use std::path::{Path, PathBuf};

use crate::open::Durability;
use crate::port::StoreError;

/// A parsed store URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    pub place: Place,
    /// What the operator should be told: parameters without meaning, historic spellings.
    pub warnings: Vec<String>,
}

/// The adapter a URL chooses, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Mem,
    Disk {
        /// Absolute and without `.`, `..` and doubled slashes.
        root: PathBuf,
        /// What `?sync=` asks for; it wins over the configured durability.
        durability: Option<Durability>,
    },
}

impl StoreUrl {
    /// Parses a store URL.
    ///
    /// ```
    /// use lockd_store::{Place, StoreUrl};
    /// let url = StoreUrl::parse("disk://var/lib/lockd")?;
    /// assert_eq!(url.place, Place::Disk { root: "/var/lib/lockd".into(), durability: None });
    /// # Ok::<(), lockd_store::StoreError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(StoreError::Invalid("store is required".into()));
        }
        let parts = Parts::split(text)?;
        match parts.scheme.as_str() {
            "mem" | "memory" => Ok(Self { place: Place::Mem, warnings: Vec::new() }),
            "disk" => parts.disk(Vec::new()),
            "pebble" => {
                parts.disk(vec!["store scheme \"pebble\" is historic: write disk:// instead".to_string()])
            }
            other => Err(StoreError::Invalid(format!("store scheme {other:?} not supported yet"))),
        }
    }
}

/// The pieces of a URL that adapters look at.
struct Parts {
    scheme: String,
    host: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Parts {
    fn split(text: &str) -> Result<Self, StoreError> {
        let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
            return Err(StoreError::Invalid(format!(
                "store {text:?} has no scheme: write disk:///var/lib/lockd-data for a directory or mem:// for memory"
            )));
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _fragment)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        // A user name has no meaning for any store; it must not end up in a path.
        let host = host.rsplit_once('@').map_or(host, |(_user, host)| host);
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, text)?, decode(value, text)?))
        });
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: decode(host, text)?,
            path: decode(path, text)?,
            query: query.collect::<Result<_, StoreError>>()?,
        })
    }

    fn disk(self, mut warnings: Vec<String>) -> Result<StoreUrl, StoreError> {
        let root = clean(&format!("/{}/{}", self.host, self.path));
        if root == Path::new("/") {
            return Err(StoreError::Invalid(
                "disk store path required (e.g. disk:///var/lib/lockd-data)".into(),
            ));
        }
        let mut durability = None;
        for (name, value) in &self.query {
            match (name.as_str(), value.as_str()) {
                ("sync", "never") => durability = Some(Durability::Os),
                ("sync", "always") => durability = Some(Durability::Fsync),
                ("sync", other) => {
                    return Err(StoreError::Invalid(format!(
                        "disk store option sync={other:?} is unknown: use sync=never to answer before data is on \
                         disk, or leave it out"
                    )));
                }
                _ => warnings.push(format!(
                    "disk store parameter {name:?} has no meaning and is ignored (known: sync)"
                )),
            }
        }
        Ok(StoreUrl { place: Place::Disk { root, durability }, warnings })
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// An absolute path without empty, `.` and `..` elements, resolved as text: links are not followed.
fn clean(path: &str) -> PathBuf {
    let mut elements = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => {
                elements.pop();
            }
            other => elements.push(other),
        }
    }
    PathBuf::from(format!("/{}", elements.join("/")))
}

/// Undoes percent-encoding. Refuses what cannot be a file name on any system.
fn decode(part: &str, url: &str) -> Result<String, StoreError> {
    let invalid = |what: &str| StoreError::Invalid(format!("store {url:?} {what}"));
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let byte = match (digit(0), digit(1)) {
            (Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(byte.ok_or_else(|| invalid("has a % that is not followed by two hexadecimal digits"))?);
        rest = &tail[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("is not UTF-8 after percent-decoding"))?;
    if text.contains('\0') { Err(invalid("contains a NUL byte")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(text: &str) -> PathBuf {
        match StoreUrl::parse(text).unwrap().place {
            Place::Disk { root, .. } => root,
            Place::Mem => panic!("{text} is not a disk store"),
        }
    }

    fn refused(text: &str) -> String {
        StoreUrl::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn memory_has_two_names_and_no_options() {
        for text in ["mem://", "memory://", "MEM://host/path?x=1", " mem: "] {
            assert_eq!(
                StoreUrl::parse(text).unwrap(),
                StoreUrl { place: Place::Mem, warnings: vec![] },
                "{text}"
            );
        }
    }

    #[test]
    fn disk_roots_are_absolute_and_clean() {
        assert_eq!(disk("disk:///var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(disk("disk://var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(disk("DISK:///var//lib/./y/../x/"), Path::new("/var/lib/x"));
        assert_eq!(disk("disk:/var/lib/x"), Path::new("/var/lib/x"));
        assert_eq!(disk("disk:///../x"), Path::new("/x"));
        assert_eq!(disk("disk:///a%20b"), Path::new("/a b"));
        assert_eq!(disk("pebble:///var/lib/x"), Path::new("/var/lib/x"));
    }

    #[test]
    fn what_names_no_store_is_refused() {
        assert_eq!(refused(""), "store is required");
        assert_eq!(refused("  "), "store is required");
        assert_eq!(refused("gopher://x"), "store scheme \"gopher\" not supported yet");
        for text in ["disk://", "disk:///", "disk:///..", "disk://?sync=never"] {
            assert_eq!(refused(text), "disk store path required (e.g. disk:///var/lib/lockd-data)", "{text}");
        }
        for text in ["/var/lib/x", "var/lib", "./x:y", "lockd"] {
            assert!(refused(text).contains("has no scheme"), "{text}");
        }
        assert!(refused("disk:///a%zz").contains('%'));
        assert!(refused("disk:///a%").contains('%'));
        assert!(refused("disk:///a%ff").contains("UTF-8"));
        assert!(refused("disk:///a%00b").contains("NUL"));
    }

    #[test]
    fn sync_is_the_only_disk_option() {
        let durability = |text| match StoreUrl::parse(text).unwrap().place {
            Place::Disk { durability, .. } => durability,
            Place::Mem => panic!("{text} is not a disk store"),
        };
        assert_eq!(durability("disk:///x"), None);
        assert_eq!(durability("disk:///x?sync=never"), Some(Durability::Os));
        assert_eq!(durability("disk:///x?sync=always"), Some(Durability::Fsync));
        assert!(refused("disk:///x?sync=sometimes").contains("sometimes"));
        let warnings = StoreUrl::parse("disk:///x?colour=blue&sync=never").unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("colour"));
        assert!(StoreUrl::parse("pebble:///x").unwrap().warnings[0].contains("historic"));
    }
}
