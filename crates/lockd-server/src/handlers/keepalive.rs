//! `POST /v1/keepalive`: extend a lease.

use hyper::body::Incoming;
use lockd_core::op::{Claim, Keepalive, TxnClaim};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, TxnId, header};

use super::lease_request::LeaseRequest;
use crate::answer::{self, FENCING_TOKEN, Failure, Outcome, WithHeaders};
use crate::call::Call;

pub(crate) async fn keepalive(call: &Call<'_>, body: Incoming) -> Outcome {
    let request = LeaseRequest::read(call, body, |object| object.integer("ttl_seconds")).await?;
    if request.name.is_queue_state() {
        let detail = "queue state is kept alive by extending its message";
        return Err(Failure::new(ErrorCode::QueueStateKeepaliveUnsupported, detail));
    }
    call.admit().await?;
    let in_header = call.header(header::TXN_ID);
    let txn = match in_header.as_deref().unwrap_or(&request.txn) {
        "" => TxnClaim::Missing,
        txn => TxnClaim::Is(TxnId::parse(txn)),
    };
    let claim = Claim { lease: request.lease, token: request.token, txn };
    let ttl_seconds = request.more.unwrap_or(0);
    let renewed = call.node().keepalive(Keepalive { key: request.key, claim, ttl_seconds }).await?;
    let mut body = Vec::with_capacity(160);
    let etag = renewed.etag.map(|etag| etag.to_string()).unwrap_or_default();
    ObjectWriter::new(&mut body)
        .int("expires_at_unix", renewed.expires_at.seconds())
        .int("version", renewed.version)
        .string_unless_empty("state_etag", &etag)
        .end_line();
    Ok(answer::json(body).with_number(FENCING_TOKEN, renewed.token))
}
