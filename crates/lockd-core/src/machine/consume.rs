//! Messages: enqueueing them, and what consumers make of those they have got.

use lockd_wire::{KeyId, Uid};

use super::Core;
use super::turn::Turn;
use crate::decide::{self, Proof, Purpose};
use crate::op::{
    Ack, Delivery, Enqueue, Extend, Handle, Intent, Nack, Outcome, Reason, Refusal, Reply, StateHandle, Tend,
};
use crate::records::key::Lease;
use crate::records::txn::Verdict;

/// A delivery that was proved, and where it is.
struct Held {
    message: Uid,
    key: KeyId,
    state_key: KeyId,
    proof: Proof,
}

impl Delivery {
    /// The leases that came with it.
    pub fn leases(&self) -> impl Iterator<Item = (KeyId, lockd_wire::LeaseId)> {
        let state =
            self.state.as_ref().map(|state| (KeyId::of_queue_state(&self.queue, self.message), state.lease));
        std::iter::once((KeyId::of_message(&self.queue, self.message), self.lease)).chain(state)
    }
}

impl Core {
    pub(super) fn enqueue(&mut self, op: Enqueue, turn: &mut Turn) -> Reply {
        if self.draining {
            return Reason::Draining.plain().into();
        }
        let key = KeyId::of_message(&op.queue, op.message);
        let (record, enqueued) = decide::enqueue(self.now, op, &mut turn.effects);
        self.lanes.create(&key).record = record;
        turn.change(&key);
        Reply::Enqueued(enqueued)
    }

    pub(super) fn ack(&mut self, op: &Ack, turn: &mut Turn) -> Reply {
        let held = match self.prove(&op.handle, Purpose::End, turn) {
            Ok(held) => held,
            Err(refusal) => return self.after_decision(&op.handle, Verdict::Commit, refusal, turn),
        };
        if let Some(etag) = op.state_etag {
            let stateful = self
                .lanes
                .ready(&held.key)
                .and_then(|lane| lane.record.message.as_ref().map(|message| message.stateful))
                .unwrap_or(false);
            match (stateful, op.handle.state.is_some()) {
                (true, _) if etag != Some(held.message) => return Reason::StateMarkerMismatch.plain().into(),
                (false, true) => return Reason::MessageNotFound.plain().into(),
                _ => {}
            }
        }
        let correlation = self.correlation(&held.key);
        if self.participants(held.proof.txn).is_empty() {
            self.erase_message(&held.key, turn);
        } else {
            match self.decide_with_own(&held, Verdict::Commit, turn) {
                (Outcome::RolledBack, _) => return Reason::TxnConflict.plain().into(),
                (_, Some(reason)) => return reason.plain().into(),
                (_, None) => {}
            }
        }
        Reply::Acked { correlation }
    }

    pub(super) fn nack(&mut self, op: &Nack, turn: &mut Turn) -> Reply {
        let now = self.now;
        let held = match self.prove(&op.handle, Purpose::End, turn) {
            Ok(held) => held,
            Err(refusal) => return self.after_decision(&op.handle, Verdict::Rollback, refusal, turn),
        };
        let correlation = self.correlation(&held.key);
        let coordinated = !self.participants(held.proof.txn).is_empty();
        if coordinated {
            self.decide_with_own(&held, Verdict::Rollback, turn);
        } else {
            let Some(lane) = self.lanes.ready(&held.key) else { return Reason::Damaged.plain().into() };
            if let Err(refusal) = decide::unchanged(&lane.record, &op.handle) {
                return refusal.into();
            }
            // Progress survives a retry.
            if let Some(state) = &op.handle.state {
                self.end_state(&held.state_key, state, true, turn);
            }
        }
        let Some(lane) = self.lanes.ready(&held.key) else { return Reason::Damaged.plain().into() };
        let Some(meta_etag) = decide::nack(&mut lane.record, held.message, now, op, &mut turn.effects) else {
            return Reason::MessageNotFound.plain().into();
        };
        turn.change(&held.key);
        turn.free(&held.key);
        Reply::Requeued { meta_etag, correlation }
    }

    /// Decides the transaction of a delivery. The delivery itself is concerned also if only others were named as participants.
    fn decide_with_own(
        &mut self,
        held: &Held,
        verdict: Verdict,
        turn: &mut Turn,
    ) -> (Outcome, Option<Reason>) {
        let txn = held.proof.txn;
        let mut keys = self.participants(txn);
        for own in [&held.key, &held.state_key] {
            let ours = self.lanes.ready(own).is_some_and(
                |lane| matches!(&lane.record.lease, Lease::Held(grant) if grant.delivery && grant.txn == txn),
            );
            if ours && !keys.contains(own) {
                keys.push(own.clone());
            }
        }
        self.decide_participants(txn, verdict, keys, 0, turn)
    }

    pub(super) fn extend(&mut self, op: &Extend, turn: &mut Turn) -> Reply {
        match self.try_extend(op, turn) {
            Ok(reply) => reply,
            Err(refusal) => refusal.into(),
        }
    }

    fn try_extend(&mut self, op: &Extend, turn: &mut Turn) -> Result<Reply, Refusal> {
        let now = self.now;
        let held = self.prove(&op.handle, Purpose::Extend, turn)?;
        let damaged = || Reason::Damaged.plain();
        decide::unchanged(&self.lanes.ready(&held.key).ok_or_else(damaged)?.record, &op.handle)?;
        if let Some(state) = &op.handle.state {
            let lane = self.lanes.ready(&held.state_key).ok_or_else(damaged)?;
            turn.basis = turn.basis.max(lane.written);
            decide::holds_state(&lane.record, now, state)?;
        }
        let lane = self.lanes.ready(&held.key).ok_or_else(damaged)?;
        let mut extended = decide::extend(&mut lane.record, held.message, now, op).ok_or_else(damaged)?;
        turn.change(&held.key);
        if op.handle.state.is_some()
            && let Some(state) = self.lanes.ready(&held.state_key)
            && let Lease::Held(grant) = &mut state.record.lease
        {
            grant.expires_at = extended.expires_at;
            extended.state_expires_at = Some(extended.expires_at);
            turn.change(&held.state_key);
        }
        Ok(Reply::Extended(extended))
    }

