//! A delivery as it comes from a server: a description and a payload in a form of parts, read piece by piece.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::QueueName;
use crate::client::transport::{Answer, Api, Call};
use crate::client::{Failure, Outcome};

/// No description and no head of a part is larger.
const PART_MAX: usize = 16 << 20;

/// What a server says about a message that it hands out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    pub(super) namespace: String,
    pub(super) queue: String,
    pub(super) message_id: String,
    pub(super) attempts: u64,
    pub(super) max_attempts: u64,
    pub(super) failure_attempts: u64,
    pub(super) not_visible_until_unix: i64,
    pub(super) visibility_timeout_seconds: u64,
    /// A JSON object, as it was sent.
    pub(super) attributes: Option<Box<RawValue>>,
    pub(super) payload_content_type: String,
    pub(super) payload_bytes: u64,
    pub(super) correlation_id: String,
    pub(super) lease_id: String,
    pub(super) lease_expires_at_unix: i64,
    pub(super) fencing_token: i64,
    pub(super) txn_id: String,
    pub(super) meta_etag: String,
    pub(super) state_etag: String,
    pub(super) state_lease_id: String,
    pub(super) state_lease_expires_at_unix: i64,
    pub(super) state_fencing_token: i64,
}

#[derive(Deserialize)]
struct Meta {
    message: Message,
    #[serde(default)]
    next_cursor: String,
}

/// Which message is wanted.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) queue: QueueName,
    pub(super) owner: String,
    pub(super) visibility_seconds: u64,
    pub(super) start_after: String,
    pub(super) stateful: bool,
    pub(super) txn_id: String,
}

/// Asks for one message; nothing if none came in time. `wait` is in seconds, with -1 for no wait.
pub(super) async fn take(api: &Api, wish: &Wish, wait: i64) -> Outcome<Option<Delivery>> {
    let path = match wish.stateful {
        true => "/v1/queue/dequeueWithState",
        false => "/v1/queue/dequeue",
    };
    let mut body = json!({
        "namespace": wish.queue.namespace,
        "queue": wish.queue.name,
        "owner": wish.owner,
        "visibility_timeout_seconds": wish.visibility_seconds,
        "wait_seconds": wait,
        "page_size": 1,
    });
    for (name, value) in [("txn_id", &wish.txn_id), ("start_after", &wish.start_after)] {
        if !value.is_empty() {
            body[name] = value.as_str().into();
        }
    }
    let mut call = Call::post(path).json(&body);
    call.patience = Some(api.timeout + std::time::Duration::from_secs(wait.max(0).unsigned_abs()));
    match api.send(call).await {
        Ok(answer) => Delivery::read(answer).await.map(Some),
        Err(failure) if failure.code() == "waiting" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A message whose payload is still on its way.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) message: Message,
    pub(super) cursor: String,
    answer: Answer,
    buffer: BytesMut,
    /// Of the payload.
    left: u64,
}

impl Delivery {
    async fn read(answer: Answer) -> Outcome<Delivery> {
        let delimiter = boundary(answer.header("content-type"))
            .map(|boundary| format!("--{boundary}"))
            .ok_or_else(|| broken("its content type names no boundary"))?;
        let mut delivery = Delivery {
            message: Message::default(),
            cursor: String::new(),
            answer,
            buffer: BytesMut::new(),
            left: 0,
        };
        delivery.until(&format!("{delimiter}\r\n")).await?;
        delivery.until("\r\n\r\n").await?;
        let meta = delivery.until(&format!("\r\n{delimiter}\r\n")).await?;
        let Meta { message, next_cursor } =
            serde_json::from_slice(&meta).map_err(|error| broken(&format!("its description: {error}")))?;
        delivery.message = message;
        delivery.cursor = next_cursor;
        let head = delivery.until("\r\n\r\n").await?;
        delivery.left = length(&head).ok_or_else(|| broken("its payload has no length"))?;
        Ok(delivery)
    }

    /// Takes everything up to the text, and the text with it.
    async fn until(&mut self, text: &str) -> Outcome<Bytes> {
        let mut searched = 0;
        loop {
            let found =
                self.buffer[searched..].windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let taken = self.buffer.split_to(searched + at).freeze();
                self.buffer.advance(text.len());
                return Ok(taken);
            }
            searched = self.buffer.len().saturating_sub(text.len() - 1);
            if self.buffer.len() > PART_MAX {
                return Err(broken("it is not in the form of a delivery"));
            }
            match self.answer.piece().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Err(broken("it ends too early")),
            }
        }
    }

    /// The next piece of the payload; nothing at its end.
    pub(super) async fn piece(&mut self) -> Outcome<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.buffer.is_empty() {
            match self.answer.piece().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Err(broken("the payload ends too early")),
            }
        }
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.left -= size as u64;
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}

fn broken(what: &str) -> Failure {
    Failure::Local(format!("lockd: the delivery cannot be read: {what}"))
}

fn boundary(content_type: &str) -> Option<&str> {
    let value = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    Some(value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// `Content-Length` among the headers of a part.
fn length(head: &[u8]) -> Option<u64> {
    std::str::from_utf8(head).ok()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        assert_eq!(boundary("multipart/related; boundary=abc"), Some("abc"));
        assert_eq!(boundary("multipart/related; x=y; Boundary=\"a c\""), Some("a c"));
        assert_eq!(boundary("multipart/related"), None);
        assert_eq!(length(b"Content-Type: a\r\ncontent-length: 12"), Some(12));
        assert_eq!(length(b"Content-Type: a"), None);
        assert_eq!(length(b"Content-Length: x"), None);
    }
}
