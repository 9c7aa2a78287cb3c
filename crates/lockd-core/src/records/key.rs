//! The key record: all that lockd knows of one key.

use bytes::Bytes;
use lockd_store::BlobId;
use lockd_wire::{KeyId, LeaseId, TxnId, Uid, Xid};

use super::field::{Field, FieldReader, FieldWriter, Unknown};
use super::message::Message;
use super::{Damaged, prefixed};
use crate::moment::Moment;

const PREFIX: u8 = b'K';
const RECORD: &str = "key";

/// Where the record of a key is stored.
pub fn storage_key(key: &KeyId) -> Bytes {
    prefixed(PREFIX, key.as_bytes())
}

/// SHA-256 of stored bytes: the ETag of documents, the checksum of attachments.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// Names the record that holds the bytes of a small document or attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentId(pub Uid);

/// Where bytes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Record(ContentId),
    Blob(BlobId),
}

/// Immutable bytes that a key record refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub len: u64,
    pub sha256: Digest,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub id: Uid,
    pub name: String,
    pub content_type: String,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub stored: Stored,
    pub unknown: Unknown,
}

/// Who may write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Lease {
    #[default]
    Free,
    Held(Grant),
}

/// One grant of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub id: LeaseId,
    pub txn: TxnId,
    /// The client chose the transaction id, so the lease takes part in that transaction.
    pub coordinated: bool,
    /// The lease came with the delivery of a message: on the message itself or on its workflow state.
    pub delivery: bool,
    pub owner: String,
    pub expires_at: Moment,
    pub token: u64,
    pub unknown: Unknown,
}

