//! The durable schema: one file a record. A record's module knows its key layout and its encoding, nothing else.
//!
//! | prefix | record | key | value |
//! |---|---|---|---|
//! | `K` | [`key::KeyRecord`] | namespace, NUL, key | everything lockd knows of a key |
//! | `L` | [`held`] | namespace, NUL, key | nothing; it is there while the key is leased, and tells start-up what to read |
//! | `C` | [`content`] | content id | the bytes of a small document or attachment |
//! | `B` | [`blob`] | blob id | the key whose document or attachment lives in that blob |
//! | `R` | [`ready`] | namespace, NUL, queue, NUL, time, message id | when the message dies, if it does |
//! | `X` | [`dead`] | namespace, NUL, queue, NUL, time, message id | nothing; the message is a dead letter |
//! | `T` | [`mortal`] | time, then the message's key | nothing; the message dies then |
//! | `P` | [`txn::Pending`] | transaction id | participants that somebody has named before the decision |
//! | `D` | [`txn::Decided`] | transaction id | what was decided |
//! | `N` | [`namespace::NamespaceRecord`] | namespace | query settings |
//!
//! Values are sequences of tagged fields ([`field`]): a reader skips, keeps and writes back fields it does not know.

pub mod blob;
pub mod content;
pub mod dead;
pub mod field;
pub mod held;
pub mod key;
pub mod message;
pub mod mortal;
pub mod namespace;
pub mod ready;
pub mod txn;

use bytes::Bytes;
use lockd_wire::{QueueId, Uid};

use crate::moment::Moment;

/// A stored record that does not read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored {record} record is damaged: {what}")]
pub struct Damaged {
    pub record: &'static str,
    pub what: &'static str,
}

/// Where the index entries of a queue begin.
fn queue_prefix(prefix: u8, queue: &QueueId) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.as_bytes().len() + 26);
    key.push(prefix);
    key.extend_from_slice(queue.as_bytes());
    key.push(0);
    key
}

/// All index entries of a queue: from the first to before the end.
fn queue_range(prefix: u8, queue: &QueueId) -> (Bytes, Bytes) {
    let start = queue_prefix(prefix, queue);
    let mut end = start.clone();
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    (start.into(), end.into())
}

/// An index entry of a queue: sorted by time, then by message.
fn queue_entry(prefix: u8, queue: &QueueId, at: Moment, message: Uid) -> Bytes {
    let mut key = queue_prefix(prefix, queue);
    key.extend_from_slice(&at.0.to_be_bytes());
    key.extend_from_slice(&message.0);
    key.into()
}

/// Time and message of an index entry of this queue.
fn read_queue_entry(prefix: u8, queue: &QueueId, storage_key: &[u8]) -> Option<(Moment, Uid)> {
    let rest = storage_key.strip_prefix(&queue_prefix(prefix, queue)[..])?;
    let (at, message) = rest.split_first_chunk::<8>()?;
    Some((Moment(u64::from_be_bytes(*at)), Uid(message.try_into().ok()?)))
}

fn prefixed(prefix: u8, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key.into()
}
