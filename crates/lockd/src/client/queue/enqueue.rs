//! Sending a message: its description and its payload, which is passed on as it is read.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::named;
use crate::client::input;
use crate::client::lease::whole_seconds;
use crate::client::print;
use crate::client::progress::Progress;
use crate::client::transport::{Api, Call, Payload};
use crate::client::{Failure, Invocation, Outcome};

pub(in crate::client) async fn enqueue(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let queue = match named(invocation) {
        Err(Failure::Usage(text)) if text.starts_with("--queue") => {
            return Err(Failure::Usage("--queue is required".into()));
        }
        queue => queue?,
    };
    let mut meta = json!({
        "namespace": queue.namespace,
        "queue": queue.name,
        "delay_seconds": whole_seconds(settings.queue.delay),
        "visibility_timeout_seconds": whole_seconds(settings.queue.visibility),
        "ttl_seconds": whole_seconds(settings.queue.time_to_live),
        "max_attempts": settings.queue.max_attempts,
        "payload_content_type": settings.content_type,
    });
    let attributes = attributes(&settings.queue.attributes)?;
    if !attributes.is_empty() {
        meta["attributes"] = attributes.into();
    }
    let api = Api::new(invocation)?;
    let boundary = boundary();
    let mut call = Call::post("/v1/queue/enqueue");
    call.headers.push(("content-type", format!("multipart/related; boundary={boundary}")));
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n\
         {meta}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"payload\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    call.payload = if settings.file.is_empty() {
        Payload::Bytes(Bytes::from(
            [head.as_bytes(), settings.queue.data.as_bytes(), tail.as_bytes()].concat(),
        ))
    } else {
        let (source, length) = input::open(&settings.file)?;
        let label = settings.file.rsplit('/').next().unwrap_or_default();
        let mut progress = Progress::new(if label == "-" { "stdin" } else { label }, length);
        let mut head = Some(head);
        let framing: input::Treatment = Box::new(move |piece, out| {
            out.extend(head.take().unwrap_or_default().into_bytes());
            match piece {
                Some(piece) => {
                    out.extend_from_slice(piece);
                    progress.advance(piece.len());
                }
                None => out.extend_from_slice(tail.as_bytes()),
            }
            Ok(())
        });
        Payload::Stream(input::stream(source, framing))
    };
    let mut answer = api.send(call).await?;
    let value = answer.value().await?;
    let text = match settings.format {
        "json" => {
            let members: Vec<_> = [
                "namespace",
                "queue",
                "message_id",
                "attempts",
                "max_attempts",
                "failure_attempts",
                "not_visible_until_unix",
                "visibility_timeout_seconds",
                "payload_bytes",
                "correlation_id",
            ]
            .into_iter()
            .filter(|name| !value[*name].is_null())
            .map(|name| (name, value[name].to_string()))
            .collect();
            print::result(&members)
        }
        _ => format!(
            "message_id={} attempts={} max_attempts={}\n",
            value["message_id"].as_str().unwrap_or_default(),
            value["attempts"],
            value["max_attempts"]
        ),
    };
    print::out(text.as_bytes())
}

/// `NAME=VALUE`; of a name given twice the last value counts.
fn attributes(pairs: &[String]) -> Outcome<Map<String, Value>> {
    let mut attributes = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::Usage(format!("invalid attribute {pair:?} (expected key=value)")));
        };
        if name.trim().is_empty() {
            return Err(Failure::Usage(format!("attribute key cannot be empty ({pair:?})")));
        }
        attributes.insert(name.trim().to_owned(), value.into());
    }
    Ok(attributes)
}

/// Long enough never to occur in a payload.
fn boundary() -> String {
    format!("{:032x}{:016x}", fastrand::u128(..), fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_pairs() {
        let of =
            |pairs: &[&str]| attributes(&pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>());
        assert_eq!(Value::from(of(&["a=1", "b=x=y", "a="]).unwrap()), json!({"a": "", "b": "x=y"}));
        assert_eq!(of(&["x"]).unwrap_err().to_string(), "invalid attribute \"x\" (expected key=value)");
        assert_eq!(of(&["=x"]).unwrap_err().to_string(), "attribute key cannot be empty (\"=x\")");
    }
}
