//! Extending a lease (or shortening it: the new expiry counts from now).

use super::{Limits, prove};
use crate::moment::Moment;
use crate::op::{Keepalive, Refusal, Renewed};
use crate::records::key::{KeyRecord, Lease};

pub fn keepalive(
    record: &mut KeyRecord,
    now: Moment,
    op: &Keepalive,
    limits: &Limits,
) -> Result<Renewed, Refusal> {
    let token = prove(record, now, &op.claim)?.token;
    let expires_at = now.after_full(limits.ttl_ms(op.ttl_seconds));
    if let Lease::Held(grant) = &mut record.lease {
        grant.expires_at = expires_at;
        // A delivery is invisible for as long as its lease lasts.
        if grant.delivery
            && let Some(message) = &mut record.message
        {
            message.visible_at = expires_at;
        }
    }
    record.updated_at = now;
    Ok(Renewed { expires_at, token, version: record.holder_version(), etag: record.holder_etag() })
}
