//! Requests that change nothing: the public read of one committed state, and the empty answer of `/healthz`
//! that its processor time is compared with.

use crate::calls::{Caller, Document, Waiting, health_request, public_read_request};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    PublicRead,
    Health,
}

#[derive(Debug)]
pub(crate) struct Read {
    endpoint: Endpoint,
    target: Target,
    request: Vec<u8>,
    body_bytes: usize,
}

impl Read {
    pub(crate) fn health(endpoint: Endpoint) -> Read {
        Read { endpoint, target: Target::Health, request: health_request(), body_bytes: 0 }
    }

    /// Commits a state of `payload_bytes` under `key` for the clients to read.
    pub(crate) async fn seeded(endpoint: Endpoint, key: &str, payload_bytes: usize) -> Result<Read, Fault> {
        let mut caller = Caller::new(Connection::open(&endpoint).await?);
        let mut document = Document::new(payload_bytes, 1);
        let document = document.next_revision();
        caller.acquire(key, 60, Waiting::Seconds(60)).await?;
        caller.update(key, document).await?;
        caller.release(key).await?;
        let request = public_read_request(key);
        Ok(Read { endpoint, target: Target::PublicRead, request, body_bytes: document.len() })
    }
}

impl Workload for Read {
    type Client = Caller;

    fn label(&self) -> String {
        match self.target {
            Target::PublicRead => "public-read".to_owned(),
            Target::Health => "health".to_owned(),
        }
    }

    fn phases(&self) -> &'static [&'static str] {
        &["get"]
    }

    async fn join(&self, _: usize) -> Result<Caller, Fault> {
        Ok(Caller::new(Connection::open(&self.endpoint).await?))
    }

    async fn operate(&self, client: &mut Caller, log: &mut OperationLog) -> Result<(), Fault> {
        client.send("get", &self.request, self.body_bytes).await?;
        log.lap();
        Ok(())
    }
}
