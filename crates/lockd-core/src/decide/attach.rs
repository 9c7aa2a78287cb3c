//! Staging an attachment.

use super::proof::no_foreign_changes;
use super::{Effects, prove};
use crate::moment::Moment;
use crate::op::{Attach, Attached, Refusal};
use crate::records::field::Unknown;
use crate::records::key::{Attachment, KeyRecord, Overlay, StagedState};

impl Overlay {
    /// Do the staged changes delete this committed attachment?
    fn hides(&self, committed: &Attachment) -> bool {
        self.clear_attachments
            || self.state == StagedState::Removed
            || self.deletions.contains(&committed.name)
    }
}

impl KeyRecord {
    /// The attachments that the holder sees, in no particular order.
    pub fn holder_attachments(&self) -> impl Iterator<Item = &Attachment> {
        let overlay = self.overlay();
        let uploads = overlay.map_or(&[][..], |overlay| &overlay.uploads);
        let committed = self.attachments.iter().filter(move |committed| {
            !overlay.is_some_and(|overlay| overlay.hides(committed))
                && !uploads.iter().any(|upload| upload.name == committed.name)
        });
        uploads.iter().chain(committed)
    }
}

pub fn attach(
    record: &mut KeyRecord,
    now: Moment,
    op: Attach,
    effects: &mut Effects,
) -> Result<Attached, Refusal> {
    let grant = prove(record, now, &op.claim)?;
    let (txn, token) = (grant.txn, grant.token);
    no_foreign_changes(record, txn)?;
    if op.prevent_overwrite
        && let Some(kept) = record.holder_attachments().find(|attachment| attachment.name == op.name)
    {
        return Ok(Attached::Kept { attachment: kept.clone(), version: record.staged_version() });
    }
    // A name keeps its identity as long as the key remembers it, even across a staged deletion.
    let uploaded = record.overlay().into_iter().flat_map(|overlay| &overlay.uploads);
    let earlier = uploaded.chain(&record.attachments).find(|earlier| earlier.name == op.name);
    let (id, created_at) = earlier.map_or((op.id, now), |earlier| (earlier.id, earlier.created_at));
    let attachment = Attachment {
        id,
        name: op.name,
        content_type: op.content_type,
        created_at,
        updated_at: now,
        stored: effects.keep(op.content),
        unknown: Unknown::default(),
    };
    record.updated_at = now;
    let overlay = record.stage(txn);
    match overlay.uploads.iter_mut().find(|upload| upload.name == attachment.name) {
        Some(replaced) => {
            effects.forget(&replaced.stored);
            *replaced = attachment.clone();
        }
        None => overlay.uploads.push(attachment.clone()),
    }
    Ok(Attached::Stored { attachment, version: overlay.version, token })
}
