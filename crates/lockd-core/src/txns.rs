//! Transactions in memory: those that somebody has prepared, and decisions that are too new to be read from the store.

use std::collections::{BTreeSet, VecDeque};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_wire::TxnId;

use crate::machine::Job;
use crate::moment::Moment;
use crate::records::txn::{Decided, Pending};

#[derive(Debug, Default)]
pub(crate) struct Txns {
    pending: HashMap<TxnId, Prepared, RandomState>,
    expiry: BTreeSet<(Moment, TxnId)>,
    /// Decisions (or that one is forgotten) and the batches that write them.
    recent: HashMap<TxnId, (u64, Option<Decided>), RandomState>,
    order: VecDeque<(u64, TxnId)>,
    /// Who waits for a decision record that is on its way.
    parked: HashMap<TxnId, Vec<Job>, RandomState>,
}

#[derive(Debug)]
struct Prepared {
    record: Pending,
    /// The batch that writes it.
    written: u64,
    /// When it is to be looked at; not any more once it was handed out as expired.
    listed: Option<Moment>,
}

impl Txns {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn pending(&self, txn: TxnId) -> Option<&Pending> {
        self.pending.get(&txn).map(|prepared| &prepared.record)
    }

    /// The batch that writes the pending record; zero if there is none.
    pub(crate) fn pending_written(&self, txn: TxnId) -> u64 {
        self.pending.get(&txn).map_or(0, |prepared| prepared.written)
    }

    pub(crate) fn set_pending(&mut self, txn: TxnId, pending: Option<Pending>, batch: u64) {
        if let Some(old) = self.pending.remove(&txn)
            && let Some(at) = old.listed
        {
            self.expiry.remove(&(at, txn));
        }
        if let Some(record) = pending {
            let listed = Some(record.expires_at);
            self.expiry.insert((record.expires_at, txn));
            self.pending.insert(txn, Prepared { record, written: batch, listed });
        }
    }

    /// Has a pending transaction looked at (again) then.
    pub(crate) fn look_again(&mut self, txn: TxnId, at: Moment) {
        let Some(prepared) = self.pending.get_mut(&txn) else { return };
        if let Some(old) = prepared.listed.replace(at) {
            self.expiry.remove(&(old, txn));
        }
        self.expiry.insert((at, txn));
    }

    /// Has a pending transaction looked at at the time that was given for it.
    pub(crate) fn look_again_at_its_time(&mut self, txn: TxnId) {
        if let Some(at) = self.pending(txn).map(|pending| pending.expires_at) {
            self.look_again(txn, at);
        }
    }

    pub(crate) fn next_expiry(&self) -> Option<Moment> {
        self.expiry.first().map(|&(at, _)| at)
    }

    /// Takes one pending transaction whose time is over off the list; it stays pending until it is decided.
    pub(crate) fn take_expired(&mut self, now: Moment) -> Option<TxnId> {
        let &(at, txn) = self.expiry.first()?;
        if at > now {
            return None;
        }
        self.expiry.pop_first();
        if let Some(prepared) = self.pending.get_mut(&txn) {
            prepared.listed = None;
        }
        Some(txn)
    }

    /// Remembers what a batch says until the store shows it.
    pub(crate) fn record(&mut self, txn: TxnId, decided: Option<Decided>, batch: u64) {
        self.recent.insert(txn, (batch, decided));
        self.order.push_back((batch, txn));
    }

    /// `None`: the store knows.
    pub(crate) fn recent(&self, txn: TxnId) -> Option<&(u64, Option<Decided>)> {
        self.recent.get(&txn)
    }

    /// Everything up to this batch can be read from the store. What is being read right now may have missed it.
    pub(crate) fn settle(&mut self, durable: u64) {
        while let Some(&(batch, txn)) = self.order.front() {
            if batch > durable || self.parked.contains_key(&txn) {
                return;
            }
            self.order.pop_front();
            if self.recent.get(&txn).is_some_and(|&(newest, _)| newest == batch) {
                self.recent.remove(&txn);
            }
        }
    }

    /// Puts a job in line for a decision record. True if it has to be asked for.
    pub(crate) fn park(&mut self, txn: TxnId, job: Job) -> bool {
        let parked = self.parked.entry(txn).or_default();
        parked.push(job);
        parked.len() == 1
    }

    pub(crate) fn take_parked(&mut self, txn: TxnId) -> Vec<Job> {
        self.parked.remove(&txn).unwrap_or_default()
    }

    pub(crate) fn drain_jobs(&mut self) -> Vec<Job> {
        self.parked.drain().flat_map(|(_, jobs)| jobs).collect()
    }
}
