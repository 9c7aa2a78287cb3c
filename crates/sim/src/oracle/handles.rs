//! Is an answer about messages or transactions right?

use lockd_core::RequestId;
use lockd_core::op::{DecideTxn, Delivery, Dequeue, Handle, MetaEtag, Op, Reason, Tend, TxnAsk, TxnState};
use lockd_core::records::txn::Verdict;
use lockd_wire::KeyId;

use super::market::{Deed, Kind};
use super::{Asked, Era, Oracle};
use crate::model::message::{Purpose, marker_refusal, message_key};
use crate::model::{KeyModel, value_of};
use crate::shape::Shape;
use crate::violation::{Checked, promise};

impl Oracle {
    /// Answers that this file is about.
    pub(super) fn is_of_market(op: &Op) -> bool {
        matches!(
            op,
            Op::Enqueue(_)
                | Op::Dequeue(_)
                | Op::WatchQueue(_)
                | Op::Ack(_)
                | Op::Nack(_)
                | Op::Extend(_)
                | Op::Tend(_)
                | Op::DecideTxn(_)
                | Op::ForgetTxn(_)
        )
    }

    pub(super) fn answer_market(&mut self, id: RequestId, asked: &Asked, shape: &Shape) -> Checked {
        let reason = match shape {
            Shape::Refused { reason, .. } => Some(*reason),
            _ => None,
        };
        let right = match (&asked.op, shape) {
            // Whoever has something in his hands already gets it.
            (Op::Enqueue(_) | Op::Dequeue(_), _) if reason == Some(Reason::Draining) => {
                self.draining && asked.collected == 0
            }
            (Op::Dequeue(_) | Op::WatchQueue(_), _) if reason == Some(Reason::Cancelled) => asked.cancelled,
            (Op::Enqueue(op), Shape::Enqueued(enqueued)) => {
                let key = KeyId::of_message(&op.queue, op.message);
                self.claim(&key, asked, |deed| {
                    deed.kind == Kind::Sent
                        && deed.after.message.as_ref().is_some_and(|sent| {
                            let visible = sent.visible_at == enqueued.visible_at.0;
                            (visible || deed.after.lease.is_some())
                                && sent.max_attempts == enqueued.max_attempts
                                && sent.len == enqueued.len
                        })
                })
            }
            (Op::Dequeue(op), Shape::Delivered(deliveries)) => {
                // Whoever carries the answer sees what becomes of it.
                self.given_back.retain(|_, consumer| *consumer != id);
                deliveries.len() == asked.collected && self.delivered(asked, op, deliveries)
            }
            (Op::Dequeue(op), Shape::Refused { reason: Reason::NoMessage, .. }) => {
                asked.collected == 0
                    && match op.wait_seconds {
                        -1 => asked.saw_nothing,
                        seconds if seconds > 0 => self.now >= asked.time + seconds as u64 * 1000,
                        _ => false,
                    }
            }
            (Op::WatchQueue(op), Shape::Viewed(view)) => {
                let head = view.head.map(|head| head.message);
                let durable =
                    |&&(had, batch): &&(Option<lockd_wire::Uid>, u64)| had == head && batch <= self.told;
                op.known != Some(head) && asked.heads.iter().any(|had| durable(&had))
            }
            (Op::Ack(op), Shape::Acked) => self.acked(asked, &op.handle),
            (Op::Nack(op), Shape::Requeued(etag)) => {
                let (lease, message) = (op.handle.lease, op.handle.message);
                message_key(&op.handle).is_some_and(|key| {
                    self.claim(&key, asked, |deed| {
                        let ours = matches!(deed.kind, Kind::Nacked(_) | Kind::DecidedByNack(_));
                        // Whoever got it next has changed it again.
                        let changes = u64::from(deed.after.lease.is_some());
                        let revision = deed.after.message.as_ref().map(|after| after.revision - changes);
                        let told = message.zip(revision);
                        let told = told.map(|(message, revision)| MetaEtag::Of { message, revision });
                        ours && deed.lease == lease && told == Some(*etag)
                    })
                })
            }
            (Op::Extend(op), Shape::Extended(extended)) => message_key(&op.handle).is_some_and(|key| {
                self.claim(&key, asked, |deed| {
                    let until = deed.after.lease.as_ref().map(|lease| lease.expires);
                    let state = extended.state_expires_at.map(|at| at.0);
                    let etag = deed.after.message.as_ref().zip(op.handle.message);
                    matches!(deed.kind, Kind::Extended(_))
                        && until == Some(extended.expires_at.0)
                        && state == op.handle.state.and(until)
                        && etag.map(|(after, id)| after.etag(id)) == Some(extended.meta_etag)
                })
            }),
            (Op::Ack(op), _) => {
                let marker =
                    |model: &KeyModel, _: u64| reason.is_some() && marker_refusal(model, op) == reason;
                let replayed =
                    reason == Some(Reason::MessageNotFound) && self.stayed_committed(asked, &op.handle);
                (!replayed && self.refused(asked, &op.handle, Purpose::Ack, reason, Verdict::Commit))
                    || self.committed_without_some(asked, &op.handle, reason)
                    || self.at_some_time(asked, &op.handle, marker)
            }
            (Op::Nack(op), _) => self.refused(asked, &op.handle, Purpose::Nack, reason, Verdict::Rollback),
            (Op::Extend(op), _) => {
                let of_state = matches!(
                    reason,
                    Some(Reason::LeaseRequired | Reason::LeaseExpired | Reason::FencingMismatch)
                );
                self.refused(asked, &op.handle, Purpose::Extend, reason, Verdict::Commit)
                    || (of_state && self.state_was_not_held(asked, &op.handle))
            }
            (Op::Tend(op), Shape::Tended(done)) => self.tended(asked, op, *done),
            (Op::DecideTxn(op), _) => self.answer_txn(asked, op, shape),
            (Op::ForgetTxn(_), Shape::Tended(_)) => true,
            _ => false,
        };
        promise(right, "an answer about messages or transactions is true and durable", || {
            format!("{id:?} {:?} since step {}: {shape:?}, durable are {}", asked.op, asked.step, self.told)
        })
    }

