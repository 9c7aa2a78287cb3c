//! What must hold for keys and namespaces whatever they are read from. Shared by the property tests and the fuzz target.

use lockd_wire::{KeyId, KeyName, LeaseId, Namespace, TxnId};

/// Checks one input, which is a namespace and a key with a line feed between them.
pub(crate) fn holds(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (namespace, key) = text.split_once('\n').unwrap_or(("default", &text));
    // An id is any text of up to some length, or none of ours; it is never a reason to fail.
    let _ = (LeaseId::parse(key), TxnId::parse(namespace));

    let namespace = Namespace::parse(namespace);
    if let Ok(namespace) = &namespace {
        let normal = namespace.as_str();
        assert_eq!(Namespace::parse(normal).as_ref(), Ok(namespace), "a normal form has changed");
        assert!(is_plain(normal, "") && !normal.starts_with('.'), "{normal:?}");
    }
    let key = KeyName::parse(key);
    if let Ok(key) = &key {
        let normal = key.as_str();
        assert_eq!(KeyName::parse(normal).as_ref(), Ok(key), "a normal form has changed");
        assert_eq!(
            KeyName::parse(&format!(" /{normal} ")).as_ref(),
            Ok(key),
            "one leading slash does not count"
        );
        assert!(is_plain(normal, "/"), "{normal:?}");
        for segment in normal.split('/') {
            assert!(!matches!(segment, "" | "." | ".." | ".staging"), "{normal:?}");
        }
    }
    if let (Ok(namespace), Ok(key)) = (namespace, key) {
        let id = KeyId::new(&namespace, &key);
        assert_eq!((id.namespace(), id.key()), (namespace.as_str(), key.as_str()));
        assert_eq!(KeyId::from_bytes(id.as_bytes()), Some(id));
    }
}

fn is_plain(text: &str, more: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) || more.contains(c))
}
