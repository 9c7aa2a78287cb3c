//! Group commit: whoever holds the pen writes everything that has queued up, syncs once, and then says so.
//!
//! The pen is taken by the thread of a lone request, which then waits for the disk and for nobody else; and by the committing
//! thread as soon as more comes while somebody is writing.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::database::Database;
use super::log::{Log, encoded_len};
use super::snapshot::DiskSnapshot;
use crate::port::{Batch, BlobId, Progress, Snapshot, StoreError};

/// A group is closed when it is this large, so that one sync does not hold everybody up for long and several batches always
/// fit into a segment of the log.
const GROUP_BYTES: usize = 8 << 20;

/// When so much is in memory only, it is written out into a table.
const HEAVY: u64 = 16 << 20;

/// How long a failed store is given to stop, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(5);
const ROUND: Duration = Duration::from_millis(100);

type Listener = Box<dyn Fn(Progress) + Send + Sync>;

/// What the threads of a disk engine and its callers share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Gone when the engine has ended.
    pen: Mutex<Option<Pen>>,
    wake: Condvar,
    ended: Condvar,
    published: ArcSwap<DiskSnapshot>,
    reported: Mutex<Reported>,
    listener: OnceLock<Listener>,
}

#[derive(Default)]
struct Queue {
    batches: Vec<Batch>,
    /// The number of the last batch in the queue.
    last: u64,
    /// The committer waits for [`Shared::wake`].
    idle: bool,
    stopping: bool,
    /// The committer has ended.
    ended: bool,
}

/// What the listener has been told.
#[derive(Default)]
struct Reported {
    durable: u64,
    failure: Option<StoreError>,
}

impl Shared {
    pub(super) fn new(snapshot: DiskSnapshot) -> Self {
        Self {
            queue: Mutex::default(),
            pen: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            published: ArcSwap::from_pointee(snapshot),
            reported: Mutex::default(),
            listener: OnceLock::new(),
        }
    }

    pub(super) fn submit(&self, seq: u64, batch: Batch) {
        let mut queue = self.queue.lock();
        queue.batches.push(batch);
        queue.last = seq;
    }

    /// Writes one group of what has queued up if nobody is writing, and leaves the rest to the committing thread.
    pub(super) fn drive(&self) {
        if let Some(mut pen) = self.pen.try_lock()
            && let Some(pen) = &mut *pen
            && let Some((through, group)) = self.take_group(pen.limit)
        {
            self.write(pen, through, &group);
        }
        // More than one group may have queued up; or somebody else is writing, and took its group before ours came.
        let mut queue = self.queue.lock();
        if !queue.batches.is_empty() && std::mem::take(&mut queue.idle) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    pub(super) fn listen(&self, listener: Listener) {
        if self.listener.set(listener).is_err() {
            tracing::error!("a second listener for one store was ignored");
        }
    }

    pub(super) fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.published.load_full()
    }

