//! `POST /v1/queue/enqueue`: a new message, streamed in as a multipart form.

use bytes::Bytes;
use hyper::body::Incoming;
use lockd_json::{DecodeError, Object, ObjectWriter};
use lockd_node::NewMessage;
use lockd_wire::{ErrorCode, header};

use super::{queue_id, unparsed};
use crate::answer::{self, Failure, Outcome, WithHeaders};
use crate::call::Call;
use crate::gate::Permission;
use crate::multipart::{Multipart, boundary};

#[derive(Debug, Default)]
struct Meta {
    namespace: String,
    queue: String,
    delay_seconds: i64,
    visibility_seconds: i64,
    ttl_seconds: i64,
    max_attempts: i64,
    attributes: Option<Bytes>,
    content_type: String,
}

impl Meta {
    /// Members that are not known are ignored here, and only here.
    fn read(json: &[u8]) -> Result<Meta, DecodeError> {
        let mut object = Object::parse(json)?;
        let mut integer = |name| Ok::<_, DecodeError>(object.integer(name)?.unwrap_or(0));
        let (delay_seconds, visibility_seconds) =
            (integer("delay_seconds")?, integer("visibility_timeout_seconds")?);
        let (ttl_seconds, max_attempts) = (integer("ttl_seconds")?, integer("max_attempts")?);
        object.object("attributes")?;
        let attributes = object.raw("attributes").filter(|raw| *raw != b"null");
        let attributes = attributes.map(|raw| {
            let mut compacted = Vec::with_capacity(raw.len());
            // What the reader of the object has accepted is valid.
            match lockd_json::compact(raw, &mut compacted) {
                Ok(()) => Bytes::from(compacted),
                Err(_) => Bytes::copy_from_slice(raw),
            }
        });
        let mut text = |name| Ok::<_, DecodeError>(object.string(name)?.unwrap_or_default().into_owned());
        Ok(Meta {
            namespace: text("namespace")?,
            queue: text("queue")?,
            delay_seconds,
            visibility_seconds,
            ttl_seconds,
            max_attempts,
            attributes: attributes.filter(|attributes| &attributes[..] != b"{}"),
            content_type: text("payload_content_type")?,
        })
    }
}

pub(crate) async fn enqueue(call: &Call<'_>, body: Incoming) -> Outcome {
    call.admit().await?;
    let content_type = call.header("content-type").unwrap_or_default();
    let boundary = boundary(&content_type)
        .ok_or_else(|| Failure::new(ErrorCode::InvalidContentType, "multipart form required"))??;
    let mut form = Multipart::new(body, &boundary);
    let mut meta = Meta::default();
    let mut has_payload = false;
    while let Some(name) = form.next_part().await? {
        match name.as_str() {
            "meta" => meta = Meta::read(&form.whole(call.app.settings.json_max).await?).map_err(unparsed)?,
            "payload" => {
                has_payload = true;
                break;
            }
            _ => {}
        }
    }
    let namespace = call.namespace_among(&[&meta.namespace])?;
    call.authorise(&namespace, Permission::Write)?;
    let queue = queue_id(&namespace, &[&meta.queue, call.query.get("queue")], ErrorCode::InvalidQueue)?;
    let content_type = match meta.content_type.trim() {
        "" => "application/octet-stream",
        given if given.chars().any(char::is_control) => {
            return Err(Failure::new(ErrorCode::InvalidBody, "payload_content_type has control characters"));
        }
        given => given,
    };
    call.not_draining()?;
    let mut intake = call.node().intake();
    if has_payload {
        while let Some(piece) = form.data().await? {
            intake.write(&piece).await?;
        }
    }
    let message = NewMessage {
        queue: queue.clone(),
        correlation: call.correlation.to_owned(),
        content_type: content_type.to_owned(),
        attributes: meta.attributes,
        delay_seconds: meta.delay_seconds,
        visibility_seconds: meta.visibility_seconds,
        ttl_seconds: meta.ttl_seconds,
        max_attempts: meta.max_attempts,
    };
    let enqueued = call.node().enqueue(message, intake.finish().await?).await?;
    let mut out = Vec::with_capacity(320);
    ObjectWriter::new(&mut out)
        .string("namespace", queue.namespace())
        .string("queue", queue.name())
        .string("message_id", &enqueued.message.to_string())
        .int("attempts", 0)
        .int("max_attempts", enqueued.max_attempts)
        .int("not_visible_until_unix", enqueued.visible_at.seconds())
        .int("visibility_timeout_seconds", enqueued.visibility_seconds)
        .int("payload_bytes", enqueued.len)
        .string("correlation_id", call.correlation)
        .end_line();
    Ok(answer::json(out).with_text(header::CORRELATION_ID, call.correlation))
}
