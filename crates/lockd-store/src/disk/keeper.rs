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
        (Self { shared, database, blobs, durability, dead }, sender)
    }

    pub(super) fn run(self) {
        let mut next_round = Instant::now() + ROUND;
        loop {
            match self.dead.recv_timeout(next_round.saturating_duration_since(Instant::now())) {
                Ok(id) => {
                    if let Err(error) = self.blobs.remove(id) {
                        tracing::warn!(blob = %id, %error, "a dead blob could not be deleted");
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next_round {
                self.look_after();
                next_round = Instant::now() + ROUND;
            }
        }
    }

    fn look_after(&self) {
        let result = match self.durability {
            Durability::Fsync => self.database.check_health(),
            Durability::Os => self.database.sync(),
        };
        if let Err(error) = result {
            return self.shared.fail(error);
        }
        if self.database.refresh() {
            self.shared.renew(&self.database);
        }
    }
}
