//! The background thread of the log: has written out what is in memory, frees full segments when nothing in them is needed
//! any more, and creates segments before they are needed.

use std::sync::Arc;

use super::super::background;
use super::super::committer::Shared;
use super::super::database::Database;
use super::super::journal;
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
        database.persist()?;
        // The database does not write to it any more.
        let (journal, len) = journal::end(&root.database())?;
        let note = Logged { id: log.id(), from: 1, segments: log.segments(), journal, len };
        LastUse::Logged(note).write(root)?;
        let (root, database) = (root.clone(), Arc::clone(database));
        Ok(Self { root, pool: log.pool(), database, note })
    }

    /// The life of the thread. Ends when the log is dropped.
    pub(in crate::disk) fn run(mut self, shared: &Shared) {
        background::give_way();
        loop {
            let task = self.pool.next_task();
            if task == Task::Stop {
                return;
            }
            let written_out = matches!(task, Task::Checkpoint { .. } | Task::WriteOut);
            if let Err(error) = self.perform(task) {
                self.pool.fail(error.clone());
                shared.fail(error);
                return;
            }
            if written_out {
                // Lets go of the memtable.
                shared.renew(&self.database);
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
            Task::WriteOut => self.database.write_out(),
            Task::Stop => Ok(()),
        }
    }

    /// From here on only the records after `through` are needed.
    pub(super) fn checkpoint(&mut self, through: u64) -> Result<(), StoreError> {
        self.database.write_out()?;
        self.note = Logged { from: through + 1, ..self.note };
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
