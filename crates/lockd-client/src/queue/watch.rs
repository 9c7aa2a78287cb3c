//! Watching a queue: whether there is something to be had, told whenever that changes.

use std::fmt;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, sleep};

use super::Queue;
use crate::answered::AnswerBody;
use crate::call::Call;
use crate::error::{Error, Result};

/// A server says that it is alive every 20 seconds.
const SILENCE: Duration = Duration::from_secs(65);
/// Lines of events are far shorter.
const LONGEST_EVENT: usize = 1 << 20;

/// What changed about a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueEvent {
    /// The namespace of the queue.
    pub namespace: String,
    /// The queue, as the server spells it.
    pub queue: String,
    /// Whether there is a message to be had.
    pub available: bool,
    /// The one that would be delivered next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_message_id: Option<String>,
    /// When this was so, in seconds since 1970.
    #[serde(default)]
    pub changed_at_unix: i64,
}

/// Tells about a queue. See [`Queue::watch`].
pub struct Watch {
    queue: Queue,
    stream: Option<AnswerBody>,
    buffer: BytesMut,
    failures: u32,
}

impl Queue {
    /// Watches the queue without taking anything from it. No server is asked yet.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// let mut watch = client.queue("orders").watch();
    /// loop {
    ///     let event = watch.next().await?;
    ///     println!("available: {}", event.available);
    /// }
    /// # }
    /// ```
    pub fn watch(&self) -> Watch {
        Watch { queue: self.clone(), stream: None, buffer: BytesMut::new(), failures: 0 }
    }
}

impl Watch {
    /// What the queue looks like at first, and then every change. Several changes in a row may be told as one. A stream that
    /// breaks is replaced by a new one, which begins with what the queue looks like then; an error means that this has failed
    /// as often as the client's retry policy allows, and asking again tries again.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<QueueEvent> {
        loop {
            if let Some(event) = self.take() {
                self.failures = 0;
                return Ok(event);
            }
            let piece = match &mut self.stream {
                Some(stream) => stream.piece().await,
                None => {
                    self.open().await?;
                    continue;
                }
            };
            match piece {
                Ok(Some(piece)) if self.buffer.len() + piece.len() <= LONGEST_EVENT => {
                    self.buffer.extend_from_slice(&piece);
                }
                _ => {
                    self.stream = None;
                    self.buffer.clear();
                }
            }
        }
    }

    async fn open(&mut self) -> Result<()> {
        let retry = self.queue.client.inner.retry;
        if self.failures > 0 {
            sleep(retry.pause(self.failures - 1, None)).await;
        }
        self.failures += 1;
        let mut call = Call::post("/v1/queue/watch");
        call.json(&self.queue.named()).streaming();
        let answer = self.queue.client.send(call).await?;
        let content_type = answer.header("content-type").unwrap_or_default();
        if !content_type.starts_with("text/event-stream") {
            let error: Error = answer.odd(format!("events came as {content_type:?}"));
            return Err(error);
        }
        let mut stream = answer.into_body();
        stream.set_patience(Some(SILENCE));
        self.buffer.clear();
        self.stream = Some(stream);
        Ok(())
    }

    /// The next event that has arrived as a whole. Comments and other events are passed over.
    fn take(&mut self) -> Option<QueueEvent> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let event = self.buffer.split_to(end + 2);
            let text = String::from_utf8_lossy(&event);
            let field = |name: &str| {
                text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
            };
            if field("event") != Some("queue_watch") {
                continue;
            }
            if let Some(event) = field("data").and_then(|data| serde_json::from_str(data).ok()) {
                return Some(event);
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("queue", &self.queue.name).finish_non_exhaustive()
    }
}
