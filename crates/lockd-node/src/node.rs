//! The node: the calls that a server makes. Each gives back what its operation can give, or a refusal.

use std::sync::Arc;
use std::time::Duration;

use lockd_core::op::{
    Abandon, Acquire, Attach, Attached, Claim, ConfigureNamespace, Detach, DetachAll, Detached, Expect,
    Granted, Keepalive, Op, Outcome, Reason, Refusal, Release, Remove, Removed, Renewed, Reply, SetMetadata,
    Update, Updated,
};
use lockd_core::records::blob;
use lockd_core::records::namespace::NamespaceRecord;
use lockd_core::{Footprint, Limits, Moment, Settings, Strides};
use lockd_store::orphan::{Collected, InFlight, collect_orphans};
use lockd_store::{Blobs, Engine, Snapshot, StoreError};
use lockd_wire::{KeyId, LeaseId, TxnId, Uid, UidMint, XidMint};
use parking_lot::Mutex;

use crate::clock::SteadyClock;
use crate::driver::Driver;
use crate::intake::{BlobInHand, Intake, Upload};
use crate::recovery;

#[derive(Debug, Clone, Copy)]
pub struct NodeSettings {
    pub limits: Limits,
    /// Key records kept in memory when nobody is using them.
    pub idle_lanes: usize,
    /// Queues kept in memory when nobody waits for them.
    pub idle_queues: usize,
    /// How long the decision about a transaction is remembered.
    pub txn_retention_ms: u64,
}

/// One core over one store.
#[derive(Debug)]
pub struct Node {
    pub(crate) driver: Arc<Driver>,
    engine: Arc<dyn Engine>,
    uploads: InFlight,
    xids: XidMint,
    /// The newest message id: messages of one millisecond are delivered in the order of their ids.
    last_message: Mutex<u128>,
}

/// Where an attachment goes and what it is called.
#[derive(Debug)]
pub struct NewAttachment {
    pub name: String,
    pub content_type: String,
    pub prevent_overwrite: bool,
}

/// Hands an operation to the core, and takes the reply that belongs to it.
macro_rules! call {
    ($self:ident, $op:expr, $blob:expr, $($reply:pat => $value:expr),+) => {
        match $self.driver.submit($op, $blob).answer().await {
            $($reply => Ok($value),)+
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(Reason::Damaged.plain()),
        }
    };
}

pub(crate) use call;

impl Node {
    /// Recovers what the store holds, and starts serving it.
    pub fn start(
        engine: Arc<dyn Engine>,
        blobs: Arc<dyn Blobs>,
        settings: NodeSettings,
    ) -> Result<Node, StoreError> {
        let core_settings = Settings {
            limits: settings.limits,
            idle_lanes: settings.idle_lanes,
            idle_queues: settings.idle_queues,
            txn_retention_ms: settings.txn_retention_ms,
            strides: Strides::default(),
        };
        let core = recovery::recover(&*engine.snapshot(), core_settings)?;
        let driver = Driver::start(core, engine.clone(), SteadyClock::start());
        if let Some(failure) = driver.failure() {
            return Err(StoreError::Io(failure));
        }
        let xids = XidMint::new(fastrand::u64(..), std::process::id());
        Ok(Node { driver, engine, uploads: InFlight::new(blobs), xids, last_message: Mutex::new(0) })
    }

    pub fn now(&self) -> Moment {
        self.driver.clock.now()
    }

    pub fn mint_uid(&self) -> Uid {
        UidMint::mint(self.now().0, fastrand::u128(..))
    }

    /// An id greater than every one before.
    pub(crate) fn mint_message(&self) -> Uid {
        let mut last = self.last_message.lock();
        let fresh = u128::from_be_bytes(self.mint_uid().0);
        // The low bits are random, so that one more is as good as any.
        *last = if fresh > *last { fresh } else { *last + 1 };
        Uid(last.to_be_bytes())
    }

    pub fn mint_lease(&self) -> LeaseId {
        LeaseId(self.xids.mint(self.now().seconds() as u32))
    }

    pub fn mint_txn(&self) -> TxnId {
        TxnId(self.xids.mint(self.now().seconds() as u32))
    }

