//! The judge who sees everything: every batch must be explained by exactly the requests that can have caused it, and every
//! answer by the batch that it rests on or, if it changed nothing, by a state of the key during the request.
//!
//! The order of the batches is thereby a proof of linearizability against the reference in [`crate::model`].

mod accord;
mod answers;
mod batches;
mod handles;
mod market;
mod prepared;
mod settled;
mod sight;

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::op::{Acquire, Op};
use lockd_core::records::key::{self, KeyRecord};
use lockd_core::records::namespace::NamespaceRecord;
use lockd_core::records::txn::{Decided, Pending};
use lockd_core::{Limits, RequestId, Settings};
use lockd_wire::{KeyId, LeaseId, TxnId, Uid};

use self::market::Deed;

use crate::disk::{Records, decode};
use crate::model::{KeyModel, expiry};
use crate::shape::Shape;
use crate::violation::{Checked, promise};

#[derive(Debug)]
pub struct Oracle {
    limits: Limits,
    /// How long decisions are remembered.
    retention: u64,
    /// While so many batches are on their way, the core leaves expired leases alone.
    sweep: u64,
    /// There are queues, and transactions by name.
    market: bool,
    /// All records as of the newest batch, durable or not.
    written: Records,
    keys: BTreeMap<KeyId, Vec<Era<KeyModel>>>,
    settings: BTreeMap<String, Vec<Era<Option<NamespaceRecord>>>>,
    requests: BTreeMap<RequestId, Asked>,
    pending: BTreeMap<TxnId, Pending>,
    decided: BTreeMap<TxnId, Vec<Era<Option<Decided>>>>,
    prepared: Vec<Prepared>,
    deeds: BTreeMap<KeyId, Vec<Deed>>,
    /// Leases for consumers who have gone: whatever they were given goes back.
    given_back: BTreeMap<LeaseId, RequestId>,
    /// Batches that an expiry may have caused, or somebody's request.
    maybe_expired: BTreeSet<u64>,
    step: u64,
    /// The time in the core, which never goes backwards.
    now: u64,
    newest: u64,
    told: u64,
    draining: bool,
    failed: bool,
}

/// A state, and since when.
#[derive(Debug)]
struct Era<T> {
    from_step: u64,
    from_time: u64,
    batch: u64,
    state: T,
}

/// Somebody has prepared a transaction.
#[derive(Debug)]
struct Prepared {
    txn: TxnId,
    batch: u64,
    step: u64,
    participants: Vec<KeyId>,
    term: u64,
}

#[derive(Debug)]
struct Asked {
    op: Op,
    step: u64,
    time: u64,
    cancelled: bool,
    /// While it waited everybody was sent away.
    drained: bool,
    /// Messages that were handed to it.
    collected: usize,
    /// There was a moment without any message for it, or without a trace of the transaction.
    saw_nothing: bool,
    /// There was a moment at which the transaction was open.
    saw_open: bool,
    /// Heads that the queue has had, and the batches that made them so.
    heads: Vec<(Option<Uid>, u64)>,
    /// When no record was on its way any more, so that an acquire was in line if it had to be.
    in_line: Option<u64>,
    /// The batch that carried it out, and what the client must be told.
    decided: Option<(u64, Shape)>,
    /// The same, while several requests may have been the one.
    possible: Option<(u64, Shape)>,
}

impl Oracle {
    pub fn new(settings: &Settings, market: bool) -> Oracle {
        Oracle::after(settings.limits, settings.txn_retention_ms, settings.strides.sweep as u64, market)
    }

    fn after(limits: Limits, retention: u64, sweep: u64, market: bool) -> Oracle {
        Oracle {
            limits,
            retention,
            sweep,
            market,
            written: Records::new(),
            keys: BTreeMap::new(),
            settings: BTreeMap::new(),
            requests: BTreeMap::new(),
            pending: BTreeMap::new(),
            decided: BTreeMap::new(),
            prepared: Vec::new(),
            deeds: BTreeMap::new(),
            given_back: BTreeMap::new(),
            maybe_expired: BTreeSet::new(),
            step: 0,
            now: 0,
            newest: 0,
            told: 0,
            draining: false,
            failed: false,
        }
    }

    /// Before the core is given anything: the time.
    pub fn turn(&mut self, step: u64, now: u64) {
        self.step = step;
        self.now = self.now.max(now);
        self.look_around();
    }

    /// The time in the core.
    pub fn time(&self) -> u64 {
        self.now
    }

    pub fn asked(&mut self, id: RequestId, op: &Op) {
        let asked = Asked {
            op: op.clone(),
            step: self.step,
            time: self.now,
            cancelled: false,
            drained: self.draining,
            collected: 0,
            saw_nothing: false,
            saw_open: false,
            heads: Vec::new(),
            in_line: None,
            decided: None,
            possible: None,
        };
        self.requests.insert(id, asked);
        self.look_around();
    }

    pub fn cancelled(&mut self, id: RequestId) {
        if let Some(asked) = self.requests.get_mut(&id) {
            asked.cancelled = true;
            if let Op::Dequeue(op) = &asked.op {
                let leases = op.ids.iter().flat_map(|ids| [ids.lease, ids.state_lease]);
                self.given_back.extend(leases.map(|lease| (lease, id)));
            }
        }
    }

    pub fn told(&mut self, through: u64) {
        self.told = through;
    }

    pub fn draining(&mut self) {
        self.draining = true;
        for asked in self.requests.values_mut() {
            asked.drained = true;
        }
    }

