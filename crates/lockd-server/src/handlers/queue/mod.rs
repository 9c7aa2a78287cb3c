//! `/v1/queue/…`: the queue service, one file a kind of call.

pub(crate) mod dead_letters;
pub(crate) mod dequeue;
pub(crate) mod enqueue;
pub(crate) mod observe;
pub(crate) mod settle;
pub(crate) mod subscribe;

use std::borrow::Cow;

use bytes::Bytes;
use hyper::body::Incoming;
use lockd_json::Object;
use lockd_wire::{ErrorCode, KeyId, Namespace, QueueId, QueueName, Uid};

use crate::answer::Failure;
use crate::body;
use crate::call::Call;

/// The longest key of a workflow state.
const STATE_KEY_MAX: usize = 128;

async fn read_json(call: &Call<'_>, body: &mut Incoming) -> Result<Bytes, Failure> {
    let limit = usize::try_from(call.app.settings.json_max).unwrap_or(usize::MAX);
    body::read(body, limit).await.map_err(|failure| unparsed(failure.detail))
}

fn unparsed(why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::InvalidBody, format!("failed to parse request: {why}"))
}

/// Reads the members that a request knows, and refuses all others. An empty body may stand for an empty object.
fn members<'a, T>(
    body: &'a [u8],
    may_be_empty: bool,
    take: impl FnOnce(&mut Object<'a>) -> Result<T, lockd_json::DecodeError>,
) -> Result<T, Failure> {
    let read = || {
        let mut object = match may_be_empty && body.iter().all(u8::is_ascii_whitespace) {
            true => Object::empty(),
            false => Object::parse(body)?,
        };
        let taken = take(&mut object)?;
        object.finish()?;
        Ok(taken)
    };
    read().map_err(|error: lockd_json::DecodeError| unparsed(error))
}

/// The queue that a request is about.
fn queue_id(namespace: &Namespace, candidates: &[&str], invalid: ErrorCode) -> Result<QueueId, Failure> {
    let named = candidates.iter().map(|name| name.trim()).find(|name| !name.is_empty());
    let name = named.ok_or_else(|| Failure::new(ErrorCode::MissingQueue, "queue is required"))?;
    match QueueName::parse(name) {
        Ok(name) => Ok(QueueId::new(namespace, &name)),
        Err(error) => Err(Failure::new(invalid, error.to_string())),
    }
}

/// A member of a body, or the query parameter of that name where the body has none.
fn or_query<'a>(call: &'a Call<'_>, member: &'a Option<Cow<'a, str>>, name: &str) -> &'a str {
    match member.as_deref().unwrap_or_default() {
        "" => call.query.get(name),
        given => given,
    }
}

/// Whether keys of workflow states of this queue are short enough to be named by clients.
fn check_state_key(queue: &QueueId) -> Result<(), Failure> {
    match KeyId::of_queue_state(queue, Uid([0; 16])).key().len() > STATE_KEY_MAX {
        true => Err(Failure::new(ErrorCode::InvalidKey, "key too long (max 128 characters)")),
        false => Ok(()),
    }
}
