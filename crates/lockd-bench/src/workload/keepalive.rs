//! Keepalive of a lease that each client holds throughout.

use crate::calls::{Caller, Waiting};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};

const TTL_SECONDS: u64 = 60;

#[derive(Debug)]
pub(crate) struct Keepalive {
    pub(crate) endpoint: Endpoint,
    pub(crate) prefix: String,
}

#[derive(Debug)]
pub(crate) struct Holder {
    caller: Caller,
    key: String,
}

impl Workload for Keepalive {
    type Client = Holder;

    fn label(&self) -> String {
        "keepalive".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["keepalive"]
    }

    async fn join(&self, index: usize) -> Result<Holder, Fault> {
        let mut caller = Caller::new(Connection::open(&self.endpoint).await?);
        let key = format!("{}/{index}", self.prefix);
        caller.acquire(&key, TTL_SECONDS, Waiting::No).await?;
        Ok(Holder { caller, key })
    }

    async fn operate(&self, client: &mut Holder, log: &mut OperationLog) -> Result<(), Fault> {
        client.caller.keepalive(&client.key, TTL_SECONDS).await?;
        log.lap();
        Ok(())
    }
}