    /// Looks for the durable deed that an answer rests on, and which no other answer rests on.
    fn claim(&mut self, key: &KeyId, asked: &Asked, is_it: impl Fn(&Deed) -> bool) -> bool {
        let told = self.told;
        let deeds = self.deeds.get_mut(key).into_iter().flatten();
        let by_hand = matches!(asked.op, Op::Dequeue(_));
        for deed in deeds.filter(|deed| deed.step >= asked.step && deed.batch <= told) {
            let fits = is_it(deed);
            let place = if by_hand { &mut deed.handed_out } else { &mut deed.claimed };
            if fits && !std::mem::replace(place, true) {
                return true;
            }
        }
        false
    }

    fn delivered(&mut self, asked: &Asked, op: &Dequeue, deliveries: &[Delivery]) -> bool {
        deliveries.iter().zip(&op.ids).all(|(delivery, ids)| {
            let key = KeyId::of_message(&op.queue, delivery.message);
            let state = delivery.state.as_ref();
            let right = state.map(|state| state.lease) == op.stateful.then_some(ids.state_lease)
                && state.is_none_or(|state| {
                    state.expires_at == delivery.expires_at && state.marker == delivery.message
                });
            right
                && delivery.lease == ids.lease
                && self.claim(&key, asked, |deed| {
                    let (Some(lease), Some(message)) = (&deed.after.lease, &deed.after.message) else {
                        return false;
                    };
                    lease.id == delivery.lease
                        && lease.token == delivery.token
                        && lease.expires == delivery.expires_at.0
                        && lease.txn == delivery.txn
                        && message.etag(delivery.message) == delivery.meta_etag
                        && message.attempts == delivery.attempts
                        && message.failures == delivery.failures
                        && message.max_attempts == delivery.max_attempts
                        && message.visibility == delivery.visibility_seconds
                        && message.payload == value_of(delivery.payload.sha256)
                        && message.correlation == delivery.correlation
                })
        })
    }

