//! Collecting orphans: blobs that no record points at.
//!
//! A blob is written before the record that points at it, so a crash in between leaves garbage, and so does a crash
//! between the record's end and the blob's. A pass over all blobs finds both. What it must never do is delete a blob
//! whose record exists or is about to, and there is a moment in the life of every blob in which it exists and no record
//! does. Uploads therefore pass through [`InFlight`] and hold an [`Upload`] from before the blob exists until its record
//! is durable or has been given up.
//!
//! The pass looks at each blob in this order:
//!
//! 1. the blob is in the list, so it is finished;
//! 2. no upload of it is in flight;
//! 3. no record points at it, in a snapshot taken *after* 2;
//! 4. it is deleted.
//!
//! Why that is safe: a finished blob was created under an [`Upload`], by this process or by an earlier one. If 2 finds no
//! upload, it was dropped before 2 (ids are never used twice, so it cannot come later). It was dropped either because the
//! record was durable, and then the later snapshot of 3 shows the record, or one that replaced it and lets go of the blob
//! for good; or because the upload was given up, and then no record ever points at the blob. Looking at references first
//! would be wrong: record and end of the upload could both fall between the two looks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::port::{BlobId, BlobWriter, Blobs, StoreError};

/// How many blobs are listed at a time.
const PAGE: usize = 256;

/// Blobs, with a register of those that are being uploaded.
#[derive(Debug, Clone)]
pub struct InFlight {
    blobs: Arc<dyn Blobs>,
    uploads: Arc<Mutex<HashSet<BlobId>>>,
}

/// An upload in flight: as long as this exists, the orphan collection leaves the blob alone. Keep it until the record that
/// points at the blob is durable, or until it is certain that there will be none.
#[derive(Debug)]
#[must_use = "the blob is only safe from the orphan collection while this is kept"]
pub struct Upload {
    id: BlobId,
    uploads: Arc<Mutex<HashSet<BlobId>>>,
}

impl Upload {
    pub fn id(&self) -> BlobId {
        self.id
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.uploads.lock().remove(&self.id);
    }
}

impl InFlight {
    pub fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, uploads: Arc::default() }
    }

    /// The blobs themselves, for reading and deleting.
    pub fn blobs(&self) -> &Arc<dyn Blobs> {
        &self.blobs
    }

    /// Starts a blob under the protection of an [`Upload`]. The id must never have been used.
    pub async fn create(&self, id: BlobId) -> Result<(Upload, Box<dyn BlobWriter>), StoreError> {
        if !self.uploads.lock().insert(id) {
            return Err(StoreError::Invalid(format!("blob {id} is already being uploaded")));
        }
        let upload = Upload { id, uploads: Arc::clone(&self.uploads) };
        Ok((upload, self.blobs.create(id).await?))
    }

    /// Stores a whole blob that is in memory already.
    pub async fn store(&self, id: BlobId, content: Bytes) -> Result<Upload, StoreError> {
        let (upload, mut writer) = self.create(id).await?;
        writer.write(content).await?;
        writer.finish().await?;
        Ok(upload)
    }

    fn contains(&self, id: BlobId) -> bool {
        self.uploads.lock().contains(&id)
    }
}

/// What a pass over the blobs found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that exist.
    pub seen: u64,
    /// Blobs that were orphans and have been deleted.
    pub deleted: u64,
}

/// One pass over all blobs that deletes the orphans among them. See the module for why it is safe.
///
/// `is_referenced` must look at a snapshot that it takes when it is called. Blobs younger than `min_age`, by the time in
/// their id, are left for a later pass; at start, when nothing is in flight, it can be zero. An error ends the pass, and
/// nothing is deleted on account of it.
pub async fn collect_orphans(
    blobs: &InFlight,
    is_referenced: impl Fn(BlobId) -> Result<bool, StoreError>,
    min_age: Duration,
) -> Result<Collected, StoreError> {
    let mut collected = Collected::default();
    let mut after = None;
    let youngest = SystemTime::now().checked_sub(min_age).unwrap_or(UNIX_EPOCH);
    loop {
        let page = blobs.blobs.list(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(collected) };
        after = Some(*last);
        for id in page {
            collected.seen += 1;
            if created(id) > youngest || blobs.contains(id) || is_referenced(id)? {
                continue;
            }
            blobs.blobs.delete(id).await?;
            collected.deleted += 1;
            tracing::debug!(blob = %id, "deleted a blob that no record points at");
        }
    }
}

/// When a blob was created: its id begins with that, in milliseconds.
fn created(id: BlobId) -> SystemTime {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&id.0[..6]);
    UNIX_EPOCH + Duration::from_millis(u64::from_be_bytes(millis))
}

#[cfg(test)]
mod tests;
