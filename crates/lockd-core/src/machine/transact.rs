//! Transactions as a whole: who takes part, what is decided, and what everybody gets.

use lockd_wire::{KeyId, TxnId};

use super::Core;
use super::turn::Turn;
use crate::moment::Moment;
use crate::op::{DecideTxn, Outcome, Reason, Refusal, Reply, TxnAsk, TxnState};
use crate::records::field::Unknown;
use crate::records::key::{Lease, Staged};
use crate::records::txn::{Decided, Pending, Verdict};

/// What to do with one participant.
enum Part {
    /// It has nothing to do with the transaction (any more).
    Skip,
    Refuse(Reason),
    End,
    EraseMessage,
    RollBackMessage,
    EraseState,
}

impl Core {
    /// The keys that a decision concerns: leases with something staged, messages, and those that somebody has named.
    pub(super) fn participants(&self, txn: TxnId) -> Vec<KeyId> {
        let mut keys = self.book.participants(txn);
        if let Some(pending) = self.txns.pending(txn) {
            keys.extend(pending.participants.iter().cloned());
            keys.sort();
            keys.dedup();
        }
        keys
    }

    /// When a prepared transaction is rolled back: at its time, but not while the lease of a participant lasts.
    pub(super) fn pending_ends(&self, txn: TxnId) -> Option<Moment> {
        let pending = self.txns.pending(txn)?;
        let participants = self.participants(txn);
        let leases = participants.iter().filter_map(|key| self.book.get(key)).filter(|held| held.txn == txn);
        Some(leases.fold(pending.expires_at, |end, held| end.max(held.expires_at)))
    }

    pub(super) fn is_overdue(&self, txn: TxnId) -> bool {
        self.pending_ends(txn).is_some_and(|end| end <= self.now)
    }

    /// What is known to be decided. A job that needs this has had it read.
    pub(super) fn decision(&self, txn: TxnId, turn: &mut Turn) -> Option<Decided> {
        self.recorded(txn, turn).filter(|decided| decided.expires_at > self.now)
    }

    /// The same, also if it need not be remembered any longer.
    fn recorded(&self, txn: TxnId, turn: &mut Turn) -> Option<Decided> {
        match self.txns.recent(txn) {
            Some((batch, decided)) => {
                turn.basis = turn.basis.max(*batch);
                decided.clone()
            }
            None => match &turn.decision {
                Some((known, decided)) if *known == txn => decided.clone(),
                _ => None,
            },
        }
    }

    pub(super) fn decide_txn(&mut self, op: DecideTxn, turn: &mut Turn) -> Reply {
        match self.try_decide(op, turn) {
            Ok(state) => Reply::Txn(state),
            Err(refusal) => refusal.into(),
        }
    }

    fn try_decide(&mut self, op: DecideTxn, turn: &mut Turn) -> Result<TxnState, Refusal> {
        turn.basis = turn.basis.max(self.txns.pending_written(op.txn));
        if op.ask == TxnAsk::Prepare {
            return self.prepare(op, turn);
        }
        // Whoever's time is over is rolled back first, with everybody else. Whatever is said rests on the leases.
        for key in self.participants(op.txn).iter().chain(&op.participants) {
            if let Some(lane) = self.lanes.ready(key) {
                turn.basis = turn.basis.max(lane.written);
            }
            self.expire(key, turn);
        }
        if turn.decided(op.txn).is_none() && self.is_overdue(op.txn) {
            self.decide_transaction(op.txn, Verdict::Rollback, 0, turn);
        }
        let pending = self.txns.pending(op.txn).cloned();
        let decided_now = turn.decided(op.txn).cloned();
        // Also one that was prepared without any participants.
        let open = decided_now.is_none() && (pending.is_some() || !self.participants(op.txn).is_empty());
        let verdict = match op.ask {
            TxnAsk::Decide(verdict) => verdict,
            _ if open => return Ok(TxnState::Pending),
            _ => {
                let decided = decided_now.or_else(|| self.decision(op.txn, turn));
                return decided
                    .map(|decided| TxnState::Decided(decided.verdict))
                    .ok_or(Reason::TxnNotFound.plain());
            }
        };
        if open {
            check_term(pending.map_or(0, |pending| pending.term), op.term)?;
        } else if let Some(decided) = decided_now.or_else(|| self.decision(op.txn, turn)) {
            check_term(decided.term, op.term)?;
            if decided.verdict != verdict && (decided.term != 0 || op.term != 0) {
                return Err(Reason::TxnConflict.plain());
            }
            // The first decision holds, also for whoever is named only now.
            let mut failed = None;
            for key in &op.participants {
                failed = failed.or(self.decide_participant(key, op.txn, decided.verdict, turn).err());
            }
            return failed.map_or(Ok(TxnState::Decided(decided.verdict)), Err);
        }
        let mut keys = self.participants(op.txn);
        keys.extend(op.participants);
        keys.sort();
        keys.dedup();
        let (_, failed) = self.decide_participants(op.txn, verdict, keys, op.term, turn);
        match failed {
            None => Ok(TxnState::Decided(verdict)),
            Some(reason) => Err(reason.plain()),
        }
    }

