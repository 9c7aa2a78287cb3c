//! The judge who sees of messages only what producers and consumers see. Like [`crate::history`], each promise in its plainest
//! form: what was acknowledged is there until somebody takes it away, one consumer has it at a time, and what is gone is gone.

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::RequestId;
use lockd_core::op::{Delivery, Handle, Intent, Op, Tend, TxnAsk, TxnClaim};
use lockd_core::records::key;
use lockd_core::records::txn::Verdict;
use lockd_wire::{KeyId, LeaseId, QueueId, TxnId};

use crate::disk::Records;
use crate::model::{Value, value_of};
use crate::shape::Shape;
use crate::violation::{Checked, broken, promise};

#[derive(Debug, Default)]
pub struct Ledger {
    messages: BTreeMap<KeyId, Known>,
    /// Leases that somebody has asked to end, or that nobody may have got.
    ended: BTreeSet<LeaseId>,
    /// Transactions under which messages of a queue were asked for.
    joined: BTreeSet<(QueueId, TxnId)>,
    /// Transactions that somebody wanted to commit.
    committing: BTreeSet<TxnId>,
    /// Transactions that somebody has prepared or decided by name.
    named: BTreeSet<TxnId>,
    open: BTreeMap<RequestId, Vec<LeaseId>>,
    /// The latest time that any core has seen, and the one that now runs.
    latest: u64,
    now: u64,
}

/// What is known of a message.
#[derive(Debug)]
struct Known {
    queue: QueueId,
    payload: Value,
    max_attempts: u64,
    /// Its producer was told that it is safe.
    acknowledged: bool,
    /// It may die of age from then on.
    dies_at: Option<u64>,
    /// Somebody has asked for its removal.
    unwanted: bool,
    /// Somebody was told that it is removed.
    gone: bool,
    tokens: BTreeSet<u64>,
    /// The transactions under which it was delivered.
    txns: BTreeSet<TxnId>,
    /// Failures that consumers wanted to be counted.
    failures: u64,
    /// The newest delivery that somebody was told of, and until when it lasts.
    holder: Option<(LeaseId, u64, TxnId)>,
}

impl Ledger {
    pub fn turn(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        self.now = self.now.max(now);
    }

    fn known(&mut self, handle: &Handle) -> Option<&mut Known> {
        let key = KeyId::of_message(&handle.queue, handle.message?);
        self.messages.get_mut(&key)
    }

    pub fn asked(&mut self, id: RequestId, op: &Op) {
        if let Op::DecideTxn(op) = op {
            self.named.insert(op.txn);
        }
        match op {
            Op::Enqueue(op) => {
                let known = Known {
                    queue: op.queue.clone(),
                    payload: value_of(op.payload.sha256),
                    max_attempts: u64::try_from(op.max_attempts).ok().filter(|&most| most > 0).unwrap_or(5),
                    acknowledged: false,
                    dies_at: (op.ttl_seconds > 0).then(|| self.now + op.ttl_seconds.unsigned_abs() * 1000),
                    unwanted: false,
                    gone: false,
                    tokens: BTreeSet::new(),
                    txns: BTreeSet::new(),
                    failures: 0,
                    holder: None,
                };
                self.messages.insert(KeyId::of_message(&op.queue, op.message), known);
            }
            Op::Dequeue(op) => {
                self.joined.extend(op.txn.map(|txn| (op.queue.clone(), txn)));
                self.open.insert(id, op.ids.iter().map(|ids| ids.lease).collect());
            }
            Op::Ack(op) => {
                self.ended.extend(op.handle.lease);
                self.committing.extend(op.handle.txn.flatten());
                if let Some(known) = self.known(&op.handle) {
                    known.unwanted = true;
                    // It may have been any transaction's.
                    if op.handle.txn.is_none() {
                        let queue = &op.handle.queue;
                        let txns = self.joined.iter().filter(|(joined, _)| joined == queue);
                        self.committing.extend(txns.map(|&(_, txn)| txn));
                    }
                }
            }
            Op::Nack(op) => {
                self.ended.extend(op.handle.lease);
                if let (Intent::Failure(_), Some(known)) = (&op.intent, self.known(&op.handle)) {
                    known.failures += 1;
                }
            }
            Op::Extend(op) => {
                // It may end sooner than before.
                self.ended.extend(op.handle.lease);
            }
            Op::Abandon(op) => {
                self.ended.insert(op.lease);
            }
            Op::DecideTxn(op) if op.ask == TxnAsk::Decide(Verdict::Commit) => {
                self.committing.insert(op.txn);
                for key in &op.participants {
                    if let Some(known) = self.messages.get_mut(key) {
                        known.unwanted = true;
                    }
                }
            }
            Op::DecideTxn(op) => {
                for key in &op.participants {
                    if let Some(known) = self.messages.get_mut(key) {
                        known.unwanted = true;
                    }
                }
            }
            Op::Release(op) if !op.rollback => {
                if let TxnClaim::Is(Some(txn)) = op.claim.txn {
                    self.committing.insert(txn);
                }
            }
            Op::Tend(Tend::Purge(key)) => {
                if let Some(known) = self.messages.get_mut(key) {
                    known.unwanted = true;
                }
            }
            _ => {}
        }
    }

