//! The content record: the bytes of one small document or attachment, written once and never changed.

use bytes::Bytes;

use super::key::ContentId;
use super::prefixed;

const PREFIX: u8 = b'C';

pub fn storage_key(id: ContentId) -> Bytes {
    prefixed(PREFIX, &id.0.0)
}
