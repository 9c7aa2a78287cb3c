//! Queues and transactions: the calls that a server makes.

use std::ops::Bound;

use lockd_core::Moment;
use lockd_core::op::{
    Ack, DecideTxn, Delivery, DeliveryIds, Dequeue, Enqueue, Enqueued, Extend, Extended, MetaEtag, Nack, Op,
    QueueView, Reason, Refusal, Reply, Tend, TxnState, WatchQueue,
};
use lockd_core::records::key::{self, KeyRecord, Stored};
use lockd_core::records::txn::Decided;
use lockd_core::records::{dead, mortal};
use lockd_store::{Direction, StoreError};
use lockd_wire::{KeyId, QueueId, Uid};

use crate::intake::Upload;
use crate::node::{Node, call};
use crate::read::Body;

/// A message as a producer describes it.
#[derive(Debug)]
pub struct NewMessage {
    pub queue: QueueId,
    pub correlation: String,
    pub content_type: String,
    /// A compact JSON object.
    pub attributes: Option<bytes::Bytes>,
    pub delay_seconds: i64,
    pub visibility_seconds: i64,
    pub ttl_seconds: i64,
    pub max_attempts: i64,
}

/// A dead letter in a listing.
#[derive(Debug)]
pub struct DeadLetter {
    pub id: Uid,
    pub died_at: Moment,
    pub record: KeyRecord,
}

/// How many records a round of housekeeping looks at.
const ROUND: usize = 256;

impl Node {
    pub async fn enqueue(&self, message: NewMessage, payload: Upload) -> Result<Enqueued, Refusal> {
        let (payload, blob) = payload.into_parts();
        let op = Enqueue {
            queue: message.queue,
            message: self.mint_message(),
            correlation: message.correlation,
            content_type: message.content_type,
            attributes: message.attributes,
            delay_seconds: message.delay_seconds,
            visibility_seconds: message.visibility_seconds,
            ttl_seconds: message.ttl_seconds,
            max_attempts: message.max_attempts,
            payload,
        };
        call!(self, Op::Enqueue(op), blob, Reply::Enqueued(enqueued) => enqueued)
    }

    /// Ids for so many deliveries.
    pub fn mint_deliveries(&self, count: usize) -> Vec<DeliveryIds> {
        let mint =
            || DeliveryIds { lease: self.mint_lease(), txn: self.mint_txn(), state_lease: self.mint_lease() };
        std::iter::repeat_with(mint).take(count).collect()
    }

    /// At least one message. Dropping the future gives up waiting; what was delivered meanwhile goes back.
    pub async fn dequeue(&self, op: Dequeue) -> Result<Vec<Delivery>, Refusal> {
        call!(self, Op::Dequeue(op), None, Reply::Delivered(deliveries) => deliveries)
    }

    /// Gives back a delivery that its consumer never got a byte of.
    pub fn give_back(&self, delivery: &Delivery) {
        for (key, lease) in delivery.leases() {
            self.abandon(key, lease);
        }
    }

    /// The payload of a delivery. It is gone when somebody else has acknowledged the message after the lease ran out.
    pub async fn payload(&self, stored: &Stored) -> Result<Body, StoreError> {
        self.body(&*self.snapshot(), stored).await
    }

    /// The message's correlation id; empty if only its transaction is known.
    pub async fn ack(&self, op: Ack) -> Result<String, Refusal> {
        call!(self, Op::Ack(op), None, Reply::Acked { correlation } => correlation)
    }

    pub async fn nack(&self, op: Nack) -> Result<(MetaEtag, String), Refusal> {
        call!(self, Op::Nack(op), None, Reply::Requeued { meta_etag, correlation } => (meta_etag, correlation))
    }

    pub async fn extend(&self, op: Extend) -> Result<Extended, Refusal> {
        call!(self, Op::Extend(op), None, Reply::Extended(extended) => extended)
    }

    /// The queue as soon as its head is another than the one that is known.
    pub async fn watch_queue(&self, op: WatchQueue) -> Result<QueueView, Refusal> {
        call!(self, Op::WatchQueue(op), None, Reply::Queue(view) => view)
    }