    fn acked(&mut self, asked: &Asked, handle: &Handle) -> bool {
        // What no message of ours can be called is gone, if its transaction was committed.
        let Some(key) = message_key(handle) else {
            return self.was_decided(asked, handle, Verdict::Commit);
        };
        let by_this = self.claim(&key, asked, |deed| {
            deed.lease == handle.lease
                && deed.after == KeyModel::default()
                && matches!(deed.kind, Kind::Acked(_) | Kind::Decided(Verdict::Commit))
        });
        // Its transaction was committed, by this or by somebody else.
        let gone = |model: &KeyModel, now: u64| {
            model.judge(now, handle, Purpose::Ack) == Err(Reason::MessageNotFound)
        };
        by_this
            || (self.was_decided(asked, handle, Verdict::Commit) && self.at_some_time(asked, handle, gone))
    }

    /// The transaction was committed, but somebody has named a message for it that is another's.
    fn committed_without_some(&self, asked: &Asked, handle: &Handle, reason: Option<Reason>) -> bool {
        let deeds = message_key(handle).and_then(|key| self.deeds.get(&key));
        let committed = deeds.into_iter().flatten().any(|deed| {
            deed.step >= asked.step
                && deed.batch <= self.told
                && deed.lease == handle.lease
                && deed.kind == Kind::Decided(Verdict::Commit)
        });
        let named = self.prepared.iter().any(|prepared| !prepared.participants.is_empty());
        committed && named && reason.is_some_and(is_of_participant)
    }

    fn was_decided(&self, asked: &Asked, handle: &Handle, verdict: Verdict) -> bool {
        let Some(eras) = handle.txn.flatten().and_then(|txn| self.decided.get(&txn)) else { return false };
        self.during(eras, asked, |decided, now| {
            decided.as_ref().is_some_and(|decided| decided.verdict == verdict && decided.expires_at.0 > now)
        })
    }

    /// Was the transaction committed all the time since the request was made?
    fn stayed_committed(&self, asked: &Asked, handle: &Handle) -> bool {
        // Of what no message of ours can be called nothing needs to be looked up.
        let txn = handle.message.and(handle.txn.flatten());
        let last = txn.and_then(|txn| self.decided.get(&txn)?.last());
        last.is_some_and(|era| {
            era.from_step < asked.step
                && era.state.as_ref().is_some_and(|decided| {
                    decided.verdict == Verdict::Commit && decided.expires_at.0 > self.now
                })
        })
    }

    fn at_some_time(&self, asked: &Asked, handle: &Handle, fits: impl Fn(&KeyModel, u64) -> bool) -> bool {
        let Some(key) = message_key(handle) else { return fits(&KeyModel::default(), self.now) };
        self.state_during(&key, asked, fits)
    }

    fn state_during(&self, key: &KeyId, asked: &Asked, fits: impl Fn(&KeyModel, u64) -> bool) -> bool {
        let eras = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        let untouched = eras.first().is_none_or(|era| era.from_step >= asked.step && era.batch > 0);
        self.during(eras, asked, &fits) || (untouched && fits(&KeyModel::default(), asked.time))
    }

    fn refused(
        &self,
        asked: &Asked,
        handle: &Handle,
        purpose: Purpose,
        reason: Option<Reason>,
        verdict: Verdict,
    ) -> bool {
        let Some(reason) = reason else { return false };
        if reason == Reason::TxnConflict {
            let other = if verdict == Verdict::Commit { Verdict::Rollback } else { Verdict::Commit };
            let by_this = message_key(handle).and_then(|key| self.deeds.get(&key)).is_some_and(|deeds| {
                deeds.iter().any(|deed| {
                    deed.step >= asked.step
                        && deed.batch <= self.told
                        && deed.lease == handle.lease
                        && deed.kind == Kind::Decided(other)
                })
            });
            return purpose != Purpose::Extend
                && (by_this || self.was_decided(asked, handle, other))
                && self.at_some_time(asked, handle, |model, now| model.judge(now, handle, purpose).is_err());
        }
        let judged = |model: &KeyModel, now: u64| model.judge(now, handle, purpose) == Err(reason);
        self.at_some_time(asked, handle, judged)
    }

