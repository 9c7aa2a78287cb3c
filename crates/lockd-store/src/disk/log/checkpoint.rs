//! The background thread of the log: frees full segments once the database has on disk what is in them, and creates
//! segments before they are needed.

use std::sync::Arc;

use super::super::committer::Shared;
use super::super::database::Database;
use super::super::journal::Follower;
use super::super::last_use::{LastUse, Logged};
use super::super::root::Root;
use super::Log;
use super::pool::{Pool, Task};
use super::segment::{self, Segment};
use crate::port::StoreError;

/// So much is left to others on the device: the log can do with the segments that it has.
const RESERVE: u64 = 64 << 20;

pub(in crate::disk) struct Checkpointer {
    root: Root,
    pool: Arc<Pool>,
    database: Arc<Database>,
    journal: Follower,
    /// What the note says.
    note: Logged,
}

impl Checkpointer {
    /// Writes the note that puts the log into force. From here on a start replays it.
    pub(in crate::disk) fn start(
        root: &Root,
        log: &Log,
        database: &Arc<Database>,
    ) -> Result<Self, StoreError> {
        let mut journal = Follower::new(&root.database());
        let (number, len) = journal.position()?;
        database.persist()?;
        let note = Logged { id: log.id(), from: 1, segments: log.segments(), journal: number, len };
        LastUse::Logged(note).write(root)?;
        let (root, database) = (root.clone(), Arc::clone(database));
        Ok(Self { root, pool: log.pool(), database, journal, note })
    }

    /// The life of the thread. Ends when the log is dropped.
    pub(in crate::disk) fn run(mut self, shared: &Shared) {
        loop {
            let task = self.pool.next_task();
            if task == Task::Stop {
                return;
            }
            if let Err(error) = self.perform(task) {
                self.pool.fail(error.clone());
                shared.fail(error);
                return;
            }
        }
    }

    pub(super) fn perform(&mut self, task: Task) -> Result<(), StoreError> {
        match task {
            Task::Grow(number) => self.grow(number),
            Task::Checkpoint { through, count } => {
                self.checkpoint(through)?;
                self.pool.free(count)
            }
            Task::SyncJournal => self.database.sync_journal(),
            Task::Stop => Ok(()),
        }
    }

    /// From here on only the records after `through` are needed.
    pub(super) fn checkpoint(&mut self, through: u64) -> Result<(), StoreError> {
        // fjall syncs while it holds the lock that every commit needs. What is on disk already it need not wait for.
        self.database.sync_journal()?;
        // The part of the journal that replay will not bring back, so that damage in it must be told from a torn end.
        let (journal, len) = self.journal.position()?;
        self.database.persist()?;
        self.note = Logged { from: through + 1, journal, len, ..self.note };
        LastUse::Logged(self.note).write(&self.root)
    }

    /// Creates another segment, if there is room.
    pub(super) fn grow(&mut self, number: usize) -> Result<(), StoreError> {
        let directory = self.pool.directory();
        let room = rustix::fs::statvfs(directory).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let created = match room {
            Ok(room) if room < RESERVE => Err(StoreError::NoSpace(format!(
                "{} is left with {room} bytes",
                segment::path(directory, number).display()
            ))),
            _ => Segment::create(directory, number),
        };
        match created {
            Ok(segment) => {
                // First, so that the next start misses it if it gets lost.
                self.note.segments = number + 1;
                LastUse::Logged(self.note).write(&self.root)?;
                self.pool.add(segment);
            }
            Err(error) => {
                tracing::warn!(%error, "the commit log goes on without another segment, and commits may have to wait");
            }
        }
        Ok(())
    }
}

impl Drop for Checkpointer {
    /// However the thread ends, nobody may wait for it any more.
    fn drop(&mut self) {
        self.pool.fail(StoreError::Io(format!(
            "the thread that frees segments of {} has ended",
            self.pool.directory().display()
        )));
    }
}
