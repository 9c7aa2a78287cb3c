//! The held-lease record: present exactly while a key is leased. It holds nothing; that it is there tells start-up which key
//! records to read, so that recovery does not look at every key that ever existed.

use std::ops::Bound;

use bytes::Bytes;
use lockd_wire::KeyId;

use super::{Damaged, prefixed};

const PREFIX: u8 = b'L';

pub fn storage_key(key: &KeyId) -> Bytes {
    prefixed(PREFIX, key.as_bytes())
}

/// All held leases, for a scan.
pub fn range() -> (Bound<&'static [u8]>, Bound<&'static [u8]>) {
    (Bound::Included(b"L"), Bound::Excluded(b"M"))
}

/// The key that a stored held-lease record is about.
pub fn key_of(storage_key: &[u8]) -> Result<KeyId, Damaged> {
    let name = storage_key.strip_prefix(&[PREFIX]).and_then(KeyId::from_bytes);
    name.ok_or(Damaged { record: "held lease", what: "key" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockd_wire::{KeyName, Namespace};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(namespace in "[a-z0-9_-]{1,8}", key in "[a-z0-9_-]{1,8}") {
            let key = KeyId::new(&Namespace::parse(&namespace).unwrap(), &KeyName::parse(&key).unwrap());
            prop_assert_eq!(key_of(&storage_key(&key)).unwrap(), key);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = key_of(&bytes);
        }
    }
}
