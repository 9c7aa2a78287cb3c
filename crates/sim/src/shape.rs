//! Answers in a form that can be compared and printed.

use lockd_core::op::{
    Attached, Delivery, Detached, Enqueued, Extended, MetaEtag, Outcome, QueueView, Reason, Removed, Reply,
    TxnState,
};
use lockd_core::records::namespace::QueryEngines;
use lockd_wire::{KeyId, LeaseId, TxnId, Uid};

use crate::model::{Value, value_of};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Granted {
        key: KeyId,
        lease: LeaseId,
        txn: TxnId,
        owner: String,
        expires: u64,
        version: u64,
        value: Option<Value>,
        token: u64,
    },
    Renewed {
        expires: u64,
        token: u64,
        version: u64,
        value: Option<Value>,
    },
    Released(Outcome),
    Updated {
        version: u64,
        value: Value,
        len: u64,
        hidden: bool,
        token: u64,
    },
    MetadataSet {
        version: u64,
        hidden: bool,
    },
    Removed {
        staged: bool,
        version: u64,
    },
    /// No token: the name was kept as it is.
    Attached {
        name: String,
        id: Uid,
        value: Value,
        version: u64,
        token: Option<u64>,
    },
    /// No token: there was nothing to delete.
    Detached {
        version: u64,
        token: Option<u64>,
    },
    DetachedAll {
        count: u64,
        version: u64,
        token: u64,
    },
    Configured {
        engines: QueryEngines,
        etag: Uid,
    },
    Abandoned,
    Enqueued(Enqueued),
    Delivered(Vec<Delivery>),
    Acked,
    Requeued(MetaEtag),
    Extended(Extended),
    Viewed(QueueView),
    Tended(bool),
    Txn(TxnState),
    Refused {
        reason: Reason,
        current: Option<(u64, Option<Value>)>,
    },
}

impl Shape {
    pub fn of(reply: &Reply) -> Shape {
        match reply {
            Reply::Granted(granted) => Shape::Granted {
                key: granted.key.clone(),
                lease: granted.lease,
                txn: granted.txn,
                owner: granted.owner.clone(),
                expires: granted.expires_at.0,
                version: granted.version,
                value: granted.etag.map(value_of),
                token: granted.token,
            },
            Reply::Renewed(renewed) => Shape::Renewed {
                expires: renewed.expires_at.0,
                token: renewed.token,
                version: renewed.version,
                value: renewed.etag.map(value_of),
            },
            Reply::Released(outcome) => Shape::Released(*outcome),
            Reply::Updated(updated) => Shape::Updated {
                version: updated.version,
                value: value_of(updated.etag),
                len: updated.len,
                hidden: updated.query_hidden,
                token: updated.token,
            },
            Reply::MetadataSet { version, query_hidden } => {
                Shape::MetadataSet { version: *version, hidden: *query_hidden }
            }
            Reply::Removed(Removed::Staged { version }) => Shape::Removed { staged: true, version: *version },
            Reply::Removed(Removed::Nothing { version }) => {
                Shape::Removed { staged: false, version: *version }
            }
            Reply::Attached(attached) => {
                let (token, attachment, version) = match attached {
                    Attached::Stored { attachment, version, token } => (Some(*token), attachment, version),
                    Attached::Kept { attachment, version } => (None, attachment, version),
                };
                Shape::Attached {
                    token,
                    name: attachment.name.clone(),
                    id: attachment.id,
                    value: value_of(attachment.stored.sha256),
                    version: *version,
                }
            }
            Reply::Detached(Detached::Staged { version, token }) => {
                Shape::Detached { version: *version, token: Some(*token) }
            }
            Reply::Detached(Detached::Nothing { version }) => {
                Shape::Detached { version: *version, token: None }
            }
            Reply::DetachedAll { count, version, token } => {
                Shape::DetachedAll { count: *count, version: *version, token: *token }
            }
            Reply::NamespaceConfigured(record) => {
                Shape::Configured { engines: record.engines, etag: record.etag }
            }
            Reply::Abandoned => Shape::Abandoned,
            Reply::Enqueued(enqueued) => Shape::Enqueued(enqueued.clone()),
            Reply::Delivered(deliveries) => Shape::Delivered(deliveries.clone()),
            Reply::Acked { .. } => Shape::Acked,
            Reply::Requeued { meta_etag, .. } => Shape::Requeued(*meta_etag),
            Reply::Extended(extended) => Shape::Extended(extended.clone()),
            Reply::Queue(view) => Shape::Viewed(view.clone()),
            Reply::Tended(done) => Shape::Tended(*done),
            Reply::Txn(state) => Shape::Txn(*state),
            Reply::Refused(refusal) => Shape::Refused {
                reason: refusal.reason,
                current: refusal.current.map(|(version, etag)| (version, etag.map(value_of))),
            },
        }
    }
}
