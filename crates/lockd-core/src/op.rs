//! What can be asked of the core, and what it answers. Plain values: identifiers, digests and randomness come in with the
//! request, so that the core mints nothing itself.

mod queue;
mod txn;

use bytes::Bytes;
use lockd_store::BlobId;
use lockd_wire::{KeyId, LeaseId, Namespace, TxnId, Uid};

use crate::moment::Moment;
use crate::records::key::{Attachment, ContentId, Digest, Place, Stored};
use crate::records::namespace::{FallbackEngine, NamespaceRecord, PreferredEngine, QueryEngines};

pub use self::queue::*;
pub use self::txn::*;

/// One request.
#[derive(Debug, Clone)]
pub enum Op {
    Acquire(Acquire),
    Keepalive(Keepalive),
    Release(Release),
    Update(Update),
    SetMetadata(SetMetadata),
    Remove(Remove),
    Attach(Attach),
    Detach(Detach),
    DetachAll(DetachAll),
    ConfigureNamespace(ConfigureNamespace),
    /// Undoes a grant whose answer can no longer reach its client.
    Abandon(Abandon),
    Enqueue(Enqueue),
    Dequeue(Dequeue),
    Ack(Ack),
    Nack(Nack),
    Extend(Extend),
    /// Waits for the head of a queue to be another than the one the client knows.
    WatchQueue(WatchQueue),
    /// Something that only changes messages that nobody holds.
    Tend(Tend),
    DecideTxn(DecideTxn),
    /// Drops a decision, if its retention time is over.
    ForgetTxn(TxnId),
}

#[derive(Debug, Clone)]
pub struct Acquire {
    pub key: KeyId,
    pub owner: String,
    /// Zero or less means the default; more than the maximum means the maximum.
    pub ttl_seconds: i64,
    /// As on the wire: 0 waits without limit, -1 not at all, n > 0 so many seconds, below -1 the configured time.
    pub block_seconds: i64,
    pub if_not_exists: bool,
    /// The transaction the client chose; such a lease is coordinated.
    pub txn: Option<TxnId>,
    /// Freshly minted, for the grant.
    pub lease: LeaseId,
    /// Freshly minted, for an implicit lease.
    pub own_txn: TxnId,
}

/// What a client shows to prove that it holds the lease. Ids that were no well-formed ids are `None`: they match nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub lease: Option<LeaseId>,
    pub token: i64,
    pub txn: TxnClaim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnClaim {
    /// The call does not ask for a transaction id.
    NotNeeded,
    /// The call asks for one and got none.
    Missing,
    Is(Option<TxnId>),
}

#[derive(Debug, Clone)]
pub struct Keepalive {
    pub key: KeyId,
    pub claim: Claim,
    pub ttl_seconds: i64,
}

#[derive(Debug, Clone)]
pub struct Release {
    pub key: KeyId,
    pub claim: Claim,
    pub rollback: bool,
}

/// Conditions on what the lease holder sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expect {
    pub version: Option<i64>,
    pub etag: Option<ExpectEtag>,
    /// Version and ETag of the document that the holder must still see (`Some(None)`: there must be none), because the new one
    /// was made from it.
    pub seen: Option<Option<(u64, Digest)>>,
}

/// A document as somebody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    pub stored: Stored,
    pub version: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectEtag {
    /// The quoted empty string: there must be no state.
    Nothing,
    Digest(Digest),
    /// Text that is no ETag of ours and so matches nothing.
    Foreign,
}

/// Bytes that are ready to be referred to.
#[derive(Debug, Clone)]
pub struct Content {
    pub len: u64,
    pub sha256: Digest,
    pub source: Source,
}

#[derive(Debug, Clone)]
pub enum Source {
    /// Small enough to become a record in the same batch.
    Inline(ContentId, Bytes),
    /// Already durable in the blob store.
    Blob(BlobId),
}

impl Content {
    pub fn stored(&self) -> Stored {
        let place = match &self.source {
            Source::Inline(id, _) => Place::Record(*id),
            Source::Blob(id) => Place::Blob(*id),
        };
        Stored { len: self.len, sha256: self.sha256, place }
    }
}

#[derive(Debug, Clone)]
pub struct Update {
    pub key: KeyId,
    pub claim: Claim,
    pub expect: Expect,
    pub content: Content,
    pub query_hidden: Option<bool>,
}

#[derive(Debug, Clone)]
pub struct SetMetadata {
    pub key: KeyId,
    pub claim: Claim,
    pub if_version: Option<i64>,
    pub query_hidden: bool,
}

#[derive(Debug, Clone)]
pub struct Remove {
    pub key: KeyId,
    pub claim: Claim,
    pub if_etag: Option<ExpectEtag>,
}

#[derive(Debug, Clone)]
pub struct Attach {
    pub key: KeyId,
    pub claim: Claim,
    pub name: String,
    pub content_type: String,
    /// Freshly minted, for a name that is new to the key.
    pub id: Uid,
    pub prevent_overwrite: bool,
    pub content: Content,
}

/// Picks one attachment: by id, by name, or by both (which must then agree).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pub name: Option<String>,
    /// `Some(None)`: an id was given that is no id of ours, so nothing matches.
    pub id: Option<Option<Uid>>,
}

impl Selector {
    pub fn matches(&self, attachment: &Attachment) -> bool {
        self.name.as_ref().is_none_or(|name| *name == attachment.name)
            && self.id.is_none_or(|id| id == Some(attachment.id))
    }
}

