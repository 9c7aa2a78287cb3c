//! The queue calls: requests written by hand, the handle of a delivery picked out of its meta part.

use std::io::Write as _;

use crate::calls::{member, quoted};
use crate::connection::{Answer, Connection};
use crate::endpoint::Endpoint;
use crate::fault::Fault;

/// What an ack must prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    message: String,
    lease: String,
    txn: String,
    token: i64,
    etag: String,
    pub(crate) payload_bytes: usize,
}

impl Delivery {
    /// Reads the JSON of a meta part.
    pub(crate) fn read(meta: &[u8]) -> Option<Delivery> {
        let text = std::str::from_utf8(meta).ok()?;
        let text_of = |name: &str| quoted(member(text, name)?);
        Some(Delivery {
            message: text_of("\"message_id\"")?,
            lease: text_of("\"lease_id\"")?,
            txn: text_of("\"txn_id\"")?,
            token: i64::try_from(number(member(text, "\"fencing_token\"")?)?).ok()?,
            etag: text_of("\"meta_etag\"")?,
            payload_bytes: number(member(text, "\"payload_bytes\"")?)?,
        })
    }
}

fn number(text: &str) -> Option<usize> {
    text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())].parse().ok()
}

/// When a message becomes visible, and how long a consumer waits for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay(pub(crate) u32);

pub(crate) const NO_DELAY: Delay = Delay(0);

/// Long enough for every run: nothing is delivered twice because its consumer was slow.
const VISIBILITY_SECONDS: u32 = 1200;
const BOUNDARY: &str = "lockd-bench-7d3e1c9a5f20";

/// A producer or consumer: one connection and the buffers its requests are built in.
#[derive(Debug)]
pub(crate) struct Messenger {
    connection: Connection,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Messenger {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Messenger, Fault> {
        Ok(Messenger {
            connection: Connection::open(endpoint).await?,
            request: Vec::with_capacity(8192),
            body: Vec::new(),
        })
    }

    pub(crate) async fn enqueue(&mut self, queue: &str, delay: Delay, payload: &[u8]) -> Result<(), Fault> {
        self.body.clear();
        self.body.extend_from_slice(&form_head(queue, delay)?);
        self.body.extend_from_slice(payload);
        self.body.extend_from_slice(FORM_END.as_bytes());
        self.request.clear();
        self.request.extend_from_slice(&enqueue_head(self.body.len())?);
        self.request.extend_from_slice(&self.body);
        self.connection.exchange(&self.request).await?.expect_ok("enqueue")
    }

    /// Waits at most `wait_seconds` for a message and leases it. -1: not at all.
    pub(crate) async fn dequeue(&mut self, queue: &str, wait_seconds: i32) -> Result<Delivery, Fault> {
        let answer = self.ask(queue, wait_seconds).await?;
        answer.expect_ok("dequeue")?;
        delivered(answer.body).ok_or_else(|| Fault::Unexpected {
            call: "dequeue",
            detail: format!("no message in {:?}", shown(answer.body)),
        })
    }

    async fn ask(&mut self, queue: &str, wait_seconds: i32) -> Result<Answer<'_>, Fault> {
        consume_request(&mut self.request, &mut self.body, "dequeue", queue, wait_seconds, 1)?;
        self.connection.exchange(&self.request).await
    }

    pub(crate) async fn ack(&mut self, queue: &str, delivery: &Delivery) -> Result<(), Fault> {
        self.body.clear();
        write!(
            self.body,
            "{{\"queue\":\"{queue}\",\"message_id\":\"{}\",\"lease_id\":\"{}\",\"txn_id\":\"{}\",\
             \"fencing_token\":{},\"meta_etag\":\"{}\"}}",
            delivery.message, delivery.lease, delivery.txn, delivery.token, delivery.etag
        )?;
        json_request(&mut self.request, "/v1/queue/ack", &self.body)?;
        self.connection.exchange(&self.request).await?.expect_ok("ack")
    }

    /// Whether a message could be delivered now, and how many wait for one.
    pub(crate) async fn stats(&mut self, queue: &str) -> Result<(bool, usize), Fault> {
        self.body.clear();
        write!(self.body, "{{\"queue\":\"{queue}\"}}")?;
        json_request(&mut self.request, "/v1/queue/stats", &self.body)?;
        let answer = self.connection.exchange(&self.request).await?;
        answer.expect_ok("stats")?;
        let text = std::str::from_utf8(answer.body).unwrap_or_default();
        let read = || {
            let available = member(text, "\"available\"")?.starts_with("true");
            Some((available, number(member(text, "\"waiting_consumers\"")?)?))
        };
        read().ok_or_else(|| Fault::Unexpected {
            call: "stats",
            detail: format!("unknown form: {:?}", shown(answer.body)),
        })
    }
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned()
}

