//! Decisions: one file an operation, each a function from a key's record, the time and the request to a reply.
//!
//! A decision changes the record only if it succeeds, and says in [`Effects`] what happens to bytes outside it. It knows
//! nothing of lanes, waiters, batches or other keys.

mod acquire;
mod attach;
mod commit;
mod detach;
mod keepalive;
mod message;
mod metadata;
mod namespace;
mod proof;
mod remove;
mod update;

pub use acquire::{Verdict, acquire};
pub use attach::attach;
pub use commit::{commit, roll_back};
pub use detach::{detach, detach_all};
pub use keepalive::keepalive;
pub use message::{
    Proof, Purpose, count, deliver, end_state, enqueue, erase, erase_content, extend, holds_state,
    lease_state, nack, prove_delivery, redrive, rolled_back_error, unchanged,
};
pub use metadata::set_metadata;
pub use namespace::configure;
pub use proof::{lost, prove};
pub use remove::remove;
pub use update::update;

use crate::op::{Content, Source};
use crate::records::key::{Attachment, ContentId, Place, Stored};
use bytes::Bytes;
use lockd_store::BlobId;

/// Lease times in force.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub default_ttl_ms: u64,
    pub max_ttl_ms: u64,
    /// Longest wait of an acquire that asks for "some" waiting (`block_seconds` below -1).
    pub acquire_block_ms: u64,
}

impl Limits {
    /// Zero or less is the default; too much is the maximum; nothing overflows.
    pub fn ttl_ms(&self, seconds: i64) -> u64 {
        match u64::try_from(seconds) {
            Ok(0) | Err(_) => self.default_ttl_ms,
            Ok(seconds) => seconds.saturating_mul(1000).min(self.max_ttl_ms),
        }
    }
}

/// What a decision does to bytes outside the key record.
#[derive(Debug, Default)]
pub struct Effects {
    pub new_records: Vec<(ContentId, Bytes)>,
    pub new_blobs: Vec<BlobId>,
    pub dropped: Vec<Place>,
}

impl Effects {
    /// Bytes that the record refers to from now on.
    fn keep(&mut self, content: Content) -> Stored {
        let stored = content.stored();
        match content.source {
            Source::Inline(id, bytes) => self.new_records.push((id, bytes)),
            Source::Blob(id) => self.new_blobs.push(id),
        }
        stored
    }

    /// Bytes that nothing refers to any more.
    fn forget(&mut self, stored: &Stored) {
        self.dropped.push(stored.place);
    }

    fn forget_all<'a>(&mut self, attachments: impl IntoIterator<Item = &'a Attachment>) {
        for attachment in attachments {
            self.forget(&attachment.stored);
        }
    }
}