#[derive(Debug, Clone)]
pub struct Detach {
    pub key: KeyId,
    pub claim: Claim,
    pub selector: Selector,
}

#[derive(Debug, Clone)]
pub struct DetachAll {
    pub key: KeyId,
    pub claim: Claim,
}

#[derive(Debug, Clone)]
pub struct ConfigureNamespace {
    pub namespace: Namespace,
    pub preferred: Option<PreferredEngine>,
    pub fallback: Option<FallbackEngine>,
    pub if_match: Option<String>,
    /// Freshly minted, for the new settings.
    pub etag: Uid,
    /// What holds while nobody has configured the namespace.
    pub defaults: QueryEngines,
}

#[derive(Debug, Clone)]
pub struct Abandon {
    pub key: KeyId,
    pub lease: LeaseId,
}

/// What a request got.
#[derive(Debug, Clone)]
pub enum Reply {
    Enqueued(Enqueued),
    Delivered(Vec<Delivery>),
    Acked {
        correlation: String,
    },
    Requeued {
        meta_etag: MetaEtag,
        correlation: String,
    },
    Extended(Extended),
    Queue(QueueView),
    /// Whether there was something to do.
    Tended(bool),
    Txn(TxnState),
    Granted(Granted),
    Renewed(Renewed),
    Released(Outcome),
    Updated(Updated),
    MetadataSet {
        version: u64,
        query_hidden: bool,
    },
    Removed(Removed),
    Attached(Attached),
    Detached(Detached),
    DetachedAll {
        count: u64,
        version: u64,
        token: u64,
    },
    NamespaceConfigured(NamespaceRecord),
    Abandoned,
    Refused(Refusal),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub key: KeyId,
    pub lease: LeaseId,
    pub txn: TxnId,
    pub owner: String,
    pub expires_at: Moment,
    pub version: u64,
    pub etag: Option<Digest>,
    pub token: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    pub expires_at: Moment,
    pub token: u64,
    /// As the holder sees it.
    pub version: u64,
    pub etag: Option<Digest>,
}

/// What a release did to staged changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    RolledBack,
    /// There was nothing to decide: nothing staged, or no such lease any more.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    pub version: u64,
    pub etag: Digest,
    pub len: u64,
    pub query_hidden: bool,
    pub token: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Staged {
        version: u64,
    },
    /// There was nothing to remove; the committed version.
    Nothing {
        version: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    Stored {
        attachment: Attachment,
        version: u64,
        token: u64,
    },
    /// The name exists and must not be overwritten.
    Kept {
        attachment: Attachment,
        version: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detached {
    Staged { version: u64, token: u64 },
    Nothing { version: u64 },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// Version and ETag for the client to compare with: committed, or as the holder sees them for failed conditions.
    pub current: Option<(u64, Option<Digest>)>,
    pub retry_after_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    LeaseRequired,
    LeaseExpired,
    FencingMismatch,
    MissingTxn,
    /// The transaction is not the lease's.
    TxnMismatch,
    /// Another transaction has staged changes on the key.
    StagedByOther,
    VersionConflict,
    EtagMismatch,
    /// The document has changed since the new one was made from it.
    SeenOther,
    Waiting,
    AlreadyExists,
    Draining,
    NamespaceConflict,
    AttachmentNotFound,
    /// The queue has nothing to deliver.
    NoMessage,
    /// No such message: never enqueued, acknowledged, expired, or dead.
    MessageNotFound,
    /// The message's lease is another's.
    MessageLeaseMismatch,
    /// The message is not leased, or not by a delivery.
    MessageLeaseMissing,
    /// The message's lease has run out (only where a decision meets it; consumers get `LeaseExpired`).
    MessageLeaseExpired,
    /// The lease on the workflow state is another's.
    StateLeaseMismatch,
    /// The message has changed since the client saw it.
    MessageChanged,
    /// The ETag of the state marker is wrong.
    StateMarkerMismatch,
    /// The transaction is decided, and differently.
    TxnConflict,
    TxnNotFound,
    TermRequired,
    TermStale,
    /// The client went away before the request was decided.
    Cancelled,
    /// Stored data does not read back; the log has the details.
    Damaged,
    /// The store failed: whether the change survives is unknown, and nothing more will be accepted.
    StoreFailed,
}

impl Reason {
    pub fn plain(self) -> Refusal {
        Refusal { reason: self, current: None, retry_after_seconds: None }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        Reply::Refused(refusal)
    }
}

impl Op {
    /// The key whose lane the request takes; `None` for namespace settings.
    pub fn key(&self) -> Option<&KeyId> {
        match self {
            Op::Acquire(op) => Some(&op.key),
            Op::Keepalive(op) => Some(&op.key),
            Op::Release(op) => Some(&op.key),
            Op::Update(op) => Some(&op.key),
            Op::SetMetadata(op) => Some(&op.key),
            Op::Remove(op) => Some(&op.key),
            Op::Attach(op) => Some(&op.key),
            Op::Detach(op) => Some(&op.key),
            Op::DetachAll(op) => Some(&op.key),
            Op::Abandon(op) => Some(&op.key),
            Op::Tend(Tend::Bury(key) | Tend::Redrive(key) | Tend::Purge(key)) => Some(key),
            Op::ConfigureNamespace(_)
            | Op::Enqueue(_)
            | Op::Dequeue(_)
            | Op::Ack(_)
            | Op::Nack(_)
            | Op::Extend(_)
            | Op::WatchQueue(_)
            | Op::DecideTxn(_)
            | Op::ForgetTxn(_) => None,
        }
    }
}
