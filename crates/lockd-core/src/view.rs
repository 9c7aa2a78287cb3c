//! What readers see of a key record. Readers use a durable snapshot and never pass through the machine.

use crate::decide::prove;
use crate::moment::Moment;
use crate::op::{Claim, Document, Refusal};
use crate::records::key::{Attachment, KeyRecord};

/// Who is reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody: committed data only.
    Public,
    /// Whoever can prove to hold the lease: committed data under its own staged changes.
    Holder(Claim),
}

/// The document, and the fencing token if the reader is the holder.
pub fn document(
    record: &KeyRecord,
    now: Moment,
    audience: &Audience,
) -> Result<(Option<Document>, Option<u64>), Refusal> {
    let committed = record.state.map(|stored| Document { stored, version: record.version });
    let Audience::Holder(claim) = audience else { return Ok((committed, None)) };
    let token = prove(record, now, claim)?.token;
    Ok((record.holder_document(), Some(token)))
}

/// The attachments, sorted by name.
pub fn attachments<'a>(
    record: &'a KeyRecord,
    now: Moment,
    audience: &Audience,
) -> Result<Vec<&'a Attachment>, Refusal> {
    match audience {
        Audience::Public => Ok(record.attachments.iter().collect()),
        Audience::Holder(claim) => {
            prove(record, now, claim)?;
            let mut seen: Vec<&Attachment> = record.holder_attachments().collect();
            seen.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
            Ok(seen)
        }
    }
}
