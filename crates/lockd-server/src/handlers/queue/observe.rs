//! `POST /v1/queue/stats` and `watch`: looking at a queue without touching it.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION};
use http::{HeaderValue, Version};
use hyper::body::Incoming;
use lockd_core::op::{QueueView, WatchQueue};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, QueueId, header};

use super::{members, or_query, queue_id, read_json};
use crate::answer::{self, BrokenBody, Failure, Outcome, Streamed, Undo, WithHeaders};
use crate::call::Call;
use crate::gate::Permission;

const HEARTBEAT: Duration = Duration::from_secs(20);

async fn read(call: &Call<'_>, mut body: Incoming) -> Result<QueueId, Failure> {
    let body = read_json(call, &mut body).await?;
    let (namespace, queue) =
        members(&body, true, |object| Ok((object.string("namespace")?, object.string("queue")?)))?;
    let namespace = call.namespace_among(&[or_query(call, &namespace, "namespace")])?;
    call.authorise(&namespace, Permission::Read)?;
    queue_id(&namespace, &[or_query(call, &queue, "queue")], ErrorCode::InvalidQueue)
}

/// When a message was enqueued: its id says so.
fn enqueued_at(message: lockd_wire::Uid) -> u64 {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&message.0[..6]);
    u64::from_be_bytes(millis)
}

pub(crate) async fn stats(call: &Call<'_>, body: Incoming) -> Outcome {
    let queue = read(call, body).await?;
    let view = call.node().watch_queue(WatchQueue { queue: queue.clone(), known: None }).await?;
    let mut out = Vec::with_capacity(320);
    let mut writer = ObjectWriter::new(&mut out)
        .string("namespace", queue.namespace())
        .string("queue", queue.name())
        .int("waiting_consumers", view.waiting_consumers)
        .int("pending_candidates", 0)
        .int("total_consumers", call.app.consumers())
        .bool("has_active_watcher", view.watched)
        .bool("available", view.head.is_some());
    if let Some(head) = view.head {
        let age = view.now.0.saturating_sub(enqueued_at(head.message)) / 1000;
        writer = writer
            .string("head_message_id", &head.message.to_string())
            .int("head_enqueued_at_unix", enqueued_at(head.message) / 1000)
            .int("head_not_visible_until_unix", head.visible_at.seconds())
            .int_unless_zero("head_age_seconds", age);
    }
    writer.string("correlation_id", call.correlation).end_line();
    Ok(answer::json(out).with_text(header::CORRELATION_ID, call.correlation))
}

pub(crate) async fn watch(call: &Call<'_>, body: Incoming) -> Outcome {
    let queue = read(call, body).await?;
    let first = call.node().watch_queue(WatchQueue { queue: queue.clone(), known: None }).await?;
    let (app, correlation) = (call.app.clone(), call.correlation.to_owned());
    let streamed = Streamed::spawn(Undo::of(&app.node, &[]), move |mut to| async move {
        let (mut number, mut view) = (1u64, first);
        loop {
            to.send(event(number, &queue, &view, &correlation).into()).await?;
            number += 1;
            let known = Some(view.head.map(|head| head.message));
            let next = app.node.watch_queue(WatchQueue { queue: queue.clone(), known });
            tokio::pin!(next);
            view = loop {
                tokio::select! {
                    view = &mut next => break view.map_err(|refusal| BrokenBody::Refused(refusal.reason))?,
                    () = tokio::time::sleep(HEARTBEAT) => to.send(": keepalive\n\n".into()).await?,
                    () = to.closed() => return Err(BrokenBody::Gone),
                    () = app.streams_end() => return Ok(()),
                }
            };
        }
    });
    let mut answer = answer::streamed(streamed, "text/event-stream");
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if call.head.version < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    Ok(answer
        .with("x-accel-buffering", HeaderValue::from_static("no"))
        .with_text(header::CORRELATION_ID, call.correlation))
}

fn event(number: u64, queue: &QueueId, view: &QueueView, correlation: &str) -> Vec<u8> {
    let mut out = format!("id: {number}\nevent: queue_watch\ndata: ").into_bytes();
    let head = view.head.map(|head| head.message.to_string()).unwrap_or_default();
    ObjectWriter::new(&mut out)
        .string("namespace", queue.namespace())
        .string("queue", queue.name())
        .bool("available", view.head.is_some())
        .string_unless_empty("head_message_id", &head)
        .int("changed_at_unix", view.now.seconds())
        .string("correlation_id", correlation)
        .end();
    out.extend_from_slice(b"\n\n");
    out
}
