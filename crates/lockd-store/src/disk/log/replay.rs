//! Finding what the log holds, and writing it into the database once more.
//!
//! The records that count carry the number of the log that the note names, and follow each other from the one it names to
//! the last intact one. Only the last that was being written can be unfinished, because the next was not begun before it was
//! synced. So an intact later record anywhere means that what is missing before it was acknowledged, and is damage.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::fault;
use super::super::last_use::Logged;
use super::{record, segment};
use crate::port::{Batch, StoreError};

/// So many bytes of changes are written into the database at a time.
const GROUP: usize = 4 << 20;

/// The records that the database must be given.
#[derive(Debug)]
pub(in crate::disk) struct Chain {
    /// The number of the log.
    log: u64,
    links: Vec<Link>,
    records: u64,
}

/// A segment with records that count: they begin at its beginning.
#[derive(Debug)]
struct Link {
    path: PathBuf,
    first: u64,
    /// The number of the record after the last that counts.
    next: u64,
    /// Where that would be.
    end: usize,
    /// Where the last begins.
    last: usize,
}

impl Chain {
    /// Reads all of the log and changes nothing. `Corrupt` if a record is missing that must be there.
    pub(in crate::disk) fn find(directory: &Path, note: &Logged) -> Result<Self, StoreError> {
        let mut links = Vec::new();
        let mut others = Vec::new();
        for number in 0..note.segments {
            let path = segment::path(directory, number);
            let bytes = read(&path)?;
            match link(path.clone(), &bytes, note.id) {
                // What is before belongs to segments that are free.
                Some(link) if link.first >= note.from => links.push(link),
                _ => others.push(path),
            }
        }
        links.sort_by_key(|link| link.first);
        let mut expected = note.from;
        // Where the next record is missing, if one is.
        let mut end: Option<(&Path, usize)> = None;
        let missing = |expected, end: Option<(&Path, usize)>, path: &Path, offset, seq| {
            let (file, at) = end.unwrap_or((path, 0));
            let detail = format!(
                "record {expected} is missing, but record {seq} follows in {} at offset {offset}",
                path.display()
            );
            corrupt(file, at, &detail)
        };
        for link in &links {
            if link.first != expected {
                return Err(missing(expected, end, &link.path, 0, link.first));
            }
            (expected, end) = (link.next, Some((link.path.as_path(), link.end)));
        }
        // The torn end, and whatever was there before.
        for (path, begin) in end.into_iter().chain(others.iter().map(|path| (path.as_path(), 0))) {
            if let Some((offset, seq)) = stray(&read(path)?, begin, note.id, expected) {
                return Err(missing(expected, end, path, offset, seq));
            }
        }
        Ok(Self { log: note.id, links, records: expected.wrapping_sub(note.from) })
    }

    /// Hands all changes on, in their order, in groups.
    pub(in crate::disk) fn replay(
        &self,
        mut apply: impl FnMut(&[Batch]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.records > 0 {
            tracing::info!(records = self.records, "replaying the commit log");
        }
        // The last owner may have died before it had synced the last record, which is then in the cache of the operating
        // system only. The database must not get ahead of the log: after a power cut now, a shorter log would be replayed
        // over what the database had kept of this record. Written once more, because a failed sync leaves it marked as
        // clean.
        if let Some(link) = self.links.last() {
            segment::write_again(&link.path, link.last..link.end)?;
        }
        for link in &self.links {
            let bytes = Bytes::from(read(&link.path)?);
            let mut batch = Batch::default();
            let (mut offset, mut size) = (0, 0);
            while offset < link.end {
                // It was intact a moment ago, so this is the file changing under us.
                let unreadable = || corrupt(&link.path, offset, "a record has become unreadable");
                let found = record::at(&bytes, offset, self.log).ok_or_else(unreadable)?;
                let changes = bytes.slice(offset + record::HEADER..found.changes_end);
                batch.changes.extend(record::decode(changes).ok_or_else(unreadable)?);
                size += found.end - offset;
                offset = found.end;
                if size >= GROUP {
                    apply(&[std::mem::take(&mut batch)])?;
                    size = 0;
                }
            }
            apply(&[batch])?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::Corrupt(format!(
            "{} is missing, which may hold acknowledged commits; nothing was changed, restore it or the whole store from \
             a backup",
            path.display()
        )),
        _ => fault::io("read", path, &error),
    })
}

/// The records at the beginning of a segment, if there are any.
fn link(path: PathBuf, bytes: &[u8], log: u64) -> Option<Link> {
    let first = record::at(bytes, 0, log)?;
    let mut link = Link { path, first: first.seq, next: first.seq.wrapping_add(1), end: first.end, last: 0 };
    while let Some(found) = record::at(bytes, link.end, log)
        && found.seq == link.next
    {
        (link.next, link.end, link.last) = (found.seq.wrapping_add(1), found.end, link.end);
    }
    Some(link)
}

/// Where in a segment, at or after `begin`, an intact record is that has the number `expected` or a later one.
fn stray(bytes: &[u8], begin: usize, log: u64, expected: u64) -> Option<(usize, u64)> {
    let offsets = (begin..bytes.len()).step_by(record::ALIGNMENT);
    let mut records = offsets.filter_map(|offset| Some((offset, record::at(bytes, offset, log)?.seq)));
    records.find(|(_, seq)| *seq >= expected)
}

fn corrupt(path: &Path, offset: usize, detail: &str) -> StoreError {
    StoreError::Corrupt(format!(
        "{} is damaged at offset {offset}: {detail}; nothing was changed, restore the store from a backup",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
