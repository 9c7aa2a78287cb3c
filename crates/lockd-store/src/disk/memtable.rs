//! The records that were committed since the last table was written: every version that somebody can still see, and of each
//! key the newest, be it only that it was deleted.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::RwLock;

use crate::key_range::KeyRange;
use crate::port::{Change, Direction};
use crate::version::{Version, newest, visible};

/// So many changes are made before readers are let in.
const STEP: usize = 256;

/// What a version takes beside its key and value.
const OVERHEAD: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct Memtable(RwLock<Records>);

#[derive(Debug, Default)]
struct Records {
    versions: BTreeSet<Version>,
    /// Versions that a snapshot could still see when they were superseded, by the number that superseded them.
    obsolete: VecDeque<(u64, Version)>,
    bytes: u64,
}

impl Memtable {
    /// Makes changes that are visible to snapshots from number `seq` on. Whoever holds a snapshot holds one of number
    /// `oldest` or later.
    pub(super) fn apply(&self, seq: u64, changes: &[Change], oldest: u64) {
        for changes in changes.chunks(STEP) {
            let mut records = self.0.write();
            records.prune(oldest, 2 * changes.len());
            changes.iter().for_each(|change| records.apply(seq, change));
        }
    }

    pub(super) fn get(&self, key: &[u8], seq: u64) -> Option<Version> {
        newest(&self.0.read().versions, key, seq).cloned()
    }

    /// What a snapshot sees of a range, deletions included: at most `limit`.
    pub(super) fn page(
        &self,
        range: KeyRange<'_>,
        direction: Direction,
        seq: u64,
        limit: usize,
    ) -> Vec<Version> {
        let mut found = Vec::new();
        visible(&self.0.read().versions, range, direction, seq, limit, true, &mut found);
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.read().versions.is_empty()
    }

    /// How much memory it takes, roughly.
    pub(super) fn bytes(&self) -> u64 {
        self.0.read().bytes
    }
}

impl Records {
    fn apply(&mut self, seq: u64, change: &Change) {
        let (key, value) = match change {
            Change::Put { key, value } => (key, Some(value)),
            Change::Delete { key } => (key, None),
        };
        match newest(&self.versions, key, u64::MAX).cloned() {
            // What is committed as one has one number: of several changes of a key the last counts.
            Some(previous) if previous.seq() == seq => self.remove(&previous),
            Some(previous) => self.obsolete.push_back((seq, previous)),
            None => {}
        }
        let version = Version::new(seq, key, value);
        self.bytes += size(&version);
        self.versions.insert(version);
    }

    fn prune(&mut self, oldest: u64, limit: usize) {
        for _ in 0..limit {
            match self.obsolete.front() {
                Some((superseded, _)) if *superseded <= oldest => {
                    let Some((_, version)) = self.obsolete.pop_front() else { return };
                    self.remove(&version);
                }
                _ => return,
            }
        }
    }

    fn remove(&mut self, version: &Version) {
        if self.versions.remove(version) {
            self.bytes -= size(version);
        }
    }
}

fn size(version: &Version) -> u64 {
    (version.key().len() + version.value_len()) as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::port::Batch;

    fn put(memtable: &Memtable, seq: u64, oldest: u64) {
        let mut batch = Batch::default();
        batch.put("key", vec![0; 4096]);
        batch.put("key", seq.to_string());
        memtable.apply(seq, &batch.changes, oldest);
    }

    #[test]
    fn what_nobody_can_see_any_more_is_gone_a_little_later() {
        let memtable = Memtable::default();
        for seq in 1..100 {
            put(&memtable, seq, seq - 1);
        }
        assert_eq!(memtable.0.read().versions.len(), 2);
        let mut batch = Batch::default();
        batch.delete("key");
        memtable.apply(100, &batch.changes, 99);
        batch.changes.clear();
        batch.delete("other");
        memtable.apply(101, &batch.changes, 101);
        // The deletion stays, because tables may have the key.
        let all = memtable.page((Bound::Unbounded, Bound::Unbounded), Direction::Forward, 101, usize::MAX);
        assert_eq!(
            all.iter().map(|version| (version.key(), version.is_end())).collect::<Vec<_>>(),
            [(&b"key"[..], true), (&b"other"[..], true)]
        );
        assert_eq!(memtable.0.read().versions.len(), 2);
        assert_eq!(memtable.bytes(), 2 * OVERHEAD + 8);
    }

    #[test]
    fn a_snapshot_that_is_held_sees_what_it_saw() {
        let memtable = Memtable::default();
        (1..10).for_each(|seq| put(&memtable, seq, seq - 1));
        (10..100).for_each(|seq| put(&memtable, seq, 9));
        let value = |seq| memtable.get(b"key", seq).and_then(|version| version.value());
        assert_eq!(value(9).as_deref(), Some(&b"9"[..]));
        assert_eq!(value(99).as_deref(), Some(&b"99"[..]));
        assert!(memtable.0.read().versions.len() >= 91);
        (100..400).for_each(|seq| put(&memtable, seq, seq - 1));
        assert!(memtable.0.read().versions.len() <= 3);
    }
}
