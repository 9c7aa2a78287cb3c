//! One record of the log: the changes of a group of batches, behind a header that tells it from anything else that can be
//! in its place.
//!
//! ```text
//! checksum u64   xxh3 of all that follows
//! magic    [8]
//! log      u64   number of the log
//! seq      u64   number of the record in it
//! len      u64   of the changes
//! change*        put: 1, key length u16, value length u32, key, value; delete: 2, key length u16, key
//! zeros          to the next multiple of eight
//! ```
//!
//! Numbers are little-endian. A segment that is used again holds old records behind the new ones; their sequence numbers, or
//! that of their log, are not the expected ones.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::port::{Batch, Change};

const MAGIC: &[u8; 8] = b"lockdlg1";
pub(super) const HEADER: usize = 40;
pub(super) const ALIGNMENT: usize = 8;

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// How many bytes a change takes up in a record.
pub(in crate::disk) fn encoded_len(change: &Change) -> usize {
    match change {
        Change::Put { key, value } => 7 + key.len() + value.len(),
        Change::Delete { key } => 3 + key.len(),
    }
}

/// A buffer in which records are put together, one after the other.
#[derive(Debug, Default)]
pub(super) struct Record(Vec<u8>);

impl Record {
    /// The bytes of a record. The batches have been checked: their keys and values fit into the fields for their lengths.
    pub(super) fn encode(&mut self, log: u64, seq: u64, group: &[Batch]) -> &[u8] {
        let bytes = &mut self.0;
        bytes.clear();
        bytes.resize(HEADER, 0);
        for change in group.iter().flat_map(|batch| &batch.changes) {
            match change {
                Change::Put { key, value } => {
                    bytes.push(PUT);
                    bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
                    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    bytes.extend_from_slice(key);
                    bytes.extend_from_slice(value);
                }
                Change::Delete { key } => {
                    bytes.push(DELETE);
                    bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
                    bytes.extend_from_slice(key);
                }
            }
        }
        let end = bytes.len();
        bytes[8..16].copy_from_slice(MAGIC);
        bytes[16..24].copy_from_slice(&log.to_le_bytes());
        bytes[24..32].copy_from_slice(&seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&((end - HEADER) as u64).to_le_bytes());
        let checksum = xxh3_64(&bytes[8..]);
        bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        bytes.resize(end.next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    /// Gives back what a large record took, beyond `limit`.
    pub(super) fn shrink(&mut self, limit: usize) {
        if self.0.capacity() > limit {
            self.0 = Vec::new();
        }
    }
}

/// An intact record in the bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) seq: u64,
    /// Where its changes end, and where the next record begins.
    pub(super) changes_end: usize,
    pub(super) end: usize,
}

/// The record of this log that begins at `offset`, if there is an intact one.
pub(super) fn at(segment: &[u8], offset: usize, log: u64) -> Option<Found> {
    let rest = segment.get(offset..)?;
    let (header, changes) = rest.split_at_checked(HEADER)?;
    let number = |at: usize| header[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    if header[8..16] != *MAGIC || number(16) != log {
        return None;
    }
    let len = usize::try_from(number(32)).ok().filter(|len| *len <= changes.len())?;
    if xxh3_64(&rest[8..HEADER + len]) != number(0) {
        return None;
    }
    let changes_end = offset + HEADER + len;
    Some(Found { seq: number(24), changes_end, end: changes_end.next_multiple_of(ALIGNMENT) })
}

/// The changes of a record. `None` if they do not decode, which nothing but a defect can bring about under an intact
/// checksum.
pub(super) fn decode(mut bytes: Bytes) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let kind = take(&mut bytes, 1)?[0];
        let key = usize::from(u16::from_le_bytes(take(&mut bytes, 2)?[..].try_into().ok()?));
        let change = match kind {
            PUT => {
                let value = u32::from_le_bytes(take(&mut bytes, 4)?[..].try_into().ok()?);
                let key = take(&mut bytes, key)?;
                Change::Put { key, value: take(&mut bytes, usize::try_from(value).ok()?)? }
            }
            DELETE => Change::Delete { key: take(&mut bytes, key)? },
            _ => return None,
        };
        changes.push(change);
    }
    Some(changes)
}

fn take(bytes: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= bytes.len()).then(|| bytes.split_to(count))
}
