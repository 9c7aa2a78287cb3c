//! `POST /v1/acquire`: obtain a lease.

use hyper::body::Incoming;
use lockd_core::op::{Acquire, Reason};
use lockd_json::ObjectWriter;
use lockd_wire::{ErrorCode, Namespace, TxnId, header};

use crate::answer::{self, FENCING_TOKEN, Failure, KEY_VERSION, Outcome, Undo, WithHeaders};
use crate::body::{self, CONTROL_BODY_MAX};
use crate::call::{Call, key_id};
use crate::gate::{self, Permission};

pub(crate) async fn acquire(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let body = body::read(&mut body, CONTROL_BODY_MAX).await?;
    let request = body::members(ErrorCode::InvalidBody, &body, |object| {
        Ok(Request {
            namespace: object.string("namespace")?,
            key: object.string("key")?,
            owner: object.string("owner")?,
            ttl_seconds: object.integer("ttl_seconds")?.unwrap_or(0),
            block_seconds: object.integer("block_seconds")?.unwrap_or(0),
            if_not_exists: object.boolean("if_not_exists")?.unwrap_or(false),
            txn_id: object.string("txn_id")?,
        })
    })?;
    let namespace =
        call.namespace_among(&[request.namespace.as_deref().unwrap_or(""), call.query.get("namespace")])?;
    call.authorise(&namespace, Permission::Any)?;
    call.admit().await?;
    call.not_draining()?;
    let shown_key = shown_key(call, request.key.as_deref().unwrap_or(""), &namespace);
    let owner = owner(call, request.owner.as_deref().unwrap_or(""))?;
    let key = key_id(&namespace, &shown_key)?;
    let txn = chosen_txn(call, request.txn_id.as_deref().unwrap_or(""))?;
    let op = Acquire {
        key: key.clone(),
        owner,
        ttl_seconds: request.ttl_seconds,
        block_seconds: request.block_seconds,
        if_not_exists: request.if_not_exists,
        txn,
        lease: call.node().mint_lease(),
        own_txn: call.node().mint_txn(),
    };
    let granted = match call.node().acquire(op).await {
        Ok(granted) => granted,
        Err(refusal) if refusal.reason == Reason::Draining => {
            let now = call.node().now();
            return Err(gate::draining(call.app.draining_until().unwrap_or(now), now));
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let mut body = Vec::with_capacity(320);
    let etag = granted.etag.map(|etag| etag.to_string()).unwrap_or_default();
    ObjectWriter::new(&mut body)
        .string("namespace", namespace.as_str())
        .string("lease_id", &granted.lease.to_string())
        .string("txn_id", &granted.txn.to_string())
        .string("key", &shown_key)
        .string("owner", &granted.owner)
        .int("expires_at_unix", granted.expires_at.seconds())
        .int("version", granted.version)
        .string_unless_empty("state_etag", &etag)
        .int("fencing_token", granted.token)
        .string("correlation_id", call.correlation)
        .end_line();
    let undo = Undo::grant(&call.app.node, key, granted.lease);
    Ok(answer::grant(body, undo)
        .with_number(FENCING_TOKEN, granted.token)
        .with_number(KEY_VERSION, granted.version))
}

struct Request<'a> {
    namespace: Option<std::borrow::Cow<'a, str>>,
    key: Option<std::borrow::Cow<'a, str>>,
    owner: Option<std::borrow::Cow<'a, str>>,
    ttl_seconds: i64,
    block_seconds: i64,
    if_not_exists: bool,
    txn_id: Option<std::borrow::Cow<'a, str>>,
}

/// The key as it is shown: as written, without blanks around it, one leading slash, and its own namespace in front.
fn shown_key(call: &Call<'_>, in_body: &str, namespace: &Namespace) -> String {
    let written = [in_body, call.query.get("key")].map(str::trim).into_iter().find(|key| !key.is_empty());
    let Some(written) = written else { return call.node().mint_uid().to_string() };
    let bare = written.strip_prefix('/').unwrap_or(written);
    let prefix = bare.strip_prefix(namespace.as_str()).and_then(|rest| rest.strip_prefix('/'));
    prefix.unwrap_or(bare).to_owned()
}

/// Who holds the lease, with the identity that the transport has proved.
fn owner(call: &Call<'_>, owner: &str) -> Result<String, Failure> {
    let owner = match call.identity() {
        Some(identity) => format!("{owner}/{identity}"),
        None => owner.to_owned(),
    };
    match owner.is_empty() {
        true => Err(Failure::new(ErrorCode::MissingOwner, "owner required: say who will hold the lease")),
        false => Ok(owner),
    }
}

fn chosen_txn(call: &Call<'_>, in_body: &str) -> Result<Option<TxnId>, Failure> {
    let in_header = call.header(header::TXN_ID);
    let chosen = [in_body.trim(), in_header.as_deref().unwrap_or("")].into_iter().find(|txn| !txn.is_empty());
    let parse = |text: &str| {
        TxnId::parse(text).ok_or_else(|| {
            let detail = format!("txn_id must be a valid xid (20 characters 0-9a-v), got {text:?}");
            Failure::new(ErrorCode::InvalidTxn, detail)
        })
    };
    chosen.map(parse).transpose()
}
