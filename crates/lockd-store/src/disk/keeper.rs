//! The housekeeping thread of a disk engine: deletes dead blobs, syncs what nobody waits for, lets go of old tables, and
//! notices when the database has stopped in the background.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::blobs::DiskBlobs;
use super::committer::Shared;
use super::database::Database;
use crate::open::Durability;
use crate::port::BlobId;

/// How often an unsynced store is synced and any store is looked after.
const ROUND: Duration = Duration::from_secs(1);

/// How many dead blobs may wait for their deletion.
const DEAD: usize = 4096;

pub(super) struct Keeper {
    shared: Arc<Shared>,
    database: Arc<Database>,
    blobs: Arc<DiskBlobs>,
    durability: Durability,
    dead: Receiver<BlobId>,
    /// Dead by batches that may not be synced yet: after a power cut the records that refer to them could be back.
    unsynced: Vec<BlobId>,
}

impl Keeper {
    /// The keeper, and where to send dead blobs. It ends when that sender is dropped.
    pub(super) fn new(
        shared: Arc<Shared>,
        database: Arc<Database>,
        blobs: Arc<DiskBlobs>,
        durability: Durability,
    ) -> (Self, SyncSender<BlobId>) {
        let (sender, dead) = sync_channel(DEAD);
        (Self { shared, database, blobs, durability, dead, unsynced: Vec::new() }, sender)
    }

    pub(super) fn run(mut self) {
        let mut next_round = Instant::now() + ROUND;
        loop {
            match self.dead.recv_timeout(next_round.saturating_duration_since(Instant::now())) {
                Ok(id) => self.bury(id),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if !self.unsynced.is_empty() {
                        self.look_after();
                    }
                    return;
                }
            }
            if Instant::now() >= next_round || self.unsynced.len() >= DEAD {
                self.look_after();
                next_round = Instant::now() + ROUND;
            }
        }
    }

    /// Takes a blob that a committed batch has declared dead.
    fn bury(&mut self, id: BlobId) {
        match self.durability {
            Durability::Fsync => self.remove(id),
            Durability::Os => self.unsynced.push(id),
        }
    }

    fn remove(&self, id: BlobId) {
        if let Err(error) = self.blobs.remove(id) {
            tracing::warn!(blob = %id, %error, "a dead blob could not be deleted");
        }
    }

    fn look_after(&mut self) {
        // What a failed store has not deleted is left to the orphan collection.
        let dead = std::mem::take(&mut self.unsynced);
        let result = match self.durability {
            Durability::Fsync => self.database.check_health(),
            Durability::Os => self.database.sync(),
        };
        match result {
            Ok(()) => dead.into_iter().for_each(|id| self.remove(id)),
            Err(error) => return self.shared.fail(error),
        }
        if self.database.refresh() {
            self.shared.renew(&self.database);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::recovery::{Recovered, recover};
    use super::super::root::Root;
    use super::*;
    use crate::port::Blobs;

    fn keeper(directory: &std::path::Path, durability: Durability) -> (Keeper, SyncSender<BlobId>) {
        let root = Root::prepare(&directory.join("store")).unwrap();
        root.create_or_check().unwrap();
        let blobs = Arc::new(DiskBlobs::open(&root).unwrap());
        let Recovered { database, .. } = recover(&root, durability).unwrap();
        let shared = Arc::new(Shared::new(database.snapshot()));
        Keeper::new(shared, database, blobs, durability)
    }

    #[tokio::test]
    async fn a_blob_is_deleted_only_when_the_batch_that_killed_it_is_synced() {
        for durability in [Durability::Fsync, Durability::Os] {
            let directory = tempfile::TempDir::new().unwrap();
            let (mut keeper, _dead) = keeper(directory.path(), durability);
            let id = BlobId([5; 16]);
            keeper.blobs.create(id).await.unwrap().finish().await.unwrap();
            keeper.bury(id);
            let left = keeper.blobs.list(None, 10).await.unwrap();
            match durability {
                Durability::Fsync => assert!(left.is_empty(), "its batch was synced before"),
                Durability::Os => assert_eq!(left, [id], "a power cut would bring its record back"),
            }
            keeper.look_after();
            assert!(keeper.blobs.list(None, 10).await.unwrap().is_empty());
        }
    }
}