    pub(super) fn tend(&mut self, op: &Tend, turn: &mut Turn) -> Reply {
        let now = self.now;
        let (Tend::Bury(key) | Tend::Redrive(key) | Tend::Purge(key)) = op;
        let Some(lane) = self.lanes.ready(key) else { return Reason::Damaged.plain().into() };
        turn.basis = turn.basis.max(lane.written);
        let Some(message) = &lane.record.message else { return Reply::Tended(false) };
        let dead = message.dead_since.is_some();
        let held = matches!(lane.record.lease, Lease::Held(_));
        let done = match op {
            // A delivery that began in time stays valid.
            Tend::Bury(_) => !held && !dead && message.dies_at.is_some_and(|at| at <= now),
            Tend::Purge(_) => dead,
            Tend::Redrive(_) => {
                let redriven = decide::redrive(&mut lane.record, now);
                if redriven {
                    turn.change(key);
                }
                return Reply::Tended(redriven);
            }
        };
        if done {
            self.erase_message(key, turn);
        }
        Reply::Tended(done)
    }

    /// Finds the delivery that a handle stands for.
    fn prove(&mut self, handle: &Handle, purpose: Purpose, turn: &mut Turn) -> Result<Held, Refusal> {
        let message = handle.message.ok_or_else(|| Reason::MessageNotFound.plain())?;
        let key = KeyId::of_message(&handle.queue, message);
        let state_key = KeyId::of_queue_state(&handle.queue, message);
        let now = self.now;
        let lane = self.lanes.ready(&key).ok_or_else(|| Reason::Damaged.plain())?;
        turn.basis = turn.basis.max(lane.written);
        match decide::prove_delivery(&lane.record, now, handle, purpose) {
            Ok(proof) => Ok(Held { message, key, state_key, proof }),
            Err(refusal) => {
                // The first to meet an expired lease clears it.
                self.expire(&key, turn);
                Err(refusal)
            }
        }
    }

    /// A handle that is worth nothing any more may belong to a transaction that was decided meanwhile.
    fn after_decision(
        &mut self,
        handle: &Handle,
        asked: Verdict,
        refusal: Refusal,
        turn: &mut Turn,
    ) -> Reply {
        let Some(txn) = handle.txn.flatten() else { return refusal.into() };
        let Some(decided) = self.decision(txn, turn) else { return refusal.into() };
        if decided.verdict != asked {
            return Reason::TxnConflict.plain().into();
        }
        match (asked, refusal.reason) {
            (Verdict::Commit, Reason::MessageNotFound) => Reply::Acked { correlation: String::new() },
            _ => refusal.into(),
        }
    }

    fn correlation(&mut self, key: &KeyId) -> String {
        let message = self.lanes.ready(key).and_then(|lane| lane.record.message.as_ref());
        message.map(|message| message.correlation.clone()).unwrap_or_default()
    }

    /// Ends the lease on a workflow state, if it is the one that came with the delivery.
    fn end_state(&mut self, key: &KeyId, handle: &StateHandle, keep: bool, turn: &mut Turn) {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else { return };
        if decide::holds_state(&lane.record, now, handle).is_ok() {
            decide::end_state(&mut lane.record, now, keep, &mut turn.effects);
            turn.change(key);
            turn.free(key);
        }
    }

    /// Removes a message, and its workflow state if it ever had one.
    pub(super) fn erase_message(&mut self, key: &KeyId, turn: &mut Turn) {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else { return };
        let stateful = lane.record.message.as_ref().is_some_and(|message| message.stateful);
        decide::erase(&mut lane.record, now, &mut turn.effects);
        turn.change(key);
        turn.free(key);
        if stateful && let Some((queue, id)) = key.as_message() {
            self.erase_state(&KeyId::of_queue_state(&queue, id), turn);
        }
    }

    /// Removes a workflow state along with its message. If somebody has leased its key for itself and not with a delivery, that
    /// lease, what is staged under it and the counter of its tokens stay; only what the deliveries have left there goes.
    pub(super) fn erase_state(&mut self, key: &KeyId, turn: &mut Turn) {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else {
            debug_assert!(false, "{key} is to be removed but was not loaded");
            return;
        };
        let strangers = match &lane.record.lease {
            Lease::Held(grant) => !grant.delivery,
            Lease::Free => false,
        };
        if strangers {
            decide::erase_content(&mut lane.record, now, &mut turn.effects);
            turn.change(key);
        } else if !lane.record.is_blank() {
            decide::erase(&mut lane.record, now, &mut turn.effects);
            turn.change(key);
            turn.free(key);
        }
    }

    /// A message of a transaction that was rolled back: visible again at once, and it says why.
    pub(super) fn roll_back_message(&mut self, key: &KeyId, turn: &mut Turn) {
        let now = self.now;
        let Some(lane) = self.lanes.ready(key) else { return };
        decide::roll_back(&mut lane.record, now, &mut turn.effects);
        if let Some(message) = lane.record.message.as_deref_mut() {
            decide::count(message, now, &Intent::Defer);
            message.last_error = Some(decide::rolled_back_error());
        }
        turn.change(key);
        turn.free(key);
    }
}
