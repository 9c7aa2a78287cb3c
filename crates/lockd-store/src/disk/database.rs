//! The database of a disk store: fjall, how it is tuned, checked, opened, written and closed, and with a commit log the
//! layers in memory over it.
//!
//! fjall asserts where it does not expect damage. Nothing that a disk can contain may take the process down, so what
//! reads or writes its files runs under [`guarded`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Keyspace, KeyspaceCreateOptions, PersistMode};
use hashbrown::HashSet;
use parking_lot::RwLock;

use super::last_use::LastUse;
use super::layers::{Layers, overlapping};
use super::root::{self, Root};
use super::snapshot::{DiskSnapshot, Source};
use super::{background, base, fault, journal, witness};
use crate::open::Durability;
use crate::port::{Batch, Change, StoreError};

/// The one keyspace all records are in.
const RECORDS: &str = "records";

/// How much fjall keeps in memory before it writes it out as a table, where there is no commit log. Whoever commits while a
/// table is written shares the disk with it: four times as much makes the slowest commits several times slower.
const MEMTABLE: u64 = 16 << 20;

/// How much a replay keeps in memory.
const REPLAYED: u64 = 32 << 20;
const BLOCK_CACHE: u64 = 64 << 20;

/// One thread flushes and compacts. With more, fjall keeps the first free for flushing, and that one spins while another
/// compacts.
const WORKERS: usize = 1;

/// No new table is written while so many overlap, and how often that is looked at.
const MOST_OVERLAPPING: usize = 20;
const ROUND: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest key that fjall can store.
const LONGEST_KEY: usize = u16::MAX as usize;

/// The keyspace as snapshots see it: `None` once the store is closed, so that a forgotten snapshot cannot keep its files
/// locked.
pub(super) type Records = Arc<RwLock<Option<fjall::Keyspace>>>;

/// An open database.
pub(super) struct Database {
    root: Root,
    database: fjall::Database,
    records: Records,
    /// `None` if there is no commit log: then fjall has a journal and a memtable of its own.
    layers: Option<Layers>,
}

/// Creates an empty database, complete and closed.
pub(super) fn create(directory: &Path) -> Result<(), StoreError> {
    guarded("create the database in", directory, || {
        let database = builder(directory).open()?;
        database.keyspace(RECORDS, options)?;
        database.persist(PersistMode::SyncAll)
    })
}

fn builder(directory: &Path) -> fjall::DatabaseBuilder<fjall::Database> {
    fjall::Database::builder(directory).cache_size(BLOCK_CACHE).worker_threads(WORKERS)
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE).manual_journal_persist(true)
}

fn guarded<T>(
    what: &str,
    directory: &Path,
    action: impl FnOnce() -> fjall::Result<T>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(result) => result.map_err(|error| fault::database(what, directory, &error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            Err(StoreError::Corrupt(fault::damaged(what, directory, text)))
        }
    }
}

impl Database {
    /// Opens the database of a store that has been created and checked.
    pub(super) fn open(root: &Root, durability: Durability) -> Result<Self, StoreError> {
        let directory = root.database();
        let (database, records) = guarded("open", root.path(), || {
            let database = background::started_by(|| builder(&directory).open())?;
            let known = database.keyspace_exists(RECORDS);
            Ok((known.then(|| database.keyspace(RECORDS, options)).transpose()?, database))
        })
        .and_then(|(records, database)| match records {
            Some(records) => Ok((database, records)),
            None => Err(StoreError::Corrupt(fault::damaged("open", root.path(), "its records are missing"))),
        })?;
        if !base::is_readable(&records) {
            return Err(StoreError::Corrupt(fault::damaged(
                "open",
                root.path(),
                "its records are elsewhere",
            )));
        }
        let layers = match durability {
            Durability::Fsync => {
                empty_memory(root, &database, &records)?;
                Some(Layers::over(&records))
            }
            Durability::Os => None,
        };
        Ok(Self { root: root.clone(), database, records: Arc::new(RwLock::new(Some(records))), layers })
    }