    fn prepare(&mut self, op: DecideTxn, turn: &mut Turn) -> Result<TxnState, Refusal> {
        let now = self.now;
        let over = self.is_overdue(op.txn);
        if over {
            // Nobody has come to it yet; what is prepared now is another one.
            self.decide_transaction(op.txn, Verdict::Rollback, 0, turn);
        }
        let known = self.txns.pending(op.txn).filter(|_| !over).cloned();
        let mut pending = known.unwrap_or_else(|| Pending { created_at: now, ..Pending::default() });
        check_term(pending.term, op.term)?;
        pending.term = pending.term.max(op.term);
        pending.participants.extend(op.participants);
        pending.participants.sort();
        pending.participants.dedup();
        pending.expires_at = pending.expires_at.max(op.expires_at);
        if pending.expires_at == Moment(0) {
            pending.expires_at = now.after_full(self.settings.limits.default_ttl_ms);
        }
        turn.pending_txns.push((op.txn, Some(pending)));
        Ok(TxnState::Pending)
    }

    /// A prepared transaction whose time is over, unless a lease of it was extended meanwhile.
    pub(super) fn expire_txn(&mut self, txn: TxnId, turn: &mut Turn) {
        match self.pending_ends(txn) {
            Some(end) if end <= self.now => {
                self.decide_transaction(txn, Verdict::Rollback, 0, turn);
            }
            Some(end) => self.txns.look_again(txn, end),
            None => {}
        }
    }

    pub(super) fn decide_transaction(
        &mut self,
        txn: TxnId,
        verdict: Verdict,
        term: u64,
        turn: &mut Turn,
    ) -> (Outcome, Option<Reason>) {
        let keys = self.participants(txn);
        self.decide_participants(txn, verdict, keys, term, turn)
    }

    /// Decides a transaction: everybody gets the verdict in this one turn, and it is remembered. What cannot take it is left
    /// alone; the first such reason is told. If a message has gone back to its queue because its time was over, nothing can be
    /// committed any more, and all is rolled back.
    pub(super) fn decide_participants(
        &mut self,
        txn: TxnId,
        verdict: Verdict,
        keys: impl IntoIterator<Item = KeyId>,
        term: u64,
        turn: &mut Turn,
    ) -> (Outcome, Option<Reason>) {
        let (mut outcome, mut failed) = (Outcome::Nothing, None);
        let keys: Vec<KeyId> = keys.into_iter().collect();
        let broken = verdict == Verdict::Commit && keys.iter().any(|key| self.has_gone_back(key, txn));
        let verdict = if broken { Verdict::Rollback } else { verdict };
        for key in keys {
            match self.decide_participant(&key, txn, verdict, turn) {
                Ok(Outcome::Nothing) => {}
                Ok(decided) => outcome = decided,
                Err(refusal) => failed = failed.or(Some(refusal.reason)),
            }
        }
        let pending = self.txns.pending(txn);
        let term = term.max(pending.map_or(0, |pending| pending.term));
        if pending.is_some() {
            turn.pending_txns.push((txn, None));
        }
        let expires_at = self.now.after_full(self.settings.txn_retention_ms);
        let decided = Decided { verdict, expires_at, term, unknown: Unknown::default() };
        turn.decided_txns.push((txn, Some(decided)));
        (outcome, failed)
    }

