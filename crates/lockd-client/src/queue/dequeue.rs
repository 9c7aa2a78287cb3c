//! Taking messages out of a queue, one or several at a time.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::deliveries::{Deliveries, broken};
use super::{Message, Nack, Payload, Queue, Settle};
use crate::call::Call;
use crate::error::{Error, Refusal, Result};
use crate::lease::TxnId;
use crate::options::{Wait, rounded_up, whole_seconds};
use lockd_wire::ErrorCode;

/// Payloads up to this size are read before a message is handed out.
pub(super) const INLINE: u64 = 1 << 20;
/// How much a batch may hold in memory before it is handed out as it is.
const BATCH_BYTES: u64 = 64 << 20;
/// A server hands out this many at most.
const LARGEST_BATCH: usize = 64;
/// How long the end of an answer may take after the last message in it.
const END_WITHIN: Duration = Duration::from_millis(100);
/// How long one request waits. A caller who waits longer asks again, so that a server that has vanished is noticed.
const POLL: Duration = Duration::from_secs(30);

/// How to take messages. The default waits as long as it takes, keeps a message for 30 seconds at a time, and extends that by
/// itself.
///
/// ```
/// use std::time::Duration;
/// use lockd_client::DequeueOptions;
///
/// let options = DequeueOptions::new().visibility(Duration::from_secs(60)).wait_at_most(Duration::from_secs(5)).owner("worker-7");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct DequeueOptions {
    pub(super) visibility: Duration,
    pub(super) wait: Wait,
    pub(super) owner: Option<String>,
    pub(super) txn_id: Option<TxnId>,
    pub(super) stateful: bool,
    pub(super) extends: bool,
    pub(super) prefetch: usize,
    pub(super) if_dropped: Settle,
}

impl Default for DequeueOptions {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            wait: Wait::Forever,
            owner: None,
            txn_id: None,
            stateful: false,
            extends: true,
            prefetch: 1,
            if_dropped: Settle::Nack(Nack::new().error("the consumer dropped the message")),
        }
    }
}

impl DequeueOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// For how long a message is ours without being extended, rounded up to whole seconds. The server may cut it short (to 30
    /// minutes unless configured otherwise).
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility;
        self
    }

    /// How patiently to wait for a message.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Do not wait.
    pub fn no_wait(self) -> Self {
        self.wait(Wait::No)
    }

    /// Wait at most this long, rounded up to whole seconds.
    pub fn wait_at_most(self, longest: Duration) -> Self {
        self.wait(Wait::AtMost(longest))
    }

    /// Who is asking, for people who look at the message. Without one, it is that of the client.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Take the messages as part of this transaction: acknowledging one of them commits all of it, and a failure rolls it back.
    /// See [`Transaction::dequeue`](crate::Transaction::dequeue).
    pub fn txn(mut self, id: TxnId) -> Self {
        self.txn_id = Some(id);
        self
    }

    /// Take messages with their [workflow state](super::WorkflowState).
    pub fn stateful(mut self) -> Self {
        self.stateful = true;
        self
    }

    /// Leave extending to [`Delivery::extend`](super::Delivery::extend). The message still tells when its time runs out.
    pub fn manual_extend(mut self) -> Self {
        self.extends = false;
        self
    }

    /// What becomes of a message that is dropped; it has failed unless said otherwise.
    pub fn if_dropped(mut self, settle: Settle) -> Self {
        self.if_dropped = settle;
        self
    }

    /// How many messages a server may lease at a time for a [subscription](super::Subscription): 1 to 64.
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = messages;
        self
    }
}

#[derive(Serialize)]
struct Request<'a> {
    namespace: &'a str,
    queue: &'a str,
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn_id: Option<String>,
    visibility_timeout_seconds: u64,
    wait_seconds: i64,
    page_size: usize,
}