const FORM_END: &str = concat!("\r\n--", "lockd-bench-7d3e1c9a5f20", "--\r\n");

/// Everything of an enqueue's form that comes before the payload.
pub(crate) fn form_head(queue: &str, Delay(seconds): Delay) -> Result<Vec<u8>, Fault> {
    let mut head = Vec::with_capacity(512);
    write!(
        head,
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n\
         {{\"queue\":\"{queue}\",\"delay_seconds\":{seconds},\"payload_content_type\":\"application/json\"}}\
         \r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"payload\"\r\n\
         Content-Type: application/json\r\n\r\n"
    )?;
    Ok(head)
}

pub(crate) fn form_end() -> &'static [u8] {
    FORM_END.as_bytes()
}

/// The head of an enqueue request with a form of so many bytes.
pub(crate) fn enqueue_head(form_bytes: usize) -> Result<Vec<u8>, Fault> {
    let mut head = Vec::with_capacity(256);
    write!(
        head,
        "POST /v1/queue/enqueue HTTP/1.1\r\nHost: lockd\r\n\
         Content-Type: multipart/related; boundary={BOUNDARY}\r\nContent-Length: {form_bytes}\r\n\r\n"
    )?;
    Ok(head)
}

/// Builds a dequeue or subscribe request in `request`.
pub(crate) fn consume_request(
    request: &mut Vec<u8>,
    body: &mut Vec<u8>,
    call: &str,
    queue: &str,
    wait_seconds: i32,
    page_size: usize,
) -> Result<(), Fault> {
    body.clear();
    write!(
        body,
        "{{\"queue\":\"{queue}\",\"owner\":\"lockd-bench\",\"wait_seconds\":{wait_seconds},\
         \"page_size\":{page_size},\"visibility_timeout_seconds\":{VISIBILITY_SECONDS}}}"
    )?;
    json_request(request, &format!("/v1/queue/{call}"), body)
}

fn json_request(request: &mut Vec<u8>, path: &str, body: &[u8]) -> Result<(), Fault> {
    request.clear();
    write!(
        request,
        "POST {path} HTTP/1.1\r\nHost: lockd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    request.extend_from_slice(body);
    Ok(())
}

/// The one delivery of a dequeue answer, if its payload is there in full.
fn delivered(body: &[u8]) -> Option<Delivery> {
    let meta = memchr::memmem::find(body, b"\r\n\r\n")? + 4;
    let meta_end = meta + memchr::memchr(b'\n', &body[meta..])?;
    let delivery = Delivery::read(&body[meta..meta_end])?;
    let payload = meta_end + memchr::memmem::find(&body[meta_end..], b"\r\n\r\n")? + 4;
    let after = body.get(payload + delivery.payload_bytes..)?;
    (after.starts_with(b"\r\n--") && after.ends_with(b"--\r\n")).then_some(delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = r#"{"message":{"message_id":"m1","attempts":1,"payload_bytes":5,"lease_id":"l1","fencing_token":7,"txn_id":"t1","meta_etag":"e1"}}"#;

    #[test]
    fn a_delivery_is_read_only_with_its_whole_payload() {
        let whole = format!(
            "--b\r\nContent-Disposition: form-data; name=\"meta\"\r\n\r\n{META}\n\r\n--b\r\nContent-Length: 5\r\n\r\nhello\r\n--b--\r\n"
        );
        let delivery = delivered(whole.as_bytes()).unwrap();
        assert_eq!((delivery.message.as_str(), delivery.token, delivery.payload_bytes), ("m1", 7, 5));
        assert_eq!(
            (delivery.lease.as_str(), delivery.txn.as_str(), delivery.etag.as_str()),
            ("l1", "t1", "e1")
        );
        assert_eq!(delivered(whole.replace("hello", "hell").as_bytes()), None);
        assert_eq!(delivered(&whole.as_bytes()[..whole.len() - 6]), None);
        assert_eq!(delivered(b"{}"), None);
    }

    #[test]
    fn the_form_ends_with_the_boundary_that_its_head_names() {
        let head = String::from_utf8(enqueue_head(10).unwrap()).unwrap();
        assert!(head.contains(&format!("boundary={BOUNDARY}\r\n")));
        assert_eq!(FORM_END, format!("\r\n--{BOUNDARY}--\r\n"));
    }
}
