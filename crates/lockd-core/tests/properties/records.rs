//! What must hold for stored records whatever bytes they are read from. Shared by the property tests and the fuzz target.

use lockd_core::records::key::KeyRecord;
use lockd_core::records::namespace::NamespaceRecord;

/// Checks one input: it is refused, or what it means survives being written and read again.
pub(crate) fn holds(input: &[u8]) {
    if let Ok(record) = KeyRecord::decode(input) {
        let written = record.encode();
        assert_eq!(KeyRecord::decode(&written).as_ref(), Ok(&record), "a key record has changed");
    }
    if let Ok(record) = NamespaceRecord::decode(input) {
        let written = record.encode();
        assert_eq!(NamespaceRecord::decode(&written).as_ref(), Ok(&record), "a namespace record has changed");
    }
}
