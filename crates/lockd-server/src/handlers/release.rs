//! `POST /v1/release`: end a lease, with commit or rollback.

use hyper::body::Incoming;
use lockd_core::op::{self, Claim, Release, TxnClaim};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, TxnId};

use super::lease_request::LeaseRequest;
use crate::answer::{self, Outcome};
use crate::call::{Call, present};

pub(crate) async fn release(call: &Call<'_>, body: Incoming) -> Outcome {
    let request = LeaseRequest::read(call, body, |object| object.boolean("rollback")).await?;
    let txn = present(&request.txn, ErrorCode::MissingTxn, "txn_id required in the body")?;
    call.admit().await?;
    let claim = Claim { lease: request.lease, token: request.token, txn: TxnClaim::Is(TxnId::parse(txn)) };
    let rollback = request.more.unwrap_or(false);
    let outcome = call.node().release(Release { key: request.key, claim, rollback }).await?;
    let mut body = Vec::with_capacity(48);
    let outcome = match outcome {
        op::Outcome::Committed => "committed",
        op::Outcome::RolledBack => "rolled_back",
        op::Outcome::Nothing => "none",
    };
    ObjectWriter::new(&mut body).bool("released", true).string("outcome", outcome).end_line();
    Ok(answer::json(body))
}
