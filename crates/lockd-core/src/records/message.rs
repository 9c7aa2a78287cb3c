//! The part of a key record that makes its key the lease of a queue's message.
//!
//! A message is a key record: its lease is the key's lease, its fencing token the key's. That is why transactions, expiry and
//! recovery need no rules of their own for messages.

use bytes::Bytes;

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
    /// JSON: what the latest consumer said, or what happened to it.
    pub last_error: Option<Bytes>,
    /// Grows with every change of the message.
    pub revision: u64,
    /// The lease on the key is a delivery of the message, not somebody's lock.
    pub delivered: bool,
    /// There was a delivery with state.
    pub stateful: bool,
    pub dead: Option<Death>,
    pub unknown: Unknown,
}

/// Why and when a message was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub at: Moment,
    /// JSON.
    pub error: Bytes,
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
    pub(super) const DELIVERED: u8 = 14;
    pub(super) const STATEFUL: u8 = 15;
    pub(super) const DIED_AT: u8 = 16;
    pub(super) const DEATH_ERROR: u8 = 17;
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
        writer.number(tag::DELIVERED, self.delivered.into());
        writer.number(tag::STATEFUL, self.stateful.into());
        if let Some(death) = &self.dead {
            writer.number_or_zero(tag::DIED_AT, death.at.0);
            writer.bytes(tag::DEATH_ERROR, &death.error);
        }
        writer.unknown(&self.unknown);
    }

    pub(super) fn decode(field: &Field<'_>) -> Result<Message, Damaged> {
        let mut payload = None;
        let (mut died_at, mut death_error) = (None, Bytes::new());
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
            delivered: false,
            stateful: false,
            dead: None,
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
                tag::DELIVERED => message.delivered = field.flag()?,
                tag::STATEFUL => message.stateful = field.flag()?,
                tag::DIED_AT => died_at = Some(Moment(field.number()?)),
                tag::DEATH_ERROR => death_error = bytes(),
                _ => field.keep(&mut message.unknown),
            }
        }
        message.payload = payload.ok_or(reader.damaged("payload of the message is missing"))?;
        message.dead = died_at.map(|at| Death { at, error: death_error });
        Ok(message)
    }
}
