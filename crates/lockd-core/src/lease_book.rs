//! The book of held leases: which are due, which belong to one transaction, and how many there are. It is kept in memory
//! for every held lease, so it is compact; the durable truth is in the key records.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use lockd_wire::{KeyId, TxnId};

use crate::moment::Moment;
use crate::records::key::{KeyRecord, Lease, Staged};

/// What the book says of a leased key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldLease {
    pub(crate) expires_at: Moment,
    pub(crate) txn: TxnId,
    pub(crate) coordinated: bool,
    /// Changes are staged under the lease, or it came with a message: if it is coordinated, the key is a participant of its
    /// transaction.
    pub(crate) staged: bool,
}

impl HeldLease {
    pub(crate) fn of(record: &KeyRecord) -> Option<HeldLease> {
        match &record.lease {
            Lease::Free => None,
            Lease::Held(grant) => Some(HeldLease {
                expires_at: grant.expires_at,
                txn: grant.txn,
                coordinated: grant.coordinated,
                staged: grant.delivery || matches!(record.staged, Staged::Of(_)),
            }),
        }
    }
}

type Slot = u32;

#[derive(Debug)]
struct Page {
    key: KeyId,
    held: HeldLease,
    /// Where it is listed in `by_expiry`; not any more once it was handed out as due.
    listed: Option<Moment>,
}

#[derive(Debug, Default)]
pub(crate) struct LeaseBook {
    pages: Vec<Option<Page>>,
    vacant: Vec<Slot>,
    by_key: HashTable<Slot>,
    /// A tree, because many leases may carry the same id.
    by_txn: BTreeSet<(TxnId, Slot)>,
    by_expiry: BTreeSet<(Moment, Slot)>,
    /// Keys and transaction ids are chosen by clients, who must not be able to make them collide. Nothing depends on its order.
    hasher: RandomState,
}