    /// Is it a message of this transaction whose delivery has run out?
    fn has_gone_back(&mut self, key: &KeyId, txn: TxnId) -> bool {
        let now = self.now;
        key.as_message().is_some()
            && self.lanes.ready(key).is_some_and(|lane| {
                matches!(&lane.record.lease, Lease::Held(grant) if grant.txn == txn && grant.is_expired(now))
            })
    }

    fn decide_participant(
        &mut self,
        key: &KeyId,
        txn: TxnId,
        verdict: Verdict,
        turn: &mut Turn,
    ) -> Result<Outcome, Refusal> {
        let commit = verdict == Verdict::Commit;
        let part = self.part(key, txn, commit, turn);
        match part {
            Part::Skip => return Ok(Outcome::Nothing),
            Part::Refuse(reason) => return Err(reason.plain()),
            Part::End => return Ok(self.end_lease(key, commit, turn)),
            Part::EraseMessage => self.erase_message(key, turn),
            Part::RollBackMessage => self.roll_back_message(key, turn),
            Part::EraseState => self.erase_state(key, turn),
        }
        Ok(if commit { Outcome::Committed } else { Outcome::RolledBack })
    }

    fn part(&mut self, key: &KeyId, txn: TxnId, commit: bool, turn: &mut Turn) -> Part {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else {
            debug_assert!(false, "{key} takes part in the transaction but was not loaded");
            return Part::Refuse(Reason::Damaged);
        };
        // Also who is passed over or refuses is told of.
        turn.basis = turn.basis.max(lane.written);
        let record = &lane.record;
        let grant = match &record.lease {
            Lease::Held(grant) => Some(grant),
            Lease::Free => None,
        };
        let ours = grant.is_some_and(|grant| grant.txn == txn);
        if key.as_message().is_some() {
            return match (record.living_message(), grant) {
                (None, _) if !ours => Part::Skip,
                (Some(_), Some(grant)) if ours && grant.delivery => match (commit, grant.is_expired(now)) {
                    (true, true) => Part::Refuse(Reason::MessageLeaseExpired),
                    (true, false) => Part::EraseMessage,
                    (false, _) => Part::RollBackMessage,
                },
                (Some(_), Some(_)) if !ours => Part::Refuse(Reason::MessageLeaseMismatch),
                (Some(_), None) if commit => Part::Refuse(Reason::MessageLeaseMissing),
                (Some(_), None) => Part::Skip,
                _ => Part::End,
            };
        }
        if key.as_queue_state().is_some() && grant.is_none_or(|grant| grant.delivery) {
            return match grant {
                Some(_) if ours && commit => Part::EraseState,
                Some(_) if ours => Part::End,
                Some(_) => Part::Refuse(Reason::StateLeaseMismatch),
                None => Part::Skip,
            };
        }
        match &record.staged {
            Staged::Of(overlay) if overlay.txn == txn => Part::End,
            Staged::Of(_) => Part::Skip,
            Staged::Nothing if ours => Part::End,
            Staged::Nothing => Part::Skip,
        }
    }

    /// Whoever asks has seen that the retention was over, but the transaction may have been decided anew since then.
    pub(super) fn forget_txn(&mut self, txn: TxnId, turn: &mut Turn) -> Reply {
        let recorded = self.recorded(txn, turn);
        let over = recorded.is_some_and(|decided| decided.expires_at <= self.now);
        if over {
            turn.decided_txns.push((txn, None));
        }
        Reply::Tended(over)
    }
}

fn check_term(recorded: u64, given: u64) -> Result<(), Refusal> {
    if recorded != 0 && given == 0 {
        return Err(Reason::TermRequired.plain());
    }
    if recorded != 0 && given < recorded {
        return Err(Reason::TermStale.plain());
    }
    Ok(())
}
