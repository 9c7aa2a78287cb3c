//! Granting a lease.

use super::Limits;
use crate::moment::Moment;
use crate::op::{Acquire, Granted};
use crate::records::field::Unknown;
use crate::records::key::{Grant, KeyRecord, Lease, Staged};

#[derive(Debug)]
pub enum Verdict {
    Granted(Granted),
    /// Somebody holds the lease until then.
    Held {
        until: Moment,
    },
    /// Create-only, and the key has been acquired before.
    Exists,
}

/// Grants the lease if it is free. The caller has dealt with an expired one, so that whatever was staged is gone.
pub fn acquire(record: &mut KeyRecord, now: Moment, op: &Acquire, limits: &Limits) -> Verdict {
    if op.if_not_exists && record.fencing != 0 {
        return Verdict::Exists;
    }
    if let Lease::Held(grant) = &record.lease {
        return Verdict::Held { until: grant.expires_at };
    }
    debug_assert!(matches!(record.staged, Staged::Nothing), "a free key has nothing staged");
    record.fencing += 1;
    record.updated_at = now;
    let grant = Grant {
        id: op.lease,
        txn: op.txn.unwrap_or(op.own_txn),
        coordinated: op.txn.is_some(),
        delivery: false,
        owner: op.owner.clone(),
        expires_at: now.after_full(limits.ttl_ms(op.ttl_seconds)),
        token: record.fencing,
        unknown: Unknown::default(),
    };
    let granted = Granted {
        key: op.key.clone(),
        lease: grant.id,
        txn: grant.txn,
        owner: grant.owner.clone(),
        expires_at: grant.expires_at,
        version: record.version,
        etag: record.etag(),
        token: grant.token,
    };
    record.lease = Lease::Held(grant);
    Verdict::Granted(granted)
}
