//! The blob record: present exactly while some key record refers to the blob. A blob without it is garbage.

use bytes::Bytes;
use lockd_store::BlobId;

use super::prefixed;

const PREFIX: u8 = b'B';

pub fn storage_key(id: BlobId) -> Bytes {
    prefixed(PREFIX, &id.0)
}
