//! `/v1/queue/dead-letters`: list (GET), and with `/redrive` and `/purge` (POST) put back or remove.

use http::Method;
use hyper::body::Incoming;
use lockd_core::Moment;
use lockd_core::op::Tend;
use lockd_json::{ObjectWriter, push_string};
use lockd_node::DeadLetter;
use lockd_wire::{ErrorCode, KeyId, QueueId, Uid};

use super::{members, or_query, queue_id, read_json};
use crate::answer::{self, Failure, Outcome};
use crate::call::Call;
use crate::gate::Permission;

const DEFAULT_LIMIT: usize = 100;
const LIMIT: usize = 1000;

pub(crate) async fn list(call: &Call<'_>) -> Outcome {
    if call.head.method != Method::GET {
        return Err(Failure {
            allow: Some("GET"),
            ..Failure::new(ErrorCode::MethodNotAllowed, "dead letters are listed with GET")
        });
    }
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Read)?;
    let queue = queue_id(&namespace, &[call.query.get("queue")], ErrorCode::InvalidQueue)?;
    let limit = match call.query.get("limit") {
        "" => DEFAULT_LIMIT,
        text => text.parse().ok().filter(|limit| (1..=LIMIT).contains(limit)).ok_or_else(|| {
            Failure::new(
                ErrorCode::MissingParams,
                format!("limit must be between 1 and {LIMIT}, got {text:?}"),
            )
        })?,
    };
    let after = match call.query.get("cursor") {
        "" => None,
        text => Some(parse_cursor(text).ok_or_else(|| {
            Failure::new(
                ErrorCode::MissingParams,
                format!("cursor {text:?} is not one that this server gave"),
            )
        })?),
    };
    let letters = call.node().dead_letters(&queue, after, limit)?;
    let next = letters.last().filter(|_| letters.len() == limit);
    let next = next.map(|last| format!("{}.{}", last.died_at.0, last.id)).unwrap_or_default();
    let mut out = Vec::with_capacity(512);
    ObjectWriter::new(&mut out)
        .string("namespace", queue.namespace())
        .string("queue", queue.name())
        .value("dead_letters", |out| {
            out.push(b'[');
            for (place, letter) in letters.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_letter(letter, out);
            }
            out.push(b']');
        })
        .string_unless_empty("next_cursor", &next)
        .string("correlation_id", call.correlation)
        .end_line();
    Ok(answer::json(out))
}

fn parse_cursor(text: &str) -> Option<(Moment, Uid)> {
    let (at, id) = text.split_once('.')?;
    Some((Moment(at.parse().ok()?), Uid::parse(id)?))
}

fn write_letter(letter: &DeadLetter, out: &mut Vec<u8>) {
    let Some(message) = &letter.record.message else { return push_string(out, &letter.id.to_string()) };
    let mut writer = ObjectWriter::new(out)
        .string("message_id", &letter.id.to_string())
        .string("reason", "max_attempts_exceeded")
        .int("dead_since_unix", letter.died_at.seconds())
        .int("enqueued_at_unix", message.enqueued_at.seconds())
        .int("attempts", message.attempts)
        .int("failure_attempts", message.failures)
        .int("max_attempts", message.max_attempts);
    if let Some(attributes) = &message.attributes {
        writer = writer.raw("attributes", attributes);
    }
    if let Some(error) = &message.last_error {
        writer = writer.raw("last_error", error);
    }
    writer
        .string("payload_content_type", &message.content_type)
        .int("payload_bytes", message.payload.len)
        .string("correlation_id", &message.correlation)
        .end();
}

/// `GET /v1/queue/dead-letters/payload`: the bytes of one.
pub(crate) async fn payload(call: &Call<'_>) -> Outcome {
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Read)?;
    let queue = queue_id(&namespace, &[call.query.get("queue")], ErrorCode::InvalidQueue)?;
    let gone = || Failure::new(ErrorCode::NotFound, "no such dead letter");
    let id = Uid::parse(call.query.get("message_id").trim()).ok_or_else(gone)?;
    let record = call.node().describe(&KeyId::of_message(&queue, id))?.ok_or_else(gone)?;
    let message = record.message.filter(|message| message.dead_since.is_some()).ok_or_else(gone)?;
    let body = call.node().payload(&message.payload).await?;
    Ok(answer::stored(body, message.payload.len, &message.content_type))
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Redrive,
    Purge,
}

/// One dead letter by its id, or with `"all": true` everything that is dead by now.
pub(crate) async fn dispose(call: &Call<'_>, mut body: Incoming, fate: Fate) -> Outcome {
    let body = read_json(call, &mut body).await?;
    let (namespace, queue, message, all) = members(&body, true, |object| {
        Ok((
            object.string("namespace")?,
            object.string("queue")?,
            object.string("message_id")?,
            object.boolean("all")?.unwrap_or(false),
        ))
    })?;
    let namespace = call.namespace_among(&[or_query(call, &namespace, "namespace")])?;
    call.authorise(&namespace, Permission::Write)?;
    let queue = queue_id(&namespace, &[or_query(call, &queue, "queue")], ErrorCode::InvalidQueue)?;
    let message = message.as_deref().unwrap_or_default().trim();
    let done = match (message, all) {
        ("", false) => {
            return Err(Failure::new(ErrorCode::MissingFields, "message_id is required, or \"all\": true"));
        }
        ("", true) => dispose_all(call, &queue, fate).await?,
        (id, _) => {
            let gone = || Failure::new(ErrorCode::NotFound, "no such dead letter");
            let id = Uid::parse(id).ok_or_else(gone)?;
            match tend(call, &queue, id, fate).await? {
                true => 1,
                false => return Err(gone()),
            }
        }
    };
    let name = match fate {
        Fate::Redrive => "redriven",
        Fate::Purge => "purged",
    };
    let mut out = Vec::with_capacity(96);
    ObjectWriter::new(&mut out).int(name, done).string("correlation_id", call.correlation).end_line();
    Ok(answer::json(out))
}

async fn tend(call: &Call<'_>, queue: &QueueId, id: Uid, fate: Fate) -> Result<bool, Failure> {
    let key = KeyId::of_message(queue, id);
    let op = match fate {
        Fate::Redrive => Tend::Redrive(key),
        Fate::Purge => Tend::Purge(key),
    };
    Ok(call.node().tend(op).await?)
}

async fn dispose_all(call: &Call<'_>, queue: &QueueId, fate: Fate) -> Result<u64, Failure> {
    // What dies while this goes on is left for the next time.
    let now = call.node().now();
    let (mut done, mut after) = (0, None);
    loop {
        let page = call.node().dead_letters(queue, after, DEFAULT_LIMIT)?;
        let Some(last) = page.last() else { return Ok(done) };
        after = Some((last.died_at, last.id));
        for letter in page {
            if letter.died_at > now {
                return Ok(done);
            }
            done += u64::from(tend(call, queue, letter.id, fate).await?);
        }
    }
}
