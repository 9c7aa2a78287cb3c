//! Staging the query-hidden attribute.

use super::proof::{meets, no_foreign_changes};
use super::prove;
use crate::moment::Moment;
use crate::op::{Expect, Refusal, SetMetadata};
use crate::records::key::KeyRecord;

/// The version that the commit would have if it changed more than attributes.
pub fn set_metadata(record: &mut KeyRecord, now: Moment, op: &SetMetadata) -> Result<u64, Refusal> {
    let txn = prove(record, now, &op.claim)?.txn;
    no_foreign_changes(record, txn)?;
    meets(record, &Expect { version: op.if_version, ..Expect::default() })?;
    record.updated_at = now;
    let overlay = record.stage(txn);
    overlay.query_hidden = Some(op.query_hidden);
    Ok(overlay.version)
}
