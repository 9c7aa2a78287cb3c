//! The lock cycle on etcd, as its own lock recipe does it: grant a lease, create the lock key under it if
//! absent, put the state, delete the lock key, revoke the lease.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::etcd::grpc::{Channel, Procedure};
use crate::etcd::message;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};

const TTL_SECONDS: i64 = 60;

#[derive(Debug)]
pub(crate) struct EtcdCycle {
    endpoint: Endpoint,
    payload_bytes: usize,
    connections: usize,
    lease_grant: Procedure,
    lease_revoke: Procedure,
    txn: Procedure,
    put: Procedure,
    delete: Procedure,
}

impl EtcdCycle {
    pub(crate) fn new(
        endpoint: Endpoint,
        payload_bytes: usize,
        connections: usize,
    ) -> Result<EtcdCycle, Fault> {
        Ok(EtcdCycle {
            endpoint,
            payload_bytes,
            connections: connections.max(1),
            lease_grant: Procedure::new("/etcdserverpb.Lease/LeaseGrant")?,
            lease_revoke: Procedure::new("/etcdserverpb.Lease/LeaseRevoke")?,
            txn: Procedure::new("/etcdserverpb.KV/Txn")?,
            put: Procedure::new("/etcdserverpb.KV/Put")?,
            delete: Procedure::new("/etcdserverpb.KV/DeleteRange")?,
        })
    }
}

thread_local! {
    /// Connections of this load thread, so that clients can share them.
    static CHANNELS: RefCell<HashMap<(String, usize), Channel>> = RefCell::new(HashMap::new());
}

async fn channel(endpoint: &Endpoint, slot: usize) -> Result<Channel, Fault> {
    let name = (endpoint.to_string(), slot);
    if let Some(channel) = CHANNELS.with_borrow(|channels| channels.get(&name).cloned()) {
        return Ok(channel);
    }
    let channel = Channel::open(endpoint).await?;
    CHANNELS.with_borrow_mut(|channels| channels.insert(name, channel.clone()));
    Ok(channel)
}

#[derive(Debug)]
pub(crate) struct EtcdClient {
    channel: Channel,
    document: Document,
    lock_key: String,
    state_key: String,
}

impl Workload for EtcdCycle {
    type Client = EtcdClient;

    fn label(&self) -> String {
        "etcd-lock".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["grant", "create", "put", "delete", "revoke"]
    }

    async fn join(&self, index: usize) -> Result<EtcdClient, Fault> {
        Ok(EtcdClient {
            channel: channel(&self.endpoint, index % self.connections).await?,
            document: Document::new(self.payload_bytes, index as u64 + 1),
            lock_key: format!("bench/lock/{index}"),
            state_key: format!("bench/state/{index}"),
        })
    }

    async fn operate(&self, client: &mut EtcdClient, log: &mut OperationLog) -> Result<(), Fault> {
        let channel = &mut client.channel;
        let answer = channel.call(&self.lease_grant, &message::lease_grant(TTL_SECONDS)).await?;
        let lease = message::int_field(&answer, 2)
            .filter(|lease| *lease != 0)
            .ok_or_else(|| unexpected("LeaseGrant", "no lease id"))?;
        log.lap();
        let lock_key = client.lock_key.as_bytes();
        let create = message::create_if_absent(lock_key, b"lockd-bench", lease);
        let answer = channel.call(&self.txn, &create).await?;
        if message::int_field(&answer, 2) != Some(1) {
            return Err(unexpected("Txn", "the lock key existed"));
        }
        log.lap();
        let put = message::put(client.state_key.as_bytes(), client.document.next_revision(), 0);
        channel.call(&self.put, &put).await?;
        log.lap();
        let answer = channel.call(&self.delete, &message::delete(lock_key)).await?;
        if message::int_field(&answer, 2) != Some(1) {
            return Err(unexpected("DeleteRange", "the lock key was gone"));
        }
        log.lap();
        channel.call(&self.lease_revoke, &message::lease_revoke(lease)).await?;
        log.lap();
        Ok(())
    }
}

fn unexpected(call: &'static str, detail: &str) -> Fault {
    Fault::Unexpected { call, detail: detail.to_owned() }
}
