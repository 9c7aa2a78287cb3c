//! The index of a queue's dead letters, oldest first: time of death, then message id.

use bytes::Bytes;
use lockd_wire::{QueueId, Uid};

use super::{Damaged, queue_entry, queue_range, read_queue_entry};
use crate::moment::Moment;

const PREFIX: u8 = b'X';

pub fn storage_key(queue: &QueueId, died_at: Moment, message: Uid) -> Bytes {
    queue_entry(PREFIX, queue, died_at, message)
}

/// All dead letters of a queue, for a scan.
pub fn range(queue: &QueueId) -> (Bytes, Bytes) {
    queue_range(PREFIX, queue)
}

/// Reads an entry of a queue back.
pub fn entry_of(queue: &QueueId, storage_key: &[u8]) -> Result<(Moment, Uid), Damaged> {
    read_queue_entry(PREFIX, queue, storage_key).ok_or(Damaged { record: "dead letter", what: "key" })
}
