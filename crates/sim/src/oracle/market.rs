//! What caused a batch that concerns messages or transactions by name?
//!
//! Such a batch may do many things at once: end a transaction, with it the leases on keys and messages, and hand what is free
//! again to those who wait. So every key is explained by itself: first how its lease ended or its message changed, then who
//! got it. After that come the promises about all of them together: a transaction is decided for everybody or for nobody, and
//! messages are handed out in their order to consumers in theirs.

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::RequestId;
use lockd_core::op::{Dequeue, Op, Outcome, Tend, TxnAsk};
use lockd_core::records::txn::{Decided, Pending, Verdict};
use lockd_wire::{KeyId, LeaseId, QueueId, TxnId, Uid};

use super::batches::{Explained, Moved};
use super::{Asked, Oracle};
use crate::model::message::{Purpose, marker_refusal, message_key};
use crate::model::{KeyModel, Verdict as Expected, expiry};
use crate::shape::Shape;
use crate::violation::{Checked, broken, promise};

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
struct HandedOut<'a> {
    consumer: RequestId,
    place: usize,
    op: &'a Dequeue,
    queue: QueueId,
    message: Uid,
}

type Path = (KeyModel, Kind);

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
        // Released alone or given back with its message, a state becomes the same; only one of these has to come in a pair.
        ways.sort_by_key(|(_, kind)| !matches!(kind, Kind::Released(_)));
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

    fn check_transactions(&self, paths: &BTreeMap<KeyId, Path>, news: &TxnNews) -> Checked {
        for (&txn, decided) in &news.decided {
            let known = self.decided.get(&txn).and_then(|eras| eras.last()?.state.as_ref());
            let group = self.participants(txn);
            let Some(decided) = decided else {
                let over = known.is_none_or(|known| known.expires_at.0 <= self.now);
                promise(over, "a decision is remembered for as long as was promised", || {
                    format!("{txn} at {}: {known:?}", self.now)
                })?;
                continue;
            };
            let least = self.pending.get(&txn).map_or(0, |pending| pending.term);
            let by_term = |asked: &Asked| matches!(&asked.op, Op::DecideTxn(op) if op.txn == txn && op.term == decided.term);
            promise(
                decided.term == least || (decided.term > least && self.requests.values().any(by_term)),
                "a decision keeps the term",
                || format!("{txn}: {decided:?} after term {least}"),
            )?;
            promise(
                decided.expires_at.0 == expiry(self.now, self.retention),
                "a decision is remembered for as long as was promised",
                || format!("{txn} at {}: {decided:?}", self.now),
            )?;
            let again = known.filter(|known| known.expires_at.0 > self.now && group.is_empty());
            let again = again.filter(|_| !self.pending.contains_key(&txn));
            promise(
                again.is_none_or(|known| known.verdict == decided.verdict || self.anybody_joins(txn)),
                "a transaction is decided once",
                || format!("{txn}: {known:?}, then {decided:?}"),
            )?;
            promise(
                self.wanted_verdict(txn, decided.verdict, &group),
                "a transaction is decided as somebody has asked for, or because somebody's time is over",
                || format!("{txn} at {}: {decided:?} for {group:?}", self.now),
            )?;
            for key in &group {
                let before = self.model(key);
                let Some(lease) = before.lease.as_ref().filter(|lease| lease.txn == txn) else { continue };
                let expired_message = lease.expires <= self.now && before.message.is_some();
                promise(
                    decided.verdict == Verdict::Rollback || !expired_message,
                    "nothing is committed of which a message has gone back",
                    || format!("{txn} at {}: {key} {before:?}", self.now),
                )?;
                let kind = paths.get(key).map(|(_, kind)| *kind);
                let right = match kind {
                    Some(Kind::Decided(verdict)) => verdict == decided.verdict,
                    Some(Kind::DecidedByNack(_)) => decided.verdict == Verdict::Rollback,
                    Some(Kind::WithMessage) => true,
                    // Nothing was staged under it, so that nothing was decided for it either.
                    Some(Kind::Lapsed) => before.draft.is_none() && before.message.is_none(),
                    _ => false,
                };
                promise(right, "a transaction is decided for all participants in one batch", || {
                    format!("{txn} {:?}: {key} {kind:?} of {group:?}", decided.verdict)
                })?;
            }
        }
        for (&txn, pending) in &news.pending {
            match pending {
                None => promise(
                    news.decided.contains_key(&txn),
                    "a prepared transaction ends only by a decision",
                    || txn.to_string(),
                )?,
                Some(pending) => {
                    let before = self.pending.get(&txn).cloned().unwrap_or_default();
                    let asked = self.requests.values().any(|asked| match &asked.op {
                        Op::DecideTxn(op) if op.txn == txn && op.ask == TxnAsk::Prepare => {
                            let mut all: BTreeSet<&KeyId> = before.participants.iter().collect();
                            all.extend(&op.participants);
                            all.into_iter().eq(&pending.participants)
                                && pending.expires_at >= before.expires_at.max(op.expires_at)
                                && pending.term == before.term.max(op.term)
                                && may_decide(before.term, op.term)
                        }
                        _ => false,
                    });
                    promise(asked, "a transaction is prepared as somebody has asked for", || {
                        format!("{txn}: {before:?} became {pending:?}")
                    })?;
                }
            }
        }
        Ok(())
    }

    fn anybody_joins(&self, txn: TxnId) -> bool {
        self.requests.values().any(
            |asked| matches!(&asked.op, Op::DecideTxn(op) if op.txn == txn && !op.participants.is_empty()),
        )
    }

    fn wanted_verdict(&self, txn: TxnId, verdict: Verdict, group: &BTreeSet<KeyId>) -> bool {
        let commit = verdict == Verdict::Commit;
        let held = |key: &KeyId| self.model(key).lease.filter(|lease| lease.txn == txn);
        let over = |key: &KeyId| held(key).is_some_and(|lease| lease.expires <= self.now);
        let gone = |state: &KeyModel| {
            state.lease.as_ref().is_some_and(|lease| {
                lease.txn == txn && lease.expires <= self.now && (lease.delivery || state.draft.is_some())
            })
        };
        let late = self.keys.values().any(|eras| eras.last().is_some_and(|era| gone(&era.state)));
        let late = late || self.pending.get(&txn).is_some_and(|pending| pending.expires_at.0 <= self.now);
        if !commit && (late || group.iter().any(over)) {
            return true;
        }
        self.requests.values().any(|asked| match &asked.op {
            Op::DecideTxn(op) if op.txn == txn => {
                // Whoever asks meets the end of a named participant's time.
                let term = self.pending.get(&txn).map_or(0, |pending| pending.term);
                (op.ask == TxnAsk::Decide(verdict) && may_decide(term, op.term))
                    || (!commit && op.participants.iter().any(over))
            }
            Op::Ack(op) if commit => message_key(&op.handle).is_some_and(|key| {
                held(&key).is_some() && self.model(&key).judge(self.now, &op.handle, Purpose::Ack).is_ok()
            }),
            Op::Nack(op) if !commit => message_key(&op.handle).is_some_and(|key| {
                let purpose = if group.is_empty() { Purpose::Nack } else { Purpose::NackInTxn };
                held(&key).is_some() && self.model(&key).judge(self.now, &op.handle, purpose).is_ok()
            }),
            Op::Release(op) => {
                held(&op.key).is_some()
                    && matches!(
                        self.model(&op.key).apply(self.now, &asked.op, &self.limits),
                        Expected::Decide { commit: wanted } if wanted == commit
                    )
            }
            Op::Abandon(op) if !commit => held(&op.key).is_some_and(|lease| lease.id == op.lease),
            _ => false,
        })
    }

    /// Message and state go together.
    fn check_pairs(&self, paths: &BTreeMap<KeyId, Path>) -> Checked {
        for (key, (_, kind)) in paths {
            let (Kind::Extended(id) | Kind::Nacked(id)) = kind else { continue };
            let Some(asked) = self.requests.get(id) else { continue };
            let (handle, is_extend) = match &asked.op {
                Op::Extend(op) => (&op.handle, true),
                Op::Nack(op) => (&op.handle, false),
                _ => continue,
            };
            let Some(message) = handle.message else { continue };
            let state = KeyId::of_queue_state(&handle.queue, message);
            let held = self.model(&state).is_held_with(self.now, handle);
            let with = paths.get(&state).map(|(_, kind)| kind);
            let right = match is_extend {
                true => handle.state.is_none() || (held && with == Some(kind)),
                false => !held || with.is_some(),
            };
            promise(
                right && paths.contains_key(&KeyId::of_message(&handle.queue, message)),
                "a message and its state are extended and given back together",
                || format!("{key}: {kind:?}, {handle:?}, the state {with:?}"),
            )?;
        }
        Ok(())
    }

    fn check_order(
        &self,
        moved: &[Moved],
        paths: &BTreeMap<KeyId, Path>,
        handed_out: &mut [HandedOut<'_>],
    ) -> Checked {
        handed_out.sort_by_key(|out| (out.consumer, out.place));
        let mut taken: BTreeSet<KeyId> = BTreeSet::new();
        let mut got: BTreeMap<RequestId, usize> = BTreeMap::new();
        for out in handed_out.iter() {
            let Some(asked) = self.requests.get(&out.consumer) else { continue };
            promise(
                !asked.cancelled && !self.draining,
                "nothing is handed to somebody who has gone",
                || format!("{} to {:?}", out.message, out.consumer),
            )?;
            let so_far = got.entry(out.consumer).or_insert(asked.collected);
            promise(*so_far == out.place, "a consumer gets its messages one by one", || {
                format!("{:?} gets number {} after {so_far}", out.consumer, out.place)
            })?;
            *so_far += 1;
            let key = KeyId::of_message(&out.queue, out.message);
            let between = |key: &KeyId| paths.get(key).map_or_else(|| self.model(key), |path| path.0.clone());
            let found = between(&key);
            let Some(ready) = found.ready(self.now) else {
                return broken(
                    "only what is due, free and alive is handed out",
                    format!("{key} at {}: {found:?}", self.now),
                );
            };
            let state_key = KeyId::of_queue_state(&out.queue, out.message);
            let with_state = moved.iter().any(|one| {
                one.key == state_key && one.after.lease.is_some() && one.after.lease != one.before.lease
            });
            promise(
                with_state == out.op.stateful,
                "a state comes with a message if it was asked for",
                || format!("{key} to {:?}", out.consumer),
            )?;
            let place = (ready.visible_at, out.message);
            let everything = self.keys.keys().chain(paths.keys().filter(|key| !self.keys.contains_key(key)));
            for other in everything {
                let Some((queue, id)) = other.as_message() else { continue };
                if queue != out.queue || *other == key || taken.contains(other) {
                    continue;
                }
                let model = between(other);
                let Some(before) = model.ready(self.now) else { continue };
                let blocked = out.op.stateful && {
                    let state = KeyId::of_queue_state(&queue, id);
                    self.model(&state).lease.is_some() || between(&state).lease.is_some()
                };
                promise(
                    (before.visible_at, id) > place || blocked,
                    "messages are handed out in the order of their times, then of their ids",
                    || format!("{key} of {place:?} while {other} of {} is ready", before.visible_at),
                )?;
            }
            for (&other, asked) in self.requests.range(..out.consumer) {
                if got.contains_key(&other) || !self.surely_consumes(asked, &out.queue) {
                    continue;
                }
                let stateful = matches!(&asked.op, Op::Dequeue(op) if op.stateful);
                promise(
                    stateful && self.model(&state_key).lease.is_some(),
                    "consumers are served in the order of their arrival",
                    || format!("{key} to {:?} while {other:?} waits", out.consumer),
                )?;
            }
            taken.insert(key);
        }
        Ok(())
    }

    /// Does the request certainly wait for a message of this queue?
    pub(super) fn surely_consumes(&self, asked: &Asked, queue: &QueueId) -> bool {
        let Op::Dequeue(op) = &asked.op else { return false };
        let patient = match op.wait_seconds {
            -1 => false,
            seconds if seconds > 0 => self.now < asked.time.saturating_add(seconds as u64 * 1000),
            _ => true,
        };
        op.queue == *queue && patient && asked.collected == 0 && !asked.cancelled && !asked.drained
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

    /// The batch that made the head what it is. That others have left does not count.
    fn head_since(&self, queue: &QueueId, head: Option<Uid>) -> u64 {
        let key = head.map(|id| KeyId::of_message(queue, id));
        let last = key.and_then(|key| self.keys.get(&key)?.last());
        last.map_or(0, |era| era.batch)
    }

    /// What would be handed out next.
    pub(super) fn head(&self, queue: &QueueId) -> Option<Uid> {
        self.ready(queue).min().map(|(_, id)| id)
    }

    pub(super) fn ready(&self, queue: &QueueId) -> impl Iterator<Item = (u64, Uid)> {
        self.keys.iter().filter_map(move |(key, eras)| {
            let ready = eras.last()?.state.ready(self.now)?;
            let (_, id) = key.as_message().filter(|(of, _)| of == queue)?;
            Some((ready.visible_at, id))
        })
    }

    /// Remembers what those who ask about queues and transactions can have seen by now.
    pub(super) fn look_around(&mut self) {
        let asks = |asked: &Asked| match &asked.op {
            Op::Dequeue(_) => !asked.saw_nothing,
            Op::WatchQueue(_) => true,
            Op::DecideTxn(op) => op.ask == TxnAsk::Tell,
            _ => false,
        };
        if !self.market || !self.requests.values().any(asks) {
            return;
        }
        let mut requests = std::mem::take(&mut self.requests);
        for asked in requests.values_mut() {
            match &asked.op {
                Op::Dequeue(op) if !asked.saw_nothing => {
                    let has = |(_, id): (u64, Uid)| {
                        !op.stateful || self.model(&KeyId::of_queue_state(&op.queue, id)).lease.is_none()
                    };
                    asked.saw_nothing |= !self.ready(&op.queue).any(has);
                }
                Op::WatchQueue(op) => {
                    let head = self.head(&op.queue);
                    let head = (head, self.head_since(&op.queue, head));
                    if !asked.heads.iter().any(|had| had.0 == head.0 && had.1 <= head.1) {
                        asked.heads.push(head);
                    }
                }
                Op::DecideTxn(op) if op.ask == TxnAsk::Tell => {
                    let open = self.pending.contains_key(&op.txn) || !self.participants(op.txn).is_empty();
                    asked.saw_open |= open;
                    asked.saw_nothing |= !open && self.verdict(op.txn).is_none();
                }
                _ => {}
            }
        }
        self.requests = requests;
    }
}

/// May somebody of this term decide what others have recorded with that one?
fn may_decide(recorded: u64, given: u64) -> bool {
    recorded == 0 || given >= recorded
}
