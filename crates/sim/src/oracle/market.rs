//! What caused a batch that concerns messages or transactions by name?
//!
//! Such a batch may do many things at once: end a transaction, with it the leases on keys and messages, and hand what is free
//! again to those who wait. So every key is explained by itself: first how its lease ended or its message changed, then who
//! got it. What must be true of all of them together is in [`super::accord`].

use std::collections::BTreeMap;

use lockd_core::RequestId;
use lockd_core::op::{Dequeue, Op, Outcome, Tend};
use lockd_core::records::txn::{Decided, Pending, Verdict};
use lockd_wire::{KeyId, LeaseId, QueueId, TxnId, Uid};

use super::Oracle;
use super::batches::{Explained, Moved};
use crate::model::message::{Purpose, marker_refusal, message_key};
use crate::model::{KeyModel, Verdict as Expected};
use crate::shape::Shape;
use crate::violation::{Checked, broken};

/// Something that happened to a message.
#[derive(Debug)]
pub(super) struct Deed {
    pub(super) batch: u64,
    pub(super) step: u64,
    pub(super) kind: Kind,
    /// The lease that was there before.
    pub(super) lease: Option<LeaseId>,
    pub(super) after: KeyModel,
    /// Somebody was told that it was his doing; and somebody that the message is his now.
    pub(super) claimed: bool,
    pub(super) handed_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only somebody new has it.
    Stayed,
    Sent,
    /// A transaction was decided.
    Decided(Verdict),
    /// A transaction was rolled back by this.
    DecidedByNack(RequestId),
    Acked(RequestId),
    Nacked(RequestId),
    Extended(RequestId),
    /// The state of a message that was acknowledged or decided.
    WithMessage,
    /// The lease ended, and nobody was asked.
    Lapsed,
    Released(RequestId),
    Tended(RequestId),
    /// Its holder has staged something or prolonged the lease.
    Changed(RequestId),
}

/// What a batch says of transactions.
#[derive(Debug, Default)]
pub(super) struct TxnNews {
    pub(super) decided: BTreeMap<TxnId, Option<Decided>>,
    pub(super) pending: BTreeMap<TxnId, Option<Pending>>,
}

impl TxnNews {
    pub(super) fn is_empty(&self) -> bool {
        self.decided.is_empty() && self.pending.is_empty()
    }

    fn verdict(&self, txn: TxnId) -> Option<Verdict> {
        self.decided.get(&txn)?.as_ref().map(|decided| decided.verdict)
    }
}

/// A message in new hands.
pub(super) struct HandedOut<'a> {
    pub(super) consumer: RequestId,
    pub(super) place: usize,
    pub(super) op: &'a Dequeue,
    pub(super) queue: QueueId,
    pub(super) message: Uid,
}

pub(super) type Path = (KeyModel, Kind);

impl Oracle {
    pub(super) fn explain_market(
        &mut self,
        seq: u64,
        moved: &[Moved],
        news: &TxnNews,
        hint: Option<RequestId>,
    ) -> Checked<Explained> {
        let mut explained = Explained::default();
        let mut handed_out = Vec::new();
        let mut paths: BTreeMap<KeyId, Path> = BTreeMap::new();
        for one in moved {
            let mut found = None;
            for (between, kind) in self.ways(one, moved, news, hint) {
                if between == one.after && kind != Kind::Stayed {
                    found = Some((between, kind));
                    break;
                }
                if between.lease.is_some() || one.after.lease.is_none() {
                    continue;
                }
                if let Some(delivery) = self.explain_delivery(&one.key, &between, &one.after) {
                    handed_out.extend(delivery);
                    found = Some((between, kind));
                    break;
                }
                if one.key.as_message().is_none()
                    && let Ok(sure) = self.explain_grant(&one.key, &between, &one.after, hint)
                {
                    explained.sure.push(sure);
                    found = Some((between, kind));
                    break;
                }
            }
            let Some(path) = found else {
                return broken(
                    "messages and keys change only as somebody has asked for",
                    format!("{} at {}: {:?} became {:?}; {news:?}", one.key, self.now, one.before, one.after),
                );
            };
            paths.insert(one.key.clone(), path);
        }
        self.check_transactions(&paths, news)?;
        self.check_pairs(&paths)?;
        self.check_order(moved, &paths, &mut handed_out)?;
        self.credit(moved, &paths, news, hint, &mut explained);
        explained.sure.extend(self.changes(moved, &paths));
        let consumers: Vec<RequestId> = handed_out.iter().map(|out| out.consumer).collect();
        for consumer in consumers {
            if let Some(asked) = self.requests.get_mut(&consumer) {
                asked.collected += 1;
            }
        }
        for one in moved.iter().filter(|one| one.key.as_message().is_some()) {
            let Some((_, kind)) = paths.get(&one.key) else { continue };
            self.deeds.entry(one.key.clone()).or_default().push(Deed {
                batch: seq,
                step: self.step,
                kind: *kind,
                lease: one.before.lease.as_ref().map(|lease| lease.id),
                after: one.after.clone(),
                claimed: false,
                handed_out: false,
            });
        }
        Ok(explained)
    }

