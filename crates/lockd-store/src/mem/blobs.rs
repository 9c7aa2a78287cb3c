//! Blobs in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use crate::port::{BlobId, BlobReader, BlobWriter, Blobs, BoxFuture, StoreError};

/// Pieces smaller than this are joined, so that a blob written byte by byte does not become a list of bytes.
const PIECE: usize = 256 * 1024;

/// Readers never get more than this at once.
const LARGEST_READ: usize = 1024 * 1024;

type Pieces = Arc<Vec<Bytes>>;
type Finished = Arc<RwLock<BTreeMap<BlobId, Pieces>>>;

/// The blobs of a memory store.
#[derive(Debug, Default)]
pub struct MemBlobs {
    finished: Finished,
}

impl MemBlobs {
    pub(super) fn remove(&self, id: BlobId) {
        // A reader of this blob has its own reference to the pieces.
        let removed = self.finished.write().remove(&id);
        drop(removed);
    }
}

impl Blobs for MemBlobs {
    fn create(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let finished = Arc::clone(&self.finished);
        let writer = MemWriter { id, finished, pieces: Vec::new(), tail: BytesMut::new() };
        Box::pin(async move { Ok(Box::new(writer) as Box<dyn BlobWriter>) })
    }

    fn open(&self, id: BlobId, offset: u64) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreError>> {
        let pieces = self.finished.read().get(&id).cloned();
        Box::pin(async move {
            let Some(pieces) = pieces else { return Err(StoreError::NotFound(format!("blob {id}"))) };
            Ok(Box::new(MemReader::new(pieces, offset)) as Box<dyn BlobReader>)
        })
    }

    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.remove(id);
        Box::pin(async { Ok(()) })
    }

    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobId>, StoreError>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids =
            self.finished.read().range((start, Bound::Unbounded)).take(limit).map(|(id, _)| *id).collect();
        Box::pin(async { Ok(ids) })
    }
}

#[derive(Debug)]
struct MemWriter {
    id: BlobId,
    finished: Finished,
    pieces: Vec<Bytes>,
    tail: BytesMut,
}

impl MemWriter {
    fn add(&mut self, bytes: Bytes) {
        if bytes.len() >= PIECE {
            self.cut();
            self.pieces.push(bytes);
        } else {
            self.tail.extend_from_slice(&bytes);
            if self.tail.len() >= PIECE {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }
}

impl BlobWriter for MemWriter {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.add(bytes);
        Box::pin(async { Ok(()) })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            self.cut();
            let pieces = Arc::new(std::mem::take(&mut self.pieces));
            self.finished.write().insert(self.id, pieces);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct MemReader {
    pieces: Pieces,
    /// The piece to read next and how much of it has been read.
    index: usize,
    within: usize,
}

impl MemReader {
    fn new(pieces: Pieces, offset: u64) -> Self {
        let mut left = offset;
        let mut index = 0;
        for piece in pieces.iter() {
            if left < piece.len() as u64 {
                break;
            }
            left -= piece.len() as u64;
            index += 1;
        }
        // Less than the length of a piece, or beyond the last piece where it does not matter.
        let within = usize::try_from(left).unwrap_or(0);
        Self { pieces, index, within }
    }

    fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.get(self.index)?;
        let end = piece.len().min(self.within + LARGEST_READ);
        let bytes = piece.slice(self.within..end);
        if end == piece.len() {
            self.index += 1;
            self.within = 0;
        } else {
            self.within = end;
        }
        Some(bytes)
    }
}

impl BlobReader for MemReader {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let bytes = self.next();
        Box::pin(async { Ok(bytes) })
    }
}