impl LeaseBook {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.by_expiry.first().map(|&(at, _)| at)
    }

    fn hash(&self, value: impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    fn page(&self, slot: Slot) -> Option<&Page> {
        self.pages.get(slot as usize)?.as_ref()
    }

    fn slot_of(&self, key: &KeyId) -> Option<Slot> {
        let is_it = |&slot: &Slot| self.page(slot).is_some_and(|page| page.key == *key);
        self.by_key.find(self.hash(key), is_it).copied()
    }

    pub(crate) fn get(&self, key: &KeyId) -> Option<HeldLease> {
        self.page(self.slot_of(key)?).map(|page| page.held)
    }

    /// Writes, rewrites or (with `None`) strikes the entry of a key.
    pub(crate) fn set(&mut self, key: &KeyId, held: Option<HeldLease>) {
        match (self.slot_of(key), held) {
            (None, None) => {}
            (None, Some(held)) => self.insert(key.clone(), held),
            (Some(slot), None) => self.strike(slot),
            (Some(slot), Some(held)) => self.rewrite(slot, held),
        }
    }

    fn insert(&mut self, key: KeyId, held: HeldLease) {
        let key_hash = self.hash(&key);
        let page = Some(Page { key, held, listed: Some(held.expires_at) });
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.pages[slot as usize] = page;
                slot
            }
            None => {
                self.pages.push(page);
                (self.pages.len() - 1) as Slot
            }
        };
        let (pages, hasher) = (&self.pages, &self.hasher);
        let rehash =
            |&slot: &Slot| pages[slot as usize].as_ref().map_or(0, |page| hasher.hash_one(&page.key));
        self.by_key.insert_unique(key_hash, slot, rehash);
        self.by_txn.insert((held.txn, slot));
        self.by_expiry.insert((held.expires_at, slot));
    }

    fn strike(&mut self, slot: Slot) {
        let Some(page) = self.pages[slot as usize].take() else { return };
        let key_hash = self.hash(&page.key);
        if let Ok(entry) = self.by_key.find_entry(key_hash, |&other| other == slot) {
            entry.remove();
        }
        self.by_txn.remove(&(page.held.txn, slot));
        if let Some(at) = page.listed {
            self.by_expiry.remove(&(at, slot));
        }
        self.vacant.push(slot);
        if self.by_key.is_empty() {
            // A burst of leases should not be paid for for ever.
            *self = LeaseBook::default();
        }
    }

    fn rewrite(&mut self, slot: Slot, held: HeldLease) {
        let Some(page) = self.pages[slot as usize].as_mut() else { return };
        if page.held.txn != held.txn {
            let key = page.key.clone();
            self.strike(slot);
            return self.insert(key, held);
        }
        page.held = held;
        self.list(slot, held.expires_at);
    }

    fn list(&mut self, slot: Slot, at: Moment) {
        let Some(page) = self.pages[slot as usize].as_mut() else { return };
        if let Some(old) = page.listed.replace(at) {
            self.by_expiry.remove(&(old, slot));
        }
        self.by_expiry.insert((at, slot));
    }

    /// Has a lease handed out as due (again) then.
    pub(crate) fn look_again(&mut self, key: &KeyId, at: Moment) {
        if let Some(slot) = self.slot_of(key) {
            self.list(slot, at);
        }
    }

    /// Takes one lease that is past its expiry off the list. It stays in the book until it is set again.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<KeyId> {
        let &(at, slot) = self.by_expiry.first()?;
        if at > now {
            return None;
        }
        self.by_expiry.pop_first();
        let page = self.pages[slot as usize].as_mut()?;
        page.listed = None;
        Some(page.key.clone())
    }

    /// The keys that a decision about this transaction concerns, in order: every key with changes staged under it, provided
    /// that a client has made it a transaction by choosing its id for at least one lease.
    pub(crate) fn participants(&self, txn: TxnId) -> Vec<KeyId> {
        let mut coordinated = false;
        let mut keys: Vec<KeyId> = self
            .by_txn
            .range((txn, Slot::MIN)..=(txn, Slot::MAX))
            .filter_map(|&(_, slot)| self.page(slot))
            .inspect(|page| coordinated |= page.held.coordinated)
            .filter(|page| page.held.staged)
            .map(|page| page.key.clone())
            .collect();
        if !coordinated {
            keys.clear();
        }
        keys.sort();
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use lockd_wire::{KeyName, Namespace, Xid};
    use proptest::prelude::*;

    fn key(n: u8) -> KeyId {
        KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse(&format!("k{n}")).unwrap())
    }

    fn held(txn: u8, expires: u8, coordinated: bool, staged: bool) -> HeldLease {
        let mut id = [0; 12];
        id[0] = txn;
        HeldLease { expires_at: Moment(expires.into()), txn: TxnId(Xid(id)), coordinated, staged }
    }

    proptest! {
        /// The book against a plain map of the same entries.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec(
            (0u8..6, prop::option::of((0u8..4, 0u8..20, any::<bool>(), any::<bool>()))), 1..60
        )) {
            let mut book = LeaseBook::default();
            let mut map = BTreeMap::new();
            for (n, entry) in steps {
                let entry = entry.map(|(txn, expires, coordinated, staged)| held(txn, expires, coordinated, staged));
                book.set(&key(n), entry);
                match entry {
                    Some(entry) => map.insert(key(n), entry),
                    None => map.remove(&key(n)),
                };
                prop_assert_eq!(book.len(), map.len());
                prop_assert_eq!(book.next_due(), map.values().map(|held| held.expires_at).min());
                for n in 0..6 {
                    prop_assert_eq!(book.get(&key(n)), map.get(&key(n)).copied());
                }
                for txn in 0..4 {
                    let txn = held(txn, 0, false, false).txn;
                    let staged = || map.iter().filter(|(_, held)| held.txn == txn && held.staged);
                    let chosen = map.values().any(|held| held.txn == txn && held.coordinated);
                    let expected: Vec<KeyId> = match chosen {
                        true => staged().map(|(key, _)| key.clone()).collect(),
                        false => Vec::new(),
                    };
                    prop_assert_eq!(book.participants(txn), expected);
                }
            }
            let mut due = 0;
            while book.take_due(Moment(10)).is_some() {
                due += 1;
            }
            prop_assert_eq!(due, map.values().filter(|held| held.expires_at <= Moment(10)).count());
        }
    }
}
