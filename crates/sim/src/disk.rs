//! The simulated store: durable records, batches on their way, blobs. Nothing is lost before a crash, everything may be late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use lockd_core::records::key::{self, KeyRecord, Lease, Place, Staged, StagedState};
use lockd_core::records::ready::{self, Ready};
use lockd_core::records::{blob, content, dead, held, mortal, namespace, txn};
use lockd_core::{Input, Moment};
use lockd_store::{Batch, BlobId, Change};
use lockd_wire::{KeyId, QueueId, TxnId};

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

/// What the core can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Key(KeyId),
    Decision(TxnId),
    Page { queue: QueueId, after: Option<ready::Place>, limit: usize },
}

impl Wanted {
    /// Where the record is, if it is a single one.
    fn storage_key(&self) -> Option<Bytes> {
        match self {
            Wanted::Key(key) => Some(key::storage_key(key)),
            Wanted::Decision(txn) => Some(txn::Decided::storage_key(*txn)),
            Wanted::Page { .. } => None,
        }
    }
}

/// Something that the core has asked for.
#[derive(Debug)]
pub struct Load {
    pub wanted: Wanted,
    /// The record when it was asked for, to see that it cannot change before it is delivered.
    asked: Option<Bytes>,
    /// What was read, once the disk has read it.
    pub read: Option<Found>,
}

#[derive(Debug, Clone)]
pub enum Found {
    Record(Option<Bytes>),
    Page(Vec<Ready>),
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

    pub fn ask(&mut self, wanted: Wanted) -> Checked {
        promise(
            !self.loads.iter().any(|load| load.wanted == wanted),
            "a record is loaded once at a time",
            || format!("{wanted:?}"),
        )?;
        let storage_key = wanted.storage_key();
        let under_way = storage_key
            .as_ref()
            .and_then(|storage_key| self.queue.iter().find(|(_, batch)| changes(batch, storage_key)));
        promise(under_way.is_none(), "the core never loads a record that it is still writing", || {
            format!("{wanted:?}, batch {:?}", under_way.map(|(seq, _)| seq))
        })?;
        let asked = storage_key.and_then(|storage_key| self.durable.get(&storage_key).cloned());
        self.loads.push(Load { wanted, asked, read: None });
        Ok(())
    }

    /// How many key records are on their way.
    pub fn loading_keys(&self) -> usize {
        self.loads.iter().filter(|load| matches!(load.wanted, Wanted::Key(_))).count()
    }

    pub fn read(&mut self, place: usize) -> Checked {
        if let Some(load) = self.loads.get_mut(place) {
            load.read = Some(look(&self.durable, &load.wanted)?);
        }
        Ok(())
    }

