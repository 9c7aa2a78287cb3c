//! `POST /v1/update`: stage a new document, compacted while it arrives.

use aws_lc_rs::digest;
use hyper::body::Incoming;
use lockd_core::op::{Expect, Updated};
use lockd_core::records::key::Digest;
use lockd_json::{Compactor, Limits, ObjectWriter};
use lockd_node::Upload;
use lockd_wire::{ErrorCode, header};

use crate::answer::{self, Answer, FENCING_TOKEN, Failure, KEY_VERSION, Outcome, WithHeaders};
use crate::body::next_piece;
use crate::call::{Call, key_id};
use crate::gate::Permission;

/// Deep enough for any document that people write, shallow enough for those who read it back.
pub(super) const MAX_DEPTH: u32 = 100_000;

pub(crate) async fn update(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let raw_key = call.raw_key()?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Write)?;
    let key = key_id(&namespace, raw_key)?;
    let claim = call.claim()?;
    let if_version = call.if_version()?;
    let expected_bytes = expected_bytes(call)?;
    let query_hidden = call.query_hidden()?;
    call.admit().await?;
    let expected_sha256 = expected_sha256(call)?;

    let limit = call.app.settings.json_max;
    let (upload, submitted) = take_in(call, &mut body, limit, expected_sha256.is_some()).await?;
    if expected_bytes.is_some_and(|expected| expected != submitted.bytes) {
        let detail = format!("body has {} bytes, not as announced", submitted.bytes);
        return Err(Failure::new(ErrorCode::ExpectedBytesMismatch, detail));
    }
    if expected_sha256.is_some() && expected_sha256 != submitted.sha256 {
        let detail = "body has another SHA-256 than announced";
        return Err(Failure::new(ErrorCode::ExpectedSha256Mismatch, detail));
    }

    let expect = Expect { version: if_version, etag: call.if_state_etag(), seen: None };
    let updated = call.node().update(key, claim, expect, query_hidden, upload).await?;
    Ok(self::updated(&updated))
}

/// The answer of everything that stages a document.
pub(super) fn updated(updated: &Updated) -> Answer {
    let mut body = Vec::with_capacity(192);
    ObjectWriter::new(&mut body)
        .int("new_version", updated.version)
        .string("new_state_etag", &updated.etag.to_string())
        .int("bytes", updated.len)
        .object("metadata", |metadata| metadata.bool_if_true("query_hidden", updated.query_hidden))
        .end_line();
    answer::json(body)
        .with_number(KEY_VERSION, updated.version)
        .with_number(FENCING_TOKEN, updated.token)
        .with_etag(&updated.etag)
}

/// The body as it was sent, before compaction.
struct Submitted {
    bytes: u64,
    sha256: Option<Digest>,
}

async fn take_in(
    call: &Call<'_>,
    body: &mut Incoming,
    limit: u64,
    hash: bool,
) -> Result<(Upload, Submitted), Failure> {
    let invalid = |detail: String| Failure::new(ErrorCode::InvalidBody, detail);
    if http_body::Body::size_hint(body).lower() > limit {
        return Err(invalid(format!("payload exceeds {limit} bytes")));
    }
    let mut compactor = Compactor::new(Limits { max_bytes: limit, max_depth: MAX_DEPTH });
    let mut hasher = hash.then(|| digest::Context::new(&digest::SHA256));
    let mut intake = call.node().intake();
    let mut compact = Vec::new();
    while let Some(piece) =
        next_piece(body).await.map_err(|error| invalid(format!("body broke off: {error}")))?
    {
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        compact.clear();
        compactor.push(&piece, &mut compact).map_err(|error| invalid(error.to_string()))?;
        intake.write(&compact).await?;
    }
    compact.clear();
    let bytes = compactor.finish(&mut compact).map_err(|error| invalid(error.to_string()))?;
    intake.write(&compact).await?;
    let sha256 = hasher.and_then(|hasher| Some(Digest(hasher.finish().as_ref().try_into().ok()?)));
    Ok((intake.finish().await?, Submitted { bytes, sha256 }))
}

fn expected_bytes(call: &Call<'_>) -> Result<Option<u64>, Failure> {
    let Some(text) = call.header(header::EXPECTED_BYTES) else { return Ok(None) };
    match text.parse::<i64>().ok().and_then(|bytes| u64::try_from(bytes).ok()) {
        Some(bytes) => Ok(Some(bytes)),
        None => {
            let detail = format!("X-Expected-Bytes {text:?} is not a number of bytes");
            Err(Failure::new(ErrorCode::InvalidExpectedBytes, detail))
        }
    }
}

fn expected_sha256(call: &Call<'_>) -> Result<Option<Digest>, Failure> {
    let Some(text) = call.header(header::EXPECTED_SHA256) else { return Ok(None) };
    match Digest::parse(&text) {
        Some(digest) => Ok(Some(digest)),
        None => {
            let detail = format!("X-Expected-SHA256 {text:?} is not 64 hex digits");
            Err(Failure::new(ErrorCode::InvalidExpectedSha256, detail))
        }
    }
}
