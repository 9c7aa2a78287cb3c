//! Bytes on their way in: hashed as they pass, kept in memory while they are few, streamed into a blob when they are many.
//! The core sees only the finished reference.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use lockd_core::op::{Content, Reason, Reply, Source};
use lockd_core::records::key::{ContentId, Digest};
use lockd_store::orphan::{self, InFlight};
use lockd_store::{BlobId, BlobWriter, Blobs, StoreError};
use lockd_wire::{Uid, UidMint};

use crate::clock::SteadyClock;

/// The largest content that travels inside its batch.
pub const INLINE_MAX: usize = 32 * 1024;

/// Blobs are written in pieces of about this size.
const PIECE: usize = 256 * 1024;

/// Collects one document or attachment.
pub struct Intake {
    uploads: InFlight,
    id: Uid,
    buffer: Vec<u8>,
    hasher: digest::Context,
    len: u64,
    blob: Option<(orphan::Upload, Box<dyn BlobWriter>)>,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("id", &self.id).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Intake {
    pub(crate) fn new(uploads: InFlight, clock: &SteadyClock) -> Intake {
        Intake {
            uploads,
            id: UidMint::mint(clock.now().0, fastrand::u128(..)),
            buffer: Vec::new(),
            hasher: digest::Context::new(&digest::SHA256),
            len: 0,
            blob: None,
        }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes some bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        let threshold = if self.blob.is_some() { PIECE } else { INLINE_MAX + 1 };
        if self.buffer.len() >= threshold {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let (_, blob) = match &mut self.blob {
            Some(blob) => blob,
            none => none.insert(self.uploads.create(BlobId(self.id.0)).await?),
        };
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE + PIECE / 4));
        blob.write(piece.into()).await
    }

    /// The finished content. If it is a blob, it is durable now.
    pub async fn finish(mut self) -> Result<Upload, StoreError> {
        if self.blob.is_some() && !self.buffer.is_empty() {
            self.flush().await?;
        }
        let sha256 = digest(self.hasher);
        match self.blob {
            None => {
                let source = Source::Inline(ContentId(self.id), Bytes::from(self.buffer));
                Ok(Upload { content: Content { len: self.len, sha256, source }, blob: None })
            }
            Some((in_flight, blob)) => {
                blob.finish().await?;
                let id = BlobId(self.id.0);
                let runtime = tokio::runtime::Handle::try_current().ok();
                let in_hand =
                    BlobInHand { id, blobs: self.uploads.blobs().clone(), _in_flight: in_flight, runtime };
                let content = Content { len: self.len, sha256, source: Source::Blob(id) };
                Ok(Upload { content, blob: Some(Unreferenced(Some(in_hand))) })
            }
        }
    }
}

fn digest(context: digest::Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest(bytes)
}

/// Content that no record refers to yet. Dropped without being used, its blob is deleted.
#[derive(Debug)]
pub struct Upload {
    content: Content,
    blob: Option<Unreferenced>,
}

impl Upload {
    pub fn len(&self) -> u64 {
        self.content.len
    }

    pub fn is_empty(&self) -> bool {
        self.content.len == 0
    }

    pub fn sha256(&self) -> Digest {
        self.content.sha256
    }

    pub(crate) fn into_parts(self) -> (Content, Option<BlobInHand>) {
        (self.content, self.blob.and_then(|mut unreferenced| unreferenced.0.take()))
    }
}

/// A blob that goes away with this value.
#[derive(Debug)]
struct Unreferenced(Option<BlobInHand>);

impl Drop for Unreferenced {
    fn drop(&mut self) {
        if let Some(blob) = self.0.take() {
            blob.delete();
        }
    }
}

/// A blob that a request under way may come to refer to.
#[derive(Debug)]
pub(crate) struct BlobInHand {
    id: BlobId,
    blobs: Arc<dyn Blobs>,
    /// Until this is settled, the collection of orphans leaves the blob alone.
    _in_flight: orphan::Upload,
    /// Answers are given on the store's threads too, which have no runtime of their own.
    runtime: Option<tokio::runtime::Handle>,
}

impl BlobInHand {
    /// The request was answered: does a record refer to the blob now?
    pub(crate) fn settle(self, reply: &Reply) {
        use lockd_core::op::Attached;
        match reply {
            Reply::Updated(_) | Reply::Enqueued(_) | Reply::Attached(Attached::Stored { .. }) => {}
            // Nobody knows whether the batch survives. A restart will; until then the blob stays in flight for ever.
            Reply::Refused(refusal) if refusal.reason == Reason::StoreFailed => std::mem::forget(self),
            _ => self.delete(),
        }
    }

    /// In the background: a failure leaves garbage, which the next collection finds.
    fn delete(self) {
        if let Some(runtime) = self.runtime.clone() {
            runtime.spawn(async move {
                if let Err(error) = self.blobs.delete(self.id).await {
                    tracing::debug!(sys = "storage.backend.core", blob = %self.id, %error, "blob stays as garbage");
                }
            });
        }
    }
}
