//! Staging the deletion of attachments.

use super::proof::no_foreign_changes;
use super::{Effects, prove};
use crate::moment::Moment;
use crate::op::{Detach, DetachAll, Detached, Refusal};
use crate::records::key::{KeyRecord, StagedState};

fn removal_is_staged(record: &KeyRecord) -> bool {
    record.overlay().is_some_and(|overlay| overlay.state == StagedState::Removed)
}

pub fn detach(
    record: &mut KeyRecord,
    now: Moment,
    op: &Detach,
    effects: &mut Effects,
) -> Result<Detached, Refusal> {
    let grant = prove(record, now, &op.claim)?;
    let (txn, token) = (grant.txn, grant.token);
    no_foreign_changes(record, txn)?;
    let selected = record.holder_attachments().find(|attachment| op.selector.matches(attachment));
    let name = match selected {
        Some(attachment) if !removal_is_staged(record) => attachment.name.clone(),
        _ => return Ok(Detached::Nothing { version: record.staged_version() }),
    };
    let is_committed = record.attachments.iter().any(|committed| committed.name == name);
    record.updated_at = now;
    let overlay = record.stage(txn);
    if let Some(place) = overlay.uploads.iter().position(|upload| upload.name == name) {
        effects.forget(&overlay.uploads.remove(place).stored);
    }
    if is_committed && !overlay.deletions.contains(&name) {
        overlay.deletions.push(name);
    }
    Ok(Detached::Staged { version: overlay.version, token })
}

/// How many attachments the holder saw before, the version, and the token.
pub fn detach_all(
    record: &mut KeyRecord,
    now: Moment,
    op: &DetachAll,
    effects: &mut Effects,
) -> Result<(u64, u64, u64), Refusal> {
    let grant = prove(record, now, &op.claim)?;
    let (txn, token) = (grant.txn, grant.token);
    no_foreign_changes(record, txn)?;
    let count = if removal_is_staged(record) { 0 } else { record.holder_attachments().count() as u64 };
    record.updated_at = now;
    let overlay = record.stage(txn);
    overlay.clear_attachments = true;
    overlay.deletions.clear();
    effects.forget_all(&overlay.uploads);
    overlay.uploads.clear();
    Ok((count, overlay.version, token))
}