/// Changes that only the lease holder sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Staged {
    #[default]
    Nothing,
    Of(Overlay),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    pub txn: TxnId,
    /// The version that a commit will give to the key, if it changes more than attributes.
    pub version: u64,
    pub state: StagedState,
    pub query_hidden: Option<bool>,
    pub uploads: Vec<Attachment>,
    /// Names of committed attachments that the commit deletes.
    pub deletions: Vec<String>,
    pub clear_attachments: bool,
    pub unknown: Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StagedState {
    #[default]
    Untouched,
    Set(Stored),
    Removed,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRecord {
    pub version: u64,
    pub state: Option<Stored>,
    /// The token of the latest grant; zero means that the key was never granted, so that no record exists unless it is a
    /// message's.
    pub fencing: u64,
    pub updated_at: Moment,
    pub query_hidden: Option<bool>,
    /// Sorted by name.
    pub attachments: Vec<Attachment>,
    pub lease: Lease,
    pub staged: Staged,
    /// The key is the lease of a queue's message.
    pub message: Option<Box<Message>>,
    pub unknown: Unknown,
}

mod tag {
    pub(super) const VERSION: u8 = 1;
    pub(super) const STATE: u8 = 2;
    pub(super) const FENCING: u8 = 3;
    pub(super) const UPDATED_AT: u8 = 4;
    pub(super) const QUERY_HIDDEN: u8 = 5;
    pub(super) const ATTACHMENT: u8 = 6;
    pub(super) const LEASE: u8 = 7;
    pub(super) const STAGED: u8 = 8;
    pub(super) const MESSAGE: u8 = 9;

    pub(super) const STORED_LEN: u8 = 1;
    pub(super) const STORED_SHA256: u8 = 2;
    pub(super) const STORED_RECORD: u8 = 3;
    pub(super) const STORED_BLOB: u8 = 4;

    pub(super) const GRANT_ID: u8 = 1;
    pub(super) const GRANT_TXN: u8 = 2;
    pub(super) const GRANT_COORDINATED: u8 = 3;
    pub(super) const GRANT_OWNER: u8 = 4;
    pub(super) const GRANT_EXPIRES_AT: u8 = 5;
    pub(super) const GRANT_TOKEN: u8 = 6;
    pub(super) const GRANT_DELIVERY: u8 = 7;

    pub(super) const OVERLAY_TXN: u8 = 1;
    pub(super) const OVERLAY_VERSION: u8 = 2;
    pub(super) const OVERLAY_STATE: u8 = 3;
    pub(super) const OVERLAY_REMOVED: u8 = 4;
    pub(super) const OVERLAY_QUERY_HIDDEN: u8 = 5;
    pub(super) const OVERLAY_UPLOAD: u8 = 6;
    pub(super) const OVERLAY_DELETION: u8 = 7;
    pub(super) const OVERLAY_CLEAR: u8 = 8;

    pub(super) const ATTACHMENT_ID: u8 = 1;
    pub(super) const ATTACHMENT_NAME: u8 = 2;
    pub(super) const ATTACHMENT_TYPE: u8 = 3;
    pub(super) const ATTACHMENT_CREATED: u8 = 4;
    pub(super) const ATTACHMENT_UPDATED: u8 = 5;
    pub(super) const ATTACHMENT_STORED: u8 = 6;
}

impl KeyRecord {
    /// There is nothing to be kept: the key was never used, or its message is gone.
    pub fn is_blank(&self) -> bool {
        self.fencing == 0 && self.message.is_none()
    }

    pub fn encode(&self) -> Bytes {
        let mut writer = FieldWriter::with_capacity(192);
        writer.number(tag::VERSION, self.version);
        if let Some(state) = &self.state {
            writer.nested(tag::STATE, |inner| state.encode(inner));
        }
        writer.number(tag::FENCING, self.fencing);
        writer.number(tag::UPDATED_AT, self.updated_at.0);
        if let Some(hidden) = self.query_hidden {
            writer.number_or_zero(tag::QUERY_HIDDEN, hidden.into());
        }
        for attachment in &self.attachments {
            writer.nested(tag::ATTACHMENT, |inner| attachment.encode(inner));
        }
        if let Lease::Held(grant) = &self.lease {
            writer.nested(tag::LEASE, |inner| grant.encode(inner));
        }
        if let Staged::Of(overlay) = &self.staged {
            writer.nested(tag::STAGED, |inner| overlay.encode(inner));
        }
        if let Some(message) = &self.message {
            writer.nested(tag::MESSAGE, |inner| message.encode(inner));
        }
        writer.unknown(&self.unknown);
        writer.finish().into()
    }

    pub fn decode(bytes: &[u8]) -> Result<KeyRecord, Damaged> {
        let mut record = KeyRecord::default();
        let mut reader = FieldReader::new(RECORD, bytes);
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::VERSION => record.version = field.number()?,
                tag::STATE => record.state = Some(Stored::decode(&field)?),
                tag::FENCING => record.fencing = field.number()?,
                tag::UPDATED_AT => record.updated_at = Moment(field.number()?),
                tag::QUERY_HIDDEN => record.query_hidden = Some(field.flag()?),
                tag::ATTACHMENT => record.attachments.push(Attachment::decode(&field)?),
                tag::LEASE => record.lease = Lease::Held(Grant::decode(&field)?),
                tag::STAGED => record.staged = Staged::Of(Overlay::decode(&field)?),
                tag::MESSAGE => record.message = Some(Box::new(Message::decode(&field)?)),
                _ => field.keep(&mut record.unknown),
            }
        }
        if record.fencing == 0 && record.message.is_none() {
            return Err(reader.damaged("fencing token is missing"));
        }
        Ok(record)
    }
}

impl Stored {
    /// Stands for bytes that are still to be named.
    pub(super) fn nothing() -> Stored {
        Stored { len: 0, sha256: Digest([0; 32]), place: Place::Record(ContentId(Uid([0; 16]))) }
    }

    pub(super) fn encode(&self, writer: &mut FieldWriter) {
        writer.number(tag::STORED_LEN, self.len);
        writer.bytes(tag::STORED_SHA256, &self.sha256.0);
        match &self.place {
            Place::Record(id) => writer.bytes(tag::STORED_RECORD, &id.0.0),
            Place::Blob(id) => writer.bytes(tag::STORED_BLOB, &id.0),
        }
    }

