//! The port: what the rest of lockd may ask of storage, and what every adapter promises.

use std::fmt;
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// A future in a box: adapters differ in how they wait, so the port is dynamic.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One stored record: key and value.
pub type Entry = (Bytes, Bytes);

/// What a storage operation can die of. The classes are what callers act on; the text is for people.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The entry does not exist (blobs only: an absent record is `None`, not an error).
    #[error("{0} not found")]
    NotFound(String),
    /// Another process owns the store.
    #[error("{0}")]
    Owned(String),
    /// Stored bytes do not decode, fail their checksum, or were written by a newer version.
    #[error("{0}")]
    Corrupt(String),
    /// The device or quota is full. Nothing was written.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// The request itself makes no sense to this adapter (bad path, bad option).
    #[error("{0}")]
    Invalid(String),
    /// Everything else that the operating system or the service reports.
    #[error("{0}")]
    Io(String),
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

/// Changes that become visible and durable together, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub changes: Vec<Change>,
    /// Blobs that no record points at any more once this batch is durable. The adapter deletes them *afterwards*, at its
    /// leisure; a crash in between leaves garbage that [`Blobs::list`] shows, never a dangling record.
    pub dead_blobs: Vec<BlobId>,
}

impl Batch {
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put { key: key.into(), value: value.into() });
    }

    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete { key: key.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.dead_blobs.is_empty()
    }
}

/// When a batch handed to [`Engine::submit`] is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It already is (and visible to new snapshots); the listener will not be told.
    Now,
    /// The listener will be told.
    Later,
}

/// What the engine's listener hears, in order.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Every batch submitted with a sequence number up to and including this one is durable, and
    /// [`Engine::snapshot`] shows it.
    Durable { through: u64 },
    /// The batch with this number and all later ones are lost. Nothing further will be accepted or become durable; whether
    /// the lost batches reappear after a restart is unknown, so nobody may be told anything about them.
    Failed { from: u64, error: StoreError },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// An ordered key-value database with atomic durable batches and one writer.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Hands a batch over. `seq` is 1 for the first batch after opening and grows by one each call; calls are made in that
    /// order (the caller holds a lock while it calls). Never waits for I/O. Batches become durable and visible in order.
    /// After [`Committed::Later`] the caller has to [`drive`](Engine::drive) the engine.
    fn submit(&self, seq: u64, batch: Batch) -> Committed;

    /// Has what was submitted committed: by this thread if nobody is at it, which spares two thread switches and so is what
    /// makes a lone request fast; else by the engine's own thread, as one group with all that has queued up. To be called
    /// after `submit`, without holding a lock that the listener takes.
    fn drive(&self) {}

    /// Sets the listener, once, before the first `submit`. It is called from the engine's own thread or from inside
    /// `drive`, never from inside `submit`.
    fn listen(&self, listener: Box<dyn Fn(Progress) + Send + Sync>);

    /// The newest durable state. Cheap: no I/O, no copy.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// Waits until everything submitted is durable, stops the engine's threads and gives up ownership. Idempotent.
    fn close(&self) -> Result<(), StoreError>;
}

/// A frozen, durable state of the whole key space.
pub trait Snapshot: Send + Sync + fmt::Debug {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// At most `limit` entries of the range in key order (or its reverse). Pages: ask again from beyond the last key.
    fn scan(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;
}

/// Names a blob: 16 bytes, unique for ever (a UUIDv7, so that listings are in order of creation).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 16]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

/// Immutable byte streams.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Starts a blob. It exists once [`BlobWriter::finish`] has returned; a writer dropped before leaves nothing behind.
    fn create(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>>;

    /// Opens a blob at an offset. A reader that is open keeps reading the whole blob even if it is deleted meanwhile.
    fn open(&self, id: BlobId, offset: u64) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreError>>;

    /// Deletes a blob; deleting an absent one succeeds.
    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// At most `limit` finished blobs with ids greater than `after`, in order.
    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobId>, StoreError>>;
}

/// Writes one blob, piece by piece.
pub trait BlobWriter: Send + fmt::Debug {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Makes the blob durable under its name. Until this returns, nobody can see it.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// Reads one blob, piece by piece.
pub trait BlobReader: Send + fmt::Debug {
    /// The next piece, of the adapter's choice of size (64 KiB to 1 MiB); `None` at the end.
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;
}
