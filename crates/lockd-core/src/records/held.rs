//! The held-lease record: present exactly while a key is leased. It repeats what start-up needs from the key record, so that
//! recovery reads one small record a lease instead of every key that ever existed.

use std::ops::Bound;

use bytes::Bytes;
use lockd_wire::{KeyId, TxnId, Xid};

use super::field::{FieldReader, FieldWriter};
use super::{Damaged, prefixed};
use crate::moment::Moment;

const PREFIX: u8 = b'L';
const RECORD: &str = "held lease";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    pub expires_at: Moment,
    pub txn: TxnId,
    pub coordinated: bool,
    /// Changes are staged under the lease: if it is coordinated, the key is a participant of its transaction.
    pub staged: bool,
}

pub fn storage_key(key: &KeyId) -> Bytes {
    prefixed(PREFIX, key.as_bytes())
}

/// All held leases, for a scan.
pub fn range() -> (Bound<&'static [u8]>, Bound<&'static [u8]>) {
    (Bound::Included(b"L"), Bound::Excluded(b"M"))
}

/// The key that a stored held-lease record is about.
pub fn key_of(storage_key: &[u8]) -> Result<KeyId, Damaged> {
    let name = storage_key.strip_prefix(&[PREFIX]).and_then(KeyId::from_bytes);
    name.ok_or(Damaged { record: RECORD, what: "key" })
}

impl HeldLease {
    pub fn encode(&self) -> Bytes {
        let mut writer = FieldWriter::with_capacity(32);
        writer.number(1, self.expires_at.0);
        writer.bytes(2, &self.txn.0.0);
        writer.number(3, self.coordinated.into());
        writer.number(4, self.staged.into());
        writer.finish().into()
    }

    pub fn decode(bytes: &[u8]) -> Result<HeldLease, Damaged> {
        let (mut expires_at, mut txn, mut coordinated, mut staged) = (Moment(0), None, false, false);
        let mut reader = FieldReader::new(RECORD, bytes);
        while let Some(field) = reader.next_field()? {
            match field.tag {
                1 => expires_at = Moment(field.number()?),
                2 => txn = Some(TxnId(Xid(field.array()?))),
                3 => coordinated = field.flag()?,
                4 => staged = field.flag()?,
                // Derived from the key record at every write, so there is nothing of a newer program to preserve.
                _ => {}
            }
        }
        let txn = txn.ok_or(reader.damaged("transaction id is missing"))?;
        Ok(HeldLease { expires_at, txn, coordinated, staged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(expires: u64, txn: [u8; 12], coordinated: bool, staged: bool) {
            let held = HeldLease { expires_at: Moment(expires), txn: TxnId(Xid(txn)), coordinated, staged };
            prop_assert_eq!(HeldLease::decode(&held.encode()).unwrap(), held);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = (HeldLease::decode(&bytes), key_of(&bytes));
        }
    }
}
