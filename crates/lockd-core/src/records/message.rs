//! The part of a key record that makes its key the lease of a queue's message.
//!
//! A message is a key record: its lease is the key's lease, its fencing token the key's. That is why transactions, expiry and
//! recovery need no rules of their own for messages.

use bytes::Bytes;
use lockd_wire::{LeaseId, Xid};

use super::Damaged;
use super::field::{Field, FieldWriter, Unknown};
use super::key::Stored;
use crate::moment::Moment;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub payload: Stored,
    pub content_type: String,
    /// A compact JSON object, as the producer sent it.
    pub attributes: Option<Bytes>,
    /// Fixed at enqueue, kept for life.
    pub correlation: String,
    pub enqueued_at: Moment,
    /// It can be leased from then on; while it is leased, when the lease ends.
    pub visible_at: Moment,
    /// In seconds, of the latest delivery; what the producer asked for before the first.
    pub visibility: u64,
    /// After this it is never delivered again.
    pub dies_at: Option<Moment>,
    /// Deliveries so far.
    pub attempts: u64,
    /// Nacks that count.
    pub failures: u64,
    pub max_attempts: u64,
    /// JSON: what the latest consumer said, or that a transaction was rolled back.
    pub last_error: Option<Bytes>,
    /// Grows with every change of the message.
    pub revision: u64,
    /// The delivery that ended with its time, until the next one: its consumer is told why it may not acknowledge.
    pub expired: Option<LeaseId>,
    /// There was a delivery with state.
    pub stateful: bool,
    /// Its budget is used up: a dead letter since then.
    pub dead_since: Option<Moment>,
    pub unknown: Unknown,
}

mod tag {
    pub(super) const PAYLOAD: u8 = 1;
    pub(super) const CONTENT_TYPE: u8 = 2;
    pub(super) const ATTRIBUTES: u8 = 3;
    pub(super) const CORRELATION: u8 = 4;
    pub(super) const ENQUEUED_AT: u8 = 5;
    pub(super) const VISIBLE_AT: u8 = 6;
    pub(super) const VISIBILITY: u8 = 7;
    pub(super) const DIES_AT: u8 = 8;
    pub(super) const ATTEMPTS: u8 = 9;
    pub(super) const FAILURES: u8 = 10;
    pub(super) const MAX_ATTEMPTS: u8 = 11;
    pub(super) const LAST_ERROR: u8 = 12;
    pub(super) const REVISION: u8 = 13;
    pub(super) const EXPIRED: u8 = 14;
    pub(super) const STATEFUL: u8 = 15;
    pub(super) const DEAD_SINCE: u8 = 16;
}

impl Message {
    pub(super) fn encode(&self, writer: &mut FieldWriter) {
        writer.nested(tag::PAYLOAD, |inner| self.payload.encode(inner));
        writer.bytes(tag::CONTENT_TYPE, self.content_type.as_bytes());
        if let Some(attributes) = &self.attributes {
            writer.bytes(tag::ATTRIBUTES, attributes);
        }
        writer.bytes(tag::CORRELATION, self.correlation.as_bytes());
        writer.number(tag::ENQUEUED_AT, self.enqueued_at.0);
        writer.number(tag::VISIBLE_AT, self.visible_at.0);
        writer.number(tag::VISIBILITY, self.visibility);
        if let Some(dies_at) = self.dies_at {
            writer.number_or_zero(tag::DIES_AT, dies_at.0);
        }
        writer.number(tag::ATTEMPTS, self.attempts);
        writer.number(tag::FAILURES, self.failures);
        writer.number(tag::MAX_ATTEMPTS, self.max_attempts);
        if let Some(error) = &self.last_error {
            writer.bytes(tag::LAST_ERROR, error);
        }
        writer.number(tag::REVISION, self.revision);
        if let Some(lease) = self.expired {
            writer.bytes(tag::EXPIRED, &lease.0.0);
        }
        writer.number(tag::STATEFUL, self.stateful.into());
        if let Some(since) = self.dead_since {
            writer.number_or_zero(tag::DEAD_SINCE, since.0);
        }
        writer.unknown(&self.unknown);
    }

    pub(super) fn decode(field: &Field<'_>) -> Result<Message, Damaged> {
        let mut payload = None;
        let mut reader = field.nested();
        let mut message = Message {
            payload: Stored::nothing(),
            content_type: String::new(),
            attributes: None,
            correlation: String::new(),
            enqueued_at: Moment(0),
            visible_at: Moment(0),
            visibility: 0,
            dies_at: None,
            attempts: 0,
            failures: 0,
            max_attempts: 0,
            last_error: None,
            revision: 0,
            expired: None,
            stateful: false,
            dead_since: None,
            unknown: Unknown::default(),
        };
        while let Some(field) = reader.next_field()? {
            let bytes = || Bytes::copy_from_slice(field.value);
            match field.tag {
                tag::PAYLOAD => payload = Some(Stored::decode(&field)?),
                tag::CONTENT_TYPE => message.content_type = field.text()?,
                tag::ATTRIBUTES => message.attributes = Some(bytes()),
                tag::CORRELATION => message.correlation = field.text()?,
                tag::ENQUEUED_AT => message.enqueued_at = Moment(field.number()?),
                tag::VISIBLE_AT => message.visible_at = Moment(field.number()?),
                tag::VISIBILITY => message.visibility = field.number()?,
                tag::DIES_AT => message.dies_at = Some(Moment(field.number()?)),
                tag::ATTEMPTS => message.attempts = field.number()?,
                tag::FAILURES => message.failures = field.number()?,
                tag::MAX_ATTEMPTS => message.max_attempts = field.number()?,
                tag::LAST_ERROR => message.last_error = Some(bytes()),
                tag::REVISION => message.revision = field.number()?,
                tag::EXPIRED => message.expired = Some(LeaseId(Xid(field.array()?))),
                tag::STATEFUL => message.stateful = field.flag()?,
                tag::DEAD_SINCE => message.dead_since = Some(Moment(field.number()?)),
                _ => field.keep(&mut message.unknown),
            }
        }
        message.payload = payload.ok_or(reader.damaged("payload of the message is missing"))?;
        Ok(message)
    }
}