    pub(super) fn snapshot(&self) -> DiskSnapshot {
        let source = match &self.layers {
            Some(layers) => Source::Layers(layers.view()),
            None => Source::Database(self.database.snapshot()),
        };
        DiskSnapshot::new(self.root.clone(), Arc::clone(&self.records), source)
    }

    fn records<T>(&self, action: impl FnOnce(&Keyspace) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.records.read().as_ref() {
            Some(records) => action(records),
            None => Err(StoreError::Io(format!("disk store {} is closed", self.root.path().display()))),
        }
    }

    /// Writes a group of batches as one. They are visible to snapshots taken afterwards, not before. With a commit log they
    /// must be in it: they are kept in memory only.
    pub(super) fn commit(&self, group: &[Batch]) -> Result<(), StoreError> {
        let changes: usize = group.iter().map(|batch| batch.changes.len()).sum();
        if changes == 0 {
            return Ok(());
        }
        match &self.layers {
            Some(layers) => {
                layers.commit(group);
                Ok(())
            }
            None => self.records(|records| self.commit_to_journal(group, changes, records)),
        }
    }

    /// A group that is not in a commit log.
    fn commit_to_journal(
        &self,
        group: &[Batch],
        changes: usize,
        records: &Keyspace,
    ) -> Result<(), StoreError> {
        guarded("write to", self.root.path(), || {
            let batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), changes);
            let mut batch = batch.durability(Some(PersistMode::Buffer));
            // In one batch of fjall all changes have the same number, so of two changes of a key only one may be in it:
            // the last, which is the first from behind.
            let mut seen = HashSet::with_capacity(changes);
            for change in group.iter().rev().flat_map(|batch| batch.changes.iter().rev()) {
                match change {
                    Change::Put { key, value } => {
                        if seen.insert(key.as_ref()) {
                            batch.insert(records, &key[..], &value[..]);
                        }
                    }
                    Change::Delete { key } => {
                        if seen.insert(key.as_ref()) {
                            batch.remove(records, &key[..]);
                        }
                    }
                }
            }
            batch.commit()
        })
    }

    /// Refuses what fjall would assert.
    pub(super) fn check(batch: &Batch) -> Result<(), StoreError> {
        for change in &batch.changes {
            let (key, value) = match change {
                Change::Put { key, value } => (key, value.len()),
                Change::Delete { key } => (key, 0),
            };
            if key.is_empty() || key.len() > LONGEST_KEY || u32::try_from(value).is_err() {
                return Err(StoreError::Invalid(format!(
                    "a record with a key of {} bytes and a value of {value} bytes cannot be stored: keys have 1 to \
                     {LONGEST_KEY} bytes and values less than 4 GiB",
                    key.len()
                )));
            }
        }
        Ok(())
    }

    /// Syncs what has been written. Fails, too, if the database has stopped because of an earlier failure.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        guarded("sync", self.root.path(), || self.database.persist(PersistMode::SyncData))
    }

    /// Has everything that was written on disk when it returns, and makes commits wait for that long.
    pub(super) fn persist(&self) -> Result<(), StoreError> {
        guarded("sync", self.root.path(), || self.database.persist(PersistMode::SyncAll))?;
        witness::synced_directory(&self.root.database());
        Ok(())
    }

    /// Has everything on disk when it returns that was committed before, and in no need of the commit log. Commits go on
    /// meanwhile.
    pub(super) fn write_out(&self) -> Result<(), StoreError> {
        let Some(layers) = &self.layers else { return self.persist() };
        self.records(|records| {
            // Reads would become slow, so the log may fill up and commits wait; but not for ever, should nobody merge them.
            let since = Instant::now();
            while layers.bytes() > 0
                && since.elapsed() < LONGEST_WAIT
                && guarded("read", self.root.path(), || Ok(overlapping(records)))? >= MOST_OVERLAPPING
            {
                self.check_health()?;
                std::thread::sleep(ROUND);
            }
            guarded("write to", self.root.path(), || layers.write_out(records))
        })
    }

    /// Lets go of tables that the database has replaced. Whether the newest snapshot should be replaced, too.
    pub(super) fn refresh(&self) -> bool {
        let refreshed = self.layers.as_ref().map(|layers| {
            self.records(|records| guarded("read", self.root.path(), || Ok(layers.refresh(records))))
        });
        matches!(refreshed, Some(Ok(true)))
    }

    #[cfg(test)]
    pub(super) fn keyspace(&self) -> Keyspace {
        self.records.read().clone().unwrap()
    }

    /// How much memory the records take that are in no table yet.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.layers.as_ref().map_or(0, Layers::bytes)
    }

    /// Commits what a log has kept.
    pub(super) fn replay(&self, group: &[Batch]) -> Result<(), StoreError> {
        self.commit(group)?;
        if self.bytes_in_memory() > REPLAYED { self.write_out() } else { Ok(()) }
    }

    /// Hands to the operating system what the database has in its own buffer. Fails if the database has stopped because of an
    /// earlier failure.
    pub(super) fn check_health(&self) -> Result<(), StoreError> {
        guarded("write to", self.root.path(), || self.database.persist(PersistMode::Buffer))
    }

    /// Stops the threads of a database that nobody has read or written.
    pub(super) fn shut(self) {
        drop(self.records.write().take());
    }

    /// Waits for running reads, stops the threads of the database and notes how it was left.
    pub(super) fn close(self) -> Result<(), StoreError> {
        let synced = self.write_out().and_then(|()| self.persist());
        let records = self.records.write().take();
        drop(records);
        drop(self.database);
        synced?;
        let (journal, len) = journal::end(&self.root.database())?;
        LastUse::Closed { journal, len }.write(&self.root)
    }
}