impl Queue {
    /// Takes the next message. `None` if there is none for as long as the options wait.
    ///
    /// Dropping the returned future takes the request back. A message that is on its way at that moment comes back when its
    /// lease runs out.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use lockd_client::DequeueOptions;
    ///
    /// let queue = client.queue("orders");
    /// while let Some(mut message) = queue.dequeue(&DequeueOptions::new().no_wait()).await? {
    ///     let payload = message.payload().bytes().await?;
    ///     println!("{}: {payload:?}", message.id());
    ///     message.ack().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn dequeue(&self, options: &DequeueOptions) -> Result<Option<Message>> {
        let until = deadline(options.wait);
        let Some(mut deliveries) = self.fetch(options, 1, until).await? else { return Ok(None) };
        let length = match deliveries.next_about().await {
            Ok(about) => about.map(|about| about.payload_bytes),
            Err(error) => return Err(self.broken(&error, &deliveries)),
        };
        if length.is_some_and(|length| length > INLINE) {
            let deliveries = Arc::new(Mutex::new(deliveries));
            return Ok(streamed(self, options, deliveries.lock_owned().await));
        }
        let message = self.whole(options, &mut deliveries).await?;
        // Reading the end lets the connection be used again; a message that is here does not wait for it.
        drop(timeout(END_WITHIN, deliveries.next_about()).await);
        Ok(message)
    }

    /// Takes up to this many messages (at most 64) that are there, after waiting for the first as long as the options say. Their
    /// payloads are in memory; a batch ends early when they exceed 64 MiB, and a message that is larger by itself is handed out
    /// alone, to be read as it arrives. The workflow state comes with single messages only.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// for message in client.queue("orders").dequeue_batch(16, &Default::default()).await? {
    ///     println!("{}", message.id());
    ///     message.ack().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn dequeue_batch(&self, most: usize, options: &DequeueOptions) -> Result<Vec<Message>> {
        if most <= 1 || options.stateful {
            return Ok(self.dequeue(options).await?.into_iter().collect());
        }
        let until = deadline(options.wait);
        let most = most.min(LARGEST_BATCH);
        let Some(mut deliveries) = self.fetch(options, most, until).await? else {
            return Ok(Vec::new());
        };
        let (mut messages, mut held) = (Vec::new(), 0u64);
        loop {
            let length = match deliveries.next_about().await {
                Ok(Some(about)) => about.payload_bytes,
                Ok(None) => return Ok(messages),
                Err(error) if messages.is_empty() => return Err(self.broken(&error, &deliveries)),
                // What has arrived is leased, and is not lost for what has not.
                Err(_) => return Ok(messages),
            };
            held = held.saturating_add(length);
            if held > BATCH_BYTES {
                if messages.is_empty() {
                    let deliveries = Arc::new(Mutex::new(deliveries)).lock_owned().await;
                    messages.extend(streamed(self, options, deliveries));
                }
                return Ok(messages);
            }
            match self.whole(options, &mut deliveries).await {
                Ok(message) => messages.extend(message),
                Err(error) if messages.is_empty() => return Err(error),
                Err(_) => return Ok(messages),
            }
        }
    }

    async fn whole(&self, options: &DequeueOptions, deliveries: &mut Deliveries) -> Result<Option<Message>> {
        let taken = deliveries.take_whole().await;
        let Some((about, payload)) = taken.map_err(|error| self.broken(&error, deliveries))? else {
            return Ok(None);
        };
        let lives = deliveries.lives(&about);
        let delivered = (about, Payload::whole(payload));
        Ok(Some(Message::delivered(self, delivered, lives, deliveries.server, options)))
    }

    fn broken(&self, error: &std::io::Error, deliveries: &Deliveries) -> Error {
        let endpoint = self.client.inner.servers[deliveries.server].endpoint.clone();
        broken(error, "/v1/queue/dequeue", endpoint)
    }

    /// Waits for an answer with deliveries; `None` if there is nothing within the time.
    async fn fetch(
        &self,
        options: &DequeueOptions,
        most: usize,
        until: Option<Instant>,
    ) -> Result<Option<Deliveries>> {
        let path = if options.stateful { "/v1/queue/dequeueWithState" } else { "/v1/queue/dequeue" };
        let patience = self.client.inner.timeout;
        let mut early = 0;
        loop {
            let asked = Instant::now();
            let left = match (options.wait, until) {
                (Wait::No, _) => Duration::ZERO,
                (_, Some(until)) => until.saturating_duration_since(Instant::now()).min(POLL),
                (_, None) => POLL,
            };
            let seconds = match rounded_up(left) {
                0 => -1,
                seconds => seconds as i64,
            };
            let mut call = self.consuming(path, options, most, seconds)?;
            call.answer_within(Some((left + Duration::from_secs(1)).saturating_add(patience)));
            match self.client.send(call).await {
                Ok(answer) => return Deliveries::new(answer, patience, Some(patience)).map(Some),
                Err(Error::Refused(refusal)) if is_nothing(&refusal) => {}
                Err(error) => return Err(error),
            }
            let left = until.map_or(POLL, |until| until.saturating_duration_since(Instant::now()));
            if options.wait == Wait::No || left.is_zero() {
                return Ok(None);
            }
            // A server that has waited as it should is asked again at once; one that says so early has had trouble.
            match asked.elapsed() < Duration::from_secs(seconds.unsigned_abs()) {
                true => {
                    sleep(self.client.inner.retry.pause(early, None).min(left)).await;
                    early += 1;
                }
                false => early = 0,
            }
        }
    }

    pub(super) fn consuming(
        &self,
        path: &'static str,
        options: &DequeueOptions,
        most: usize,
        wait_seconds: i64,
    ) -> Result<Call> {
        let mut call = Call::post(path);
        call.json(&Request {
            namespace: self.client.namespace(),
            queue: &self.name,
            owner: options.owner.as_deref().unwrap_or(&self.client.inner.owner),
            txn_id: options.txn_id.map(|id| id.to_string()),
            visibility_timeout_seconds: whole_seconds("visibility", options.visibility)?,
            wait_seconds,
            page_size: most.clamp(1, LARGEST_BATCH),
        });
        call.streaming();
        Ok(call)
    }
}

/// A message whose payload is read as it arrives.
pub(super) fn streamed(
    queue: &Queue,
    options: &DequeueOptions,
    mut deliveries: tokio::sync::OwnedMutexGuard<Deliveries>,
) -> Option<Message> {
    let about = deliveries.take_about()?;
    let (lives, server) = (deliveries.lives(&about), deliveries.server);
    let delivered = (about, Payload::stream(deliveries));
    Some(Message::delivered(queue, delivered, lives, server, options))
}

fn deadline(wait: Wait) -> Option<Instant> {
    match wait {
        Wait::AtMost(longest) => Instant::now().checked_add(longest),
        Wait::Forever | Wait::No => None,
    }
}

pub(super) fn is_nothing(refusal: &Refusal) -> bool {
    refusal.is(ErrorCode::Waiting)
}