    pub fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.engine.snapshot()
    }

    pub fn blobs(&self) -> &dyn Blobs {
        &**self.uploads.blobs()
    }

    /// Starts taking in a document or an attachment.
    pub fn intake(&self) -> Intake {
        Intake::new(self.uploads.clone(), &self.driver.clock)
    }

    pub fn footprint(&self) -> Footprint {
        self.driver.footprint()
    }

    pub fn held_leases(&self) -> usize {
        self.driver.held_leases()
    }

    // ---- operations -------------------------------------------------------------------------------------------------

    /// Dropping the future gives up waiting; a lease granted meanwhile is given back.
    pub async fn acquire(&self, op: Acquire) -> Result<Granted, Refusal> {
        call!(self, Op::Acquire(op), None, Reply::Granted(granted) => granted)
    }

    /// Gives back a grant that its client never heard of.
    pub fn abandon(&self, key: KeyId, lease: LeaseId) {
        self.driver.submit_unheard(Op::Abandon(Abandon { key, lease }));
    }

    pub async fn keepalive(&self, op: Keepalive) -> Result<Renewed, Refusal> {
        call!(self, Op::Keepalive(op), None, Reply::Renewed(renewed) => renewed)
    }

    pub async fn release(&self, op: Release) -> Result<Outcome, Refusal> {
        call!(self, Op::Release(op), None, Reply::Released(outcome) => outcome)
    }

    pub async fn update(
        &self,
        key: KeyId,
        claim: Claim,
        expect: Expect,
        query_hidden: Option<bool>,
        upload: Upload,
    ) -> Result<Updated, Refusal> {
        let (content, blob) = upload.into_parts();
        let op = Update { key, claim, expect, content, query_hidden };
        call!(self, Op::Update(op), blob, Reply::Updated(updated) => updated)
    }

    /// The staged version.
    pub async fn set_metadata(&self, op: SetMetadata) -> Result<u64, Refusal> {
        call!(self, Op::SetMetadata(op), None, Reply::MetadataSet { version, .. } => version)
    }

    pub async fn remove(&self, op: Remove) -> Result<Removed, Refusal> {
        call!(self, Op::Remove(op), None, Reply::Removed(removed) => removed)
    }

    pub async fn attach(
        &self,
        key: KeyId,
        claim: Claim,
        attachment: NewAttachment,
        upload: Upload,
    ) -> Result<Attached, Refusal> {
        let (content, blob): (_, Option<BlobInHand>) = upload.into_parts();
        let op = Attach {
            key,
            claim,
            name: attachment.name,
            content_type: attachment.content_type,
            id: self.mint_uid(),
            prevent_overwrite: attachment.prevent_overwrite,
            content,
        };
        call!(self, Op::Attach(op), blob, Reply::Attached(attached) => attached)
    }

    pub async fn detach(&self, op: Detach) -> Result<Detached, Refusal> {
        call!(self, Op::Detach(op), None, Reply::Detached(detached) => detached)
    }

    /// How many attachments the holder saw, the staged version, and the token.
    pub async fn detach_all(&self, op: DetachAll) -> Result<(u64, u64, u64), Refusal> {
        call!(self, Op::DetachAll(op), None, Reply::DetachedAll { count, version, token } => (count, version, token))
    }

    pub async fn configure_namespace(&self, op: ConfigureNamespace) -> Result<NamespaceRecord, Refusal> {
        call!(self, Op::ConfigureNamespace(op), None, Reply::NamespaceConfigured(record) => record)
    }

    // ---- housekeeping -----------------------------------------------------------------------------------------------

    /// Deletes blobs that no record points at: what crashes between an upload and its record have left behind.
    pub async fn collect_orphans(&self, min_age: Duration) -> Result<Collected, StoreError> {
        let is_referenced = |id| Ok(self.snapshot().get(&blob::storage_key(id))?.is_some());
        collect_orphans(&self.uploads, is_referenced, min_age).await
    }

    // ---- shutdown ---------------------------------------------------------------------------------------------------

    /// No new leases from now on; whoever waits for one is told so.
    pub fn drain(&self) {
        self.driver.drain();
    }

    /// Resolves when no lease is held any more (after [`Node::drain`]).
    pub async fn leases_gone(&self) {
        loop {
            let told = self.driver.idle.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.driver.held_leases() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Resolves with the reason when the store has failed and the process must not go on.
    pub async fn store_failed(&self) -> String {
        loop {
            let told = self.driver.failed.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(failure) = self.driver.failure() {
                return failure;
            }
            told.await;
        }
    }

    /// Waits for everything that is under way to be durable, and gives up the store.
    pub fn close(&self) -> Result<(), StoreError> {
        self.driver.close();
        self.engine.close()
    }
}
