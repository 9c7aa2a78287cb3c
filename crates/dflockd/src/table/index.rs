//! A hash index from something to 32-bit places, in many small tables: growing one of them takes microseconds, where one
//! big table would stop the server for as long as it takes to move all its entries.

use hashbrown::HashTable;

const SHARDS: usize = 1024;

pub(crate) struct Index {
    shards: Vec<HashTable<u32>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    // Bits that neither the place inside of a small table (low) nor its tag (high) is made from.
    fn shard(hash: u64) -> usize {
        (hash >> 40) as usize % SHARDS
    }

    pub(crate) fn find(&self, hash: u64, eq: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[Self::shard(hash)].find(hash, |&place| eq(place)).copied()
    }

    pub(crate) fn insert(&mut self, hash: u64, place: u32, rehash: impl Fn(u32) -> u64) {
        self.shards[Self::shard(hash)].insert_unique(hash, place, |&other| rehash(other));
    }

    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        if let Ok(entry) = self.shards[Self::shard(hash)].find_entry(hash, |&other| other == place) {
            entry.remove();
        }
    }
}
