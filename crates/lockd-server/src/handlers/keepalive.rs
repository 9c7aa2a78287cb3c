//! `POST /v1/keepalive`: extend a lease.

use hyper::body::Incoming;
use lockd_core::op::{Claim, Keepalive, TxnClaim};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, KeyName, LeaseId, TxnId, header};

use crate::answer::{self, FENCING_TOKEN, Failure, Outcome, WithHeaders};
use crate::body::{self, CONTROL_BODY_MAX};
use crate::call::{Call, key_id, present};
use crate::gate::Permission;

pub(crate) async fn keepalive(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let token = call.fencing_token()?;
    let body = body::read(&mut body, CONTROL_BODY_MAX).await?;
    let (namespace, key, lease, ttl_seconds, txn) = body::members(ErrorCode::InvalidBody, &body, |object| {
        // The header is authoritative; the C SDK also sends the token here.
        object.integer("fencing_token")?;
        Ok((
            object.string("namespace")?.unwrap_or_default(),
            object.string("key")?.unwrap_or_default(),
            object.string("lease_id")?.unwrap_or_default(),
            object.integer("ttl_seconds")?.unwrap_or(0),
            object.string("txn_id")?.unwrap_or_default(),
        ))
    })?;
    let namespace = call.namespace_among(&[&namespace, call.query.get("namespace")])?;
    call.authorise(&namespace, Permission::Any)?;
    let raw_key = if key.is_empty() { call.query.get("key") } else { &*key };
    present(raw_key, ErrorCode::MissingKey, "key required")?;
    let key = key_id(&namespace, raw_key)?;
    let lease = present(lease.trim(), ErrorCode::MissingLease, "lease_id required")?;
    if KeyName::parse(key.key()).is_ok_and(|name| name.is_queue_state()) {
        let detail = "queue state is kept alive by extending its message";
        return Err(Failure::new(ErrorCode::QueueStateKeepaliveUnsupported, detail));
    }
    call.admit().await?;
    let in_header = call.header(header::TXN_ID);
    let txn = match in_header.as_deref().unwrap_or(txn.trim()) {
        "" => TxnClaim::Missing,
        txn => TxnClaim::Is(TxnId::parse(txn)),
    };
    let claim = Claim { lease: LeaseId::parse(lease), token, txn };
    let renewed = call.node().keepalive(Keepalive { key, claim, ttl_seconds }).await?;
    let mut body = Vec::with_capacity(160);
    let etag = renewed.etag.map(|etag| etag.to_string()).unwrap_or_default();
    ObjectWriter::new(&mut body)
        .int("expires_at_unix", renewed.expires_at.seconds())
        .int("version", renewed.version)
        .string_unless_empty("state_etag", &etag)
        .end_line();
    Ok(answer::json(body).with_number(FENCING_TOKEN, renewed.token))
}
