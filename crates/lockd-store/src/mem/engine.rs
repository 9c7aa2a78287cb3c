//! The memory engine: every version of every record in one ordered set.
//!
//! A snapshot is a sequence number; a version is kept as long as a snapshot can see it. Readers share the current
//! snapshot, so taking one costs a read lock and a reference count, and a write notices whether anybody holds it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::blobs::MemBlobs;
use crate::key_range::{KeyRange, is_empty};
use crate::port::{Batch, Change, Committed, Direction, Engine, Entry, Progress, Snapshot, StoreError};
use crate::version::{Version, newest, visible};

/// How many obsolete versions one write or one dropped snapshot removes at most: the end of a long scan must not stop
/// the writer for long. It is more than a batch adds, so the rest cannot pile up.
const PRUNE_STEP: usize = 512;

/// How many entries a scan collects before it lets the writer in.
const SCAN_STEP: usize = 256;

/// The memory engine.
#[derive(Debug)]
pub struct MemEngine {
    tree: Arc<RwLock<Tree>>,
    blobs: Arc<MemBlobs>,
}

struct Tree {
    versions: BTreeSet<Version>,
    /// What [`Engine::snapshot`] hands out. Absent only while the engine is being built.
    current: Option<Arc<MemSnapshot>>,
    /// Sequence numbers of older snapshots that somebody still holds.
    held: BTreeSet<u64>,
    /// Versions that some older snapshot still needed when they were superseded, by the number that superseded them.
    obsolete: VecDeque<(u64, Version)>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("versions", &self.versions.len())
            .field("held", &self.held)
            .field("obsolete", &self.obsolete.len())
            .finish_non_exhaustive()
    }
}

impl MemEngine {
    pub(super) fn new(blobs: Arc<MemBlobs>) -> Self {
        let tree = Arc::new(RwLock::new(Tree {
            versions: BTreeSet::new(),
            current: None,
            held: BTreeSet::new(),
            obsolete: VecDeque::new(),
        }));
        let first = Arc::new(MemSnapshot { seq: 0, tree: Arc::clone(&tree) });
        tree.write().current = Some(first);
        Self { tree, blobs }
    }

    /// How many versions are in memory, those of old snapshots included.
    #[cfg(test)]
    fn versions(&self) -> usize {
        self.tree.read().versions.len()
    }
}

impl Drop for MemEngine {
    fn drop(&mut self) {
        // The current snapshot points back at the tree; without this neither would ever be freed.
        let current = self.tree.write().current.take();
        drop(current);
    }
}

impl Tree {
    /// Moves the current snapshot to `seq`. Returns the one it replaced, which must not be dropped under the lock: its
    /// last reference takes the lock again.
    fn advance(&mut self, seq: u64, tree: &Arc<RwLock<Tree>>) -> Option<Arc<MemSnapshot>> {
        let current = self.current.as_mut()?;
        if let Some(unshared) = Arc::get_mut(current) {
            unshared.seq = seq;
            return None;
        }
        self.held.insert(current.seq);
        self.current.replace(Arc::new(MemSnapshot { seq, tree: Arc::clone(tree) }))
    }

    fn apply(&mut self, seq: u64, change: &Change) {
        let (key, value) = match change {
            Change::Put { key, value } => (key, Some(value)),
            Change::Delete { key } => (key, None),
        };
        let previous = newest(&self.versions, key, u64::MAX).cloned();
        match previous {
            // A batch may name a key twice: the last change counts.
            Some(previous) if previous.seq() == seq => {
                self.versions.remove(&previous);
            }
            Some(previous) if self.held.range(previous.seq()..seq).next().is_some() => {
                self.obsolete.push_back((seq, previous));
            }
            Some(previous) => {
                self.versions.remove(&previous);
            }
            None => {}
        }
        let version = Version::new(seq, key, value);
        if value.is_some() {
            self.versions.insert(version);
        } else if newest(&self.versions, key, u64::MAX).is_some() {
            // Older snapshots still see a value, so its end needs a record; it goes when they do.
            self.obsolete.push_back((seq, version.clone()));
            self.versions.insert(version);
        }
    }

    fn prune(&mut self) {
        let oldest_held = self.held.first().copied().unwrap_or(u64::MAX);
        for _ in 0..PRUNE_STEP {
            match self.obsolete.front() {
                Some((superseded, _)) if *superseded <= oldest_held => {
                    let Some((_, version)) = self.obsolete.pop_front() else { return };
                    // An end may have been followed by a value in the same batch, which has its place now.
                    if self.versions.get(&version).is_some_and(|found| found.is_end() == version.is_end()) {
                        self.versions.remove(&version);
                    }
                }
                _ => return,
            }
        }
    }
}

