//! Staging the removal of a document and of all attachments.

use super::proof::{meets, no_foreign_changes};
use super::{Effects, prove};
use crate::moment::Moment;
use crate::op::{Expect, Refusal, Remove, Removed};
use crate::records::key::{KeyRecord, StagedState};

/// A remove counts a version of its own each time, and forgets what was staged before it.
pub fn remove(
    record: &mut KeyRecord,
    now: Moment,
    op: &Remove,
    effects: &mut Effects,
) -> Result<Removed, Refusal> {
    let txn = prove(record, now, &op.claim)?.txn;
    no_foreign_changes(record, txn)?;
    meets(record, &Expect { etag: op.if_etag, ..Expect::default() })?;
    let anything = match record.overlay().map(|overlay| &overlay.state) {
        None | Some(StagedState::Untouched) => record.state.is_some(),
        Some(StagedState::Set(_) | StagedState::Removed) => true,
    };
    if !anything {
        return Ok(Removed::Nothing { version: record.version });
    }
    let version = record.staged_version() + 1;
    record.updated_at = now;
    let overlay = record.stage(txn);
    overlay.version = version;
    if let StagedState::Set(stored) = std::mem::replace(&mut overlay.state, StagedState::Removed) {
        effects.forget(&stored);
    }
    overlay.query_hidden = None;
    effects.forget_all(&overlay.uploads);
    overlay.uploads.clear();
    Ok(Removed::Staged { version })
}