    /// Takes a load that has been read, as the core gets it.
    pub fn deliver(&mut self, place: usize) -> Checked<Input> {
        let load = self.loads.remove(place);
        let read = match load.read {
            Some(read) => read,
            None => look(&self.durable, &load.wanted)?,
        };
        Ok(match (load.wanted, read) {
            (Wanted::Key(key), Found::Record(read)) => {
                let now = self.durable.get(&key::storage_key(&key)).cloned();
                promise(
                    read == now && read == load.asked,
                    "a record does not change while it is loaded",
                    || key.to_string(),
                )?;
                Input::Loaded { key, record: Ok(read) }
            }
            // Another decision may be on its way; the core knows of it.
            (Wanted::Decision(txn), Found::Record(read)) => Input::TxnLoaded { txn, record: Ok(read) },
            (Wanted::Page { queue, .. }, Found::Page(page)) => Input::Scanned { queue, page: Ok(page) },
            (wanted, read) => {
                return broken("a load brings what was asked for", format!("{wanted:?}: {read:?}"));
            }
        })
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

    /// What a listing of dead letters shows.
    pub fn dead_letters(&self) -> Checked<Vec<KeyId>> {
        let mut letters = Vec::new();
        for (storage_key, value) in self.durable.range(Bytes::from_static(b"K")..Bytes::from_static(b"L")) {
            let Some((key, record)) = decode(storage_key, value)? else { continue };
            if record.message.is_some_and(|message| message.dead_since.is_some()) {
                letters.push(key);
            }
        }
        Ok(letters)
    }

    /// Messages whose time is over, and decisions that need not be remembered any longer.
    pub fn to_be_tidied(&self, now: u64) -> Checked<(Vec<KeyId>, Vec<TxnId>)> {
        let (start, end) = mortal::range_until(Moment(now));
        let (mut dying, mut over) = (Vec::new(), Vec::new());
        for storage_key in self.durable.range(start..end).map(|(key, _)| key) {
            match mortal::key_of(storage_key) {
                Ok(key) => dying.push(key),
                Err(damaged) => return broken("what the core writes reads back", format!("{damaged}")),
            }
        }
        for (storage_key, value) in self.durable.range(Bytes::from_static(b"D")..Bytes::from_static(b"E")) {
            match (txn::Decided::txn_of(storage_key), txn::Decided::decode(value)) {
                (Ok(txn), Ok(decided)) if decided.expires_at.0 <= now => over.push(txn),
                (Ok(_), Ok(_)) => {}
                damaged => return broken("what the core writes reads back", format!("{damaged:?}")),
            }
        }
        Ok((dying, over))
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

fn look(durable: &Records, wanted: &Wanted) -> Checked<Found> {
    let Wanted::Page { queue, after, limit } = wanted else {
        let found = wanted.storage_key().and_then(|storage_key| durable.get(&storage_key).cloned());
        return Ok(Found::Record(found));
    };
    let (start, end) = ready::range(queue);
    let after = after.map(|place| ready::storage_key(queue, &place));
    let from = after.map_or(Bound::Included(start), Bound::Excluded);
    let entries = durable.range((from, Bound::Excluded(end))).take(*limit);
    let page: Result<Vec<Ready>, _> =
        entries.map(|(key, value)| ready::entry_of(queue, key, value)).collect();
    match page {
        Ok(page) => Ok(Found::Page(page)),
        Err(damaged) => broken("what the core writes reads back", format!("{queue}: {damaged}")),
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
        places.extend(record.message.map(|message| message.payload.place));
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
    check_indexes(records)?;
    for (storage_key, value) in records {
        match storage_key.first() {
            Some(b'R' | b'T' | b'X') => {}
            Some(b'P') => {
                promise(
                    txn::Pending::txn_of(storage_key).is_ok() && txn::Pending::decode(value).is_ok(),
                    "what the core writes reads back",
                    || format!("{storage_key:?}"),
                )?;
            }
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

/// Every message has exactly the index entries that its record calls for, and nothing else has any: a free one is ready, a dead
/// one is a dead letter, one that will die is mortal. A workflow state has its message.
fn check_indexes(records: &Records) -> Checked {
    let mut expected = Records::new();
    for (storage_key, value) in records.range(Bytes::from_static(b"K")..Bytes::from_static(b"L")) {
        let Some((key, record)) = decode(storage_key, value)? else { continue };
        if let Some((queue, id)) = key.as_queue_state() {
            let message = records.get(&key::storage_key(&KeyId::of_message(&queue, id)));
            let message = message.and_then(|bytes| KeyRecord::decode(bytes).ok()?.message);
            promise(
                message.is_some_and(|message| message.stateful),
                "no state outlives its message",
                || key.to_string(),
            )?;
        }
        let Some((queue, id)) = key.as_message() else { continue };
        let Some(message) = &record.message else {
            return broken("a message's record holds a message", key.to_string());
        };
        let dead = message.dead_since;
        if record.lease == Lease::Free && dead.is_none() {
            let place = ready::Place { visible_at: message.visible_at, message: id };
            expected.insert(ready::storage_key(&queue, &place), ready::value(message.dies_at));
        }
        if let Some(since) = dead {
            expected.insert(dead::storage_key(&queue, since, id), Bytes::new());
        } else if let Some(dies_at) = message.dies_at {
            expected.insert(mortal::storage_key(dies_at, &key), Bytes::new());
        }
    }
    let listed = records.iter().filter(|(key, _)| matches!(key.first(), Some(b'R' | b'T' | b'X')));
    let mut differing = expected.iter().filter(|&(key, value)| records.get(key) != Some(value));
    if let Some((missing, _)) = differing.next() {
        return broken("every message is in the indexes where it belongs", format!("{missing:?} is missing"));
    }
    for (key, _) in listed {
        promise(expected.contains_key(key), "the indexes hold nothing that is not so", || {
            format!("{key:?}")
        })?;
    }
    Ok(())
}
