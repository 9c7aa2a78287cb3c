//! Dead letters: messages that have failed too often, and what can be done with them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, ReadBuf};

use super::Queue;
use crate::answered::AnswerBody;
use crate::call::Call;
use crate::error::Result;

/// A message that has failed too often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Names the message.
    pub message_id: String,
    /// Why it is here.
    #[serde(default)]
    pub reason: String,
    /// Since when, in seconds since 1970.
    #[serde(default)]
    pub dead_since_unix: i64,
    /// When it was enqueued, in seconds since 1970.
    #[serde(default)]
    pub enqueued_at_unix: i64,
    /// How often it was delivered.
    #[serde(default)]
    pub attempts: u32,
    /// How often it has failed.
    #[serde(default)]
    pub failure_attempts: u32,
    /// How often it was allowed to fail.
    #[serde(default)]
    pub max_attempts: u32,
    /// What the producer said about it.
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// What the last consumer said when it failed.
    #[serde(default)]
    pub last_error: Option<Value>,
    /// The media type of the payload.
    #[serde(default)]
    pub payload_content_type: String,
    /// How long the payload is.
    #[serde(default)]
    pub payload_bytes: u64,
    /// The id under which servers log everything about the message.
    #[serde(default)]
    pub correlation_id: String,
}

/// Some dead letters of a queue, oldest first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadLetterPage {
    /// The dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// The payload of a dead letter as it arrives.
pub struct DeadLetterPayload(AnswerBody);

impl DeadLetterPayload {
    /// All of it.
    pub async fn bytes(self) -> io::Result<Bytes> {
        self.0.collect(usize::MAX - 1).await
    }
}

impl AsyncRead for DeadLetterPayload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl fmt::Debug for DeadLetterPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterPayload").finish_non_exhaustive()
    }
}

impl Queue {
    /// Up to 100 dead letters of the queue, beginning after the page with this [`next`](DeadLetterPage::next).
    ///
    /// Deployed lockd 0.9 servers do not have this and the other calls about dead letters.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// let orders = client.queue("orders");
    /// let mut place = None;
    /// loop {
    ///     let page = orders.dead_letters(place.as_deref()).await?;
    ///     for letter in page.dead_letters {
    ///         println!("{} failed {} times: {:?}", letter.message_id, letter.failure_attempts, letter.last_error);
    ///     }
    ///     place = page.next;
    ///     if place.is_none() {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn dead_letters(&self, after: Option<&str>) -> Result<DeadLetterPage> {
        #[derive(Deserialize)]
        struct Page {
            dead_letters: Vec<DeadLetter>,
            #[serde(default)]
            next_cursor: Option<String>,
        }
        let mut call = Call::get("/v1/queue/dead-letters");
        call.query("namespace", self.client.namespace()).query("queue", &self.name);
        if let Some(cursor) = after {
            call.query("cursor", cursor);
        }
        let page: Page = self.client.send(call).await?.json()?;
        Ok(DeadLetterPage {
            dead_letters: page.dead_letters,
            next: page.next_cursor.filter(|cursor| !cursor.is_empty()),
        })
    }

    /// The payload of a dead letter. Fails with `not_found` if there is no such dead letter.
    ///
    /// ```no_run
    /// # async fn example(queue: &lockd_client::Queue, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{:?}", queue.dead_letter_payload(id).await?.bytes().await?);
    /// # Ok(()) }
    /// ```
    pub async fn dead_letter_payload(&self, message_id: &str) -> Result<DeadLetterPayload> {
        let mut call = Call::get("/v1/queue/dead-letters/payload");
        call.query("namespace", self.client.namespace())
            .query("queue", &self.name)
            .query("message_id", message_id)
            .streaming();
        Ok(DeadLetterPayload(self.client.send(call).await?.into_body()))
    }

    /// Puts a dead letter back into the queue, as if it had never failed. Fails with `not_found` if there is no such dead letter.
    ///
    /// ```no_run
    /// # async fn example(queue: &lockd_client::Queue, id: &str) -> lockd_client::Result<()> {
    /// queue.redrive(id).await
    /// # }
    /// ```
    pub async fn redrive(&self, message_id: &str) -> Result<()> {
        self.dispose("/v1/queue/dead-letters/redrive", Some(message_id)).await.map(drop)
    }

    /// The same for all that are dead by now. Says how many there were.
    ///
    /// ```no_run
    /// # async fn example(queue: &lockd_client::Queue) -> lockd_client::Result<()> {
    /// println!("{} have another chance", queue.redrive_all().await?);
    /// # Ok(()) }
    /// ```
    pub async fn redrive_all(&self) -> Result<u64> {
        self.dispose("/v1/queue/dead-letters/redrive", None).await
    }

    /// Removes a dead letter. Fails with `not_found` if there is no such dead letter.
    ///
    /// ```no_run
    /// # async fn example(queue: &lockd_client::Queue, id: &str) -> lockd_client::Result<()> {
    /// queue.purge(id).await
    /// # }
    /// ```
    pub async fn purge(&self, message_id: &str) -> Result<()> {
        self.dispose("/v1/queue/dead-letters/purge", Some(message_id)).await.map(drop)
    }

    /// The same for all that are dead by now. Says how many there were.
    ///
    /// ```no_run
    /// # async fn example(queue: &lockd_client::Queue) -> lockd_client::Result<()> {
    /// println!("{} are gone", queue.purge_all().await?);
    /// # Ok(()) }
    /// ```
    pub async fn purge_all(&self) -> Result<u64> {
        self.dispose("/v1/queue/dead-letters/purge", None).await
    }

    async fn dispose(&self, path: &'static str, message_id: Option<&str>) -> Result<u64> {
        #[derive(Serialize)]
        struct Request<'a> {
            namespace: &'a str,
            queue: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message_id: Option<&'a str>,
            all: bool,
        }
        #[derive(Deserialize)]
        struct Done {
            #[serde(alias = "redriven", alias = "purged")]
            done: u64,
        }
        let mut call = Call::post(path);
        call.json(&Request {
            namespace: self.client.namespace(),
            queue: &self.name,
            message_id,
            all: message_id.is_none(),
        });
        match self.client.send(call).await {
            Ok(answer) => Ok(answer.json::<Done>()?.done),
            // The first attempt has done it, and its answer was lost.
            Err(error)
                if message_id.is_some()
                    && error.is(lockd_wire::ErrorCode::NotFound)
                    && error.is_outcome_unknown() =>
            {
                Ok(1)
            }
            Err(error) => Err(error),
        }
    }
}
