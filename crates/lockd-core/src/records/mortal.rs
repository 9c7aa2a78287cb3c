//! The index of messages that die by themselves, in the order of their deaths, whatever their queue.

use bytes::Bytes;
use lockd_wire::KeyId;

use super::Damaged;
use crate::moment::Moment;

const PREFIX: u8 = b'T';

pub fn storage_key(dies_at: Moment, key: &KeyId) -> Bytes {
    let mut stored = Vec::with_capacity(9 + key.as_bytes().len());
    stored.push(PREFIX);
    stored.extend_from_slice(&dies_at.0.to_be_bytes());
    stored.extend_from_slice(key.as_bytes());
    stored.into()
}

/// Everything that is dead by `now`, for a scan.
pub fn range_until(now: Moment) -> (Bytes, Bytes) {
    let mut end = vec![PREFIX];
    end.extend_from_slice(&now.0.saturating_add(1).to_be_bytes());
    (Bytes::from_static(&[PREFIX]), end.into())
}

pub fn key_of(storage_key: &[u8]) -> Result<KeyId, Damaged> {
    let key = storage_key.strip_prefix(&[PREFIX]).and_then(|rest| rest.get(8..)).and_then(KeyId::from_bytes);
    key.ok_or(Damaged { record: "mortal message", what: "key" })
}