    /// Everything that can have become of a key before somebody new got it.
    fn ways(&self, one: &Moved, moved: &[Moved], news: &TxnNews, hint: Option<RequestId>) -> Vec<Path> {
        let (before, now) = (&one.before, self.now);
        let mut ways = vec![(before.clone(), Kind::Stayed)];
        let message = one.key.as_message();
        let state_of = one.key.as_queue_state().map(|(queue, id)| KeyId::of_message(&queue, id));
        let group_of = |model: &KeyModel| {
            model.lease.as_ref().map(|lease| self.participants(lease.txn)).unwrap_or_default()
        };
        let group = group_of(before);
        let own = before.draft.is_some() || before.lease.as_ref().is_some_and(|lease| lease.delivery);
        let takes_part = own && group.contains(&one.key);
        let hinted = hint.and_then(|id| self.requests.get_key_value(&id));
        let others = self.requests.iter().filter(|&(&id, _)| Some(id) != hint);
        for (&id, asked) in hinted.into_iter().chain(others) {
            let mut add = |between: KeyModel, kind: Kind| ways.push((between, kind));
            match &asked.op {
                Op::Enqueue(op)
                    if *before == KeyModel::default()
                        && KeyId::of_message(&op.queue, op.message) == one.key
                        && !self.draining =>
                {
                    add(KeyModel::enqueued(now, op), Kind::Sent);
                }
                Op::Tend(op) if asked.op.key() == Some(&one.key) => {
                    let Some(found) = before.message.as_ref() else { continue };
                    let aged = before.lease.is_none() && found.dies_at.is_some_and(|at| at <= now);
                    match op {
                        Tend::Bury(_) if aged && found.dead_since.is_none() => {
                            add(KeyModel::default(), Kind::Tended(id));
                        }
                        Tend::Purge(_) if found.dead_since.is_some() => {
                            add(KeyModel::default(), Kind::Tended(id));
                        }
                        Tend::Redrive(_) if found.dead_since.is_some() => {
                            add(before.redriven(now), Kind::Tended(id));
                        }
                        _ => {}
                    }
                }
                Op::Ack(op) if message_key(&op.handle).as_ref() == Some(&one.key) => {
                    let proved = before.judge(now, &op.handle, Purpose::Ack).is_ok();
                    let txn = before.lease.as_ref().map(|lease| lease.txn);
                    let verdict = txn.and_then(|txn| news.verdict(txn));
                    match proved && marker_refusal(before, op).is_none() {
                        true if group.is_empty() => add(KeyModel::default(), Kind::Acked(id)),
                        true if verdict == Some(Verdict::Commit) => {
                            add(KeyModel::default(), Kind::Decided(Verdict::Commit));
                        }
                        _ => {}
                    }
                }
                Op::Nack(op) if message_key(&op.handle).as_ref() == Some(&one.key) => {
                    let purpose = if group.is_empty() { Purpose::Nack } else { Purpose::NackInTxn };
                    if before.judge(now, &op.handle, purpose).is_err() {
                        continue;
                    }
                    let txn = before.lease.as_ref().map(|lease| lease.txn);
                    if group.is_empty() {
                        add(before.nacked(now, op), Kind::Nacked(id));
                    } else if txn.and_then(|txn| news.verdict(txn)) == Some(Verdict::Rollback) {
                        add(before.rolled_back_with_txn(now).nacked(now, op), Kind::DecidedByNack(id));
                    }
                }
                Op::Nack(op) if state_of.is_some() && message_key(&op.handle) == state_of => {
                    let txn = before.lease.as_ref().map(|lease| lease.txn);
                    let verdict = txn.and_then(|txn| news.verdict(txn));
                    let of = state_of.as_ref().map(|key| self.model(key)).unwrap_or_default();
                    let together = txn.is_some() && of.lease.as_ref().map(|lease| lease.txn) == txn;
                    let nacked = together && of.judge(now, &op.handle, Purpose::NackInTxn).is_ok();
                    match before.is_held_with(now, &op.handle) {
                        _ if nacked && !group_of(&of).is_empty() && verdict == Some(Verdict::Rollback) => {
                            add(before.rolled_back().0, Kind::Decided(Verdict::Rollback));
                        }
                        true if group.is_empty() => add(before.committed().0, Kind::Nacked(id)),
                        true if verdict == Some(Verdict::Rollback) => {
                            add(before.rolled_back().0, Kind::Decided(Verdict::Rollback));
                        }
                        _ => {}
                    }
                }
                Op::Extend(op)
                    if message_key(&op.handle).as_ref() == Some(&one.key)
                        && before.judge(now, &op.handle, Purpose::Extend).is_ok() =>
                {
                    add(before.extended(now, op), Kind::Extended(id));
                }
                Op::Extend(op)
                    if state_of.is_some()
                        && message_key(&op.handle) == state_of
                        && before.is_held_with(now, &op.handle) =>
                {
                    let of = state_of.as_ref().map(|key| self.model(key)).unwrap_or_default();
                    let mut between = before.clone();
                    if let (Some(lease), Some(with)) = (&mut between.lease, of.extended(now, op).lease) {
                        lease.expires = with.expires;
                    }
                    add(between, Kind::Extended(id));
                }
                Op::Abandon(op)
                    if before.lease.as_ref().is_some_and(|lease| lease.id == op.lease)
                        && (message.is_some() || state_of.is_some() || !takes_part) =>
                {
                    add(before.ended_alone(now), Kind::Lapsed);
                }
                Op::Release(op) if op.key == one.key && group.is_empty() => {
                    if matches!(before.apply(now, &asked.op, &self.limits), Expected::Decide { .. }) {
                        let between = if op.rollback { before.rolled_back().0 } else { before.committed().0 };
                        add(between, Kind::Released(id));
                    }
                }
                Op::Acquire(_) => {}
                other if other.key() == Some(&one.key) => {
                    if let Expected::Change(after, _) = before.apply(now, other, &self.limits) {
                        add(*after, Kind::Changed(id));
                    }
                }
                _ => {}
            }
        }
        if let Some(lease) = &before.lease {
            if (lease.expires <= now && !takes_part) || self.given_back.contains_key(&lease.id) {
                ways.push((before.ended_alone(now), Kind::Lapsed));
            }
            let concerned = group.contains(&one.key)
                || (own && lease.expires <= now)
                || self.is_named(&one.key, lease.txn)
                || self.triggers(&one.key, before);
            let verdict = news
                .verdict(lease.txn)
                .or_else(|| self.is_named(&one.key, lease.txn).then(|| self.verdict(lease.txn)).flatten());
            if let Some(verdict) = verdict.filter(|_| concerned) {
                let after = match verdict {
                    Verdict::Commit if lease.delivery && message.is_some() && lease.expires <= now => None,
                    Verdict::Commit if lease.delivery => Some(KeyModel::default()),
                    Verdict::Commit => Some(before.committed().0),
                    Verdict::Rollback if lease.delivery && message.is_some() => {
                        Some(before.rolled_back_with_txn(now))
                    }
                    Verdict::Rollback => Some(before.rolled_back().0),
                };
                ways.extend(after.map(|after| (after, Kind::Decided(verdict))));
            }
        }
        let erased = |key: &KeyId| {
            moved.iter().any(|other| {
                other.key == *key && other.before.message.is_some() && other.after.message.is_none()
            })
        };
        if state_of.as_ref().is_some_and(erased) {
            ways.push((KeyModel::default(), Kind::WithMessage));
        }
        // Released alone or given back with its message, a state becomes the same; only one of these has to come in a pair. The
        // same goes for an extend that changes no time and an update that was there before, where the pair has come.
        let paired = state_of.as_ref().is_some_and(|message| moved.iter().any(|other| other.key == *message));
        ways.sort_by_key(|(_, kind)| match kind {
            Kind::Released(_) => 0,
            Kind::Changed(_) if paired => 2,
            _ => 1,
        });
        ways
    }

