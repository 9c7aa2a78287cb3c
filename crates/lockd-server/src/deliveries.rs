//! Deliveries on their way out: what a consumer reads of a message, and the multipart framing around it.

use bytes::Bytes;
use lockd_core::op::Delivery;
use lockd_json::ObjectWriter;
use lockd_node::Body;
use lockd_store::StoreError;

use crate::app::App;

/// How a body of deliveries is framed.
#[derive(Debug, Clone)]
pub(crate) struct Framing {
    boundary: String,
    /// Parts carry numbered file names.
    numbered: bool,
}

impl Framing {
    pub(crate) fn new(numbered: bool) -> Framing {
        Framing { boundary: format!("{:032x}", fastrand::u128(..)), numbered }
    }

    pub(crate) fn content_type(&self) -> String {
        format!("multipart/related; boundary={}", self.boundary)
    }

    /// What the body begins with.
    pub(crate) fn opening(&self) -> String {
        format!("--{}", self.boundary)
    }

    /// What follows a payload. It is sent with the payload, because a reader cannot hand that out before it has seen what
    /// follows; the rest of the line comes with the next delivery, or with [`Framing::CLOSING`].
    pub(crate) fn delimiter(&self) -> String {
        format!("\r\n--{}", self.boundary)
    }

    pub(crate) const CLOSING: &str = "--\r\n";

    /// Everything from behind a delimiter to the payload.
    pub(crate) fn head(&self, number: usize, delivery: &Delivery, out: &mut Vec<u8>) {
        let name = |out: &mut Vec<u8>, part: &str, end: &str| {
            out.extend_from_slice(b"\r\nContent-Disposition: form-data; name=\"");
            out.extend_from_slice(part.as_bytes());
            if self.numbered {
                out.extend_from_slice(format!("\"; filename=\"{part}-{number}{end}").as_bytes());
            }
            out.extend_from_slice(b"\"\r\n");
        };
        name(out, "meta", ".json");
        out.extend_from_slice(b"Content-Type: application/json\r\n\r\n");
        write_meta(delivery, out);
        out.extend_from_slice(self.delimiter().as_bytes());
        name(out, "payload", "");
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(delivery.payload.len).as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(delivery.content_type.as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }
}

fn write_meta(delivery: &Delivery, out: &mut Vec<u8>) {
    ObjectWriter::new(out).value("message", |out| write_message(delivery, out)).end_line();
}

fn write_message(delivery: &Delivery, out: &mut Vec<u8>) {
    let mut writer = ObjectWriter::new(out)
        .string("namespace", delivery.queue.namespace())
        .string("queue", delivery.queue.name())
        .string("message_id", &delivery.message.to_string())
        .int("attempts", delivery.attempts)
        .int("max_attempts", delivery.max_attempts)
        .int_unless_zero("failure_attempts", delivery.failures)
        .int("not_visible_until_unix", delivery.expires_at.seconds())
        .int("visibility_timeout_seconds", delivery.visibility_seconds);
    if let Some(attributes) = &delivery.attributes {
        writer = writer.raw("attributes", attributes);
    }
    let mut writer = writer
        .string("payload_content_type", &delivery.content_type)
        .int("payload_bytes", delivery.payload.len)
        .string("correlation_id", &delivery.correlation)
        .string("lease_id", &delivery.lease.to_string())
        .int("lease_expires_at_unix", delivery.expires_at.seconds())
        .int("fencing_token", delivery.token)
        .string("txn_id", &delivery.txn.to_string())
        .string("meta_etag", &delivery.meta_etag.to_string());
    if let Some(state) = &delivery.state {
        writer = writer
            .string("state_etag", &state.marker.to_string())
            .string("state_lease_id", &state.lease.to_string())
            .int("state_lease_expires_at_unix", state.expires_at.seconds())
            .int("state_fencing_token", state.token)
            .string("state_txn_id", &delivery.txn.to_string());
    }
    writer.end();
}

/// A payload, ready to be sent. A message that was acknowledged by somebody else meanwhile has none any more.
pub(crate) async fn payload(app: &App, delivery: &Delivery) -> Result<Body, StoreError> {
    app.node.payload(&delivery.payload).await
}

/// The pieces of a payload.
pub(crate) struct Pieces(pub(crate) Body);

impl Pieces {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match &mut self.0 {
            Body::Whole(bytes) if bytes.is_empty() => Ok(None),
            Body::Whole(bytes) => Ok(Some(std::mem::take(bytes))),
            Body::Stream(reader) => reader.read().await,
        }
    }
}