    pub(super) fn decode(field: &Field<'_>) -> Result<Stored, Damaged> {
        let (mut len, mut sha256, mut place) = (0, None, None);
        let mut reader = field.nested();
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::STORED_LEN => len = field.number()?,
                tag::STORED_SHA256 => sha256 = Some(Digest(field.array()?)),
                tag::STORED_RECORD => place = Some(Place::Record(ContentId(Uid(field.array()?)))),
                tag::STORED_BLOB => place = Some(Place::Blob(BlobId(field.array()?))),
                // A reference with parts that this program does not understand cannot be followed safely.
                _ => return Err(reader.damaged("reference to bytes of an unknown kind")),
            }
        }
        let sha256 = sha256.ok_or(reader.damaged("digest is missing"))?;
        let place = place.ok_or(reader.damaged("place of bytes is missing"))?;
        Ok(Stored { len, sha256, place })
    }
}

impl Grant {
    fn encode(&self, writer: &mut FieldWriter) {
        writer.bytes(tag::GRANT_ID, &self.id.0.0);
        writer.bytes(tag::GRANT_TXN, &self.txn.0.0);
        writer.number(tag::GRANT_COORDINATED, self.coordinated.into());
        writer.bytes(tag::GRANT_OWNER, self.owner.as_bytes());
        writer.number(tag::GRANT_EXPIRES_AT, self.expires_at.0);
        writer.number(tag::GRANT_TOKEN, self.token);
        writer.number(tag::GRANT_DELIVERY, self.delivery.into());
        writer.unknown(&self.unknown);
    }

    fn decode(field: &Field<'_>) -> Result<Grant, Damaged> {
        let (mut id, mut txn, mut coordinated, mut owner) = (None, None, false, String::new());
        let (mut delivery, mut expires_at, mut token, mut unknown) =
            (false, Moment(0), 0, Unknown::default());
        let mut reader = field.nested();
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::GRANT_ID => id = Some(LeaseId(Xid(field.array()?))),
                tag::GRANT_TXN => txn = Some(TxnId(Xid(field.array()?))),
                tag::GRANT_COORDINATED => coordinated = field.flag()?,
                tag::GRANT_OWNER => owner = field.text()?,
                tag::GRANT_EXPIRES_AT => expires_at = Moment(field.number()?),
                tag::GRANT_TOKEN => token = field.number()?,
                tag::GRANT_DELIVERY => delivery = field.flag()?,
                _ => field.keep(&mut unknown),
            }
        }
        let id = id.ok_or(reader.damaged("lease id is missing"))?;
        let txn = txn.ok_or(reader.damaged("transaction id of the lease is missing"))?;
        Ok(Grant { id, txn, coordinated, delivery, owner, expires_at, token, unknown })
    }
}

impl Overlay {
    fn encode(&self, writer: &mut FieldWriter) {
        writer.bytes(tag::OVERLAY_TXN, &self.txn.0.0);
        writer.number(tag::OVERLAY_VERSION, self.version);
        match &self.state {
            StagedState::Untouched => {}
            StagedState::Set(stored) => writer.nested(tag::OVERLAY_STATE, |inner| stored.encode(inner)),
            StagedState::Removed => writer.number(tag::OVERLAY_REMOVED, 1),
        }
        if let Some(hidden) = self.query_hidden {
            writer.number_or_zero(tag::OVERLAY_QUERY_HIDDEN, hidden.into());
        }
        for upload in &self.uploads {
            writer.nested(tag::OVERLAY_UPLOAD, |inner| upload.encode(inner));
        }
        for name in &self.deletions {
            writer.bytes(tag::OVERLAY_DELETION, name.as_bytes());
        }
        writer.number(tag::OVERLAY_CLEAR, self.clear_attachments.into());
        writer.unknown(&self.unknown);
    }

