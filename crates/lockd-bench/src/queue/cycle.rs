//! The message cycle: every client enqueues a message, dequeues one of anybody's and acknowledges it, on one queue.

use super::calls::{Messenger, NO_DELAY};
use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};

/// Each client has put a message in before it takes one out, so nobody waits longer than for a commit.
const WAIT_SECONDS: i32 = 30;

#[derive(Debug)]
pub(crate) struct MessageCycle {
    pub(crate) endpoint: Endpoint,
    pub(crate) queue: String,
    pub(crate) payload_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Worker {
    messenger: Messenger,
    document: Document,
}

impl Workload for MessageCycle {
    type Client = Worker;

    fn label(&self) -> String {
        "queue".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["enqueue", "dequeue", "ack"]
    }

    async fn join(&self, index: usize) -> Result<Worker, Fault> {
        Ok(Worker {
            messenger: Messenger::open(&self.endpoint).await?,
            document: Document::new(self.payload_bytes, index as u64 + 1),
        })
    }

    async fn operate(&self, client: &mut Worker, log: &mut OperationLog) -> Result<(), Fault> {
        client.messenger.enqueue(&self.queue, NO_DELAY, client.document.next_revision()).await?;
        log.lap();
        let delivery = client.messenger.dequeue(&self.queue, WAIT_SECONDS).await?;
        log.lap();
        client.messenger.ack(&self.queue, &delivery).await?;
        log.lap();
        if delivery.payload_bytes != self.payload_bytes {
            return Err(Fault::Unexpected {
                call: "dequeue",
                detail: format!("a payload of {} bytes", delivery.payload_bytes),
            });
        }
        Ok(())
    }
}
