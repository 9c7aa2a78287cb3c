//! Reads: from the newest durable snapshot, on the caller's thread. They never wait for the core, never see what could
//! still be lost, and always see what was acknowledged.

use bytes::Bytes;
use lockd_core::op::{Claim, Document, Reason, Refusal, Selector};
use lockd_core::records::key::{Attachment, KeyRecord, Place, Stored};
use lockd_core::records::namespace::NamespaceRecord;
use lockd_core::records::{content, key, namespace};
use lockd_core::view::{self, Audience};
use lockd_store::{BlobReader, Snapshot, StoreError};
use lockd_wire::{KeyId, Namespace};

use crate::node::Node;

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("refused: {0:?}")]
    Refused(Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        ReadError::Refused(refusal)
    }
}

/// Stored bytes, ready to be sent.
#[derive(Debug)]
pub enum Body {
    Whole(Bytes),
    Stream(Box<dyn BlobReader>),
}

#[derive(Debug)]
pub struct DocumentRead {
    /// `None`: there is no document for this reader.
    pub document: Option<(Document, Body)>,
    /// For the lease holder.
    pub token: Option<u64>,
}

/// A blob can be deleted between reading its reference and opening it, when somebody commits a newer one. A fresh snapshot
/// then has the newer reference; it takes a commit for each round to fail, so few rounds are enough.
const ROUNDS: usize = 8;

impl Node {
    pub async fn document(&self, key: &KeyId, audience: &Audience) -> Result<DocumentRead, ReadError> {
        let mut round = 0;
        loop {
            let snapshot = self.snapshot();
            let record = record(&*snapshot, key)?.unwrap_or_default();
            let (document, token) = view::document(&record, self.now(), audience)?;
            let Some(document) = document else { return Ok(DocumentRead { document: None, token }) };
            match self.body(&*snapshot, &document.stored).await {
                Ok(body) => return Ok(DocumentRead { document: Some((document, body)), token }),
                Err(StoreError::NotFound(_)) if round < ROUNDS => round += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The record of a key as it is stored; `None` if the key was never acquired.
    pub fn describe(&self, key: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        record(&*self.snapshot(), key)
    }

    pub fn attachments(&self, key: &KeyId, audience: &Audience) -> Result<Vec<Attachment>, ReadError> {
        let record = record(&*self.snapshot(), key)?.unwrap_or_default();
        Ok(view::attachments(&record, self.now(), audience)?.into_iter().cloned().collect())
    }

    pub async fn attachment(
        &self,
        key: &KeyId,
        audience: &Audience,
        selector: &Selector,
    ) -> Result<(Attachment, Body), ReadError> {
        let mut round = 0;
        loop {
            let snapshot = self.snapshot();
            let record = record(&*snapshot, key)?.unwrap_or_default();
            let seen = view::attachments(&record, self.now(), audience)?;
            let selected = seen.into_iter().find(|attachment| selector.matches(attachment));
            let attachment = selected.cloned().ok_or_else(|| Reason::AttachmentNotFound.plain())?;
            match self.body(&*snapshot, &attachment.stored).await {
                Ok(body) => return Ok((attachment, body)),
                Err(StoreError::NotFound(_)) if round < ROUNDS => round += 1,
                Err(StoreError::NotFound(payload)) => {
                    tracing::error!(sys = "storage.backend.core", %key, %payload, "payload of an attachment is gone");
                    return Err(Reason::AttachmentNotFound.plain().into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks ahead at an upload before its bytes are taken in: refuses what could only fail, and finds the attachment that
    /// must not be overwritten. The upload itself checks again.
    pub fn upload_check(
        &self,
        key: &KeyId,
        claim: &Claim,
        name: &str,
        prevent_overwrite: bool,
    ) -> Result<Option<(Attachment, u64)>, ReadError> {
        let record = record(&*self.snapshot(), key)?.unwrap_or_default();
        let seen = view::attachments(&record, self.now(), &Audience::Holder(*claim))?;
        let kept = seen.into_iter().find(|attachment| prevent_overwrite && attachment.name == name);
        Ok(kept.map(|kept| (kept.clone(), record.staged_version())))
    }

    /// The settings that somebody stored for a namespace.
    pub fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRecord>, StoreError> {
        let stored = self.snapshot().get(&namespace::storage_key(name))?;
        let record = stored.map(|bytes| NamespaceRecord::decode(&bytes)).transpose();
        record.map_err(|damaged| StoreError::Corrupt(format!("namespace {name}: {damaged}")))
    }

    pub(crate) async fn body(&self, snapshot: &dyn Snapshot, stored: &Stored) -> Result<Body, StoreError> {
        match stored.place {
            Place::Record(id) => match snapshot.get(&content::storage_key(id))? {
                Some(bytes) => Ok(Body::Whole(bytes)),
                // Within one snapshot a reference and what it refers to go together.
                None => Err(StoreError::Corrupt(format!("content record {} is missing", id.0))),
            },
            Place::Blob(id) => Ok(Body::Stream(self.blobs().open(id, 0).await?)),
        }
    }
}

fn record(snapshot: &dyn Snapshot, key: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let stored = snapshot.get(&key::storage_key(key))?;
    let record = stored.map(|bytes| KeyRecord::decode(&bytes)).transpose();
    record.map_err(|damaged| StoreError::Corrupt(format!("key {key}: {damaged}")))
}
