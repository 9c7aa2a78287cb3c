//! The index of a queue's dead letters, oldest first: time of death, then message id.

use bytes::Bytes;
use lockd_wire::{QueueId, Uid};

use super::Damaged;
use crate::moment::Moment;

const PREFIX: u8 = b'X';

fn prefix(queue: &QueueId) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.as_bytes().len() + 26);
    key.push(PREFIX);
    key.extend_from_slice(queue.as_bytes());
    key.push(0);
    key
}

pub fn storage_key(queue: &QueueId, died_at: Moment, message: Uid) -> Bytes {
    let mut key = prefix(queue);
    key.extend_from_slice(&died_at.0.to_be_bytes());
    key.extend_from_slice(&message.0);
    key.into()
}

/// All dead letters of a queue, for a scan.
pub fn range(queue: &QueueId) -> (Bytes, Bytes) {
    let start = prefix(queue);
    let mut end = start.clone();
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    (start.into(), end.into())
}

/// Reads an entry of a queue back.
pub fn entry_of(queue: &QueueId, storage_key: &[u8]) -> Result<(Moment, Uid), Damaged> {
    let damaged = |what| Damaged { record: "dead letter", what };
    let rest = storage_key.strip_prefix(&prefix(queue)[..]).ok_or(damaged("queue"))?;
    let (at, message) = rest.split_first_chunk::<8>().ok_or(damaged("time"))?;
    Ok((Moment(u64::from_be_bytes(*at)), Uid(message.try_into().map_err(|_| damaged("message id"))?)))
}
