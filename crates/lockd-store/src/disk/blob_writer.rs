//! Writing a blob file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::blobs::{Files, joined, off_thread};
use super::fault;
use crate::port::{BlobId, BlobWriter, BoxFuture, StoreError};

/// How much is collected before it is written. One such piece is written while the next is collected.
const PIECE: usize = 512 * 1024;

/// How much may be unsynced at a time. Syncing a gigabyte at the end would hold up the journal and everybody behind it.
const UNSYNCED: usize = 32 << 20;

/// Writes one blob.
pub(super) struct DiskWriter {
    id: BlobId,
    state: State,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

enum State {
    Ready(Partial),
    Writing(JoinHandle<Result<Partial, StoreError>>),
    /// A write failed, or its caller did not wait for its outcome.
    Broken,
}

/// An unfinished file; removes itself unless it has been published.
struct Partial {
    files: Arc<Files>,
    file: File,
    path: PathBuf,
    unsynced: usize,
    published: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Partial {
    fn write(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        for piece in pieces {
            self.file.write_all(piece).map_err(|error| fault::io("write", &self.path, &error))?;
            self.unsynced += piece.len();
        }
        if self.unsynced >= UNSYNCED { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.unsynced = 0;
        self.file.sync_data().map_err(|error| fault::io("sync", &self.path, &error))
    }

    fn finish(mut self, id: BlobId) -> Result<(), StoreError> {
        self.sync()?;
        self.files.publish(&self.path, id)?;
        self.published = true;
        Ok(())
    }
}

impl DiskWriter {
    pub(super) fn create(files: Arc<Files>, id: BlobId) -> Result<Self, StoreError> {
        let path = files.incoming(id);
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = file.map_err(|error| fault::io("create", &path, &error))?;
        let partial = Partial { files, file, path, unsynced: 0, published: false };
        Ok(Self { id, state: State::Ready(partial), waiting: Vec::new(), waiting_bytes: 0 })
    }

    /// Waits for the running write, if any, and takes the file.
    async fn take(&mut self) -> Result<Partial, StoreError> {
        let outcome = match &mut self.state {
            // Awaited in place: should our caller give up, the handle is still here for the next.
            State::Writing(task) => joined(task.await),
            State::Ready(_) | State::Broken => match std::mem::replace(&mut self.state, State::Broken) {
                State::Ready(partial) => return Ok(partial),
                _ => Err(StoreError::Io(format!("blob {}: an earlier write failed", self.id))),
            },
        };
        self.state = State::Broken;
        outcome
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let mut partial = self.take().await?;
        let pieces = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let task = tokio::task::spawn_blocking(move || partial.write(&pieces).map(|()| partial));
        self.state = State::Writing(task);
        Ok(())
    }
}

impl fmt::Debug for DiskWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskWriter").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        // Deleting a large file takes a while. A running write deletes it itself, having nobody to return it to.
        if let State::Ready(partial) = std::mem::replace(&mut self.state, State::Broken)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(partial));
        }
    }
}

impl BlobWriter for DiskWriter {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.waiting_bytes += bytes.len();
            self.waiting.push(bytes);
            if self.waiting_bytes >= PIECE { self.flush().await } else { Ok(()) }
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let mut partial = self.take().await?;
            let pieces = std::mem::take(&mut self.waiting);
            let id = self.id;
            off_thread(move || {
                partial.write(&pieces)?;
                partial.finish(id)
            })
            .await
        })
    }
}
