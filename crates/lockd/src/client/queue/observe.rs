//! Looking at a queue without taking anything from it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{QueueName, named};
use crate::client::transport::{Answer, Api, Call};
use crate::client::{Failure, Invocation, Outcome, print};

/// A server says something every twenty seconds.
const SILENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// No event is larger.
const LINE_MAX: usize = 64 << 10;

fn about(path: &'static str, queue: &QueueName) -> Call {
    Call::post(path).json(&json!({ "namespace": queue.namespace, "queue": queue.name }))
}

fn watching(queue: &QueueName) -> Call {
    Call { silence: Some(SILENCE), ..about("/v1/queue/watch", queue) }
}

pub(in crate::client) async fn stats(invocation: &Invocation) -> Outcome<()> {
    let queue = named(invocation)?;
    let body = Api::new(invocation)?.send(about("/v1/queue/stats", &queue)).await?.bytes().await?;
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Failure::Local(format!("lockd: the answer is not JSON: {error}")))?;
    let members: Vec<_> = [
        "namespace",
        "queue",
        "available",
        "head_message_id",
        "head_enqueued_at_unix",
        "head_not_visible_until_unix",
        "head_age_seconds",
        "waiting_consumers",
        "pending_candidates",
        "total_consumers",
        "has_active_watcher",
        "correlation_id",
    ]
    .into_iter()
    .filter(|name| !value[*name].is_null())
    .collect();
    let text = match invocation.settings.format {
        "json" => {
            let members: Vec<_> = members.iter().map(|name| (*name, value[*name].to_string())).collect();
            print::result(&members)
        }
        _ => members.iter().map(|name| format!("{name}: {}\n", plain(&value[*name]))).collect(),
    };
    print::out(text.as_bytes())
}

/// A value without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Prints a line whenever the head of the queue changes. A stream that ends or breaks is opened again; only the first one
/// has to succeed.
pub(in crate::client) async fn watch(invocation: &Invocation) -> Outcome<()> {
    let queue = named(invocation)?;
    let api = Api::new(invocation)?;
    let mut last = (Value::Null, Value::Null);
    let mut answer = api.send(watching(&queue)).await?;
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = follow(&mut answer, invocation.settings.format, &mut last, &mut pause).await;
        if let Err(Failure::NobodyReads) = ended {
            return ended;
        }
        loop {
            tokio::time::sleep(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
            pause = (pause * 2).min(LAST_PAUSE);
            match api.send(watching(&queue)).await {
                Ok(next) => {
                    answer = next;
                    break;
                }
                Err(Failure::Service(refusal)) if refusal.status < 500 && refusal.status != 429 => {
                    return Err(Failure::Service(refusal));
                }
                Err(failure) => print::complain(&format!("{failure}; trying again\n")),
            }
        }
    }
}

/// Prints what one stream tells that is not known yet.
async fn follow(
    answer: &mut Answer,
    format: &str,
    last: &mut (Value, Value),
    pause: &mut Duration,
) -> Outcome<()> {
    let mut buffer = Vec::new();
    while let Some(piece) = answer.piece().await? {
        buffer.extend_from_slice(&piece);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let Ok(event) = serde_json::from_slice::<Value>(data) else { continue };
            *pause = FIRST_PAUSE;
            let seen = (event["available"].clone(), event["head_message_id"].clone());
            if seen == *last {
                continue;
            }
            *last = seen;
            let text = match format {
                "json" => format!("{event}\n"),
                _ => {
                    let head = match event["head_message_id"].as_str() {
                        Some(id) => format!(" head_message_id={id}"),
                        None => String::new(),
                    };
                    format!(
                        "available={}{head} changed_at_unix={}\n",
                        event["available"], event["changed_at_unix"]
                    )
                }
            };
            print::out(text.as_bytes())?;
        }
        if buffer.len() > LINE_MAX {
            return Err(Failure::Local("lockd: the event is too long".into()));
        }
    }
    Ok(())
}
