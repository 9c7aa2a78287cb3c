//! The statements about earlier answers that recordings make, each under its name.

use serde_json::{Map, Value, json};

use crate::http::Response;
use crate::multipart;

/// What this statement is after these answers, the newest of which is last.
pub fn statement(name: &str, history: &[Response]) -> Result<Value, String> {
    Ok(match name {
        "correlation id in body" => json!({"body": last(history)?["correlation_id"]}),
        "extend" | "ack" => {
            let answer = newest(history)?;
            json!({"body": last(history)?["correlation_id"], "header": answer.header("x-correlation-id")})
        }
        "identifiers" => {
            let message = delivered(history, 0)?;
            // The recorder gave its own names to the payload and to the timeout, and listed the former only.
            let mut members: Vec<&str> = message.keys().map(String::as_str).chain(["payload"]).collect();
            members.retain(|name| *name != "visibility_timeout_seconds");
            members.sort_unstable();
            json!({
                "lease": text(&message, "lease_id").len(),
                "txn": text(&message, "txn_id").len(),
                "message_id_version": text(&message, "message_id").get(14..15),
                "expiry_is_visibility": message["lease_expires_at_unix"] == message["not_visible_until_unix"],
                "header": newest(history)?.header("x-correlation-id"),
                "body": message["correlation_id"],
                "members": members,
            })
        }
        "ids" => {
            let message = delivered(history, 0)?;
            json!({
                "one_txn": message.get("state_txn_id") == message.get("txn_id"),
                "other_lease": message.get("state_lease_id") != message.get("lease_id"),
            })
        }
        "marker" => {
            let (now, before) = (delivered(history, 0)?, delivered(history, 1)?);
            json!({"same": now.contains_key("state_etag") && now.get("state_etag") == before.get("state_etag")})
        }
        "age" => {
            json!({"seconds": matches!(last(history)?.get("head_age_seconds").and_then(Value::as_i64), Some(2..=4))})
        }
        "failure attempts" => {
            // Of two messages dequeued twice, the first was nacked.
            let (one, two, nacked) = (delivered(history, 0)?, delivered(history, 1)?, delivered(history, 3)?);
            let failures = |same: bool| {
                [&one, &two]
                    .into_iter()
                    .find(|message| (message["message_id"] == nacked["message_id"]) == same)
                    .map(|message| message.get("failure_attempts").and_then(Value::as_i64).unwrap_or(0))
            };
            json!({"nacked": failures(true), "other": failures(false)})
        }
        _ => return Err(format!("{name:?} is not a known statement")),
    })
}

fn newest(history: &[Response]) -> Result<&Response, String> {
    history.last().ok_or_else(|| "there is no answer yet".to_owned())
}

fn last(history: &[Response]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(&newest(history)?.body)
        .map_err(|why| format!("the newest answer is not JSON: {why}"))
}

/// The message of the newest answer that is a delivery, or of the one before it, and so on.
fn delivered(history: &[Response], back: usize) -> Result<Map<String, Value>, String> {
    history
        .iter()
        .rev()
        .filter_map(|answer| multipart::deliveries(answer).ok()?.pop())
        .nth(back)
        .map(|delivery| delivery.message)
        .ok_or_else(|| format!("there are no {} deliveries yet", back + 1))
}

fn text<'a>(message: &'a Map<String, Value>, name: &str) -> &'a str {
    message.get(name).and_then(Value::as_str).unwrap_or_default()
}