impl Engine for MemEngine {
    fn submit(&self, seq: u64, batch: Batch) -> Committed {
        let replaced = {
            let mut tree = self.tree.write();
            // Before the changes, so that the snapshot they replace counts as held.
            let replaced = tree.advance(seq, &self.tree);
            for change in &batch.changes {
                tree.apply(seq, change);
            }
            tree.prune();
            replaced
        };
        drop(replaced);
        for id in &batch.dead_blobs {
            self.blobs.remove(*id);
        }
        Committed::Now
    }

    fn listen(&self, _listener: Box<dyn Fn(Progress) + Send + Sync>) {
        // Nothing is ever durable later than in `submit`.
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let current = self.tree.read().current.clone();
        match current {
            Some(snapshot) => snapshot,
            // Cannot be: only dropping the engine takes it away. An empty store is the honest answer to the type.
            None => Arc::new(MemSnapshot { seq: 0, tree: Arc::clone(&self.tree) }),
        }
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The state of a memory store after one batch.
struct MemSnapshot {
    seq: u64,
    tree: Arc<RwLock<Tree>>,
}

impl fmt::Debug for MemSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemSnapshot").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Drop for MemSnapshot {
    fn drop(&mut self) {
        let mut tree = self.tree.write();
        if tree.held.remove(&self.seq) {
            tree.prune();
        }
    }
}

impl Snapshot for MemSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let version = newest(&self.tree.read().versions, key, self.seq).cloned();
        Ok(version.and_then(|version| version.value()))
    }

    fn scan(
        &self,
        range: KeyRange<'_>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        // The last version of the previous step.
        let mut last: Option<Version> = None;
        while entries.len() < limit {
            let (start, end) = match (&last, direction) {
                (None, _) => range,
                (Some(last), Direction::Forward) => (Bound::Excluded(last.key()), range.1),
                (Some(last), Direction::Reverse) => (range.0, Bound::Excluded(last.key())),
            };
            if is_empty((start, end)) {
                break;
            }
            let step = SCAN_STEP.min(limit - entries.len());
            let mut found = Vec::with_capacity(step);
            self.visible((start, end), direction, step, &mut found);
            entries.extend(found.iter().filter_map(Version::entry));
            let full = found.len() == step;
            last = found.pop();
            if !full {
                break;
            }
        }
        Ok(entries)
    }
}

impl MemSnapshot {
    /// One step of a scan, under one read lock.
    fn visible(&self, range: KeyRange<'_>, direction: Direction, limit: usize, found: &mut Vec<Version>) {
        visible(&self.tree.read().versions, range, direction, self.seq, limit, false, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(engine: &MemEngine, seq: u64, key: &'static str, value: &'static str) {
        let mut batch = Batch::default();
        batch.put(key, value);
        engine.submit(seq, batch);
    }

    fn delete(engine: &MemEngine, seq: u64, key: &'static str) {
        let mut batch = Batch::default();
        batch.delete(key);
        engine.submit(seq, batch);
    }

    #[test]
    fn a_version_that_nobody_sees_is_gone_at_once() {
        let (engine, _) = crate::mem::open();
        for seq in 1..100 {
            put(&engine, seq, "key", "value");
        }
        assert_eq!(engine.versions(), 1);
        delete(&engine, 100, "key");
        assert_eq!(engine.versions(), 0);
    }

    #[test]
    fn a_snapshot_keeps_exactly_what_it_sees() {
        let (engine, _) = crate::mem::open();
        put(&engine, 1, "key", "one");
        let old = engine.snapshot();
        for seq in 2..100 {
            put(&engine, seq, "key", "later");
        }
        assert_eq!(engine.versions(), 2, "the one the snapshot sees and the newest");
        delete(&engine, 100, "key");
        assert_eq!(old.get(b"key").unwrap().unwrap(), "one");
        assert_eq!(engine.snapshot().get(b"key").unwrap(), None);
        drop(old);
        assert_eq!(engine.versions(), 0);
    }

    #[test]
    fn dropping_the_engine_frees_the_tree() {
        let (engine, _) = crate::mem::open();
        put(&engine, 1, "key", "one");
        let tree = Arc::downgrade(&engine.tree);
        let snapshot = engine.snapshot();
        drop(engine);
        assert_eq!(snapshot.get(b"key").unwrap().unwrap(), "one");
        drop(snapshot);
        assert!(tree.upgrade().is_none());
    }
}
