//! `POST /v1/queue/ack`, `nack` and `extend`: what a consumer makes of a delivery.

use bytes::Bytes;
use hyper::body::Incoming;
use lockd_core::op::{Ack, Extend, Handle, Intent, MetaEtag, Nack, StateHandle};
use lockd_json::{DecodeError, Object, ObjectWriter};
use lockd_wire::{ErrorCode, LeaseId, TxnId, Uid, header};

use super::{members, queue_id, read_json};
use crate::answer::{self, Failure, Outcome, WithHeaders};
use crate::call::Call;
use crate::gate::Permission;

/// The members that the three calls have in common, and one more of each call's own.
struct Presented<T> {
    handle: Handle,
    state_etag: String,
    more: T,
}

async fn read<T>(
    call: &Call<'_>,
    mut body: Incoming,
    needs_meta_etag: bool,
    more: impl FnOnce(&mut Object<'_>) -> Result<T, DecodeError>,
) -> Result<Presented<T>, Failure> {
    call.admit().await?;
    let body = read_json(call, &mut body).await?;
    let (
        [namespace, queue, message, lease, txn, meta_etag, state_lease, state_etag],
        token,
        state_token,
        more,
    ) = members(&body, false, |object| {
        let names = [
            "namespace",
            "queue",
            "message_id",
            "lease_id",
            "txn_id",
            "meta_etag",
            "state_lease_id",
            "state_etag",
        ];
        let mut texts: [String; 8] = Default::default();
        for (text, name) in texts.iter_mut().zip(names) {
            *text = object.string(name)?.unwrap_or_default().trim().to_owned();
        }
        Ok((
            texts,
            object.integer("fencing_token")?.unwrap_or(0),
            object.integer("state_fencing_token")?.unwrap_or(0),
            more(object)?,
        ))
    })?;
    let namespace = call.namespace_among(&[&namespace, call.query.get("namespace")])?;
    call.authorise(&namespace, Permission::Read)?;
    let missing = [&queue, &message, &lease].iter().any(|text| text.is_empty());
    if missing || (needs_meta_etag && meta_etag.is_empty()) {
        let detail = match needs_meta_etag {
            true => "queue, message_id, lease_id, meta_etag are required",
            false => "queue, message_id, lease_id are required",
        };
        return Err(Failure::new(ErrorCode::MissingFields, detail));
    }
    let queue = queue_id(&namespace, &[&queue], ErrorCode::InvalidQueueKey)?;
    let state = (!state_lease.is_empty())
        .then(|| StateHandle { lease: LeaseId::parse(&state_lease), token: state_token });
    let handle = Handle {
        queue,
        message: Uid::parse(&message),
        lease: LeaseId::parse(&lease),
        token,
        txn: (!txn.is_empty()).then(|| TxnId::parse(&txn)),
        meta_etag: (!meta_etag.is_empty()).then(|| MetaEtag::parse(&meta_etag)),
        state,
    };
    Ok(Presented { handle, state_etag, more })
}

pub(crate) async fn ack(call: &Call<'_>, body: Incoming) -> Outcome {
    let Presented { handle, state_etag, .. } = read(call, body, false, |_| Ok(())).await?;
    let state_etag = (!state_etag.is_empty()).then(|| Uid::parse(&state_etag));
    let correlation = call.node().ack(Ack { handle, state_etag }).await?;
    let correlation = if correlation.is_empty() { call.correlation } else { &correlation };
    let mut out = Vec::with_capacity(96);
    ObjectWriter::new(&mut out).bool("acked", true).string("correlation_id", correlation).end_line();
    Ok(answer::json(out).with_text(header::CORRELATION_ID, correlation))
}

pub(crate) async fn nack(call: &Call<'_>, body: Incoming) -> Outcome {
    let Presented { handle, more: (delay_seconds, intent, last_error), .. } =
        read(call, body, true, |object| {
            Ok((
                object.integer("delay_seconds")?.unwrap_or(0),
                object.string("intent")?.unwrap_or_default().trim().to_ascii_lowercase(),
                object.raw("last_error").filter(|raw| *raw != b"null").map(compacted),
            ))
        })
        .await?;
    let intent = match (intent.as_str(), last_error) {
        ("" | "failure", last_error) => Intent::Failure(last_error),
        ("defer", None) => Intent::Defer,
        ("defer", Some(_)) => {
            let detail = "last_error is only supported when intent=failure";
            return Err(Failure::new(ErrorCode::InvalidNackLastError, detail));
        }
        (other, _) => {
            let detail = format!("intent must be failure or defer, got {other:?}");
            return Err(Failure::new(ErrorCode::InvalidNackIntent, detail));
        }
    };
    let (meta_etag, correlation) = call.node().nack(Nack { handle, delay_seconds, intent }).await?;
    let mut out = Vec::with_capacity(160);
    ObjectWriter::new(&mut out)
        .bool("requeued", true)
        .string("meta_etag", &meta_etag.to_string())
        .string("correlation_id", &correlation)
        .end_line();
    Ok(answer::json(out).with_text(header::CORRELATION_ID, &correlation))
}

pub(crate) async fn extend(call: &Call<'_>, body: Incoming) -> Outcome {
    let Presented { handle, more: by_seconds, .. } =
        read(call, body, true, |object| Ok(object.integer("extend_by_seconds")?.unwrap_or(0))).await?;
    let extended = call.node().extend(Extend { handle, by_seconds }).await?;
    let mut out = Vec::with_capacity(224);
    ObjectWriter::new(&mut out)
        .int("lease_expires_at_unix", extended.expires_at.seconds())
        .int("visibility_timeout_seconds", extended.visibility_seconds)
        .string("meta_etag", &extended.meta_etag.to_string())
        .int_if_some("state_lease_expires_at_unix", extended.state_expires_at.map(|at| at.seconds()))
        .string("correlation_id", &extended.correlation)
        .end_line();
    Ok(answer::json(out).with_text(header::CORRELATION_ID, &extended.correlation))
}

fn compacted(raw: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(raw.len());
    match lockd_json::compact(raw, &mut out) {
        Ok(()) => out.into(),
        // Only objects and arrays are documents; anything else is short and stands as it is.
        Err(_) => Bytes::copy_from_slice(raw),
    }
}
