//! The simulated store: durable records, batches on their way, blobs. Nothing is lost before a crash, everything may be late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use lockd_core::records::key::{self, KeyRecord, Lease, Place, Staged, StagedState};
use lockd_core::records::{blob, content, held, namespace, txn};
use lockd_store::{Batch, BlobId, Change};
use lockd_wire::KeyId;

use crate::violation::{Checked, broken, promise};

pub type Records = BTreeMap<Bytes, Bytes>;

#[derive(Debug, Default)]
pub struct Disk {
    /// What a reader sees and a restart finds.
    pub durable: Records,
    /// Submitted, but not on the disk yet.
    queue: VecDeque<(u64, Batch)>,
    /// The newest batch submitted, on the disk, and reported to the core.
    pub submitted: u64,
    pub reached: u64,
    pub told: u64,
    pub blobs: BTreeSet<BlobId>,
    /// Blobs that a durable batch has declared dead; they go when the store finds the time.
    pub dead: Vec<BlobId>,
    pub loads: Vec<Load>,
}

/// A record that the core has asked for.
#[derive(Debug)]
pub struct Load {
    pub key: KeyId,
    /// The record when it was asked for, to see that it cannot change before it is delivered.
    asked: Option<Bytes>,
    /// The record as read, once the disk has read it.
    pub read: Option<Option<Bytes>>,
}

impl Disk {
    pub fn submit(&mut self, seq: u64, batch: Batch) -> Checked {
        promise(seq == self.submitted + 1, "batches are numbered without gaps", || {
            format!("batch {seq} after {}", self.submitted)
        })?;
        self.submitted = seq;
        self.queue.push_back((seq, batch));
        Ok(())
    }

    /// Brings the next batch to the disk.
    pub fn sync_one(&mut self) -> Checked<bool> {
        let Some((seq, batch)) = self.queue.pop_front() else { return Ok(false) };
        apply(&mut self.durable, &batch);
        self.dead.extend(batch.dead_blobs);
        self.reached = seq;
        check_references(&self.durable)?;
        for place in places(&self.durable)? {
            if let Place::Blob(id) = place {
                promise(self.blobs.contains(&id), "a record never refers to a missing blob", || {
                    format!("{id} after batch {seq}")
                })?;
                promise(!self.dead.contains(&id), "a blob declared dead is not referred to", || {
                    format!("{id} after batch {seq}")
                })?;
            }
        }
        Ok(true)
    }

    pub fn ask(&mut self, key: KeyId) -> Checked {
        let storage_key = key::storage_key(&key);
        promise(!self.loads.iter().any(|load| load.key == key), "a record is loaded once at a time", || {
            key.to_string()
        })?;
        let under_way = self.queue.iter().find(|(_, batch)| changes(batch, &storage_key));
        promise(under_way.is_none(), "the core never loads a record that it is still writing", || {
            format!("{key}, batch {:?}", under_way.map(|(seq, _)| seq))
        })?;
        let asked = self.durable.get(&storage_key).cloned();
        self.loads.push(Load { key, asked, read: None });
        Ok(())
    }

    pub fn read(&mut self, place: usize) {
        if let Some(load) = self.loads.get_mut(place) {
            load.read = Some(self.durable.get(&key::storage_key(&load.key)).cloned());
        }
    }

    /// Takes a load that has been read.
    pub fn deliver(&mut self, place: usize) -> Checked<(KeyId, Option<Bytes>)> {
        let load = self.loads.remove(place);
        let now = self.durable.get(&key::storage_key(&load.key)).cloned();
        let read = load.read.unwrap_or_else(|| now.clone());
        promise(read == now && read == load.asked, "a record does not change while it is loaded", || {
            load.key.to_string()
        })?;
        Ok((load.key, read))
    }

    /// Power is gone, and with it whatever has not reached the disk.
    pub fn crash(&mut self) {
        self.queue.clear();
        self.loads.clear();
        // Dead blobs that were not deleted in time are garbage from now on; the restarted store sweeps it out.
        self.dead.clear();
        self.sweep_garbage();
        (self.submitted, self.reached, self.told) = (0, 0, 0);
    }

    pub fn waiting(&self) -> u64 {
        self.submitted - self.reached
    }

    /// Deletes blobs without a record, as a store does at start.
    fn sweep_garbage(&mut self) {
        let durable = &self.durable;
        self.blobs.retain(|id| durable.contains_key(&blob::storage_key(*id)));
    }