    /// Somebody who would wait for ever.
    pub fn anybody_waiting(&self) -> Option<RequestId> {
        let waits =
            |asked: &Asked| matches!(asked.op, Op::Dequeue(_) | Op::WatchQueue(_)) && !asked.cancelled;
        self.requests.iter().find(|(_, asked)| waits(asked)).map(|(&id, _)| id)
    }

    pub fn failed(&mut self) {
        self.failed = true;
    }

    pub fn op(&self, id: RequestId) -> Option<&Op> {
        self.requests.get(&id).map(|asked| &asked.op)
    }

    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    pub fn model(&self, key: &KeyId) -> KeyModel {
        self.keys.get(key).and_then(|eras| eras.last()).map(|era| era.state.clone()).unwrap_or_default()
    }

    fn era<T>(&self, batch: u64, state: T) -> Era<T> {
        Era { from_step: self.step, from_time: self.now, batch, state }
    }

    /// Requests on a key that are not carried out yet, the one just made first.
    fn open(&self, key: &KeyId, hint: Option<RequestId>) -> impl Iterator<Item = (RequestId, &Asked)> {
        let hinted = hint.and_then(|id| self.requests.get_key_value(&id));
        let others = self.requests.iter().filter(move |&(&id, _)| Some(id) != hint);
        hinted
            .into_iter()
            .chain(others)
            .filter(|(_, asked)| asked.decided.is_none() && asked.op.key() == Some(key))
            .map(|(&id, asked)| (id, asked))
    }

    /// Does the request certainly still wait for its lease?
    fn is_waiting(&self, asked: &Asked) -> bool {
        let Op::Acquire(op) = &asked.op else { return false };
        let Some(patience) = self.patience(op) else { return false };
        // While draining, whoever waited has been sent away, though the answer may still be held back.
        !op.if_not_exists
            && !self.draining
            && !asked.cancelled
            && asked.decided.is_none()
            && self.now < asked.time.saturating_add(patience)
    }

    /// How long an acquire is willing to wait, if at all.
    fn patience(&self, op: &Acquire) -> Option<u64> {
        match op.block_seconds {
            -1 => None,
            0 => Some(u64::MAX),
            seconds => {
                Some(u64::try_from(seconds).map_or(self.limits.acquire_block_ms, |seconds| seconds * 1000))
            }
        }
    }

    /// When an acquire or a consumer must have been told that it has waited long enough.
    fn patience_ends(&self, asked: &Asked) -> Option<u64> {
        let patience = match &asked.op {
            Op::Acquire(op) => self.patience(op)?,
            Op::Dequeue(op) if op.wait_seconds > 0 => op.wait_seconds.unsigned_abs() * 1000,
            _ => return None,
        };
        Some(expiry(asked.in_line?, patience))
    }

    /// A request was not the one that caused a batch after all. If only one is left, that was it.
    fn rule_out(&mut self, possible: Option<(u64, Shape)>) {
        let Some((batch, _)) = possible else { return };
        if self.maybe_expired.contains(&batch) {
            return;
        }
        let others = self.requests.values_mut();
        let mut others = others.filter(|asked| asked.possible.as_ref().is_some_and(|other| other.0 == batch));
        if let (Some(only), None) = (others.next(), others.next()) {
            only.decided = only.possible.take();
        }
    }

    /// A request was the one that caused a batch.
    fn settle_on(&mut self, batch: u64) {
        for asked in self.requests.values_mut() {
            asked.possible.take_if(|other| other.0 == batch);
        }
    }

    /// The process has died, and this is what the disk holds: the state after batch `reached`, and nothing in between.
    pub fn crashed(&mut self, durable: &Records, reached: u64) -> Checked {
        for (key, eras) in &self.keys {
            let expected = eras.iter().rev().find(|era| era.batch <= reached).map(|era| &era.state);
            let found = match durable.get(&key::storage_key(key)) {
                None => KeyModel::default(),
                Some(bytes) => KeyModel::of(&KeyRecord::decode(bytes).unwrap_or_default()),
            };
            promise(
                found == expected.cloned().unwrap_or_default(),
                "a restart finds what was durable",
                || format!("{key}: {found:?}"),
            )?;
        }
        let settings = std::mem::take(&mut self.settings);
        let fresh = Oracle::after(self.limits, self.retention, self.sweep, self.market);
        let step = self.step;
        *self = Oracle { step, written: durable.clone(), ..fresh };
        for (storage_key, value) in durable {
            if let (Ok(txn), Ok(pending)) = (Pending::txn_of(storage_key), Pending::decode(value)) {
                let (participants, term) = (pending.participants.clone(), pending.term);
                self.prepared.push(Prepared { txn, batch: 0, step, participants, term });
                self.pending.insert(txn, pending);
            }
            if let (Ok(txn), Ok(decided)) = (Decided::txn_of(storage_key), Decided::decode(value)) {
                let era = self.era(0, Some(decided));
                self.decided.insert(txn, vec![era]);
            }
            if let Some((key, record)) = decode(storage_key, value)? {
                let era = self.era(0, KeyModel::of(&record));
                self.keys.insert(key, vec![era]);
            }
        }
        for (name, eras) in settings {
            if let Some(era) = eras.into_iter().rev().find(|era| era.batch <= reached) {
                let era = self.era(0, era.state);
                self.settings.insert(name, vec![era]);
            }
        }
        Ok(())
    }
}
