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
use super::recovery::Recovered;
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

/// The life of a thread.
type Run = Box<dyn FnOnce() + Send>;

struct Running {
    owner: Owner,
    database: Arc<Database>,
    committer: JoinHandle<()>,
    /// Those that end when the committer has: the keeper and the checkpointer.
    others: Vec<JoinHandle<()>>,
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
        Recovered { database, log }: Recovered,
        blobs: Arc<DiskBlobs>,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(database.snapshot()));
        let (keeper, dead) =
            Keeper::new(Arc::clone(&shared), Arc::clone(&database), blobs, options.durability);
        let (log, checkpointer) = log.unzip();
        shared.hand_pen(Pen { log, database: Arc::clone(&database), dead, limit: options.commit_max_ops });
        let spawn = |name: &str, run: Run| {
            let thread = Builder::new().name(name.to_string()).spawn(run);
            thread.map_err(|error| fault::io("start a thread for", root.path(), &error))
        };
        let committing = Arc::clone(&shared);
        let committer = spawn("store-commit", Box::new(move || committing.run()))?;
        let mut others: Vec<(&str, Run)> = vec![("store-keep", Box::new(move || keeper.run()))];
        if let Some(checkpointer) = checkpointer {
            let shared = Arc::clone(&shared);
            others.push(("store-log", Box::new(move || checkpointer.run(&shared))));
        }
        let mut started = Vec::new();
        for (name, run) in others {
            match spawn(name, run) {
                Ok(thread) => started.push(thread),
                Err(error) => {
                    shared.stop();
                    let _ = committer.join();
                    return Err(error);
                }
            }
        }
        let running = Mutex::new(Some(Running { owner, database, committer, others: started }));
        Ok(Self { root, shared, running, closed: Mutex::new(None) })
    }

    fn stop(&self, running: Running) -> Result<(), StoreError> {
        let Running { owner, database, committer, others } = running;
        self.shared.stop();
        if !self.shared.wait_for_end() {
            // The database still has threads that may write. Ownership goes when the process does.
            std::mem::forget((owner, database));
            let name = self.root.path().display();
            let stuck = || StoreError::Io(format!("disk store {name} does not stop; end the process"));
            return Err(self.shared.failure().unwrap_or_else(stuck));
        }
        let ended = others.into_iter().fold(committer.join(), |ended, thread| thread.join().and(ended));
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
