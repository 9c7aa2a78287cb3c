//! The reference for messages: what becomes of one, written from the contract and not from the core.

use bytes::Bytes;
use lockd_core::Limits;
use lockd_core::op::{Ack, DeliveryIds, Dequeue, Enqueue, Extend, Handle, Intent, MetaEtag, Nack, Reason};
use lockd_core::records::message::Message;
use lockd_wire::{KeyId, LeaseId, Uid};

use super::{KeyModel, LeaseModel, Value, expiry, value_of};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageModel {
    pub payload: Value,
    pub len: u64,
    pub correlation: String,
    pub enqueued_at: u64,
    pub visible_at: u64,
    pub visibility: u64,
    pub dies_at: Option<u64>,
    pub attempts: u64,
    pub failures: u64,
    pub max_attempts: u64,
    pub last_error: Option<Bytes>,
    pub revision: u64,
    /// The delivery that ended with its time and was not followed by another.
    pub expired: Option<LeaseId>,
    pub stateful: bool,
    pub dead_since: Option<u64>,
}

impl MessageModel {
    pub fn of(message: &Message) -> MessageModel {
        MessageModel {
            payload: value_of(message.payload.sha256),
            len: message.payload.len,
            correlation: message.correlation.clone(),
            enqueued_at: message.enqueued_at.0,
            visible_at: message.visible_at.0,
            visibility: message.visibility,
            dies_at: message.dies_at.map(|at| at.0),
            attempts: message.attempts,
            failures: message.failures,
            max_attempts: message.max_attempts,
            last_error: message.last_error.clone(),
            revision: message.revision,
            expired: message.expired,
            stateful: message.stateful,
            dead_since: message.dead_since.map(|at| at.0),
        }
    }

    pub fn enqueued(now: u64, op: &Enqueue) -> MessageModel {
        let or = |number: i64, default: u64| if number > 0 { number as u64 } else { default };
        let later = |seconds: i64| if seconds > 0 { expiry(now, seconds as u64 * 1000) } else { now };
        MessageModel {
            payload: value_of(op.payload.sha256),
            len: op.payload.len,
            correlation: op.correlation.clone(),
            enqueued_at: now,
            visible_at: later(op.delay_seconds),
            visibility: or(op.visibility_seconds, 30),
            dies_at: (op.ttl_seconds > 0).then(|| later(op.ttl_seconds)),
            attempts: 0,
            failures: 0,
            max_attempts: or(op.max_attempts, 5),
            last_error: None,
            revision: 1,
            expired: None,
            stateful: false,
            dead_since: None,
        }
    }

    /// May it be handed out now, if nobody has it?
    pub fn is_due(&self, now: u64) -> bool {
        self.dead_since.is_none() && self.visible_at <= now && self.dies_at.is_none_or(|at| now < at)
    }

    pub fn etag(&self, id: Uid) -> MetaEtag {
        MetaEtag::Of { message: id, revision: self.revision }
    }
}

/// What a handle is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Ack,
    Nack,
    /// A nack that decides a transaction.
    NackInTxn,
    Extend,
}

impl KeyModel {
    /// The key of a message that is ready for whoever asks first.
    pub fn ready(&self, now: u64) -> Option<&MessageModel> {
        self.message.as_ref().filter(|message| self.lease.is_none() && message.is_due(now))
    }

    fn with_message(&self, change: impl FnOnce(&mut MessageModel)) -> KeyModel {
        let mut after = self.clone();
        if let Some(message) = &mut after.message {
            change(message);
        }
        after
    }

    pub fn enqueued(now: u64, op: &Enqueue) -> KeyModel {
        KeyModel { message: Some(MessageModel::enqueued(now, op)), ..KeyModel::default() }
    }

    fn lease_by(&self, op: &Dequeue, ids: &DeliveryIds, id: LeaseId, expires: u64) -> LeaseModel {
        LeaseModel {
            id,
            txn: op.txn.unwrap_or(ids.txn),
            coordinated: op.txn.is_some(),
            delivery: true,
            owner: op.owner.clone(),
            expires,
            token: self.token + 1,
        }
    }

    pub fn delivered(&self, now: u64, op: &Dequeue, ids: &DeliveryIds, limits: &Limits) -> KeyModel {
        let ttl = limits.ttl_ms(op.visibility_seconds);
        let lease = self.lease_by(op, ids, ids.lease, expiry(now, ttl));
        let mut after = self.with_message(|message| {
            message.attempts += 1;
            message.visible_at = lease.expires;
            message.visibility = ttl / 1000;
            message.last_error = None;
            message.revision += 1;
            message.expired = None;
            message.stateful |= op.stateful;
        });
        (after.token, after.lease) = (lease.token, Some(lease));
        after
    }