    /// Whether there was something to do.
    pub async fn tend(&self, op: Tend) -> Result<bool, Refusal> {
        call!(self, Op::Tend(op), None, Reply::Tended(done) => done)
    }

    pub async fn decide_txn(&self, op: DecideTxn) -> Result<TxnState, Refusal> {
        call!(self, Op::DecideTxn(op), None, Reply::Txn(state) => state)
    }

    /// Dead letters of a queue, oldest first, behind the one that is given.
    pub fn dead_letters(
        &self,
        queue: &QueueId,
        after: Option<(Moment, Uid)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let snapshot = self.snapshot();
        let (start, end) = dead::range(queue);
        let after = after.map(|(at, id)| dead::storage_key(queue, at, id));
        let from = after.as_deref().map_or(Bound::Included(&*start), Bound::Excluded);
        let page = snapshot.scan((from, Bound::Excluded(&*end)), Direction::Forward, limit)?;
        let mut letters = Vec::with_capacity(page.len());
        for (storage_key, _) in page {
            let (died_at, id) = dead::entry_of(queue, &storage_key).map_err(corrupt)?;
            if let Some(record) = snapshot.get(&key::storage_key(&KeyId::of_message(queue, id)))? {
                letters.push(DeadLetter {
                    id,
                    died_at,
                    record: KeyRecord::decode(&record).map_err(corrupt)?,
                });
            }
        }
        Ok(letters)
    }

    /// Removes all messages that are dead by now. Those that somebody has leased are passed over until the next time.
    async fn bury_the_dead(&self) -> Result<(), StoreError> {
        let (start, end) = mortal::range_until(self.now());
        let mut after: Option<bytes::Bytes> = None;
        loop {
            let from = after.as_deref().map_or(Bound::Included(&*start), Bound::Excluded);
            let page = self.snapshot().scan((from, Bound::Excluded(&*end)), Direction::Forward, ROUND)?;
            let keys = page.iter().map(|(storage_key, _)| mortal::key_of(storage_key).map_err(corrupt));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            // All are asked for before any is awaited, so that they share a sync.
            let asked: Vec<_> =
                keys.into_iter().map(|key| self.driver.submit(Op::Tend(Tend::Bury(key)), None)).collect();
            for pending in asked {
                if matches!(pending.answer().await, Reply::Refused(refusal) if refusal.reason == Reason::StoreFailed)
                {
                    return Ok(());
                }
            }
            if page.len() < ROUND {
                return Ok(());
            }
            after = page.last().map(|(key, _)| key.clone());
        }
    }

    /// Removes messages whose time to live is over, and forgets decisions whose retention is.
    pub async fn tidy_up(&self) -> Result<(), StoreError> {
        self.bury_the_dead().await?;
        let now = self.now();
        let mut after: Option<bytes::Bytes> = None;
        loop {
            let (start, end) = Decided::range();
            let from = after.as_deref().map_or(start, Bound::Excluded);
            let page = self.snapshot().scan((from, end), Direction::Forward, ROUND)?;
            // All are asked for before any is awaited, so that they share a sync.
            let mut forgotten = Vec::new();
            for (storage_key, value) in &page {
                if Decided::decode(value).map_err(corrupt)?.expires_at <= now {
                    let txn = Decided::txn_of(storage_key).map_err(corrupt)?;
                    forgotten.push(self.driver.submit(Op::ForgetTxn(txn), None));
                }
            }
            for pending in forgotten {
                if matches!(pending.answer().await, Reply::Refused(refusal) if refusal.reason == Reason::StoreFailed)
                {
                    return Ok(());
                }
            }
            if page.len() < ROUND {
                return Ok(());
            }
            // Most pages have nothing to forget, and others want this thread.
            tokio::task::yield_now().await;
            after = page.last().map(|(key, _)| key.clone());
        }
    }
}

fn corrupt(damaged: lockd_core::records::Damaged) -> StoreError {
    StoreError::Corrupt(damaged.to_string())
}