    fn state_was_not_held(&self, asked: &Asked, handle: &Handle) -> bool {
        let (Some(message), Some(_)) = (handle.message, handle.state) else { return false };
        let key = KeyId::of_queue_state(&handle.queue, message);
        self.state_during(&key, asked, |model, now| !model.is_held_with(now, handle))
    }

    fn tended(&mut self, asked: &Asked, op: &Tend, done: bool) -> bool {
        let (Tend::Bury(key) | Tend::Redrive(key) | Tend::Purge(key)) = op;
        if done {
            return self.claim(key, asked, |deed| matches!(deed.kind, Kind::Tended(_)));
        }
        self.state_during(key, asked, |model, now| {
            let Some(message) = &model.message else { return true };
            match op {
                Tend::Bury(_) => {
                    model.lease.is_some()
                        || message.dead_since.is_some()
                        || message.dies_at.is_none_or(|at| at > now)
                }
                Tend::Redrive(_) | Tend::Purge(_) => message.dead_since.is_none(),
            }
        })
    }

    /// Nobody who was named has a lease of the transaction any more, except a new one.
    fn ended(&self, op: &DecideTxn, asked: &Asked) -> bool {
        op.participants.iter().all(|key| {
            let eras = self.keys.get(key).map_or(&[][..], Vec::as_slice);
            let lease = |era: &Era<KeyModel>| era.state.lease.clone().map(|lease| (lease.id, lease.txn));
            let last = eras.last().and_then(lease).filter(|&(_, txn)| txn == op.txn);
            let since = eras.iter().find(|era| last.is_some() && lease(era) == last);
            since.is_none_or(|era| era.from_step >= asked.step)
        })
    }

    fn answer_txn(&self, asked: &Asked, op: &DecideTxn, shape: &Shape) -> bool {
        let eras = self.decided.get(&op.txn).map_or(&[][..], Vec::as_slice);
        let terms = || {
            op.term != 0
                || self.prepared.iter().any(|prepared| prepared.txn == op.txn && prepared.term != 0)
                || eras.iter().any(|era| era.state.as_ref().is_some_and(|decided| decided.term != 0))
        };
        match (op.ask, shape) {
            (TxnAsk::Prepare, Shape::Txn(TxnState::Pending)) => self.prepared.iter().any(|prepared| {
                prepared.txn == op.txn
                    && prepared.step >= asked.step
                    && prepared.batch <= self.told
                    && op.participants.iter().all(|key| prepared.participants.contains(key))
            }),
            (TxnAsk::Tell, Shape::Txn(TxnState::Pending)) => asked.saw_open,
            (_, Shape::Txn(TxnState::Decided(verdict))) => {
                let recorded = self.during(eras, asked, |decided, now| {
                    decided
                        .as_ref()
                        .is_some_and(|known| known.verdict == *verdict && known.expires_at.0 > now)
                });
                recorded && op.ask != TxnAsk::Prepare && self.ended(op, asked)
            }
            (TxnAsk::Tell, Shape::Refused { reason: Reason::TxnNotFound, .. }) => asked.saw_nothing,
            (_, Shape::Refused { reason: Reason::TermRequired | Reason::TermStale, .. }) => terms(),
            (TxnAsk::Decide(wanted), Shape::Refused { reason: Reason::TxnConflict, .. }) => {
                terms()
                    && self.during(eras, asked, |decided, _| {
                        decided.as_ref().is_some_and(|known| known.verdict != wanted)
                    })
            }
            (TxnAsk::Decide(_), Shape::Refused { reason, .. }) if is_of_participant(*reason) => {
                let prepared = self
                    .prepared
                    .iter()
                    .any(|prepared| prepared.txn == op.txn && !prepared.participants.is_empty());
                prepared || !op.participants.is_empty()
            }
            _ => false,
        }
    }
}

/// Somebody who takes part cannot take the decision.
fn is_of_participant(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MessageLeaseExpired
            | Reason::MessageLeaseMissing
            | Reason::MessageLeaseMismatch
            | Reason::StateLeaseMismatch
    )
}
