//! What must be true of all keys of a batch together: a transaction is decided for everybody or for nobody, a message and its state
//! go together, and messages are handed out in their order to consumers in theirs.

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::RequestId;
use lockd_core::op::{Op, TxnAsk};
use lockd_core::records::txn::Verdict;
use lockd_wire::{KeyId, QueueId, TxnId};

use super::batches::Moved;
use super::market::{HandedOut, Kind, Path, TxnNews};
use super::{Asked, Oracle};
use crate::model::message::{Purpose, message_key};
use crate::model::{KeyModel, Verdict as Expected, expiry};
use crate::violation::{Checked, broken, promise};

impl Oracle {
    pub(super) fn check_transactions(&self, paths: &BTreeMap<KeyId, Path>, news: &TxnNews) -> Checked {
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
                    let before = self.prepared_before(txn);
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
        let late = late || self.is_overdue(txn);
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
    pub(super) fn check_pairs(&self, paths: &BTreeMap<KeyId, Path>) -> Checked {
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

    pub(super) fn check_order(
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
}

/// May somebody of this term decide what others have recorded with that one?
fn may_decide(recorded: u64, given: u64) -> bool {
    recorded == 0 || given >= recorded
}
