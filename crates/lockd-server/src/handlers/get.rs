//! `GET|POST /v1/get`: read a JSON document.

use http::StatusCode;
use lockd_core::op::{Claim, TxnClaim};
use lockd_core::view::Audience;
use lockd_wire::ErrorCode;

use crate::answer::{self, FENCING_TOKEN, KEY_VERSION, Outcome, WithHeaders};
use crate::call::{Call, key_id};
use crate::gate::Permission;

pub(crate) async fn get(call: &Call<'_>) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingParams)?;
    let public = call.query.flag("public") && call.lease_header().is_none();
    let token = if public { None } else { Some(call.fencing_token()?) };
    let namespace = call.namespace()?;
    call.authorise(&namespace, if public { Permission::Read } else { Permission::Any })?;
    call.admit().await?;
    let key = key_id(&namespace, raw_key)?;
    let audience = match token {
        None => Audience::Public,
        Some(token) => {
            let lease = call.required_lease(ErrorCode::MissingParams)?;
            Audience::Holder(Claim { lease, token, txn: TxnClaim::NotNeeded })
        }
    };
    let read = call.node().document(&key, &audience).await?;
    let Some((document, body)) = read.document else { return Ok(answer::empty(StatusCode::NO_CONTENT)) };
    let answer = answer::stored(body, document.stored.len, "application/json")
        .with_etag(&document.stored.sha256)
        .with_number(KEY_VERSION, document.version);
    Ok(match read.token {
        Some(token) => answer.with_number(FENCING_TOKEN, token),
        None => answer,
    })
}
