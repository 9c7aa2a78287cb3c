//! Staging a new document.

use super::proof::{meets, no_foreign_changes};
use super::{Effects, prove};
use crate::moment::Moment;
use crate::op::{Refusal, Update, Updated};
use crate::records::key::{KeyRecord, StagedState};

pub fn update(
    record: &mut KeyRecord,
    now: Moment,
    op: Update,
    effects: &mut Effects,
) -> Result<Updated, Refusal> {
    let grant = prove(record, now, &op.claim)?;
    let (txn, token) = (grant.txn, grant.token);
    no_foreign_changes(record, txn)?;
    meets(record, &op.expect)?;
    let stored = effects.keep(op.content);
    record.updated_at = now;
    let overlay = record.stage(txn);
    if let StagedState::Set(replaced) = std::mem::replace(&mut overlay.state, StagedState::Set(stored)) {
        effects.forget(&replaced);
    }
    overlay.query_hidden = op.query_hidden.or(overlay.query_hidden);
    Ok(Updated {
        version: overlay.version,
        etag: stored.sha256,
        len: stored.len,
        query_hidden: record.hidden_after_commit(),
        token,
    })
}