    pub fn cancelled(&mut self, id: RequestId) {
        if let Some(leases) = self.open.get(&id) {
            self.ended.extend(leases);
        }
    }

    fn is_joined(&self, queue: &QueueId) -> bool {
        self.joined.iter().any(|(joined, _)| joined == queue)
    }

    pub fn answered(&mut self, id: RequestId, op: &Op, shape: &Shape) -> Checked {
        self.open.remove(&id);
        match (op, shape) {
            (Op::Enqueue(op), Shape::Enqueued(_)) => {
                let key = KeyId::of_message(&op.queue, op.message);
                if let Some(known) = self.messages.get_mut(&key) {
                    known.acknowledged = true;
                }
                Ok(())
            }
            (Op::Dequeue(_), Shape::Delivered(deliveries)) => {
                deliveries.iter().try_for_each(|delivery| self.delivered(delivery))
            }
            (Op::Ack(op), Shape::Acked) => {
                let named = op.handle.txn.flatten().is_some_and(|txn| self.named.contains(&txn));
                let joined = named || self.is_joined(&op.handle.queue);
                // Whoever names a transaction of somebody else is told what became of that one.
                let own = |known: &Known| op.handle.txn.flatten().is_none_or(|txn| known.txns.contains(&txn));
                if let Some(known) = self.known(&op.handle).filter(|known| !joined && own(known)) {
                    promise(!known.gone, "a message is acknowledged once", || format!("{:?}", op.handle))?;
                    known.gone = true;
                }
                Ok(())
            }
            (Op::Extend(op), Shape::Extended(extended)) => {
                let lease = op.handle.lease;
                if let Some(known) = self.known(&op.handle)
                    && let Some((holder, until, _)) = &mut known.holder
                    && Some(*holder) == lease
                {
                    *until = extended.expires_at.0;
                }
                Ok(())
            }
            (Op::Tend(Tend::Purge(key)), Shape::Tended(true)) => {
                if let Some(known) = self.messages.get_mut(key) {
                    known.gone = true;
                }
                Ok(())
            }
            (Op::Tend(Tend::Redrive(key)), Shape::Tended(true)) => {
                if let Some(known) = self.messages.get_mut(key) {
                    known.dies_at = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn delivered(&mut self, delivery: &Delivery) -> Checked {
        let key = KeyId::of_message(&delivery.queue, delivery.message);
        let (latest, joined) = (self.latest, self.is_joined(&delivery.queue));
        let Some(known) = self.messages.get_mut(&key) else {
            return broken("nothing is delivered that nobody has sent", key.to_string());
        };
        known.txns.insert(delivery.txn);
        promise(!known.gone, "what is acknowledged is never delivered again", || key.to_string())?;
        promise(
            value_of(delivery.payload.sha256) == known.payload && delivery.max_attempts == known.max_attempts,
            "a message is delivered as it was sent",
            || format!("{key}: {delivery:?}"),
        )?;
        promise(
            known.tokens.insert(delivery.token) && delivery.attempts == delivery.token,
            "every delivery has the next token and the next attempt",
            || format!("{key}: {delivery:?} after {:?}", known.tokens),
        )?;
        promise(
            delivery.failures <= known.failures && delivery.failures < known.max_attempts,
            "failures are counted when a consumer says so, and a message without budget rests",
            || format!("{key}: {delivery:?}, {} were asked for", known.failures),
        )?;
        let until = delivery.expires_at.0;
        if let Some((other, lasts, txn)) = known.holder
            && until > latest
        {
            let over = joined || self.named.contains(&txn) || self.ended.contains(&other) || lasts <= latest;
            promise(over, "a message has one holder at a time", || {
                format!("{key}: {} at {latest}, but {other} lasts until {lasts}", delivery.lease)
            })?;
        }
        if known.holder.is_none_or(|(_, lasts, _)| lasts < until) {
            known.holder = Some((delivery.lease, until, delivery.txn));
        }
        Ok(())
    }

    /// What is left after a crash: everything that nobody can have removed, and nothing that somebody has.
    pub fn crashed(&mut self, durable: &Records) -> Checked {
        self.open.clear();
        self.now = 0;
        for (key, known) in &self.messages {
            let there = durable.contains_key(&key::storage_key(key));
            promise(!(there && known.gone), "what is acknowledged never comes back", || key.to_string())?;
            let mut joined = self.joined.iter().filter(|(queue, _)| *queue == known.queue);
            let removable = known.unwanted
                || known.dies_at.is_some_and(|at| at <= self.latest)
                || joined.any(|(_, txn)| self.committing.contains(txn));
            promise(there || removable || !known.acknowledged, "no acknowledged message is lost", || {
                key.to_string()
            })?;
        }
        Ok(())
    }
}
