//! Reading a blob file, one piece ahead of the caller.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::blobs::{Files, joined};
use super::fault;
use crate::port::{BlobId, BlobReader, BoxFuture, StoreError};

const PIECE: usize = 256 * 1024;

/// Reads one blob. The open file outlives its deletion.
pub(super) struct DiskReader {
    id: BlobId,
    state: State,
}

enum State {
    Idle(File),
    Reading(JoinHandle<Result<(File, Bytes), StoreError>>),
    End,
}

impl DiskReader {
    pub(super) fn open(files: &Files, id: BlobId, offset: u64) -> Result<Self, StoreError> {
        let path = files.finished(id);
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok::<_, io::Error>(file)
        };
        match open() {
            Ok(file) => Ok(Self { id, state: State::Idle(file) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NotFound(format!("blob {id}")))
            }
            Err(error) => Err(fault::io("open", &path, &error)),
        }
    }

    fn start(&mut self, mut file: File) {
        let id = self.id;
        let task = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
            read.map_err(|error| StoreError::Io(format!("cannot read blob {id}: {error}")))?;
            Ok((file, Bytes::from(piece)))
        });
        self.state = State::Reading(task);
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match std::mem::replace(&mut self.state, State::End) {
            State::Idle(file) => self.start(file),
            other => self.state = other,
        }
        let State::Reading(task) = &mut self.state else { return Ok(None) };
        // Awaited in place: should our caller give up, the piece is still here for the next call.
        let outcome = joined(task.await);
        self.state = State::End;
        let (file, piece) = outcome?;
        if piece.is_empty() {
            return Ok(None);
        }
        if piece.len() == PIECE {
            self.start(file);
        }
        Ok(Some(piece))
    }
}

impl fmt::Debug for DiskReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskReader").field("id", &self.id).finish_non_exhaustive()
    }
}

impl BlobReader for DiskReader {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        Box::pin(self.next())
    }
}