    /// Lets the committer end when its queue is empty.
    pub(super) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.wake.notify_one();
    }

    /// Waits until the committer has ended. Whether it has: a failed database can hold its writer for ever, waiting for a
    /// background job that will never be done.
    pub(super) fn wait_for_end(&self) -> bool {
        let mut failed_since = None;
        let mut queue = self.queue.lock();
        while !queue.ended {
            self.ended.wait_for(&mut queue, ROUND);
            if self.failure().is_some() {
                let since = *failed_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE && !queue.ended {
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.reported.lock().failure.clone()
    }

    /// Publishes a state in which everything up to `through` is durable, unless the engine has failed meanwhile.
    fn publish(&self, database: &Database, through: u64) {
        let mut reported = self.reported.lock();
        if reported.failure.is_some() {
            return;
        }
        self.published.store(Arc::new(database.snapshot()));
        reported.durable = through;
        self.tell(Progress::Durable { through });
    }

    /// Publishes the same state once more, as it is found now.
    pub(super) fn renew(&self, database: &Database) {
        let reported = self.reported.lock();
        if reported.failure.is_none() {
            self.published.store(Arc::new(database.snapshot()));
        }
    }

    /// Nothing that has not been reported as durable ever will be.
    pub(super) fn fail(&self, error: StoreError) {
        let mut reported = self.reported.lock();
        if reported.failure.is_none() {
            tracing::error!(%error, "the store has failed and accepts no more writes");
            reported.failure = Some(error.clone());
            self.tell(Progress::Failed { from: reported.durable + 1, error });
        }
    }

    fn tell(&self, progress: Progress) {
        if let Some(listener) = self.listener.get() {
            listener(progress);
        }
    }

    fn take_group(&self, limit: usize) -> Option<(u64, Vec<Batch>)> {
        let mut queue = self.queue.lock();
        if queue.batches.is_empty() {
            return None;
        }
        let count = group_size(&queue.batches, limit);
        let rest = queue.batches.split_off(count);
        let group = std::mem::replace(&mut queue.batches, rest);
        Some((queue.last - queue.batches.len() as u64, group))
    }

    fn write(&self, pen: &mut Pen, through: u64, group: &[Batch]) {
        if self.failure().is_some() {
            // Refused; the listener knows since the failure that everything after it is lost.
            return;
        }
        match pen.commit(group) {
            Ok(()) => {
                self.publish(&pen.database, through);
                pen.bury(group);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Waits until there is something to write. False when there will be nothing more.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.batches.is_empty() {
            if queue.stopping {
                return false;
            }
            queue.idle = true;
            self.wake.wait(&mut queue);
            queue.idle = false;
        }
        true
    }

    /// The life of the committing thread.
    pub(super) fn run(&self) {
        while self.wait_for_work() {
            let mut pen = self.pen.lock();
            let Some(pen) = &mut *pen else { break };
            while let Some((through, group)) = self.take_group(pen.limit) {
                self.write(pen, through, &group);
            }
        }
        // The keeper ends when it can get no more dead blobs, the checkpointer when the log is gone.
        drop(self.pen.lock().take());
        self.queue.lock().ended = true;
        self.ended.notify_all();
    }

    /// Lets groups be written.
    pub(super) fn hand_pen(&self, pen: Pen) {
        *self.pen.lock() = Some(pen);
    }
}

/// How many of the waiting batches go into the next group: at least one.
fn group_size(batches: &[Batch], limit: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for batch in batches.iter().take(limit.max(1)) {
        bytes += batch.changes.iter().map(encoded_len).sum::<usize>();
        if count > 0 && bytes > GROUP_BYTES {
            break;
        }
        count += 1;
    }
    count
}

/// The right to write, and what it takes.
pub(super) struct Pen {
    /// `None` if nobody waits for the device: then the journal of the database will do, and a log that might have lost more
    /// than the journal could not be replayed.
    pub(super) log: Option<Log>,
    pub(super) database: Arc<Database>,
    pub(super) dead: SyncSender<BlobId>,
    /// At most so many batches share one sync.
    pub(super) limit: usize,
}

impl Pen {
    pub(super) fn commit(&mut self, group: &[Batch]) -> Result<(), StoreError> {
        group.iter().try_for_each(Database::check)?;
        if let Some(log) = &mut self.log {
            log.append(group)?;
        }
        self.database.commit(group)?;
        if let Some(log) = &self.log
            && self.database.bytes_in_memory() > HEAVY
        {
            log.relieve();
        }
        Ok(())
    }

    /// Has the blobs deleted that nothing points at any more. If that cannot keep up, the orphan collection will find
    /// them.
    fn bury(&self, group: &[Batch]) {
        for id in group.iter().flat_map(|batch| &batch.dead_blobs) {
            match self.dead.try_send(*id) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    tracing::debug!(blob = %id, "left a dead blob to the orphan collection");
                }
            }
        }
    }
}
