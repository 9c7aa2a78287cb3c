//! What can be asked about queues, and what is answered.

use bytes::Bytes;
use lockd_wire::{KeyId, LeaseId, QueueId, TxnId, Uid};

use super::Content;
use crate::moment::Moment;
use crate::records::key::Stored;

#[derive(Debug, Clone)]
pub struct Enqueue {
    pub queue: QueueId,
    /// Freshly minted.
    pub message: Uid,
    pub correlation: String,
    pub content_type: String,
    /// A compact JSON object.
    pub attributes: Option<Bytes>,
    /// Zero or less: at once.
    pub delay_seconds: i64,
    /// Zero or less: half a minute.
    pub visibility_seconds: i64,
    /// Zero or less: it lives for ever.
    pub ttl_seconds: i64,
    /// Zero or less: five.
    pub max_attempts: i64,
    pub payload: Content,
}

#[derive(Debug, Clone)]
pub struct Dequeue {
    pub queue: QueueId,
    pub owner: String,
    /// The transaction the client chose; such a delivery takes part in it.
    pub txn: Option<TxnId>,
    /// Zero or less means the default; more than the maximum means the maximum.
    pub visibility_seconds: i64,
    /// -1 does not wait; n > 0 waits so many seconds; everything else waits without limit.
    pub wait_seconds: i64,
    pub stateful: bool,
    /// Freshly minted, one for every message that may be delivered; at least one.
    pub ids: Vec<DeliveryIds>,
}

/// Ids for one delivery.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryIds {
    pub lease: LeaseId,
    /// For a delivery without a transaction of the client's.
    pub txn: TxnId,
    /// For the workflow state.
    pub state_lease: LeaseId,
}

/// What a consumer shows to prove that it holds a delivery.
#[derive(Debug, Clone)]
pub struct Handle {
    pub queue: QueueId,
    /// `None`: there is an id, but no message can have it.
    pub message: Option<Uid>,
    pub lease: Option<LeaseId>,
    pub token: i64,
    /// `Some(None)`: there is an id, but it is none of ours.
    pub txn: Option<Option<TxnId>>,
    pub meta_etag: Option<MetaEtag>,
    pub state: Option<StateHandle>,
}

/// The lease on the workflow state that came with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateHandle {
    pub lease: Option<LeaseId>,
    pub token: i64,
}

/// The spelling of a message's revision: its id and a number that grows with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaEtag {
    Of {
        message: Uid,
        revision: u64,
    },
    /// Text that is no ETag of ours and so matches nothing.
    Foreign,
}

impl MetaEtag {
    pub fn parse(text: &str) -> MetaEtag {
        let read = || {
            let (message, revision) = text.split_once('.')?;
            let number: u64 = revision.parse().ok()?;
            (number.to_string() == revision).then_some((Uid::parse(message)?, number))
        };
        read().map_or(MetaEtag::Foreign, |(message, revision)| MetaEtag::Of { message, revision })
    }
}

impl std::fmt::Display for MetaEtag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MetaEtag::Of { message, revision } => write!(f, "{message}.{revision}"),
            MetaEtag::Foreign => f.write_str("?"),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Ack {
    pub handle: Handle,
    /// The ETag of the state marker, which is the message's id.
    pub state_etag: Option<Option<Uid>>,
}

#[derive(Debug, Clone)]
pub struct Nack {
    pub handle: Handle,
    /// Zero or less: visible at once.
    pub delay_seconds: i64,
    pub intent: Intent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Counts against the budget; with what went wrong, as JSON.
    Failure(Option<Bytes>),
    Defer,
}

#[derive(Debug, Clone)]
pub struct Extend {
    pub handle: Handle,
    /// From now; zero or less means the message's current visibility timeout.
    pub by_seconds: i64,
}

#[derive(Debug, Clone)]
pub struct WatchQueue {
    pub queue: QueueId,
    /// What the client knows: a head, or that there is none. `None`: nothing yet, so that it is told at once.
    pub known: Option<Option<Uid>>,
}

/// Work on messages that nobody has leased.
#[derive(Debug, Clone)]
pub enum Tend {
    /// Removes a message whose time to live is over.
    Bury(KeyId),
    /// Puts a dead letter back into its queue, with a fresh budget.
    Redrive(KeyId),
    /// Removes a dead letter.
    Purge(KeyId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    pub message: Uid,
    pub visible_at: Moment,
    pub visibility_seconds: u64,
    pub max_attempts: u64,
    pub len: u64,
}

/// A message on its way to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub queue: QueueId,
    pub message: Uid,
    pub attempts: u64,
    pub max_attempts: u64,
    pub failures: u64,
    pub visibility_seconds: u64,
    pub attributes: Option<Bytes>,
    pub content_type: String,
    pub payload: Stored,
    pub correlation: String,
    pub lease: LeaseId,
    pub expires_at: Moment,
    pub token: u64,
    pub txn: TxnId,
    pub meta_etag: MetaEtag,
    pub state: Option<StateDelivery>,
}

impl Delivery {
    /// With which whoever gets it settles it.
    pub fn handle(&self) -> Handle {
        let state = self.state.as_ref();
        Handle {
            queue: self.queue.clone(),
            message: Some(self.message),
            lease: Some(self.lease),
            token: self.token as i64,
            txn: Some(Some(self.txn)),
            meta_etag: Some(self.meta_etag),
            state: state.map(|state| StateHandle { lease: Some(state.lease), token: state.token as i64 }),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDelivery {
    /// The ETag of the state marker.
    pub marker: Uid,
    pub lease: LeaseId,
    pub expires_at: Moment,
    pub token: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended {
    pub expires_at: Moment,
    pub visibility_seconds: u64,
    pub meta_etag: MetaEtag,
    pub state_expires_at: Option<Moment>,
    pub correlation: String,
}

/// A queue as its observers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    pub now: Moment,
    pub waiting_consumers: usize,
    pub watched: bool,
    /// What would be delivered next.
    pub head: Option<QueueHead>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHead {
    pub message: Uid,
    pub visible_at: Moment,
}
