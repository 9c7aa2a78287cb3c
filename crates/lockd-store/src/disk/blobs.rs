//! Blobs as files.
//!
//! A blob is written under a temporary name, synced, and renamed; its directory is synced before anybody may point at
//! it. Ids begin with their time, so the directories are slices of time: listing them in order lists the ids in order, and
//! no directory grows for ever.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::blob_reader::DiskReader;
use super::blob_writer::DiskWriter;
use super::fault;
use super::root::{self, Root};
use crate::port::{BlobId, BlobReader, BlobWriter, Blobs, BoxFuture, StoreError};

/// Where blobs are while they are written.
const INCOMING: &str = "incoming";

/// How many leading hexadecimal digits of an id name its directory: 28 bits of a millisecond clock with 48, which is a
/// new directory every 17 minutes.
const SLOT_DIGITS: usize = 7;

/// How many slots are remembered as durable; more than are in use at a time.
const REMEMBERED: usize = 64;

/// The blobs of a disk store. Their futures must run in a tokio runtime, whose blocking threads do the work.
#[derive(Debug)]
pub struct DiskBlobs {
    files: Arc<Files>,
}

/// The directory of the blobs.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// Slots whose own directory entry is durable.
    durable_slots: Mutex<BTreeSet<String>>,
}

impl DiskBlobs {
    /// Opens the blobs of a store that the caller owns, and clears away what a crash left half-written.
    pub(super) fn open(root: &Root) -> Result<Self, StoreError> {
        let directory = root.blobs();
        let incoming = directory.join(INCOMING);
        root::create_private(&incoming)?;
        root::sync_directory(&directory)?;
        root::sync_directory(root.path())?;
        for name in root::read_directory(&incoming)? {
            let path = incoming.join(name);
            fs::remove_file(&path).map_err(|error| fault::io("delete the unfinished blob", &path, &error))?;
        }
        let files = Files { directory, durable_slots: Mutex::default() };
        for slot in files.slots()? {
            // Fails if anything is in it, as it should.
            let _ = fs::remove_dir(files.directory.join(slot));
        }
        Ok(Self { files: Arc::new(files) })
    }

    /// Deletes a blob on the calling thread.
    pub(super) fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        self.files.remove(id)
    }
}

impl Files {
    pub(super) fn incoming(&self, id: BlobId) -> PathBuf {
        self.directory.join(INCOMING).join(id.to_string())
    }

    pub(super) fn finished(&self, id: BlobId) -> PathBuf {
        self.directory.join(slot(id)).join(id.to_string())
    }

    /// Gives a synced temporary file its name, durably.
    pub(super) fn publish(&self, temporary: &Path, id: BlobId) -> Result<(), StoreError> {
        let slot = slot(id);
        let directory = self.directory.join(&slot);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(fault::io("create", &directory, &error));
            }
            _ => {}
        }
        let finished = self.finished(id);
        fs::rename(temporary, &finished).map_err(|error| fault::io("create the blob", &finished, &error))?;
        root::sync_directory(&directory)?;
        // Whoever created the slot may not have come to syncing it yet, so that is no reason to skip it.
        if !self.durable_slots.lock().contains(&slot) {
            root::sync_directory(&self.directory)?;
            let mut durable = self.durable_slots.lock();
            durable.insert(slot);
            if durable.len() > REMEMBERED {
                durable.pop_first();
            }
        }
        Ok(())
    }

    fn remove(&self, id: BlobId) -> Result<(), StoreError> {
        let path = self.finished(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault::io("delete", &path, &error)),
            _ => Ok(()),
        }
    }

    fn slots(&self) -> Result<BTreeSet<String>, StoreError> {
        let names =
            root::read_directory(&self.directory)?.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| name.len() == SLOT_DIGITS && is_hexadecimal(name)).collect())
    }

    fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<BlobId>, StoreError> {
        let mut found = Vec::new();
        let first = after.map(slot).unwrap_or_default();
        for name in self.slots()?.range(first..) {
            if found.len() >= limit {
                break;
            }
            let names = root::read_directory(&self.directory.join(name))?;
            let ids = names.iter().filter_map(|name| parse(name.to_str()?));
            // Each slot sorts behind the previous one.
            let ids: BTreeSet<BlobId> = ids.filter(|id| slot(*id) == *name && Some(*id) > after).collect();
            found.extend(ids.into_iter().take(limit - found.len()));
        }
        Ok(found)
    }
}

fn slot(id: BlobId) -> String {
    let mut name = id.to_string();
    name.truncate(SLOT_DIGITS);
    name
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn parse(name: &str) -> Option<BlobId> {
    if name.len() != 32 || !is_hexadecimal(name) {
        return None;
    }
    u128::from_str_radix(name, 16).ok().map(|id| BlobId(id.to_be_bytes()))
}

/// Runs blocking work where it holds nobody up.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    joined(tokio::task::spawn_blocking(work).await)
}

pub(super) fn joined<T>(
    outcome: Result<Result<T, StoreError>, tokio::task::JoinError>,
) -> Result<T, StoreError> {
    outcome.unwrap_or_else(|error| Err(StoreError::Io(format!("a file operation did not finish: {error}"))))
}

impl Blobs for DiskBlobs {
    fn create(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let files = Arc::clone(&self.files);
        Box::pin(async move {
            let writer = off_thread(move || DiskWriter::create(files, id)).await?;
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        })
    }

    fn open(&self, id: BlobId, offset: u64) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreError>> {
        let files = Arc::clone(&self.files);
        Box::pin(async move {
            let reader = off_thread(move || DiskReader::open(&files, id, offset)).await?;
            Ok(Box::new(reader) as Box<dyn BlobReader>)
        })
    }

    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>> {
        let files = Arc::clone(&self.files);
        Box::pin(off_thread(move || files.remove(id)))
    }

    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobId>, StoreError>> {
        let files = Arc::clone(&self.files);
        Box::pin(off_thread(move || files.list(after, limit)))
    }
}
