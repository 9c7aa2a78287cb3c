//! What a snapshot sees: a memtable over the one that is being written out over the tables.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::vec::IntoIter;

use bytes::Bytes;
use fjall::Slice;
use parking_lot::Mutex;

use super::base::Base;
use super::memtable::Memtable;
use crate::key_range::{KeyRange, is_empty};
use crate::port::{Direction, Entry};
use crate::version::Version;

/// So many entries of a memtable are looked up at once, at most.
const PAGE: usize = 256;

/// Values up to this size are copied out of the block they were read with, so that a small value that is kept for long
/// does not keep the whole block.
const COPIED: usize = 1024;

/// The numbers of the snapshots that somebody holds, and how many hold each.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<u64, usize>>);

impl Held {
    fn add(&self, seq: u64) {
        *self.0.lock().entry(seq).or_default() += 1;
    }

    fn remove(&self, seq: u64) {
        let mut held = self.0.lock();
        if let Some(count) = held.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                held.remove(&seq);
            }
        }
    }

    pub(super) fn oldest(&self) -> u64 {
        self.0.lock().first_key_value().map_or(u64::MAX, |(seq, _)| *seq)
    }
}

#[derive(Debug)]
pub(super) struct View {
    seq: u64,
    /// The newest first.
    memtables: [Option<Arc<Memtable>>; 2],
    base: Arc<Base>,
    held: Arc<Held>,
}

impl View {
    pub(super) fn new(
        seq: u64,
        memtables: [Option<Arc<Memtable>>; 2],
        base: Arc<Base>,
        held: &Arc<Held>,
    ) -> Self {
        held.add(seq);
        Self { seq, memtables, base, held: Arc::clone(held) }
    }

    pub(super) fn get(&self, key: &[u8]) -> fjall::Result<Option<Bytes>> {
        for memtable in self.memtables.iter().flatten() {
            if let Some(version) = memtable.get(key, self.seq) {
                return Ok(version.value());
            }
        }
        Ok(self.base.get(key)?.map(detach))
    }

    pub(super) fn scan(
        &self,
        range: KeyRange<'_>,
        direction: Direction,
        limit: usize,
    ) -> fjall::Result<Vec<Entry>> {
        let mut tables = self.base.range(range);
        let mut next_pair = || match direction {
            Direction::Forward => tables.next().transpose(),
            Direction::Reverse => tables.next_back().transpose(),
        };
        let mut changes = Changes {
            direction,
            layers: self.memtables.iter().flatten().map(|m| Layer::new(m, self.seq, range, limit)).collect(),
        };
        let mut pair = next_pair()?;
        let mut entries = Vec::new();
        while entries.len() < limit {
            let order = match (changes.peek(), &pair) {
                (Some(change), Some((key, _))) => order(direction, change.key(), key),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            if order.is_le() {
                entries.extend(changes.next().and_then(|change| change.entry()));
            } else if let Some((key, value)) = pair.take() {
                entries.push((detach(key), detach(value)));
            }
            if order.is_ge() {
                pair = next_pair()?;
            }
        }
        Ok(entries)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.held.remove(self.seq);
    }
}

fn order(direction: Direction, a: &[u8], b: &[u8]) -> Ordering {
    match direction {
        Direction::Forward => a.cmp(b),
        Direction::Reverse => b.cmp(a),
    }
}

/// The changes that the memtables make to a range of the tables, in the order of a scan.
struct Changes<'a> {
    direction: Direction,
    /// The newest first.
    layers: Vec<Layer<'a>>,
}

impl Changes<'_> {
    /// The layer that has the next change: the newest of those that have one of its key.
    fn nearest(&mut self) -> Option<usize> {
        let mut nearest: Option<(usize, Version)> = None;
        for place in 0..self.layers.len() {
            let Some(version) = self.layers[place].peek(self.direction) else { continue };
            if nearest
                .as_ref()
                .is_none_or(|(_, best)| order(self.direction, version.key(), best.key()).is_lt())
            {
                nearest = Some((place, version.clone()));
            }
        }
        nearest.map(|(place, _)| place)
    }

    fn peek(&mut self) -> Option<&Version> {
        let nearest = self.nearest()?;
        self.layers[nearest].peek(self.direction)
    }

    fn next(&mut self) -> Option<Version> {
        let nearest = self.nearest()?;
        let version = self.layers[nearest].next(self.direction)?;
        for older in &mut self.layers[nearest + 1..] {
            if older.peek(self.direction).is_some_and(|other| other.key() == version.key()) {
                older.next(self.direction);
            }
        }
        Some(version)
    }
}

/// The changes that one memtable makes to a range.
struct Layer<'a> {
    memtable: &'a Memtable,
    seq: u64,
    range: KeyRange<'a>,
    step: usize,
    page: IntoIter<Version>,
    /// The last of the page.
    last: Option<Version>,
    /// There is no other page.
    ended: bool,
}

impl<'a> Layer<'a> {
    fn new(memtable: &'a Memtable, seq: u64, range: KeyRange<'a>, limit: usize) -> Self {
        let step = limit.clamp(1, PAGE);
        Self { memtable, seq, range, step, page: Vec::new().into_iter(), last: None, ended: false }
    }

    fn peek(&mut self, direction: Direction) -> Option<&Version> {
        if self.page.as_slice().is_empty() && !self.ended {
            let range = match (&self.last, direction) {
                (None, _) => self.range,
                (Some(last), Direction::Forward) => (Bound::Excluded(last.key()), self.range.1),
                (Some(last), Direction::Reverse) => (self.range.0, Bound::Excluded(last.key())),
            };
            let page = match is_empty(range) {
                true => Vec::new(),
                false => self.memtable.page(range, direction, self.seq, self.step),
            };
            self.ended = page.len() < self.step;
            self.last = page.last().cloned();
            self.page = page.into_iter();
        }
        self.page.as_slice().first()
    }

    fn next(&mut self, direction: Direction) -> Option<Version> {
        self.peek(direction)?;
        self.page.next()
    }
}

pub(super) fn detach(bytes: Slice) -> Bytes {
    if bytes.len() <= COPIED { Bytes::copy_from_slice(&bytes) } else { Bytes::from_owner(bytes) }
}
