//! `/v1/attachment`: download one (GET), delete one (DELETE).

use http::Method;
use lockd_core::op::{Detach, Detached, Selector};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, Uid, header};

use super::attachments::reader_checks;
use crate::answer::{self, FENCING_TOKEN, Failure, KEY_VERSION, Outcome, WithHeaders};
use crate::call::{Call, key_id};
use crate::gate::Permission;

pub(crate) async fn attachment(call: &Call<'_>) -> Outcome {
    match call.head.method {
        Method::GET => download(call).await,
        Method::DELETE => delete(call).await,
        _ => Err(Failure {
            allow: Some("GET, DELETE"),
            ..Failure::new(ErrorCode::MethodNotAllowed, "an attachment is downloaded or deleted here")
        }),
    }
}

async fn download(call: &Call<'_>) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingKey)?;
    let (key, _, reader) = reader_checks(call, raw_key).await?;
    let selector = selector(call)?;
    let audience = reader.audience()?;
    let (attachment, body) = call.node().attachment(&key, &audience, &selector).await?;
    let stored = &attachment.stored;
    let mut answer = answer::stored(body, stored.len, &attachment.content_type)
        .with_text(header::ATTACHMENT_ID, &attachment.id.to_string())
        .with_text(header::ATTACHMENT_NAME, &attachment.name)
        .with_text(header::ATTACHMENT_SHA256, &stored.sha256.to_string());
    let numbers = [
        (header::ATTACHMENT_SIZE, stored.len),
        (header::ATTACHMENT_CREATED_AT, attachment.created_at.seconds()),
        (header::ATTACHMENT_UPDATED_AT, attachment.updated_at.seconds()),
    ];
    for (name, value) in numbers.into_iter().filter(|&(_, value)| value > 0) {
        answer = answer.with_number(name, value);
    }
    Ok(answer)
}

async fn delete(call: &Call<'_>) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingKey)?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Write)?;
    let key = key_id(&namespace, raw_key)?;
    let claim = call.claim()?;
    call.admit().await?;
    let selector = selector(call)?;
    let detached = call.node().detach(Detach { key, claim, selector }).await?;
    let (deleted, version) = match detached {
        Detached::Staged { version, .. } => (true, version),
        Detached::Nothing { version } => (false, version),
    };
    let mut body = Vec::with_capacity(48);
    ObjectWriter::new(&mut body).bool("deleted", deleted).int_unless_zero("version", version).end_line();
    let mut answer = answer::json(body);
    if version > 0 {
        answer = answer.with_number(KEY_VERSION, version);
    }
    Ok(match detached {
        Detached::Staged { token, .. } => answer.with_number(FENCING_TOKEN, token),
        Detached::Nothing { .. } => answer,
    })
}

fn selector(call: &Call<'_>) -> Result<Selector, Failure> {
    let given = |name| Some(call.query.get(name).trim()).filter(|text| !text.is_empty());
    let selector = Selector { name: given("name").map(str::to_owned), id: given("id").map(Uid::parse) };
    match selector {
        Selector { name: None, id: None } => {
            Err(Failure::new(ErrorCode::MissingAttachment, "name or id of the attachment required"))
        }
        selector => Ok(selector),
    }
}
