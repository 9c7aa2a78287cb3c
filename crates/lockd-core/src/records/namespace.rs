//! The namespace record: query settings that somebody chose for a namespace.

use std::ops::Bound;

use bytes::Bytes;
use lockd_wire::{Namespace, Uid};

use super::field::{FieldReader, FieldWriter, Unknown};
use super::{Damaged, prefixed};

const PREFIX: u8 = b'N';
const RECORD: &str = "namespace";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreferredEngine {
    Index,
    Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackEngine {
    Nothing,
    Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryEngines {
    pub preferred: PreferredEngine,
    pub fallback: FallbackEngine,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRecord {
    pub engines: QueryEngines,
    /// Changes with every write.
    pub etag: Uid,
    pub unknown: Unknown,
}

pub fn storage_key(namespace: &Namespace) -> Bytes {
    prefixed(PREFIX, namespace.as_str().as_bytes())
}

/// All namespace records, for a scan.
pub fn range() -> (Bound<&'static [u8]>, Bound<&'static [u8]>) {
    (Bound::Included(b"N"), Bound::Excluded(b"O"))
}

/// The namespace that a stored record is about.
pub fn namespace_of(storage_key: &[u8]) -> Result<Namespace, Damaged> {
    let name = storage_key.strip_prefix(&[PREFIX]).and_then(|name| std::str::from_utf8(name).ok());
    name.and_then(|name| Namespace::parse(name).ok()).ok_or(Damaged { record: RECORD, what: "name" })
}

impl NamespaceRecord {
    pub fn encode(&self) -> Bytes {
        let mut writer = FieldWriter::default();
        writer.number(1, u64::from(self.engines.preferred == PreferredEngine::Scan));
        writer.number(2, u64::from(self.engines.fallback == FallbackEngine::Scan));
        writer.bytes(3, &self.etag.0);
        writer.unknown(&self.unknown);
        writer.finish().into()
    }

    pub fn decode(bytes: &[u8]) -> Result<NamespaceRecord, Damaged> {
        let mut engines =
            QueryEngines { preferred: PreferredEngine::Index, fallback: FallbackEngine::Nothing };
        let (mut etag, mut unknown) = (None, Unknown::default());
        let mut reader = FieldReader::new(RECORD, bytes);
        while let Some(field) = reader.next_field()? {
            match field.tag {
                1 if field.flag()? => engines.preferred = PreferredEngine::Scan,
                2 if field.flag()? => engines.fallback = FallbackEngine::Scan,
                1 | 2 => {}
                3 => etag = Some(Uid(field.array()?)),
                _ => field.keep(&mut unknown),
            }
        }
        Ok(NamespaceRecord { engines, etag: etag.ok_or(reader.damaged("etag is missing"))?, unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(preferred: bool, fallback: bool, etag: [u8; 16]) {
            let record = NamespaceRecord {
                engines: QueryEngines {
                    preferred: if preferred { PreferredEngine::Index } else { PreferredEngine::Scan },
                    fallback: if fallback { FallbackEngine::Nothing } else { FallbackEngine::Scan },
                },
                etag: Uid(etag),
                unknown: Unknown::default(),
            };
            prop_assert_eq!(NamespaceRecord::decode(&record.encode()).unwrap(), record);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = (NamespaceRecord::decode(&bytes), namespace_of(&bytes));
        }
    }
}
