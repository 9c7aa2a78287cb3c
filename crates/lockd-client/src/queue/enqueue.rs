//! Producing: a message as a form of two parts.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf, Take};
use tokio::time::Duration;

use super::Queue;
use crate::body::{Body, Content};
use crate::call::{Call, Repeat};
use crate::error::Result;
use crate::options::rounded_up;

/// How to enqueue a message. The default is visible at once, for ever, and may fail five times.
///
/// ```
/// use std::time::Duration;
/// use lockd_client::EnqueueOptions;
///
/// let options = EnqueueOptions::new()
///     .delay(Duration::from_secs(60))
///     .max_attempts(3)
///     .attribute("kind", "ship")
///     .content_type("application/json");
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct EnqueueOptions {
    delay: Duration,
    ttl: Option<Duration>,
    visibility: Option<Duration>,
    max_attempts: Option<u32>,
    attributes: Map<String, Value>,
    content_type: Option<String>,
    may_duplicate: bool,
}

impl EnqueueOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Deliver it not before this long from now, rounded up to whole seconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Forget it this long from now if nobody has taken it, rounded up to whole seconds. It does not become a dead letter.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Recorded with the message, and told to who looks. How long a delivery lasts is up to the
    /// [consumer](super::DequeueOptions::visibility).
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// How often it may [fail](super::Nack) before it becomes a dead letter; 5 unless said otherwise.
    pub fn max_attempts(mut self, most: u32) -> Self {
        self.max_attempts = Some(most);
        self
    }

    /// Something to tell the consumer beside the payload. Numbers become 64-bit floating point numbers on the way.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// The media type of the payload.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Rather enqueue it twice than not at all: if a connection breaks, try again although the message may be in the queue
    /// already. Without this such a call fails, and its error [is of unknown outcome](crate::Error::is_outcome_unknown).
    /// A payload from a reader is never sent twice.
    pub fn may_duplicate(mut self) -> Self {
        self.may_duplicate = true;
        self
    }
}

/// A message that is in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Enqueued {
    /// The namespace of the queue.
    pub namespace: String,
    /// The queue, as the server spells it.
    pub queue: String,
    /// Names the message, for its whole life.
    pub message_id: String,
    /// How often it may fail.
    #[serde(default)]
    pub max_attempts: u32,
    /// Before this it is not delivered, in seconds since 1970.
    #[serde(default)]
    pub not_visible_until_unix: i64,
    /// How long the payload is.
    #[serde(default)]
    pub payload_bytes: u64,
    /// The id under which servers log everything about the message.
    #[serde(default)]
    pub correlation_id: String,
}

#[derive(Serialize)]
struct Meta<'a> {
    namespace: &'a str,
    queue: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    delay_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility_timeout_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attributes: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_content_type: Option<&'a str>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Queue {
    /// Puts a message into the queue: bytes, a string, or what a [reader](Body::reader) yields. When this returns, the message
    /// is as durable as the server's store.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use lockd_client::{Body, EnqueueOptions};
    ///
    /// let queue = client.queue("uploads");
    /// queue.enqueue("hello", &EnqueueOptions::new()).await?;
    /// let file = tokio::fs::File::open("video.mp4").await?;
    /// queue.enqueue(Body::reader(file), &EnqueueOptions::new().content_type("video/mp4")).await?;
    /// # Ok(()) }
    /// ```
    pub async fn enqueue(&self, payload: impl Into<Body>, options: &EnqueueOptions) -> Result<Enqueued> {
        let meta = Meta {
            namespace: self.client.namespace(),
            queue: &self.name,
            delay_seconds: rounded_up(options.delay),
            ttl_seconds: options.ttl.map(|ttl| rounded_up(ttl).max(1)),
            visibility_timeout_seconds: options.visibility.map(rounded_up),
            max_attempts: options.max_attempts,
            attributes: &options.attributes,
            payload_content_type: options.content_type.as_deref(),
        };
        // Where the payload contained it, 128 random bits would have been guessed.
        let boundary = format!("lockd-{:032x}", fastrand::u128(..));
        let mut call = Call::post("/v1/queue/enqueue");
        call.body(form(&boundary, &meta, payload.into()));
        call.header("content-type", &format!("multipart/related; boundary={boundary}"));
        if !options.may_duplicate {
            call.repeat(Repeat::Never);
        }
        call.reuses_connections = true;
        self.client.send(call).await?.json()
    }

    /// The same for a value that is sent as JSON.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// client.queue("orders").enqueue_json(&serde_json::json!({"order": 42}), &Default::default()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn enqueue_json<T: Serialize + ?Sized>(
        &self,
        payload: &T,
        options: &EnqueueOptions,
    ) -> Result<Enqueued> {
        let bytes = serde_json::to_vec(payload)
            .map_err(|source| crate::error::Error::Unencodable { key: self.name.clone(), source })?;
        let mut options = options.clone();
        options.content_type.get_or_insert_with(|| "application/json".to_owned());
        self.enqueue(bytes, &options).await
    }
}

fn form(boundary: &str, meta: &Meta<'_>, payload: Body) -> Body {
    let mut head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n"
    )
    .into_bytes();
    // A map from strings to JSON values has a JSON form.
    head.extend(serde_json::to_vec(meta).unwrap_or_default());
    head.extend(
        format!("\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"payload\"\r\n\r\n").into_bytes(),
    );
    let tail = format!("\r\n--{boundary}--\r\n").into_bytes();
    match payload.0 {
        Content::Bytes(bytes) => {
            head.extend_from_slice(&bytes);
            head.extend(tail);
            head.into()
        }
        Content::Reader { reader, length } => {
            let around = (head.len() + tail.len()) as u64;
            let reader = match length {
                // Whatever else it yields is not part of the message.
                Some(length) => {
                    let exact = Exactly(reader.take(length));
                    Box::pin(Cursor::new(head).chain(exact).chain(Cursor::new(tail))) as _
                }
                None => Box::pin(Cursor::new(head).chain(reader).chain(Cursor::new(tail))) as _,
            };
            Body(Content::Reader { reader, length: length.and_then(|length| length.checked_add(around)) })
        }
    }
}

/// A reader of a known length. One that ends before is an error, not a short message.
struct Exactly<R>(Take<R>);

impl<R: AsyncRead + Unpin> AsyncRead for Exactly<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.0).poll_read(context, buffer))?;
        let left = self.0.limit();
        if buffer.filled().len() == before && room > 0 && left > 0 {
            let why = format!("it ended {left} bytes before its announced length");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
        }
        Poll::Ready(Ok(()))
    }
}
