//! `POST /v1/release`: end a lease, with commit or rollback.

use hyper::body::Incoming;
use lockd_core::op::{self, Claim, Release, TxnClaim};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, LeaseId, TxnId};

use crate::answer::{self, Outcome};
use crate::body::{self, CONTROL_BODY_MAX};
use crate::call::{Call, key_id, present};
use crate::gate::Permission;

pub(crate) async fn release(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let token = call.fencing_token()?;
    let body = body::read(&mut body, CONTROL_BODY_MAX).await?;
    let (namespace, key, lease, txn, rollback) = body::members(ErrorCode::InvalidBody, &body, |object| {
        object.integer("fencing_token")?;
        Ok((
            object.string("namespace")?.unwrap_or_default(),
            object.string("key")?.unwrap_or_default(),
            object.string("lease_id")?.unwrap_or_default(),
            object.string("txn_id")?.unwrap_or_default(),
            object.boolean("rollback")?.unwrap_or(false),
        ))
    })?;
    let namespace = call.namespace_among(&[&namespace, call.query.get("namespace")])?;
    call.authorise(&namespace, Permission::Any)?;
    let raw_key = if key.is_empty() { call.query.get("key") } else { &*key };
    present(raw_key, ErrorCode::MissingKey, "key required")?;
    let key = key_id(&namespace, raw_key)?;
    let lease = present(lease.trim(), ErrorCode::MissingLease, "lease_id required")?;
    let txn = present(txn.trim(), ErrorCode::MissingTxn, "txn_id required in the body")?;
    call.admit().await?;
    let claim = Claim { lease: LeaseId::parse(lease), token, txn: TxnClaim::Is(TxnId::parse(txn)) };
    let outcome = call.node().release(Release { key, claim, rollback }).await?;
    let mut body = Vec::with_capacity(48);
    let outcome = match outcome {
        op::Outcome::Committed => "committed",
        op::Outcome::RolledBack => "rolled_back",
        op::Outcome::Nothing => "none",
    };
    ObjectWriter::new(&mut body).bool("released", true).string("outcome", outcome).end_line();
    Ok(answer::json(body))
}
