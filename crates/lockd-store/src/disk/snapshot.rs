//! A durable state of a disk store.

use std::fmt;

use bytes::Bytes;
use fjall::Readable;

use super::database::Records;
use super::fault;
use super::root::Root;
use super::view::{View, detach};
use crate::key_range::{KeyRange, is_empty};
use crate::port::{Direction, Entry, Snapshot, StoreError};

pub(super) struct DiskSnapshot {
    root: Root,
    records: Records,
    source: Source,
}

/// Where the records are.
pub(super) enum Source {
    /// In the database, which has what was committed last in its own memory.
    Database(fjall::Snapshot),
    /// In memory and in tables of the database.
    Layers(View),
}

impl DiskSnapshot {
    pub(super) fn new(root: Root, records: Records, source: Source) -> Self {
        Self { root, records, source }
    }

    /// Reads while holding off [`super::database::Database::close`].
    fn read<T>(&self, read: impl FnOnce(&fjall::Keyspace) -> fjall::Result<T>) -> Result<T, StoreError> {
        match &*self.records.read() {
            Some(records) => read(records).map_err(|error| fault::database("read", self.root.path(), &error)),
            None => Err(StoreError::Io(format!("disk store {} is closed", self.root.path().display()))),
        }
    }
}

impl fmt::Debug for DiskSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskSnapshot").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Snapshot for DiskSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(|records| match &self.source {
            Source::Database(snapshot) => Ok(snapshot.get(records, key)?.map(detach)),
            Source::Layers(view) => view.get(key),
        })
    }

    fn scan(
        &self,
        range: KeyRange<'_>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if limit == 0 || is_empty(range) {
            return Ok(Vec::new());
        }
        self.read(|records| {
            let snapshot = match &self.source {
                Source::Database(snapshot) => snapshot,
                Source::Layers(view) => return view.scan(range, direction, limit),
            };
            let entries = snapshot.range::<&[u8], _>(records, range);
            let entry = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner()?;
                Ok((detach(key), detach(value)))
            };
            match direction {
                Direction::Forward => entries.take(limit).map(entry).collect(),
                Direction::Reverse => entries.rev().take(limit).map(entry).collect(),
            }
        })
    }
}