/// Has fjall write out what it has found in its journal: that of a store that had no commit log.
fn empty_memory(root: &Root, database: &fjall::Database, records: &Keyspace) -> Result<(), StoreError> {
    let is_empty = || records.tree.active_memtable().is_empty() && records.tree.sealed_memtable_count() == 0;
    if is_empty() {
        return Ok(());
    }
    guarded("write to", root.path(), || {
        records.rotate_memtable()?;
        while !is_empty() {
            // Fails if the thread that writes has failed.
            database.persist(PersistMode::Buffer)?;
            std::thread::sleep(ROUND);
        }
        Ok(())
    })
}

/// fjall creates what is missing and removes what it does not know. Neither is right for a store that existed.
pub(super) fn refuse_incomplete(directory: &Path) -> Result<(), StoreError> {
    let missing = |path: &Path| {
        let detail = format!("{} is missing", path.display());
        Err(StoreError::Corrupt(fault::damaged("open", directory, &detail)))
    };
    for path in [directory.to_path_buf(), directory.join("version"), directory.join("lock")] {
        if !root::exists(&path)? {
            return missing(&path);
        }
    }
    let keyspaces = directory.join("keyspaces");
    if !root::exists(&keyspaces)? {
        return missing(&keyspaces);
    }
    let names = root::read_directory(&keyspaces)?;
    let mut numbers =
        names.iter().filter(|name| name.to_str().is_some_and(|name| name.parse::<u64>().is_ok()));
    // The catalogue of keyspaces, and the records.
    for expected in ["0", "1"] {
        let path: PathBuf = keyspaces.join(expected).join("current");
        if !root::exists(&path)? {
            return missing(&path);
        }
    }
    match numbers.find(|name| *name != "0" && *name != "1") {
        None => Ok(()),
        Some(extra) => {
            let detail = format!("{} was not written by lockd", keyspaces.join(extra).display());
            Err(StoreError::Corrupt(fault::damaged("open", directory, &detail)))
        }
    }
}