    fn decode(field: &Field<'_>) -> Result<Overlay, Damaged> {
        let mut txn = None;
        let mut overlay = Overlay::new(TxnId(Xid([0; 12])), 0);
        let mut reader = field.nested();
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::OVERLAY_TXN => txn = Some(TxnId(Xid(field.array()?))),
                tag::OVERLAY_VERSION => overlay.version = field.number()?,
                tag::OVERLAY_STATE => overlay.state = StagedState::Set(Stored::decode(&field)?),
                tag::OVERLAY_REMOVED => overlay.state = StagedState::Removed,
                tag::OVERLAY_QUERY_HIDDEN => overlay.query_hidden = Some(field.flag()?),
                tag::OVERLAY_UPLOAD => overlay.uploads.push(Attachment::decode(&field)?),
                tag::OVERLAY_DELETION => overlay.deletions.push(field.text()?),
                tag::OVERLAY_CLEAR => overlay.clear_attachments = field.flag()?,
                _ => field.keep(&mut overlay.unknown),
            }
        }
        overlay.txn = txn.ok_or(reader.damaged("transaction id of staged changes is missing"))?;
        Ok(overlay)
    }

    pub fn new(txn: TxnId, version: u64) -> Overlay {
        Overlay {
            txn,
            version,
            state: StagedState::Untouched,
            query_hidden: None,
            uploads: Vec::new(),
            deletions: Vec::new(),
            clear_attachments: false,
            unknown: Unknown::default(),
        }
    }
}

impl Attachment {
    fn encode(&self, writer: &mut FieldWriter) {
        writer.bytes(tag::ATTACHMENT_ID, &self.id.0);
        writer.bytes(tag::ATTACHMENT_NAME, self.name.as_bytes());
        writer.bytes(tag::ATTACHMENT_TYPE, self.content_type.as_bytes());
        writer.number(tag::ATTACHMENT_CREATED, self.created_at.0);
        writer.number(tag::ATTACHMENT_UPDATED, self.updated_at.0);
        writer.nested(tag::ATTACHMENT_STORED, |inner| self.stored.encode(inner));
        writer.unknown(&self.unknown);
    }

    fn decode(field: &Field<'_>) -> Result<Attachment, Damaged> {
        let (mut id, mut name, mut content_type, mut stored) = (None, None, String::new(), None);
        let (mut created_at, mut updated_at, mut unknown) = (Moment(0), Moment(0), Unknown::default());
        let mut reader = field.nested();
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::ATTACHMENT_ID => id = Some(Uid(field.array()?)),
                tag::ATTACHMENT_NAME => name = Some(field.text()?),
                tag::ATTACHMENT_TYPE => content_type = field.text()?,
                tag::ATTACHMENT_CREATED => created_at = Moment(field.number()?),
                tag::ATTACHMENT_UPDATED => updated_at = Moment(field.number()?),
                tag::ATTACHMENT_STORED => stored = Some(Stored::decode(&field)?),
                _ => field.keep(&mut unknown),
            }
        }
        let id = id.ok_or(reader.damaged("attachment id is missing"))?;
        let name = name.ok_or(reader.damaged("attachment name is missing"))?;
        let stored = stored.ok_or(reader.damaged("place of an attachment is missing"))?;
        Ok(Attachment { id, name, content_type, created_at, updated_at, stored, unknown })
    }
}

