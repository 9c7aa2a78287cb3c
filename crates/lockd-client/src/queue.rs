//! Queues: producing, consuming and observing messages.

mod consumer;
mod dead_letters;
mod deliveries;
mod dequeue;
mod enqueue;
mod message;
mod payload;
mod settle;
mod state;
mod subscribe;
mod watch;

use serde::{Deserialize, Serialize};

pub use consumer::{Consumer, ConsumerFailure};
pub use dead_letters::{DeadLetter, DeadLetterPage, DeadLetterPayload};
pub use dequeue::DequeueOptions;
pub use enqueue::{EnqueueOptions, Enqueued};
pub(crate) use message::Held;
pub use message::{Delivery, Message, MessageLease};
pub use payload::Payload;
pub use settle::{Nack, Settle};
pub use state::WorkflowState;
pub use subscribe::Subscription;
pub use watch::{QueueEvent, Watch};

use crate::call::Call;
use crate::client::Client;
use crate::error::Result;

/// A queue: messages that are delivered until somebody acknowledges them. See [`Client::queue`].
///
/// A message that was enqueued is delivered at least once: again after a consumer has died or been too slow, and again when the
/// answer to an acknowledgement got lost. Handlers must bear repetition.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    name: String,
}

/// What can be seen of a queue. There are no depth counters; they would cost every enqueue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// The namespace of the queue.
    pub namespace: String,
    /// The queue, as the server spells it.
    pub queue: String,
    /// How many calls wait for a message of this queue on this server.
    #[serde(default)]
    pub waiting_consumers: u64,
    /// How many messages were picked for a consumer and are not on their way yet.
    #[serde(default)]
    pub pending_candidates: u64,
    /// How many consuming calls this server serves for all queues.
    #[serde(default)]
    pub total_consumers: u64,
    /// Whether somebody watches the queue.
    #[serde(default)]
    pub has_active_watcher: bool,
    /// Whether there is a message to be had.
    #[serde(default)]
    pub available: bool,
    /// The message that would be delivered next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_message_id: Option<String>,
    /// When it was enqueued, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_enqueued_at_unix: Option<i64>,
    /// Since when it could be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_not_visible_until_unix: Option<i64>,
    /// How long ago it was enqueued.
    #[serde(default)]
    pub head_age_seconds: i64,
}

/// What most calls about a queue send.
#[derive(Serialize)]
struct Named<'a> {
    namespace: &'a str,
    queue: &'a str,
}

impl Client {
    /// A queue of the namespace of this client. It exists as soon as something is enqueued; no server is asked.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let orders = client.queue("orders");
    /// orders.enqueue("ship 42", &Default::default()).await?;
    /// if let Some(mut message) = orders.dequeue(&Default::default()).await? {
    ///     println!("{:?}", message.payload().bytes().await?);
    ///     message.ack().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn queue(&self, name: impl Into<String>) -> Queue {
        Queue { client: self.clone(), name: name.into() }
    }
}

impl Queue {
    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client that made this.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn named(&self) -> Named<'_> {
        Named { namespace: self.client.namespace(), queue: &self.name }
    }

    /// A glance at the queue. It takes nothing.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// let stats = client.queue("orders").stats().await?;
    /// println!("oldest is {} s old, {} consumers wait", stats.head_age_seconds, stats.waiting_consumers);
    /// # Ok(()) }
    /// ```
    pub async fn stats(&self) -> Result<QueueStats> {
        let mut call = Call::post("/v1/queue/stats");
        call.json(&self.named());
        self.client.send(call).await?.json()
    }
}
