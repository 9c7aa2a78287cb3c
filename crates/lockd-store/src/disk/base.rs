//! The tables of the database as they were at one moment.
//!
//! fjall finds the tables of a snapshot under a lock that it keeps while it syncs a new list of tables: five syncs, in which
//! nobody could read anything. So they are looked up once, when their list has changed, and read without it. It takes parts
//! of fjall that are open to its own crates but not promised to anybody, which is why its version is fixed.

use std::fmt;
use std::ops::Bound;

use fjall::{AbstractTree, AnyTree, Keyspace, Slice};
use lsm_tree::table::filter::standard_bloom::Builder as Filter;
use lsm_tree::{SeqNo, Tree};

use crate::key_range::KeyRange;

type Pair = (Slice, Slice);
type Pairs = Box<dyn DoubleEndedIterator<Item = fjall::Result<Pair>>>;
type Get = dyn Fn(&[u8]) -> fjall::Result<Option<Slice>> + Send + Sync;
type Range = dyn Fn(KeyRange<'_>) -> Pairs + Send + Sync;

pub(super) struct Base {
    /// Names the list of tables.
    list: u64,
    // Functions, because the types of what they look into have no public names.
    get: Box<Get>,
    range: Box<Range>,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("list", &self.list).finish_non_exhaustive()
    }
}

/// The name of the newest list of tables. Waits for the lock.
pub(super) fn newest_list(records: &Keyspace) -> u64 {
    records.tree.current_version().id()
}

impl Base {
    /// The newest tables. What fjall has in its own memtable is not seen. Waits for the lock.
    pub(super) fn of(records: &Keyspace) -> Self {
        let tables = records.tree.current_version();
        // These may be newer by a compaction, which changes nothing that can be read.
        let ordered = records.tree.get_version_history_lock().latest_version();
        let get = {
            let tables = tables.clone();
            move |key: &[u8]| {
                let hash = Filter::get_hash(key);
                let runs = tables.iter_levels().flat_map(|level| level.iter());
                // The newest first.
                for table in runs.filter_map(|run| run.get_for_key(key)) {
                    if let Some(found) = table.get(key, SeqNo::MAX, hash)? {
                        return Ok((!found.is_tombstone()).then_some(found.value));
                    }
                }
                Ok(None)
            }
        };
        let range = move |(start, end): KeyRange<'_>| -> Pairs {
            let range: (Bound<Slice>, Bound<Slice>) = (start.map(Slice::from), end.map(Slice::from));
            let found = Tree::create_internal_range(ordered.clone(), &range, SeqNo::MAX, None);
            Box::new(found.map(|found| {
                let found = found?;
                Ok((found.key.user_key, found.value))
            }))
        };
        Self { list: tables.id(), get: Box::new(get), range: Box::new(range) }
    }

    pub(super) fn list(&self) -> u64 {
        self.list
    }

    pub(super) fn get(&self, key: &[u8]) -> fjall::Result<Option<Slice>> {
        (self.get)(key)
    }

    /// The records of a range that is not empty, in order from either end.
    pub(super) fn range(&self, range: KeyRange<'_>) -> Pairs {
        (self.range)(range)
    }
}

/// Whether this is a keyspace that can be read so. All that were ever created are.
pub(super) fn is_readable(records: &Keyspace) -> bool {
    matches!(records.tree, AnyTree::Standard(_))
}