    /// The workflow state, handed out together with its message.
    pub fn state_delivered(&self, now: u64, op: &Dequeue, ids: &DeliveryIds, limits: &Limits) -> KeyModel {
        let expires = expiry(now, limits.ttl_ms(op.visibility_seconds));
        let lease = self.lease_by(op, ids, ids.state_lease, expires);
        KeyModel {
            token: lease.token,
            hidden: self.hidden.or(Some(true)),
            lease: Some(lease),
            draft: None,
            ..self.clone()
        }
    }

    /// A lease has ended and nothing was decided.
    pub fn ended_alone(&self, now: u64) -> KeyModel {
        let (mut after, _) = self.rolled_back();
        if let (Some(message), Some(lease)) = (&mut after.message, &self.lease)
            && lease.delivery
        {
            message.visible_at = message.visible_at.min(now);
            if lease.expires <= now {
                message.expired = Some(lease.id);
            }
        }
        after
    }

    /// The transaction was rolled back: visible again, without a failure, and the message says why.
    pub fn rolled_back_with_txn(&self, now: u64) -> KeyModel {
        self.ended_alone(now).with_message(|message| {
            message.revision += 1;
            message.last_error = Some(Bytes::from_static(br#"{"reason":"txn_rollback"}"#));
        })
    }

    pub fn nacked(&self, now: u64, op: &Nack) -> KeyModel {
        self.ended_alone(now).with_message(|message| {
            message.visible_at =
                if op.delay_seconds > 0 { expiry(now, op.delay_seconds as u64 * 1000) } else { now };
            message.revision += 1;
            match &op.intent {
                Intent::Defer => message.last_error = None,
                Intent::Failure(error) => {
                    message.failures += 1;
                    message.last_error.clone_from(error);
                    message.dead_since = (message.failures >= message.max_attempts).then_some(now);
                }
            }
        })
    }

    pub fn extended(&self, now: u64, op: &Extend) -> KeyModel {
        let current = self.message.as_ref().map_or(0, |message| message.visibility);
        let seconds = if op.by_seconds > 0 { op.by_seconds as u64 } else { current };
        let expires = expiry(now, seconds * 1000);
        let mut after = self.with_message(|message| {
            message.visible_at = expires;
            message.visibility = seconds;
            message.revision += 1;
        });
        if let Some(lease) = &mut after.lease {
            lease.expires = expires;
        }
        after
    }

    pub fn redriven(&self, now: u64) -> KeyModel {
        self.with_message(|message| {
            message.dead_since = None;
            message.failures = 0;
            message.visible_at = now;
            message.dies_at = None;
            message.revision += 1;
        })
    }

    /// What a consumer is told that shows this handle, first failure first.
    pub fn judge(&self, now: u64, handle: &Handle, purpose: Purpose) -> Result<(), Reason> {
        let message = self.message.as_ref().filter(|message| message.dead_since.is_none());
        let Some(message) = message else { return Err(Reason::MessageNotFound) };
        let stale =
            handle.meta_etag.is_some() && handle.meta_etag != handle.message.map(|id| message.etag(id));
        let Some(lease) = self.lease.as_ref().filter(|lease| lease.delivery) else {
            return Err(match purpose {
                _ if message.expired.is_some() && message.expired == handle.lease => Reason::LeaseExpired,
                Purpose::Extend => Reason::LeaseRequired,
                _ if stale => Reason::MessageChanged,
                _ => Reason::MessageLeaseMissing,
            });
        };
        let right = handle.lease == Some(lease.id)
            && handle.token == lease.token as i64
            && handle.txn.is_none_or(|txn| txn == Some(lease.txn));
        if !right {
            return Err(Reason::MessageLeaseMismatch);
        }
        if lease.expires <= now {
            return Err(Reason::LeaseExpired);
        }
        let decides = match purpose {
            Purpose::Ack | Purpose::NackInTxn => true,
            Purpose::Nack => lease.coordinated,
            Purpose::Extend => false,
        };
        if stale && !decides {
            return Err(Reason::MessageChanged);
        }
        Ok(())
    }

    /// Does the handle name the lease on this workflow state?
    pub fn is_held_with(&self, now: u64, handle: &Handle) -> bool {
        self.lease.as_ref().is_some_and(|lease| {
            now < lease.expires
                && handle
                    .state
                    .is_some_and(|state| state.lease == Some(lease.id) && state.token == lease.token as i64)
        })
    }
}

/// The message that a handle is about.
pub fn message_key(handle: &Handle) -> Option<KeyId> {
    Some(KeyId::of_message(&handle.queue, handle.message?))
}

/// An ack with the wrong ETag of a state marker, or with one of a marker that never was, does nothing.
pub fn marker_refusal(model: &KeyModel, op: &Ack) -> Option<Reason> {
    let etag = op.state_etag?;
    let stateful = model.message.as_ref().is_some_and(|message| message.stateful);
    match (stateful, op.handle.state.is_some()) {
        (true, _) if etag != op.handle.message => Some(Reason::StateMarkerMismatch),
        (false, true) => Some(Reason::MessageNotFound),
        _ => None,
    }
}
