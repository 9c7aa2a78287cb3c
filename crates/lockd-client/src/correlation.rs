//! Correlation ids: what ties a call to its lines in the server's log.

use std::time::{SystemTime, UNIX_EPOCH};

use lockd_wire::UidMint;

/// A new id, for a call that was not given one.
pub(crate) fn fresh() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UidMint::mint(now.as_millis() as u64, fastrand::u128(..)).to_string()
}

/// Whether servers take this id over.
pub(crate) fn is_valid(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.trim() == id && id.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
