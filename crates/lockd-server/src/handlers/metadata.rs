//! `POST /v1/metadata`: stage the query-hidden attribute.

use hyper::body::Incoming;
use lockd_core::op::SetMetadata;
use lockd_json::ObjectWriter;
use lockd_wire::ErrorCode;

use crate::answer::{self, Failure, KEY_VERSION, Outcome, WithHeaders};
use crate::body::{self, METADATA_BODY_MAX};
use crate::call::{Call, key_id};
use crate::gate::Permission;

pub(crate) async fn metadata(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let raw_key = call.raw_key()?;
    let claim = call.claim()?;
    let in_header = call.query_hidden()?;
    // What lies beyond the limit is not looked at, which normally leaves half a document.
    let body = body::read_up_to(&mut body, METADATA_BODY_MAX).await?;
    let body = &body[..body.len().min(METADATA_BODY_MAX)];
    let in_body = match body.iter().all(u8::is_ascii_whitespace) {
        true => None,
        false => body::members(ErrorCode::InvalidMetadata, body, |object| object.boolean("query_hidden"))?,
    };
    let query_hidden = in_header.or(in_body).ok_or_else(|| {
        Failure::new(ErrorCode::InvalidMetadata, "nothing to change: send query_hidden as true or false")
    })?;
    let if_version = call.if_version()?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Write)?;
    let key = key_id(&namespace, raw_key)?;
    call.admit().await?;
    let version = call.node().set_metadata(SetMetadata { key, claim, if_version, query_hidden }).await?;
    let mut body = Vec::with_capacity(128);
    ObjectWriter::new(&mut body)
        .string("namespace", namespace.as_str())
        .string("key", raw_key)
        .int("version", version)
        .object("metadata", |metadata| metadata.bool_if_true("query_hidden", query_hidden))
        .end_line();
    Ok(answer::json(body).with_number(KEY_VERSION, version))
}
