//! What keepalive and release have in common: a body that names a lease and its key.

use hyper::body::Incoming;
use lockd_json::{DecodeError, Object};
use lockd_wire::{ErrorCode, KeyId, KeyName, LeaseId};

use crate::answer::Failure;
use crate::body::{self, CONTROL_BODY_MAX};
use crate::call::{Call, key_name, present};
use crate::gate::Permission;

pub(super) struct LeaseRequest<T> {
    pub(super) key: KeyId,
    pub(super) name: KeyName,
    /// `None`: there is an id, but it is none of ours.
    pub(super) lease: Option<LeaseId>,
    pub(super) token: i64,
    /// Trimmed; empty if the body has none.
    pub(super) txn: String,
    /// What only one of the two calls knows.
    pub(super) more: T,
}

impl<T> LeaseRequest<T> {
    pub(super) async fn read(
        call: &Call<'_>,
        mut body: Incoming,
        more: impl FnOnce(&mut Object<'_>) -> Result<T, DecodeError>,
    ) -> Result<Self, Failure> {
        let token = call.fencing_token()?;
        let body = body::read(&mut body, CONTROL_BODY_MAX).await?;
        let (namespace, key, lease, txn, more) = body::members(ErrorCode::InvalidBody, &body, |object| {
            // The header is authoritative; the C SDK also sends the token here.
            object.integer("fencing_token")?;
            Ok((
                object.string("namespace")?.unwrap_or_default(),
                object.string("key")?.unwrap_or_default(),
                object.string("lease_id")?.unwrap_or_default(),
                object.string("txn_id")?.unwrap_or_default(),
                more(object)?,
            ))
        })?;
        let namespace = call.namespace_among(&[&namespace, call.query.get("namespace")])?;
        call.authorise(&namespace, Permission::Any)?;
        let raw_key = if key.is_empty() { call.query.get("key") } else { &*key };
        let name = key_name(present(raw_key, ErrorCode::MissingKey, "key required")?)?;
        let lease = present(lease.trim(), ErrorCode::MissingLease, "lease_id required")?;
        Ok(LeaseRequest {
            key: KeyId::new(&namespace, &name),
            name,
            lease: LeaseId::parse(lease),
            token,
            txn: txn.trim().to_owned(),
            more,
        })
    }
}
