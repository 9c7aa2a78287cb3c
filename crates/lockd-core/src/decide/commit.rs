//! Ending a lease: the overlay becomes committed, or is dropped; either way the key is free.

use super::Effects;
use crate::moment::Moment;
use crate::op::Outcome;
use crate::records::key::{KeyRecord, Lease, Staged, StagedState};

/// Makes the staged changes the committed ones, and frees the key.
pub fn commit(record: &mut KeyRecord, now: Moment, effects: &mut Effects) -> Outcome {
    let Staged::Of(overlay) = free(record, now) else { return Outcome::Nothing };
    let touches_attachments =
        !overlay.uploads.is_empty() || !overlay.deletions.is_empty() || overlay.clear_attachments;
    let removed = overlay.state == StagedState::Removed;
    // Attributes alone do not make a new version.
    if overlay.state != StagedState::Untouched || touches_attachments {
        record.version = overlay.version;
    }
    if removed || overlay.clear_attachments {
        effects.forget_all(&record.attachments);
        record.attachments.clear();
    }
    let replaced = match overlay.state {
        StagedState::Untouched => None,
        StagedState::Set(stored) => record.state.replace(stored),
        StagedState::Removed => record.state.take(),
    };
    if let Some(replaced) = replaced {
        effects.forget(&replaced);
    }
    record.attachments.retain(|committed| {
        let gone = overlay.deletions.contains(&committed.name)
            || overlay.uploads.iter().any(|upload| upload.name == committed.name);
        if gone {
            effects.forget(&committed.stored);
        }
        !gone
    });
    record.attachments.extend(overlay.uploads);
    record.attachments.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    record.query_hidden = overlay.query_hidden.or(record.query_hidden);
    Outcome::Committed
}

/// Drops the staged changes, and frees the key.
pub fn roll_back(record: &mut KeyRecord, now: Moment, effects: &mut Effects) -> Outcome {
    let Staged::Of(overlay) = free(record, now) else { return Outcome::Nothing };
    if let StagedState::Set(stored) = &overlay.state {
        effects.forget(stored);
    }
    effects.forget_all(&overlay.uploads);
    Outcome::RolledBack
}

fn free(record: &mut KeyRecord, now: Moment) -> Staged {
    record.updated_at = now;
    if let Lease::Held(grant) = std::mem::take(&mut record.lease)
        && grant.delivery
        && let Some(message) = &mut record.message
    {
        // It can be delivered again: at once, or since the time of the delivery was over.
        message.visible_at = message.visible_at.min(now);
        if grant.is_expired(now) {
            message.expired = Some(grant.id);
        }
    }
    std::mem::take(&mut record.staged)
}
