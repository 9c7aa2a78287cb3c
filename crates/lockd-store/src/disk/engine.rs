//! The disk engine: a queue, one pen, and the threads behind them.

use std::fmt;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::Mutex;

use super::blobs::DiskBlobs;
use super::committer::{Pen, Shared};
use super::database::Database;
use super::fault;
use super::keeper::Keeper;
use super::owner::Owner;
use super::root::Root;
use crate::open::Options;
use crate::port::{Batch, Committed, Engine, Progress, Snapshot, StoreError};

/// The disk engine.
pub struct DiskEngine {
    root: Root,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
    /// What [`Engine::close`] answered, for those who ask again.
    closed: Mutex<Option<Result<(), StoreError>>>,
}

struct Running {
    owner: Owner,
    database: Arc<Database>,
    committer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl fmt::Debug for DiskEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskEngine").field("root", &self.root).finish_non_exhaustive()
    }
}

impl DiskEngine {
    pub(super) fn start(
        root: Root,
        owner: Owner,
        database: Database,
        blobs: Arc<DiskBlobs>,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let database = Arc::new(database);
        let shared = Arc::new(Shared::new(database.snapshot()));
        let (keeper, dead) =
            Keeper::new(Arc::clone(&shared), Arc::clone(&database), blobs, options.durability);
        shared.hand_pen(Pen { database: Arc::clone(&database), dead, limit: options.commit_max_ops });
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = Builder::new().name(name.to_string()).spawn(run);
            thread.map_err(|error| fault::io("start a thread for", root.path(), &error))
        };
        let committing = Arc::clone(&shared);
        let committer = spawn("store-commit", Box::new(move || committing.run()))?;
        let keeper = match spawn("store-keep", Box::new(move || keeper.run())) {
            Ok(keeper) => keeper,
            Err(error) => {
                shared.stop();
                let _ = committer.join();
                return Err(error);
            }
        };
        let running = Mutex::new(Some(Running { owner, database, committer, keeper }));
        Ok(Self { root, shared, running, closed: Mutex::new(None) })
    }

    fn stop(&self, running: Running) -> Result<(), StoreError> {
        let Running { owner, database, committer, keeper } = running;
        self.shared.stop();
        if !self.shared.wait_for_end() {
            // The database still has threads that may write. Ownership goes when the process does.
            std::mem::forget((owner, database));
            let name = self.root.path().display();
            let stuck = || StoreError::Io(format!("disk store {name} does not stop; end the process"));
            return Err(self.shared.failure().unwrap_or_else(stuck));
        }
        // The keeper ends when the committer has.
        let ended = committer.join().and(keeper.join());
        let closed = match Arc::try_unwrap(database) {
            Ok(database) => database.close(),
            Err(_) => {
                Err(StoreError::Io(format!("disk store {} is still in use", self.root.path().display())))
            }
        };
        owner.release();
        if ended.is_err() {
            let text = format!("a thread of disk store {} has panicked", self.root.path().display());
            return Err(StoreError::Io(text));
        }
        match self.shared.failure() {
            Some(error) => Err(error),
            None => closed,
        }
    }
}

impl Engine for DiskEngine {
    fn submit(&self, seq: u64, batch: Batch) -> Committed {
        self.shared.submit(seq, batch);
        Committed::Later
    }

    fn drive(&self) {
        self.shared.drive();
    }

    fn listen(&self, listener: Box<dyn Fn(Progress) + Send + Sync>) {
        self.shared.listen(listener);
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.shared.snapshot()
    }

    fn close(&self) -> Result<(), StoreError> {
        let mut closed = self.closed.lock();
        if let Some(running) = self.running.lock().take() {
            *closed = Some(self.stop(running));
        }
        closed.clone().unwrap_or(Ok(()))
    }
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(store = %self.root.path().display(), %error, "the store was not closed in order");
        }
    }
}
