//! Transactions: what was prepared and is not decided, and what was decided.
//!
//! Most transactions have no record while they are open: their participants are the held leases that carry their id. A pending
//! record exists only if somebody prepared one with a list of participants. A decision record outlives the transaction for the
//! retention time, so that whoever asks again gets the same answer.

use std::ops::Bound;

use bytes::Bytes;
use lockd_wire::{KeyId, TxnId, Xid};

use super::Damaged;
use super::field::{FieldReader, FieldWriter, Unknown};
use crate::moment::Moment;

const PENDING: u8 = b'P';
const DECIDED: u8 = b'D';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Commit,
    Rollback,
}

/// A transaction that somebody prepared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Sorted, without duplicates.
    pub participants: Vec<KeyId>,
    /// It is rolled back then.
    pub expires_at: Moment,
    pub term: u64,
    pub created_at: Moment,
    pub unknown: Unknown,
}

/// A transaction that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub verdict: Verdict,
    /// It is forgotten then.
    pub expires_at: Moment,
    pub term: u64,
    pub unknown: Unknown,
}

mod tag {
    pub(super) const VERDICT: u8 = 1;
    pub(super) const EXPIRES_AT: u8 = 2;
    pub(super) const TERM: u8 = 3;
    pub(super) const PARTICIPANT: u8 = 4;
    pub(super) const CREATED_AT: u8 = 5;
}

fn storage_key(prefix: u8, txn: TxnId) -> Bytes {
    let mut key = vec![prefix];
    key.extend_from_slice(&txn.0.0);
    key.into()
}

fn txn_of(prefix: u8, storage_key: &[u8]) -> Result<TxnId, Damaged> {
    let id = storage_key.strip_prefix(&[prefix]).and_then(|rest| <[u8; 12]>::try_from(rest).ok());
    id.map(|id| TxnId(Xid(id))).ok_or(Damaged { record: "transaction", what: "id" })
}

pub type Range = (Bound<&'static [u8]>, Bound<&'static [u8]>);

impl Pending {
    pub fn storage_key(txn: TxnId) -> Bytes {
        storage_key(PENDING, txn)
    }

    pub fn range() -> Range {
        (Bound::Included(b"P"), Bound::Excluded(b"Q"))
    }

    pub fn txn_of(storage_key: &[u8]) -> Result<TxnId, Damaged> {
        txn_of(PENDING, storage_key)
    }

    pub fn encode(&self) -> Bytes {
        let mut writer = FieldWriter::default();
        writer.number(tag::EXPIRES_AT, self.expires_at.0);
        writer.number(tag::TERM, self.term);
        writer.number(tag::CREATED_AT, self.created_at.0);
        for key in &self.participants {
            writer.bytes(tag::PARTICIPANT, key.as_bytes());
        }
        writer.unknown(&self.unknown);
        writer.finish().into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Pending, Damaged> {
        let mut record = Pending::default();
        let mut reader = FieldReader::new("pending transaction", bytes);
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::EXPIRES_AT => record.expires_at = Moment(field.number()?),
                tag::TERM => record.term = field.number()?,
                tag::CREATED_AT => record.created_at = Moment(field.number()?),
                tag::PARTICIPANT => {
                    let key = KeyId::from_bytes(field.value).ok_or(reader.damaged("participant"))?;
                    record.participants.push(key);
                }
                _ => field.keep(&mut record.unknown),
            }
        }
        Ok(record)
    }
}

impl Decided {
    pub fn storage_key(txn: TxnId) -> Bytes {
        storage_key(DECIDED, txn)
    }

    pub fn range() -> Range {
        (Bound::Included(b"D"), Bound::Excluded(b"E"))
    }

    pub fn txn_of(storage_key: &[u8]) -> Result<TxnId, Damaged> {
        txn_of(DECIDED, storage_key)
    }

    pub fn encode(&self) -> Bytes {
        let mut writer = FieldWriter::default();
        writer.number(
            tag::VERDICT,
            match self.verdict {
                Verdict::Commit => 1,
                Verdict::Rollback => 2,
            },
        );
        writer.number(tag::EXPIRES_AT, self.expires_at.0);
        writer.number(tag::TERM, self.term);
        writer.unknown(&self.unknown);
        writer.finish().into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Decided, Damaged> {
        let (mut verdict, mut expires_at, mut term, mut unknown) = (None, Moment(0), 0, Unknown::default());
        let mut reader = FieldReader::new("decided transaction", bytes);
        while let Some(field) = reader.next_field()? {
            match field.tag {
                tag::VERDICT => {
                    verdict = match field.number()? {
                        1 => Some(Verdict::Commit),
                        2 => Some(Verdict::Rollback),
                        _ => return Err(reader.damaged("verdict")),
                    }
                }
                tag::EXPIRES_AT => expires_at = Moment(field.number()?),
                tag::TERM => term = field.number()?,
                _ => field.keep(&mut unknown),
            }
        }
        let verdict = verdict.ok_or(reader.damaged("verdict is missing"))?;
        Ok(Decided { verdict, expires_at, term, unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockd_wire::{KeyName, Namespace};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(id: [u8; 12], names in prop::collection::vec("[a-z]{1,4}", 0..4), expires: u64, term: u64, commit: bool) {
            let txn = TxnId(Xid(id));
            let key = |name: &String| KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse(name).unwrap());
            let pending = Pending {
                participants: names.iter().map(key).collect(),
                expires_at: Moment(expires), term, created_at: Moment(1), unknown: Unknown::default(),
            };
            prop_assert_eq!(Pending::decode(&pending.encode()).unwrap(), pending);
            prop_assert_eq!(Pending::txn_of(&Pending::storage_key(txn)).unwrap(), txn);
            let verdict = if commit { Verdict::Commit } else { Verdict::Rollback };
            let decided = Decided { verdict, expires_at: Moment(expires), term, unknown: Unknown::default() };
            prop_assert_eq!(Decided::decode(&decided.encode()).unwrap(), decided);
            prop_assert_eq!(Decided::txn_of(&Decided::storage_key(txn)).unwrap(), txn);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let _ = (Pending::decode(&bytes), Decided::decode(&bytes), Pending::txn_of(&bytes), Decided::txn_of(&bytes));
        }
    }
}
