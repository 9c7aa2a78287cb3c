//! The commit log: what makes a commit durable with one write into space that was allocated before, and one data sync.
//!
//! A file that grows has the file system commit its new size and extents with each sync. Here the space exists and has been
//! written before, so that a sync is the data and nothing else. A commit is
//!
//! 1. one record in the log, synced;
//! 2. the same changes in memory ([`super::layers`]);
//! 3. a new snapshot.
//!
//! Nothing gets into memory, and so into a table, that is not durable in the log: the tables are never ahead of it. When
//! some segments of the log are full, a thread in the background has what is in memory written out ([`checkpoint`]), and
//! notes from where the log is still needed; then the segments can be used again. After a crash the records from there on are
//! committed once more ([`replay`]): puts and deletes are absolute, so it does not matter how many of them are in tables.
//!
//! The note ([`super::last_use`]) has the last word: records count only if they carry the number of the log that it names.
//! Every start takes a new number, which is what empties the log.

mod checkpoint;
mod pool;
mod record;
mod replay;
mod segment;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

pub(super) use checkpoint::Checkpointer;
pub(super) use record::encoded_len;
pub(super) use replay::Chain;

use pool::Pool;
use record::Record;
use segment::Segment;

use crate::port::{Batch, StoreError};

/// A buffer that one large record has made larger than this is not kept.
const BUFFER: usize = 1 << 20;

/// The writing end of the log. Dropping it ends the [`Checkpointer`].
#[derive(Debug)]
pub(super) struct Log {
    pool: Arc<Pool>,
    id: u64,
    /// The number of the next record.
    next: u64,
    /// The segment that is being written; gone once a write has failed.
    current: Option<Segment>,
    /// Where the next record goes.
    offset: u64,
    /// Whether the segment after this one has been asked for.
    foreseen: bool,
    record: Record,
}

impl Log {
    /// An empty log in a directory, which is created if it is absent. What segments there are must not be needed any more
    /// once the note has been written that names the log's number.
    pub(super) fn start(directory: &Path) -> Result<Self, StoreError> {
        let mut segments = segment::prepare(directory)?;
        let current = segments.pop();
        Ok(Self {
            pool: Arc::new(Pool::new(directory, segments)),
            id: RandomState::new().hash_one("commit log"),
            next: 1,
            current,
            offset: 0,
            foreseen: false,
            record: Record::default(),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.pool.segments()
    }

    /// Makes a group of batches durable, all of them or none. Everything that was appended before must have been written
    /// into the database. After an error the log must not be used again: whether the record is on disk is unknown.
    pub(super) fn append(&mut self, group: &[Batch]) -> Result<(), StoreError> {
        if group.iter().all(|batch| batch.changes.is_empty()) {
            return Ok(());
        }
        let Some(mut current) = self.current.take() else {
            let name = self.pool.directory().display();
            return Err(StoreError::Io(format!(
                "an earlier write to the log {name} failed; start again to recover"
            )));
        };
        let bytes = self.record.encode(self.id, self.next, group);
        let len = bytes.len() as u64;
        // A record larger than any segment gets one to itself, which grows.
        if self.offset > 0 && self.offset + len > current.capacity() {
            current = self.pool.exchange(current, self.next - 1)?;
            (self.offset, self.foreseen) = (0, false);
        }
        current.write(bytes, self.offset)?;
        self.next += 1;
        self.offset += len;
        if self.offset >= current.capacity() / 2 && !std::mem::replace(&mut self.foreseen, true) {
            self.pool.foresee();
        }
        self.record.shrink(BUFFER);
        self.current = Some(current);
        Ok(())
    }

    /// Has what is in memory written out soon.
    pub(super) fn relieve(&self) {
        self.pool.relieve();
    }

    /// What the background thread works on.
    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.pool.stop();
    }
}

#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;
