//! Messages as a stream: one connection over which a server sends one after the other.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Duration, sleep};

use super::deliveries::Deliveries;
use super::dequeue::{INLINE, is_nothing, streamed};
use super::{DequeueOptions, Message, Payload, Queue};
use crate::error::{Error, Result};
use crate::options::{Wait, rounded_up};

/// A stream of messages. See [`Queue::subscribe`].
pub struct Subscription {
    queue: Queue,
    options: DequeueOptions,
    stream: Option<Arc<Mutex<Deliveries>>>,
    /// Whether something was delivered: how long to wait counts for the first message only.
    has_begun: bool,
    failures: u32,
}

impl Queue {
    /// A stream of messages over one connection, without a request for each. No server is asked yet.
    ///
    /// A server sends as fast as the connection takes: what it has sent is leased, whether or not it was
    /// [taken](Subscription::next). So use this where messages are dealt with faster than they come, one after the other. A
    /// [consumer](Self::consumer) takes no more than it can deal with.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use lockd_client::DequeueOptions;
    ///
    /// let mut messages = client.queue("clicks").subscribe(DequeueOptions::new().prefetch(16));
    /// while let Some(mut message) = messages.next().await? {
    ///     println!("{:?}", message.payload().bytes().await?);
    ///     message.ack().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self, options: DequeueOptions) -> Subscription {
        Subscription { queue: self.clone(), options, stream: None, has_begun: false, failures: 0 }
    }
}

impl Subscription {
    /// The next message. If a large payload of the one before is still being read, that has to end first.
    ///
    /// `None` is the end: there is no message, and the options do not wait for one (with
    /// [`wait_at_most`](DequeueOptions::wait_at_most), no first one). Asking again subscribes again. A stream that ends or breaks
    /// is replaced by a new one, with a pause in between if there was nothing on it. An error means that this has failed as often
    /// as the client's retry policy allows; asking again tries again.
    ///
    /// Dropping the future loses nothing that has arrived. If that ends the subscribing, a message that is on its way at that
    /// moment comes back when its lease runs out.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            let Some(stream) = &self.stream else {
                if !self.open().await? {
                    return Ok(None);
                }
                continue;
            };
            let mut deliveries = stream.clone().lock_owned().await;
            let found = match deliveries.next_about().await {
                Ok(Some(about)) => Ok(Some(about.payload_bytes)),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            match found {
                Ok(Some(length)) if length > INLINE => {
                    (self.has_begun, self.failures) = (true, 0);
                    return Ok(streamed(&self.queue, &self.options, deliveries));
                }
                Ok(Some(_)) => {
                    if let Some(message) = self.whole(&mut deliveries).await {
                        (self.has_begun, self.failures) = (true, 0);
                        return Ok(Some(message));
                    }
                    self.stream = None;
                }
                Ok(None) if self.options.wait == Wait::No => {
                    self.stream = None;
                    return Ok(None);
                }
                // The server ends, or the connection broke. What was on its way comes back when its lease runs out.
                ended => {
                    tracing::debug!(queue = self.queue.name, error = ?ended.err(), "subscription ended");
                    self.stream = None;
                }
            }
        }
    }

    async fn whole(&self, deliveries: &mut OwnedMutexGuard<Deliveries>) -> Option<Message> {
        let (about, payload) = deliveries.take_whole().await.ok()??;
        let lives = deliveries.lives(&about);
        let delivered = (about, Payload::whole(payload));
        Some(Message::delivered(&self.queue, delivered, lives, deliveries.server, &self.options))
    }

    /// Whether there is a new stream.
    async fn open(&mut self) -> Result<bool> {
        let retry = self.queue.client.inner.retry;
        if self.failures > 0 {
            sleep(retry.pause(self.failures - 1, None)).await;
        }
        // Until a message is on its way, this is a stream without messages.
        self.failures += 1;
        let stateful = self.options.stateful;
        let path = if stateful { "/v1/queue/subscribeWithState" } else { "/v1/queue/subscribe" };
        let patience = self.queue.client.inner.timeout;
        let (seconds, within) = match self.options.wait {
            Wait::No => (-1, Some(patience)),
            Wait::AtMost(longest) if !self.has_begun => (
                rounded_up(longest).max(1) as i64,
                longest.checked_add(patience.saturating_add(Duration::from_secs(1))),
            ),
            Wait::AtMost(_) | Wait::Forever => (0, None),
        };
        let mut call = self.queue.consuming(path, &self.options, self.options.prefetch, seconds)?;
        call.answer_within(within);
        match self.queue.client.send(call).await {
            Ok(answer) => {
                // With nothing to deliver nothing is sent, for as long as it takes.
                let deliveries = Deliveries::new(answer, patience, None)?;
                self.stream = Some(Arc::new(Mutex::new(deliveries)));
                Ok(true)
            }
            Err(Error::Refused(refusal)) if is_nothing(&refusal) => {
                Ok(self.options.wait == Wait::Forever || self.has_begun && self.options.wait != Wait::No)
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("queue", &self.queue.name).finish_non_exhaustive()
    }
}