    pub fn delete_dead(&mut self, place: usize) {
        if place < self.dead.len() {
            let id = self.dead.remove(place);
            self.blobs.remove(&id);
        }
    }

    /// Every blob is referred to, once all dead ones are gone.
    pub fn no_garbage(&self) -> Checked {
        for id in &self.blobs {
            promise(self.durable.contains_key(&blob::storage_key(*id)), "no blob is left behind", || {
                id.to_string()
            })?;
        }
        Ok(())
    }
}

fn changes(batch: &Batch, wanted: &[u8]) -> bool {
    batch.changes.iter().any(|change| match change {
        Change::Put { key, .. } | Change::Delete { key } => key == wanted,
    })
}

pub fn apply(records: &mut Records, batch: &Batch) {
    for change in &batch.changes {
        match change {
            Change::Put { key, value } => records.insert(key.clone(), value.clone()),
            Change::Delete { key } => records.remove(key),
        };
    }
}

pub fn decode(storage_key: &Bytes, value: &Bytes) -> Checked<Option<(KeyId, KeyRecord)>> {
    let Some(name) = storage_key.strip_prefix(b"K") else { return Ok(None) };
    match (KeyId::from_bytes(name), KeyRecord::decode(value)) {
        (Some(key), Ok(record)) => Ok(Some((key, record))),
        (_, failed) => broken("what the core writes reads back", format!("{storage_key:?}: {failed:?}")),
    }
}

/// All bytes that some key refers to.
fn places(records: &Records) -> Checked<Vec<Place>> {
    let mut places = Vec::new();
    for (storage_key, value) in records.range(Bytes::from_static(b"K")..Bytes::from_static(b"L")) {
        let Some((_, record)) = decode(storage_key, value)? else { continue };
        places.extend(record.state.map(|state| state.place));
        places.extend(record.attachments.iter().map(|attachment| attachment.stored.place));
        if let Staged::Of(overlay) = &record.staged {
            if let StagedState::Set(stored) = &overlay.state {
                places.push(stored.place);
            }
            places.extend(overlay.uploads.iter().map(|upload| upload.stored.place));
        }
    }
    Ok(places)
}

/// The records of one durable state agree with each other: whatever a key refers to is there, nothing else is, and the
/// held-lease records say the same as the key records.
pub fn check_references(records: &Records) -> Checked {
    let mut wanted = BTreeSet::new();
    for place in places(records)? {
        let (storage_key, text) = match place {
            Place::Record(id) => (content::storage_key(id), format!("content {}", id.0)),
            Place::Blob(id) => (blob::storage_key(id), format!("blob {id}")),
        };
        promise(records.contains_key(&storage_key), "whatever a key refers to is there", || text.clone())?;
        promise(wanted.insert(storage_key), "nothing is referred to twice", || text)?;
    }
    for (storage_key, value) in records {
        match storage_key.first() {
            Some(b'B' | b'C') => {
                promise(wanted.contains(storage_key), "no record is left without a referrer", || {
                    format!("{storage_key:?}")
                })?;
            }
            Some(b'K') => {
                let Some((key, record)) = decode(storage_key, value)? else { continue };
                let leased = record.lease != Lease::Free;
                promise(
                    leased || record.staged == Staged::Nothing,
                    "nothing is staged without a lease",
                    || key.to_string(),
                )?;
                promise(
                    records.contains_key(&held::storage_key(&key)) == leased,
                    "held-lease records say the same as key records",
                    || format!("{key}"),
                )?;
            }
            Some(b'L') => {
                let key = held::key_of(storage_key).ok();
                promise(
                    key.is_some_and(|key| records.contains_key(&key::storage_key(&key))),
                    "held-lease records say the same as key records",
                    || format!("{storage_key:?} without a key"),
                )?;
            }
            Some(b'N') => {
                promise(
                    namespace::namespace_of(storage_key).is_ok()
                        && namespace::NamespaceRecord::decode(value).is_ok(),
                    "what the core writes reads back",
                    || format!("{storage_key:?}"),
                )?;
            }
            Some(b'D') => {
                promise(
                    txn::Decided::txn_of(storage_key).is_ok() && txn::Decided::decode(value).is_ok(),
                    "what the core writes reads back",
                    || format!("{storage_key:?}"),
                )?;
            }
            _ => return broken("the core writes records of the schema only", format!("{storage_key:?}")),
        }
    }
    Ok(())
}
