//! The records of a store with a commit log, in layers: a memtable with what was committed last, perhaps one that is being
//! written out, and the tables.
//!
//! The log has everything that is in no table, so the database's own journal and memtable stay empty. A record that is put
//! and deleted again before its memtable is written out, such as a message that is consumed soon, reaches no table at all.

use std::ops::Bound;
use std::sync::Arc;

use fjall::{AbstractTree, Keyspace};
use parking_lot::Mutex;

use super::base::{self, Base};
use super::memtable::Memtable;
use super::view::{Held, View};
use crate::port::{Batch, Direction};

/// So many records are written into a table before the memtable is looked at again.
const PAGE: usize = 1024;

#[derive(Debug)]
pub(super) struct Layers {
    state: Mutex<State>,
    held: Arc<Held>,
    /// Held by whoever writes out a memtable or looks up the tables anew.
    retired: Mutex<Retired>,
}

#[derive(Debug)]
struct State {
    /// The number of the last group that was committed.
    seq: u64,
    active: Arc<Memtable>,
    /// Is being written out, and changes no more.
    sealed: Option<Arc<Memtable>>,
    base: Arc<Base>,
}

/// What snapshots may still see. Kept until nobody does, so that it is never a reader or a committer who has to free a whole
/// memtable or delete tables.
#[derive(Debug, Default)]
struct Retired {
    memtables: Vec<Arc<Memtable>>,
    bases: Vec<Arc<Base>>,
}

impl Retired {
    fn bury(&mut self) {
        self.memtables.retain(|memtable| Arc::strong_count(memtable) > 1);
        self.bases.retain(|base| Arc::strong_count(base) > 1);
    }
}

impl Layers {
    /// Over the tables of a database that has nothing in memory.
    pub(super) fn over(records: &Keyspace) -> Self {
        let base = Arc::new(Base::of(records));
        let state = State { seq: 0, active: Arc::default(), sealed: None, base };
        Self { state: Mutex::new(state), held: Arc::default(), retired: Mutex::default() }
    }

    /// Makes the changes of a group visible to snapshots taken afterwards.
    pub(super) fn commit(&self, group: &[Batch]) {
        let mut state = self.state.lock();
        let (seq, oldest) = (state.seq + 1, self.held.oldest());
        for batch in group {
            state.active.apply(seq, &batch.changes, oldest);
        }
        state.seq = seq;
    }

    pub(super) fn view(&self) -> View {
        let State { seq, active, sealed, base } = &*self.state.lock();
        View::new(*seq, [Some(Arc::clone(active)), sealed.clone()], Arc::clone(base), &self.held)
    }

    /// How much memory the records take that are in no table yet.
    pub(super) fn bytes(&self) -> u64 {
        let active = Arc::clone(&self.state.lock().active);
        active.bytes()
    }

    /// Has everything in tables, and on disk, that was committed before the call. Commits and readers go on meanwhile.
    pub(super) fn write_out(&self, records: &Keyspace) -> fjall::Result<()> {
        let mut retired = self.retired.lock();
        // One that could not be written out the last time comes first.
        let rounds = 1 + u32::from(self.state.lock().sealed.is_some());
        for _ in 0..rounds {
            let Some((memtable, base)) = self.seal() else { break };
            write(&memtable, &base, records)?;
            drop(base);
            self.replace_base(records, &mut retired, true);
            retired.memtables.push(memtable);
        }
        retired.bury();
        Ok(())
    }

    /// Looks up the tables if the database has rearranged them. Whether it had: then old snapshots keep files that are of no
    /// use.
    pub(super) fn refresh(&self, records: &Keyspace) -> bool {
        let Some(mut retired) = self.retired.try_lock() else { return false };
        let known = self.state.lock().base.list();
        let changed = base::newest_list(records) != known;
        if changed {
            self.replace_base(records, &mut retired, false);
        }
        retired.bury();
        changed
    }

    fn seal(&self) -> Option<(Arc<Memtable>, Arc<Base>)> {
        let mut state = self.state.lock();
        if state.sealed.is_none() && !state.active.is_empty() {
            state.sealed = Some(std::mem::take(&mut state.active));
        }
        Some((state.sealed.clone()?, Arc::clone(&state.base)))
    }

    fn replace_base(&self, records: &Keyspace, retired: &mut Retired, written_out: bool) {
        let base = Arc::new(Base::of(records));
        let mut state = self.state.lock();
        retired.bases.push(std::mem::replace(&mut state.base, base));
        if written_out {
            state.sealed = None;
        }
    }
}

/// Writes a memtable into a new table.
fn write(memtable: &Memtable, base: &Base, records: &Keyspace) -> fjall::Result<()> {
    // Begun with the first record, because a table cannot be empty.
    let mut table = None;
    let mut last: Option<crate::version::Version> = None;
    loop {
        let from = last.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(last.key()));
        let page = memtable.page((from, Bound::Unbounded), Direction::Forward, u64::MAX, PAGE);
        for version in &page {
            let key = version.key();
            let value = version.value();
            // What was never in a table need not be deleted from one.
            if value.is_none() && base.get(key)?.is_none() {
                continue;
            }
            let table = match &mut table {
                Some(table) => table,
                none => none.insert(records.start_ingestion()?),
            };
            match value {
                Some(value) => table.write(key, &value[..])?,
                None => table.write_tombstone(key)?,
            }
        }
        let ended = page.len() < PAGE;
        last = page.into_iter().next_back();
        if ended {
            return table.map_or(Ok(()), |table| table.finish());
        }
    }
}

/// How many tables overlap, which every read has to look into.
pub(super) fn overlapping(records: &Keyspace) -> usize {
    records.tree.l0_run_count()
}

#[cfg(test)]
mod tests;
