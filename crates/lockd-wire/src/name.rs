//! Namespaces and keys: what is a valid name, and its normal form.

use std::fmt;
use std::sync::Arc;

use crate::id::Uid;

/// Longest namespace and longest key, in bytes after trimming.
const MAX_LEN: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNamespace {
    #[error("namespace is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("namespace {0:?} is reserved: names that start with '.' are for internal data")]
    Reserved(String),
    #[error("namespace {0:?} may only hold letters, digits, '.', '_' and '-'")]
    Characters(String),
    #[error("namespace is empty")]
    Empty,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("key is empty")]
    Empty,
    #[error("key is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("key {0:?} has an empty segment")]
    EmptySegment(String),
    #[error("key {0:?} has a segment {1:?}, which is reserved")]
    ReservedSegment(String, String),
    #[error("key {0:?} may only hold letters, digits, '.', '_', '-' and '/'")]
    Characters(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue: invalid queue name {name:?}: {reason}")]
pub struct InvalidQueue {
    name: String,
    reason: &'static str,
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

/// A namespace in its normal form: trimmed, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    pub fn parse(text: &str) -> Result<Namespace, InvalidNamespace> {
        let name = text.trim();
        if name.is_empty() {
            return Err(InvalidNamespace::Empty);
        }
        if name.len() > MAX_LEN {
            return Err(InvalidNamespace::TooLong);
        }
        // Lower-casing is Unicode's, as everywhere in this API: a capital that folds to an ASCII letter is that letter.
        let lower = lower_case(name);
        if !lower.bytes().all(is_name_byte) {
            return Err(InvalidNamespace::Characters(name.to_owned()));
        }
        if lower.starts_with('.') {
            return Err(InvalidNamespace::Reserved(name.to_owned()));
        }
        Ok(Namespace(Arc::from(&*lower)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a queue in its normal form: trimmed, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

impl QueueName {
    pub fn parse(text: &str) -> Result<QueueName, InvalidQueue> {
        let name = text.trim();
        let refuse = |reason| Err(InvalidQueue { name: name.to_owned(), reason });
        let lower = lower_case(name);
        if lower.is_empty() {
            return refuse("it is empty");
        }
        if lower.len() > MAX_LEN {
            return refuse("it is longer than 128 bytes");
        }
        if !lower.bytes().all(is_name_byte) {
            return refuse("it may only hold letters, digits, '.', '_' and '-'");
        }
        if lower.bytes().all(|byte| byte == b'.') {
            return refuse("it consists of dots only");
        }
        Ok(QueueName(Arc::from(&*lower)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key in its normal form: trimmed, one leading `/` dropped, lower case, blanks around segments dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

impl KeyName {
    pub fn parse(text: &str) -> Result<KeyName, InvalidKey> {
        let trimmed = text.trim();
        let name = trimmed.strip_prefix('/').unwrap_or(trimmed).trim();
        if name.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if name.len() > MAX_LEN {
            return Err(InvalidKey::TooLong);
        }
        let lower = lower_case(name);
        let is_normal = |segment: &str| !segment.is_empty() && segment.bytes().all(is_name_byte);
        let mut normal: Option<String> = None;
        for segment in lower.split('/') {
            let bare = segment.trim();
            if bare.is_empty() {
                return Err(InvalidKey::EmptySegment(name.to_owned()));
            }
            if !is_normal(bare) {
                return Err(InvalidKey::Characters(name.to_owned()));
            }
            if matches!(bare, "." | ".." | ".staging") {
                return Err(InvalidKey::ReservedSegment(name.to_owned(), bare.to_owned()));
            }
            if bare.len() != segment.len() {
                normal = Some(String::with_capacity(lower.len()));
            }
        }
        if let Some(normal) = &mut normal {
            for segment in lower.split('/') {
                if !normal.is_empty() {
                    normal.push('/');
                }
                normal.push_str(segment.trim());
            }
        }
        Ok(KeyName(Arc::from(normal.as_deref().unwrap_or(&lower))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `q/<queue>/state/<id>`: the workflow state of a queue message, which lives and dies with the message's lease.
    pub fn is_queue_state(&self) -> bool {
        let mut segments = self.0.split('/');
        segments.next() == Some("q")
            && segments.next().is_some()
            && segments.next() == Some("state")
            && segments.next().is_some()
            && segments.next().is_none()
    }
}

fn lower_case(text: &str) -> std::borrow::Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        text.into()
    } else {
        text.to_lowercase().into()
    }
}

/// A key within its namespace: what a lease is about. Cheap to clone, ordered by namespace, then key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

/// Sorts below every character of a name, so that "namespace, then key" is the order of the joined text.
const SEPARATOR: char = '\0';

impl KeyId {
    pub fn new(namespace: &Namespace, key: &KeyName) -> KeyId {
        let mut joined = String::with_capacity(namespace.0.len() + 1 + key.0.len());
        joined.push_str(&namespace.0);
        joined.push(SEPARATOR);
        joined.push_str(&key.0);
        KeyId(joined.into())
    }

    /// The stored form; injective, and sorted as `KeyId`s are.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Reads the stored form back.
    pub fn from_bytes(bytes: &[u8]) -> Option<KeyId> {
        let text = std::str::from_utf8(bytes).ok()?;
        text.contains(SEPARATOR).then(|| KeyId(text.into()))
    }

    /// The lease of a queue's message. Such a key may be longer than clients' keys.
    pub fn of_message(queue: &QueueId, message: Uid) -> KeyId {
        queue.key("msg", message)
    }

    /// The workflow state of a queue's message.
    pub fn of_queue_state(queue: &QueueId, message: Uid) -> KeyId {
        queue.key("state", message)
    }

    /// The message whose lease this is.
    pub fn as_message(&self) -> Option<(QueueId, Uid)> {
        self.in_queue("msg")
    }

    /// The message whose workflow state this is.
    pub fn as_queue_state(&self) -> Option<(QueueId, Uid)> {
        self.in_queue("state")
    }

    fn in_queue(&self, part: &str) -> Option<(QueueId, Uid)> {
        let mut segments = self.key().strip_prefix("q/")?.split('/');
        let (queue, found, message) = (segments.next()?, segments.next()?, segments.next()?);
        if found != part || segments.next().is_some() {
            return None;
        }
        Some((QueueId::joined(self.namespace(), queue), Uid::parse(message)?))
    }

    pub fn namespace(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(namespace, _)| namespace)
    }

    pub fn key(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(_, key)| key)
    }
}

/// A queue within its namespace. Cheap to clone, ordered by namespace, then name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(Arc<str>);

impl QueueId {
    pub fn new(namespace: &Namespace, queue: &QueueName) -> QueueId {
        QueueId::joined(namespace.as_str(), queue.as_str())
    }

    fn joined(namespace: &str, queue: &str) -> QueueId {
        QueueId([namespace, "\0", queue].concat().into())
    }

    /// The stored form; injective, and sorted as `QueueId`s are.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Reads the stored form back.
    pub fn from_bytes(bytes: &[u8]) -> Option<QueueId> {
        let text = std::str::from_utf8(bytes).ok()?;
        text.contains(SEPARATOR).then(|| QueueId(text.into()))
    }

    pub fn namespace(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(_, name)| name)
    }

    fn key(&self, part: &str, message: Uid) -> KeyId {
        let message = message.spell();
        let message = std::str::from_utf8(&message).unwrap_or_default();
        KeyId([self.namespace(), "\0q/", self.name(), "/", part, "/", message].concat().into())
    }
}

macro_rules! show {
    ($name:ident, $self:ident => $text:expr) => {
        impl fmt::Display for $name {
            fn fmt(&$self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

show!(Namespace, self => self.as_str());
show!(KeyName, self => self.as_str());
show!(QueueName, self => self.as_str());

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.key())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_of_messages() {
        let queue = QueueId::new(&Namespace::parse("N").unwrap(), &QueueName::parse(" Orders ").unwrap());
        let id = Uid([7; 16]);
        let (message, state) = (KeyId::of_message(&queue, id), KeyId::of_queue_state(&queue, id));
        assert_eq!(message.key(), format!("q/orders/msg/{id}"));
        assert_eq!(message.as_message(), Some((queue.clone(), id)));
        assert_eq!(state.as_queue_state(), Some((queue.clone(), id)));
        assert_eq!((message.as_queue_state(), state.as_message()), (None, None));
        assert_eq!(QueueId::from_bytes(queue.as_bytes()), Some(queue));
        for other in ["q/orders/msg/x", "q/msg/x", "x/orders/msg/x", "q"] {
            let key = KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse(other).unwrap());
            assert_eq!(key.as_message(), None, "{other}");
        }
    }

    #[test]
    fn refused_queues() {
        for text in ["", " ", "a/b", ".", "..", "...", "a b", "ü", &"q".repeat(129)] {
            assert!(QueueName::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(QueueName::parse(" Team.A ").unwrap().as_str(), "team.a");
        let message = QueueName::parse("a/b").unwrap_err().to_string();
        assert!(message.starts_with("queue: invalid queue name"), "{message}");
    }

    #[test]
    fn spellings_of_one_key() {
        let normal = KeyName::parse("orders/a").unwrap();
        for spelling in ["Orders/A", "/orders/a", " orders / a ", "/ORDERS/A"] {
            assert_eq!(KeyName::parse(spelling).unwrap(), normal, "{spelling}");
        }
    }

    #[test]
    fn refused_keys() {
        for text in ["", " ", "/", "//a", "a//b", "a/", "ä", "a b", "a/../b", ".", "..", "x/.staging", "a\0b"]
        {
            assert!(KeyName::parse(text).is_err(), "{text:?}");
        }
        assert!(KeyName::parse(&"k".repeat(128)).is_ok());
        assert!(KeyName::parse(&"k".repeat(129)).is_err());
        assert!(KeyName::parse("a/.hidden/..b").is_ok());
    }

    #[test]
    fn refused_namespaces() {
        for text in ["", " ", ".txns", "a b", "a/b", "ü"] {
            assert!(Namespace::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Namespace::parse(" Team_A ").unwrap().as_str(), "team_a");
    }

    #[test]
    fn queue_state_keys() {
        let is = |text| KeyName::parse(text).unwrap().is_queue_state();
        assert!(is("q/jobs/state/1"));
        assert!(
            !is("q/jobs/msg/1") && !is("q/jobs/state/1/x") && !is("q/jobs/state") && !is("x/jobs/state/1")
        );
    }

    proptest! {
        #[test]
        fn normal_forms_are_fixed_points_and_nothing_panics(text in "\\PC{0,140}|[a-zA-Z0-9._/ -]{0,140}") {
            if let Ok(key) = KeyName::parse(&text) {
                prop_assert_eq!(KeyName::parse(key.as_str()).unwrap(), key);
            }
            if let Ok(namespace) = Namespace::parse(&text) {
                prop_assert_eq!(Namespace::parse(namespace.as_str()).unwrap(), namespace);
            }
        }

        #[test]
        fn key_ids_sort_by_namespace_then_key(a in "[a-z.-]{1,3}", b in "[a-z/.-]{1,3}", c in "[a-z.-]{1,3}", d in "[a-z/.-]{1,3}") {
            let parts = |n: &str, k: &str| Some((Namespace::parse(n).ok()?, KeyName::parse(k).ok()?));
            if let (Some(x), Some(y)) = (parts(&a, &b), parts(&c, &d)) {
                let (left, right) = (KeyId::new(&x.0, &x.1), KeyId::new(&y.0, &y.1));
                prop_assert_eq!(left.cmp(&right), x.cmp(&y));
                prop_assert_eq!(KeyId::from_bytes(left.as_bytes()), Some(left.clone()));
                prop_assert_eq!((left.namespace(), left.key()), (x.0.as_str(), x.1.as_str()));
            }
        }
    }
}