impl Digest {
    /// Lower-case hex, without allocating.
    pub fn hex(&self) -> [u8; 64] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (place, byte) in self.0.iter().enumerate() {
            text[2 * place] = HEX[usize::from(byte >> 4)];
            text[2 * place + 1] = HEX[usize::from(byte & 15)];
        }
        text
    }

    /// Reads 64 hex digits of either case.
    pub fn parse(text: &str) -> Option<Digest> {
        let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |character: u8| (character as char).to_digit(16);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Some(Digest(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored() -> impl Strategy<Value = Stored> {
        let place = prop_oneof![
            any::<[u8; 16]>().prop_map(|id| Place::Record(ContentId(Uid(id)))),
            any::<[u8; 16]>().prop_map(|id| Place::Blob(BlobId(id))),
        ];
        (any::<u64>(), any::<[u8; 32]>(), place).prop_map(|(len, sha256, place)| Stored {
            len,
            sha256: Digest(sha256),
            place,
        })
    }

    fn attachment() -> impl Strategy<Value = Attachment> {
        (any::<[u8; 16]>(), ".{0,8}", ".{0,8}", any::<(u64, u64)>(), stored()).prop_map(
            |(id, name, content_type, (created, updated), stored)| Attachment {
                id: Uid(id),
                name,
                content_type,
                created_at: Moment(created),
                updated_at: Moment(updated),
                stored,
                unknown: Unknown::default(),
            },
        )
    }

    fn lease() -> impl Strategy<Value = Lease> {
        let grant = (any::<([u8; 12], [u8; 12], bool, bool)>(), ".{0,8}", any::<(u64, u64)>()).prop_map(
            |((id, txn, coordinated, delivery), owner, (expires, token))| {
                Lease::Held(Grant {
                    id: LeaseId(Xid(id)),
                    txn: TxnId(Xid(txn)),
                    coordinated,
                    delivery,
                    owner,
                    expires_at: Moment(expires),
                    token,
                    unknown: Unknown::default(),
                })
            },
        );
        prop_oneof![Just(Lease::Free), grant]
    }

    fn staged() -> impl Strategy<Value = Staged> {
        let state = prop_oneof![
            Just(StagedState::Untouched),
            Just(StagedState::Removed),
            stored().prop_map(StagedState::Set)
        ];
        let overlay = (
            any::<([u8; 12], u64, Option<bool>, bool)>(),
            state,
            prop::collection::vec(attachment(), 0..3),
            prop::collection::vec(".{0,5}", 0..3),
        )
            .prop_map(|((txn, version, query_hidden, clear), state, uploads, deletions)| {
                Staged::Of(Overlay {
                    state,
                    query_hidden,
                    uploads,
                    deletions,
                    clear_attachments: clear,
                    ..Overlay::new(TxnId(Xid(txn)), version)
                })
            });
        prop_oneof![Just(Staged::Nothing), overlay]
    }

    fn message() -> impl Strategy<Value = Message> {
        let bytes = || prop::option::of("[a-z{}\"]{0,6}".prop_map(Bytes::from));
        let texts = (".{0,8}", ".{0,8}", bytes(), bytes());
        let numbers = any::<(u64, u64, u64, Option<u64>, u64, u64, u64, u64, bool, Option<u64>)>();
        (stored(), texts, numbers, prop::option::of(any::<[u8; 12]>())).prop_map(
            |(payload, texts, numbers, expired)| {
                let (content_type, correlation, attributes, last_error) = texts;
                let (
                    enqueued,
                    visible,
                    visibility,
                    dies,
                    attempts,
                    failures,
                    max_attempts,
                    revision,
                    stateful,
                    dead,
                ) = numbers;
                Message {
                    payload,
                    content_type,
                    attributes,
                    correlation,
                    enqueued_at: Moment(enqueued),
                    visible_at: Moment(visible),
                    visibility,
                    dies_at: dies.map(Moment),
                    attempts,
                    failures,
                    max_attempts,
                    last_error,
                    revision,
                    expired: expired.map(|id| LeaseId(Xid(id))),
                    stateful,
                    dead_since: dead.map(Moment),
                    unknown: Unknown::default(),
                }
            },
        )
    }

    prop_compose! {
        fn record()(
            numbers in any::<(u64, u64, u64, Option<bool>)>(),
            state in prop::option::of(stored()),
            attachments in prop::collection::vec(attachment(), 0..3),
            lease in lease(),
            staged in staged(),
            message in prop::option::of(message()),
        ) -> KeyRecord {
            let (version, fencing, updated, query_hidden) = numbers;
            let (fencing, updated_at) = (fencing.max(1), Moment(updated));
            KeyRecord {
                version, state, fencing, updated_at, query_hidden, attachments, lease, staged,
                message: message.map(Box::new),
                unknown: Unknown::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(record in record()) {
            prop_assert_eq!(KeyRecord::decode(&record.encode()).unwrap(), record);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = KeyRecord::decode(&bytes);
        }

        #[test]
        fn fields_of_a_newer_program_survive(record in record(), tag in 100u8.., value: Vec<u8>) {
            let mut writer = FieldWriter::default();
            writer.bytes(tag, &value);
            let newer = [record.encode().to_vec(), writer.finish().into_vec()].concat();
            let read = KeyRecord::decode(&newer).unwrap();
            prop_assert_eq!(read.encode().to_vec(), newer);
        }
    }
}
