//! `/v1/attachments`: upload one (POST), list (GET), delete all (DELETE).

use http::Method;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use lockd_core::op::{Attached, Claim, DetachAll, TxnClaim};
use lockd_core::records::key::Attachment;
use lockd_core::view::Audience;
use lockd_json::{ObjectWriter, push_string};
use lockd_node::{NewAttachment, Upload};
use lockd_wire::{ErrorCode, KeyId, LeaseId, header};

use crate::answer::{self, FENCING_TOKEN, Failure, KEY_VERSION, Outcome, WithHeaders};
use crate::body::next_piece;
use crate::call::{Call, key_id, present};
use crate::gate::Permission;

/// The largest attachment unless the request says otherwise.
const DEFAULT_MAX_BYTES: u64 = 1 << 40;

pub(crate) async fn attachments(call: &Call<'_>, body: Incoming) -> Outcome {
    match call.head.method {
        Method::POST => upload(call, body).await,
        Method::GET => list(call).await,
        Method::DELETE => delete_all(call).await,
        _ => Err(Failure {
            allow: Some("GET, POST, DELETE"),
            ..Failure::new(ErrorCode::MethodNotAllowed, "attachments are listed, posted or deleted")
        }),
    }
}

async fn upload(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingKey)?;
    let name = present(call.query.get("name").trim(), ErrorCode::MissingAttachment, "name required")?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Write)?;
    let key = key_id(&namespace, raw_key)?;
    let claim = call.claim()?;
    let max_bytes = max_bytes(call)?;
    call.admit().await?;
    let prevent_overwrite = call.query.flag("prevent_overwrite");
    if let Some((kept, version)) = call.node().upload_check(&key, &claim, name, prevent_overwrite)? {
        return Ok(stored_or_kept(&kept, true, version));
    }
    let upload = take_in(call, &mut body, max_bytes).await?;
    let new = NewAttachment { name: name.to_owned(), content_type: content_type(call), prevent_overwrite };
    Ok(match call.node().attach(key, claim, new, upload).await? {
        Attached::Kept { attachment, version } => stored_or_kept(&attachment, true, version),
        Attached::Stored { attachment, version, token } => {
            stored_or_kept(&attachment, false, version).with_number(FENCING_TOKEN, token)
        }
    })
}

fn stored_or_kept(attachment: &Attachment, noop: bool, version: u64) -> crate::answer::Answer {
    let mut body = Vec::with_capacity(320);
    ObjectWriter::new(&mut body)
        .value("attachment", |out| push_info(out, attachment))
        .bool_if_true("noop", noop)
        .int_unless_zero("version", version)
        .end_line();
    let answer = answer::json(body).with_text(header::ATTACHMENT_ID, &attachment.id.to_string());
    if version > 0 { answer.with_number(KEY_VERSION, version) } else { answer }
}

async fn take_in(call: &Call<'_>, body: &mut Incoming, max_bytes: u64) -> Result<Upload, Failure> {
    let too_large =
        || Failure::new(ErrorCode::AttachmentTooLarge, format!("attachment exceeds {max_bytes} bytes"));
    if http_body::Body::size_hint(body).lower() > max_bytes {
        return Err(too_large());
    }
    let mut intake = call.node().intake();
    loop {
        let piece = next_piece(body).await.map_err(|error| {
            Failure::new(ErrorCode::InvalidBody, format!("body broke off, nothing is stored: {error}"))
        })?;
        let Some(piece) = piece else { return Ok(intake.finish().await?) };
        if intake.len() + piece.len() as u64 > max_bytes {
            return Err(too_large());
        }
        intake.write(&piece).await?;
    }
}

fn max_bytes(call: &Call<'_>) -> Result<u64, Failure> {
    let text = call.query.get("max_bytes").trim();
    if text.is_empty() {
        return Ok(DEFAULT_MAX_BYTES);
    }
    match text.parse::<i64>() {
        Ok(0) => Ok(u64::MAX),
        Ok(limit) if limit > 0 => Ok(limit.unsigned_abs()),
        _ => {
            let detail = format!("max_bytes {text:?} is not a number of bytes (0 means unlimited)");
            Err(Failure::new(ErrorCode::InvalidMaxBytes, detail))
        }
    }
}

fn content_type(call: &Call<'_>) -> String {
    let in_query = call.query.get("content_type").trim();
    if !in_query.is_empty() {
        return in_query.to_owned();
    }
    call.header(CONTENT_TYPE.as_str())
        .map_or_else(|| "application/octet-stream".to_owned(), |text| text.into_owned())
}

async fn list(call: &Call<'_>) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingKey)?;
    let (key, namespace, reader) = reader_checks(call, raw_key).await?;
    let audience = reader.audience()?;
    let attachments = call.node().attachments(&key, &audience)?;
    let mut body = Vec::with_capacity(64 + 320 * attachments.len());
    ObjectWriter::new(&mut body)
        .string("namespace", &namespace)
        .string("key", raw_key)
        .array("attachments", &attachments, push_info)
        .end_line();
    Ok(answer::json(body))
}

/// A reader of attachments whose lease id is still to be looked at.
pub(crate) enum Reader {
    Public,
    Holder { lease: Option<Option<LeaseId>>, token: i64, txn: TxnClaim },
}

impl Reader {
    pub(crate) fn audience(self) -> Result<Audience, Failure> {
        match self {
            Reader::Public => Ok(Audience::Public),
            Reader::Holder { lease: Some(lease), token, txn } => {
                Ok(Audience::Holder(Claim { lease, token, txn }))
            }
            Reader::Holder { lease: None, .. } => {
                Err(Failure::new(ErrorCode::MissingLease, "X-Lease-ID header required"))
            }
        }
    }
}

/// The checks that list and download share, up to the key.
pub(crate) async fn reader_checks(
    call: &Call<'_>,
    raw_key: &str,
) -> Result<(KeyId, String, Reader), Failure> {
    let lease = call.lease_header();
    let public = call.query.flag("public") && lease.is_none();
    let token = if public { None } else { Some(call.fencing_token()?) };
    let namespace = call.namespace()?;
    call.authorise(&namespace, if public { Permission::Read } else { Permission::Any })?;
    let reader = match token {
        None => Reader::Public,
        Some(token) => Reader::Holder { lease, token, txn: call.required_txn()? },
    };
    call.admit().await?;
    let key = key_id(&namespace, raw_key)?;
    Ok((key, namespace.as_str().to_owned(), reader))
}

async fn delete_all(call: &Call<'_>) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingKey)?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Write)?;
    let key = key_id(&namespace, raw_key)?;
    let claim = call.claim()?;
    call.admit().await?;
    let (count, version, token) = call.node().detach_all(DetachAll { key, claim }).await?;
    let mut body = Vec::with_capacity(48);
    ObjectWriter::new(&mut body).int("deleted", count).int_unless_zero("version", version).end_line();
    Ok(answer::json(body).with_number(KEY_VERSION, version).with_number(FENCING_TOKEN, token))
}

fn push_info(out: &mut Vec<u8>, attachment: &Attachment) {
    ObjectWriter::new(out)
        .string("id", &attachment.id.to_string())
        .value("name", |out| push_string(out, &attachment.name))
        .int("size", attachment.stored.len)
        .string("plaintext_sha256", &attachment.stored.sha256.to_string())
        .string_unless_empty("content_type", &attachment.content_type)
        .int_unless_zero("created_at_unix", attachment.created_at.seconds())
        .int_unless_zero("updated_at_unix", attachment.updated_at.seconds())
        .end();
}
