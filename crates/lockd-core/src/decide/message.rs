//! Messages: putting one into its queue, handing it to a consumer, and what the consumer makes of it.

use bytes::Bytes;
use lockd_wire::{LeaseId, TxnId, Uid};

use super::{Effects, Limits, commit, roll_back};
use crate::moment::Moment;
use crate::op::{
    Delivery, DeliveryIds, Dequeue, Enqueue, Enqueued, Extend, Extended, Handle, Intent, MetaEtag, Nack,
    Reason, Refusal, StateDelivery, StateHandle,
};
use crate::records::field::Unknown;
use crate::records::key::{Grant, KeyRecord, Lease};
use crate::records::message::Message;

const DEFAULT_VISIBILITY: u64 = 30;
const DEFAULT_MAX_ATTEMPTS: u64 = 5;

fn positive(seconds: i64) -> Option<u64> {
    u64::try_from(seconds).ok().filter(|&seconds| seconds > 0)
}

fn in_seconds(now: Moment, seconds: Option<u64>) -> Moment {
    seconds.map_or(now, |seconds| now.after_full(seconds.saturating_mul(1000)))
}

/// The record of a new message.
pub fn enqueue(now: Moment, op: Enqueue, effects: &mut Effects) -> (KeyRecord, Enqueued) {
    let message = Message {
        payload: effects.keep(op.payload),
        content_type: op.content_type,
        attributes: op.attributes,
        correlation: op.correlation,
        enqueued_at: now,
        visible_at: in_seconds(now, positive(op.delay_seconds)),
        visibility: positive(op.visibility_seconds).unwrap_or(DEFAULT_VISIBILITY),
        dies_at: positive(op.ttl_seconds).map(|seconds| in_seconds(now, Some(seconds))),
        attempts: 0,
        failures: 0,
        max_attempts: positive(op.max_attempts).unwrap_or(DEFAULT_MAX_ATTEMPTS),
        last_error: None,
        revision: 1,
        expired: None,
        stateful: false,
        dead_since: None,
        unknown: Unknown::default(),
    };
    let enqueued = Enqueued {
        message: op.message,
        visible_at: message.visible_at,
        visibility_seconds: message.visibility,
        max_attempts: message.max_attempts,
        len: message.payload.len,
    };
    let record = KeyRecord { updated_at: now, message: Some(Box::new(message)), ..KeyRecord::default() };
    (record, enqueued)
}

/// Leases a message that is ready. The caller has seen to it that it is, and leases the state with [`lease_state`].
pub fn deliver(
    record: &mut KeyRecord,
    id: Uid,
    now: Moment,
    op: &Dequeue,
    ids: &DeliveryIds,
    limits: &Limits,
) -> Option<Delivery> {
    let message = record.message.as_deref_mut()?;
    let visibility_ms = limits.ttl_ms(op.visibility_seconds);
    let expires_at = now.after_full(visibility_ms);
    message.attempts += 1;
    message.visible_at = expires_at;
    message.visibility = visibility_ms / 1000;
    message.last_error = None;
    message.revision += 1;
    message.expired = None;
    message.stateful |= op.stateful;
    record.fencing += 1;
    record.updated_at = now;
    let txn = op.txn.unwrap_or(ids.txn);
    record.lease = Lease::Held(Grant {
        id: ids.lease,
        txn,
        coordinated: op.txn.is_some(),
        delivery: true,
        owner: op.owner.clone(),
        expires_at,
        token: record.fencing,
        unknown: Unknown::default(),
    });
    Some(Delivery {
        queue: op.queue.clone(),
        message: id,
        attempts: message.attempts,
        max_attempts: message.max_attempts,
        failures: message.failures,
        visibility_seconds: message.visibility,
        attributes: message.attributes.clone(),
        content_type: message.content_type.clone(),
        payload: message.payload,
        correlation: message.correlation.clone(),
        lease: ids.lease,
        expires_at,
        token: record.fencing,
        txn,
        meta_etag: MetaEtag::Of { message: id, revision: message.revision },
        state: None,
    })
}

/// Leases the workflow state along with a delivery. Its key is free.
pub fn lease_state(
    record: &mut KeyRecord,
    now: Moment,
    op: &Dequeue,
    ids: &DeliveryIds,
    with: &Delivery,
) -> StateDelivery {
    record.fencing += 1;
    record.updated_at = now;
    // Unless somebody has said otherwise, queries do not find it.
    record.query_hidden.get_or_insert(true);
    record.lease = Lease::Held(Grant {
        id: ids.state_lease,
        txn: with.txn,
        coordinated: op.txn.is_some(),
        delivery: true,
        owner: op.owner.clone(),
        expires_at: with.expires_at,
        token: record.fencing,
        unknown: Unknown::default(),
    });
    StateDelivery {
        marker: with.message,
        lease: ids.state_lease,
        expires_at: with.expires_at,
        token: record.fencing,
    }
}

/// What a delivery is proved for: the calls differ in what they say of a message without a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    End,
    Extend,
}

/// A delivery that was proved.
#[derive(Debug, Clone, Copy)]
pub struct Proof {
    pub lease: LeaseId,
    pub txn: TxnId,
    pub coordinated: bool,
}

