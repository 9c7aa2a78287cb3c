//! The lock cycle: acquire, update, release. Every step is answered only when it is durable.

use crate::calls::{Caller, Document, Waiting};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};

const TTL_SECONDS: u64 = 60;

#[derive(Debug)]
pub(crate) struct LockCycle {
    pub(crate) endpoint: Endpoint,
    pub(crate) payload_bytes: usize,
    /// A new key for every cycle instead of one key a client.
    pub(crate) fresh_keys: bool,
    /// Keeps the keys of separate runs on one server apart.
    pub(crate) prefix: String,
}

#[derive(Debug)]
pub(crate) struct Locker {
    caller: Caller,
    document: Document,
    own: String,
    key: String,
    cycles: u64,
}

impl Workload for LockCycle {
    type Client = Locker;

    fn label(&self) -> String {
        "lock".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["acquire", "update", "release"]
    }

    async fn join(&self, index: usize) -> Result<Locker, Fault> {
        let own = format!("{}/{index}", self.prefix);
        Ok(Locker {
            caller: Caller::new(Connection::open(&self.endpoint).await?),
            document: Document::new(self.payload_bytes, index as u64 + 1),
            key: own.clone(),
            own,
            cycles: 0,
        })
    }

    async fn operate(&self, client: &mut Locker, log: &mut OperationLog) -> Result<(), Fault> {
        if self.fresh_keys {
            client.key = format!("{}/{}", client.own, client.cycles);
        }
        client.cycles += 1;
        client.caller.acquire(&client.key, TTL_SECONDS, Waiting::No).await?;
        log.lap();
        client.caller.update(&client.key, client.document.next_revision()).await?;
        log.lap();
        client.caller.release(&client.key).await?;
        log.lap();
        Ok(())
    }
}
