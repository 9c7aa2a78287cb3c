//! A message for a consumer that is waiting, at low load: from sending the enqueue to having read the delivery.

use std::time::{Duration, Instant};

use super::calls::{Messenger, NO_DELAY};
use crate::calls::Document;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::load::{OperationLog, Workload};
use bench_kit::measured::nanos_between;
use bench_kit::pacer::Pacer;

/// Between the ack of one message and the enqueue of the next: the consumer is in line again by then.
const PAUSE: Duration = Duration::from_millis(2);
const WAIT_SECONDS: i32 = 60;

#[derive(Debug)]
pub(crate) struct MessageHandover {
    pub(crate) endpoint: Endpoint,
    /// Each pair of producer and consumer has a queue of its own.
    pub(crate) prefix: String,
    pub(crate) payload_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Pair {
    producer: Messenger,
    consumer: Messenger,
    pacer: Pacer,
    queue: String,
    document: Document,
}

impl Workload for MessageHandover {
    type Client = Pair;

    fn label(&self) -> String {
        "queue-handover".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["sent-to-delivered", "enqueue", "answered-to-delivered", "ack"]
    }

    async fn join(&self, index: usize) -> Result<Pair, Fault> {
        Ok(Pair {
            producer: Messenger::open(&self.endpoint).await?,
            consumer: Messenger::open(&self.endpoint).await?,
            pacer: Pacer::new()?,
            queue: format!("{}-{index}", self.prefix),
            document: Document::new(self.payload_bytes, index as u64 + 1),
        })
    }

    async fn operate(&self, pair: &mut Pair, log: &mut OperationLog) -> Result<(), Fault> {
        let Pair { producer, consumer, pacer, queue, document } = pair;
        let queue = queue.as_str();
        let consume = async {
            let delivery = consumer.dequeue(queue, WAIT_SECONDS).await?;
            Ok::<_, Fault>((delivery, Instant::now()))
        };
        let produce = async {
            pacer.wait_until(Instant::now() + PAUSE).await?;
            let sent = Instant::now();
            producer.enqueue(queue, NO_DELAY, document.next_revision()).await?;
            Ok::<_, Fault>((sent, Instant::now()))
        };
        // In this order, so that the consumer's request is the first to be sent.
        let ((delivery, delivered), (sent, answered)) = tokio::try_join!(biased; consume, produce)?;
        log.request();
        log.request();
        log.note(0, nanos_between(sent, delivered));
        log.note(1, nanos_between(sent, answered));
        log.note(2, nanos_between(answered, delivered));
        let before = Instant::now();
        consumer.ack(queue, &delivery).await?;
        log.request();
        log.note(3, nanos_between(before, Instant::now()));
        Ok(())
    }
}
