//! The message cycle on Redis Streams: add an entry, read one as a member of a consumer group, acknowledge and delete it.

use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};
use crate::redis::connection::{RedisConnection, strings};

const STREAM: &[u8] = b"bench";
const GROUP: &[u8] = b"workers";
const WAIT_MILLIS: &[u8] = b"30000";

#[derive(Debug)]
pub(crate) struct RedisCycle {
    endpoint: Endpoint,
    payload_bytes: usize,
}

impl RedisCycle {
    /// Makes the stream and its group.
    pub(crate) async fn new(endpoint: Endpoint, payload_bytes: usize) -> Result<RedisCycle, Fault> {
        let mut connection = RedisConnection::open(&endpoint).await?;
        connection.push(&[b"XGROUP", b"CREATE", STREAM, GROUP, b"$", b"MKSTREAM"])?;
        connection.send("XGROUP", 1).await?;
        Ok(RedisCycle { endpoint, payload_bytes })
    }
}

#[derive(Debug)]
pub(crate) struct RedisClient {
    connection: RedisConnection,
    name: String,
    document: Document,
}

impl Workload for RedisCycle {
    type Client = RedisClient;

    fn label(&self) -> String {
        "redis-queue".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["xadd", "xreadgroup", "xack+xdel"]
    }

    async fn join(&self, index: usize) -> Result<RedisClient, Fault> {
        Ok(RedisClient {
            connection: RedisConnection::open(&self.endpoint).await?,
            name: format!("worker-{index}"),
            document: Document::new(self.payload_bytes, index as u64 + 1),
        })
    }

    async fn operate(&self, client: &mut RedisClient, log: &mut OperationLog) -> Result<(), Fault> {
        let RedisClient { connection, name, document } = client;
        connection.push(&[b"XADD", STREAM, b"*", b"p", document.next_revision()])?;
        connection.send("XADD", 1).await?;
        log.lap();
        connection.push(&[
            b"XREADGROUP",
            b"GROUP",
            GROUP,
            name.as_bytes(),
            b"COUNT",
            b"1",
            b"BLOCK",
            WAIT_MILLIS,
            b"STREAMS",
            STREAM,
            b">",
        ])?;
        let reply = connection.send("XREADGROUP", 1).await?;
        // Stream, id of the entry, name of its field, value.
        let found = {
            let mut found = strings(reply).skip(1);
            (found.next(), found.nth(1))
        };
        let id = match found {
            (Some(id), Some(payload)) if payload.len() == self.payload_bytes => id.to_vec(),
            _ => {
                return Err(Fault::Unexpected {
                    call: "XREADGROUP",
                    detail: format!("{:?}", String::from_utf8_lossy(&reply[..reply.len().min(200)])),
                });
            }
        };
        log.lap();
        // Sent together: without the deletion the stream would only ever grow.
        connection.push(&[b"XACK", STREAM, GROUP, &id])?;
        connection.push(&[b"XDEL", STREAM, &id])?;
        let reply = connection.send("XACK", 2).await?;
        if reply != b":1\r\n:1\r\n" {
            let detail = format!("{:?}", String::from_utf8_lossy(reply));
            return Err(Fault::Unexpected { call: "XACK", detail });
        }
        log.lap();
        Ok(())
    }
}