/// Checks a handle, first failure first: the message, its lease, the time.
pub fn prove_delivery(
    record: &KeyRecord,
    now: Moment,
    handle: &Handle,
    purpose: Purpose,
) -> Result<Proof, Refusal> {
    let refuse = |reason: Reason| Err(reason.plain());
    let Some(message) = record.living_message() else { return refuse(Reason::MessageNotFound) };
    let grant = match &record.lease {
        Lease::Held(grant) if grant.delivery => grant,
        _ if message.expired.is_some() && message.expired == handle.lease => {
            return refuse(Reason::LeaseExpired);
        }
        _ if purpose == Purpose::Extend => return refuse(Reason::LeaseRequired),
        _ if handle.is_stale(message) => return refuse(Reason::MessageChanged),
        _ => return refuse(Reason::MessageLeaseMissing),
    };
    let is_it = Some(grant.id) == handle.lease
        && u64::try_from(handle.token) == Ok(grant.token)
        && handle.txn.is_none_or(|txn| txn == Some(grant.txn));
    if !is_it {
        return refuse(Reason::MessageLeaseMismatch);
    }
    if grant.is_expired(now) {
        return refuse(Reason::LeaseExpired);
    }
    Ok(Proof { lease: grant.id, txn: grant.txn, coordinated: grant.coordinated })
}

impl Handle {
    /// There is an ETag, and it is not the message's current one.
    fn is_stale(&self, message: &Message) -> bool {
        let current = self.message.map(|id| MetaEtag::Of { message: id, revision: message.revision });
        self.meta_etag.is_some() && self.meta_etag != current
    }
}

/// The strict comparison that nack and extend make after the lease was proved.
pub fn unchanged(record: &KeyRecord, handle: &Handle) -> Result<(), Refusal> {
    match record.living_message() {
        Some(message) if !handle.is_stale(message) => Ok(()),
        Some(_) => Err(Reason::MessageChanged.plain()),
        None => Err(Reason::MessageNotFound.plain()),
    }
}

impl KeyRecord {
    /// The message, unless it is a dead letter.
    pub fn living_message(&self) -> Option<&Message> {
        self.message.as_deref().filter(|message| message.dead_since.is_none())
    }
}

/// The lease of a state handle, if it is the one that came with the delivery and still lasts.
pub fn holds_state(record: &KeyRecord, now: Moment, handle: &StateHandle) -> Result<(), Refusal> {
    let grant = match &record.lease {
        Lease::Held(grant) if Some(grant.id) == handle.lease => grant,
        _ => return Err(Reason::LeaseRequired.plain()),
    };
    if grant.is_expired(now) {
        return Err(Reason::LeaseExpired.plain());
    }
    if u64::try_from(handle.token) != Ok(grant.token) {
        return Err(Reason::FencingMismatch.plain());
    }
    Ok(())
}

/// Removes what is committed, under a lease that goes on.
pub fn erase_content(record: &mut KeyRecord, now: Moment, effects: &mut Effects) {
    record.updated_at = now;
    if let Some(state) = record.state.take() {
        effects.forget(&state);
    }
    effects.forget_all(&record.attachments);
    record.attachments.clear();
}

/// Makes a record as if its key had never been used.
pub fn erase(record: &mut KeyRecord, now: Moment, effects: &mut Effects) {
    roll_back(record, now, effects);
    if let Some(message) = &record.message {
        effects.forget(&message.payload);
    }
    erase_content(record, now, effects);
    *record = KeyRecord::default();
}

/// Gives a message back to its queue. The lease is proved, or a transaction was rolled back.
pub fn nack(
    record: &mut KeyRecord,
    id: Uid,
    now: Moment,
    op: &Nack,
    effects: &mut Effects,
) -> Option<MetaEtag> {
    roll_back(record, now, effects);
    let message = record.message.as_deref_mut()?;
    message.visible_at = in_seconds(now, positive(op.delay_seconds));
    count(message, now, &op.intent);
    Some(MetaEtag::Of { message: id, revision: message.revision })
}

/// Counts a failure, or not.
pub fn count(message: &mut Message, now: Moment, intent: &Intent) {
    message.revision += 1;
    match intent {
        Intent::Defer => message.last_error = None,
        Intent::Failure(error) => {
            message.failures += 1;
            message.last_error.clone_from(error);
            if message.failures >= message.max_attempts {
                message.dead_since = Some(now);
            }
        }
    }
}

/// Ends the lease of a delivery on the workflow state: with what was staged, or without.
pub fn end_state(record: &mut KeyRecord, now: Moment, keep: bool, effects: &mut Effects) {
    if keep {
        commit(record, now, effects);
    } else {
        roll_back(record, now, effects);
    }
}

/// Moves the end of a delivery. The lease is proved.
pub fn extend(record: &mut KeyRecord, id: Uid, now: Moment, op: &Extend) -> Option<Extended> {
    let message = record.message.as_deref_mut()?;
    let Lease::Held(grant) = &mut record.lease else { return None };
    let seconds = positive(op.by_seconds).unwrap_or(message.visibility);
    let expires_at = now.after_full(seconds.saturating_mul(1000));
    grant.expires_at = expires_at;
    record.updated_at = now;
    message.visible_at = expires_at;
    message.visibility = seconds;
    message.revision += 1;
    Some(Extended {
        expires_at,
        visibility_seconds: seconds,
        meta_etag: MetaEtag::Of { message: id, revision: message.revision },
        state_expires_at: None,
        correlation: message.correlation.clone(),
    })
}

/// What a message says of a transaction that was rolled back under it.
pub fn rolled_back_error() -> Bytes {
    Bytes::from_static(br#"{"reason":"txn_rollback"}"#)
}

/// Puts a dead letter back, as if it had just been enqueued.
pub fn redrive(record: &mut KeyRecord, now: Moment) -> bool {
    let Some(message) = record.message.as_deref_mut() else { return false };
    if message.dead_since.take().is_none() {
        return false;
    }
    message.failures = 0;
    message.visible_at = now;
    message.dies_at = None;
    message.revision += 1;
    record.updated_at = now;
    true
}