    /// Somebody's wish to decide the transaction names the key.
    fn is_named(&self, key: &KeyId, txn: TxnId) -> bool {
        self.requests.values().any(
            |asked| matches!(&asked.op, Op::DecideTxn(op) if op.txn == txn && op.participants.contains(key)),
        )
    }

    /// The key's own lease ends the transaction: by release, or because its holder is gone.
    fn triggers(&self, key: &KeyId, before: &KeyModel) -> bool {
        self.open(key, None).any(|(_, asked)| {
            matches!(before.apply(self.now, &asked.op, &self.limits), Expected::Decide { .. })
        })
    }

    /// What was decided last, if it is still remembered.
    pub(super) fn verdict(&self, txn: TxnId) -> Option<Verdict> {
        let era = self.decided.get(&txn)?.last()?;
        era.state.as_ref().filter(|decided| decided.expires_at.0 > self.now).map(|decided| decided.verdict)
    }

    fn explain_delivery<'a>(
        &'a self,
        key: &KeyId,
        between: &KeyModel,
        after: &KeyModel,
    ) -> Option<Option<HandedOut<'a>>> {
        let lease = after.lease.as_ref().filter(|lease| lease.delivery)?;
        for (&consumer, asked) in &self.requests {
            let Op::Dequeue(op) = &asked.op else { continue };
            for (place, ids) in op.ids.iter().enumerate() {
                if let Some((queue, message)) = key.as_message()
                    && ids.lease == lease.id
                    && queue == op.queue
                    && between.delivered(self.now, op, ids, &self.limits) == *after
                {
                    return Some(Some(HandedOut { consumer, place, op, queue, message }));
                }
                if let Some((queue, _)) = key.as_queue_state()
                    && ids.state_lease == lease.id
                    && queue == op.queue
                    && op.stateful
                    && between.state_delivered(self.now, op, ids, &self.limits) == *after
                {
                    return Some(None);
                }
            }
        }
        None
    }

    /// What those are told whose lease lives on.
    fn changes(&self, moved: &[Moved], paths: &BTreeMap<KeyId, Path>) -> Vec<(RequestId, Shape)> {
        let mut told = Vec::new();
        for one in moved {
            let Some((_, Kind::Changed(id))) = paths.get(&one.key) else { continue };
            let Some(asked) = self.requests.get(id) else { continue };
            if let Expected::Change(_, shape) = one.before.apply(self.now, &asked.op, &self.limits) {
                told.push((*id, shape));
            }
        }
        told
    }

    /// Which releases of keys may have been the cause.
    fn credit(
        &self,
        moved: &[Moved],
        paths: &BTreeMap<KeyId, Path>,
        news: &TxnNews,
        hint: Option<RequestId>,
        explained: &mut Explained,
    ) {
        explained.or_expiry = true;
        for one in moved {
            let Some(lease) = &one.before.lease else { continue };
            let Some((_, kind)) = paths.get(&one.key) else { continue };
            for (id, asked) in self.open(&one.key, hint) {
                let Expected::Decide { commit } = one.before.apply(self.now, &asked.op, &self.limits) else {
                    continue;
                };
                let shape = match &asked.op {
                    Op::Release(_) => {
                        let verdict = news.verdict(lease.txn);
                        let alone = verdict.is_none() && *kind == Kind::Released(id);
                        // Nothing can be committed of which a message has gone back.
                        let commit = commit && (alone || !self.has_gone_back(lease.txn));
                        if !alone && verdict.map(|verdict| verdict == Verdict::Commit) != Some(commit) {
                            continue;
                        }
                        let changes = moved.iter().any(|other| {
                            let same = other.before.lease.as_ref().is_some_and(|held| held.txn == lease.txn);
                            let message = other.before.message.is_some();
                            (other.key == one.key || (same && !alone))
                                && (other.before.draft.is_some()
                                    || message
                                    || (commit && other.key.as_queue_state().is_some()))
                        });
                        Shape::Released(match (changes, commit) {
                            (false, _) => Outcome::Nothing,
                            (true, true) => Outcome::Committed,
                            (true, false) => Outcome::RolledBack,
                        })
                    }
                    _ => Shape::Abandoned,
                };
                explained.either.push((id, shape));
            }
        }
    }

    /// Has the time of a message of this transaction run out?
    fn has_gone_back(&self, txn: TxnId) -> bool {
        self.participants(txn).iter().any(|key| {
            let lease = self.model(key).lease.filter(|lease| lease.txn == txn && lease.expires <= self.now);
            key.as_message().is_some() && lease.is_some()
        })
    }
}
