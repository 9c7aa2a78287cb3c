//! One version of one record of the memory engine, packed to be small.
//!
//! A lease is two records of some 30 to 100 bytes, and there are hundreds of thousands of them, so what counts is what a
//! version costs beside its bytes: sequence number, key and value share one allocation, and the tree holds a 16-byte
//! pointer to it. Values too large to be worth copying stay in the buffer they came in.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

/// Values up to this size are copied into the version; a larger one keeps the caller's buffer. The copy also cuts small
/// values loose from whatever large buffer they were parsed from.
const INLINE_VALUE: usize = 1024;

const SEQ: usize = 8;
const HEAD: usize = SEQ + 4 + 1;
const LIVE: u8 = 0;
const DEAD: u8 = 1;

/// A key's value (or its absence) from one sequence number on.
#[derive(Clone, Debug)]
pub(super) enum Version {
    /// Sequence number, key length, dead or alive; then the key, then the value.
    Packed(Arc<[u8]>),
    Large(Arc<Large>),
}

// The memory budget of the engine depends on the two variants sharing the pointer's niche.
const _: () = assert!(size_of::<Version>() == 16);

#[derive(Debug)]
pub(super) struct Large {
    seq: u64,
    key: Box<[u8]>,
    value: Bytes,
}

/// The bytes of a packed version, kept alive by a [`Bytes`] that shows a part of them.
struct Packed(Arc<[u8]>);

impl AsRef<[u8]> for Packed {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Version {
    /// `None` as value says that the key is absent from `seq` on.
    pub(super) fn new(seq: u64, key: &[u8], value: Option<&Bytes>) -> Self {
        // A key too long for the packed form can only be a caller's error, but it must not become a wrong key.
        let key_len = u32::try_from(key.len());
        match (value, key_len) {
            (Some(value), _) if value.len() > INLINE_VALUE => Self::large(seq, key, value),
            (Some(value), Err(_)) => Self::large(seq, key, value),
            (value, key_len) => {
                let bytes = value.map_or(&[][..], |value| value);
                let state = if value.is_some() { LIVE } else { DEAD };
                let mut packed = Vec::with_capacity(HEAD + key.len() + bytes.len());
                packed.extend_from_slice(&seq.to_le_bytes());
                packed.extend_from_slice(&key_len.unwrap_or(u32::MAX).to_le_bytes());
                packed.push(state);
                packed.extend_from_slice(key);
                packed.extend_from_slice(bytes);
                Self::Packed(packed.into())
            }
        }
    }

    fn large(seq: u64, key: &[u8], value: &Bytes) -> Self {
        Self::Large(Arc::new(Large { seq, key: key.into(), value: value.clone() }))
    }

    pub(super) fn seq(&self) -> u64 {
        match self {
            Self::Packed(packed) => packed.first_chunk::<SEQ>().map_or(0, |seq| u64::from_le_bytes(*seq)),
            Self::Large(large) => large.seq,
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Packed(packed) => &packed[HEAD..key_end(packed)],
            Self::Large(large) => &large.key,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed[HEAD - 1] == DEAD)
    }

    /// The value, sharing this version's memory.
    pub(super) fn value(&self) -> Option<Bytes> {
        match self {
            _ if self.is_dead() => None,
            Self::Packed(packed) => {
                let start = key_end(packed);
                Some(Bytes::from_owner(Packed(Arc::clone(packed))).slice(start..))
            }
            Self::Large(large) => Some(large.value.clone()),
        }
    }

    /// Key and value, sharing this version's memory.
    pub(super) fn entry(&self) -> Option<(Bytes, Bytes)> {
        match self {
            _ if self.is_dead() => None,
            Self::Packed(packed) => {
                let end = key_end(packed);
                let all = Bytes::from_owner(Packed(Arc::clone(packed)));
                Some((all.slice(HEAD..end), all.slice(end..)))
            }
            Self::Large(large) => Some((Bytes::copy_from_slice(&large.key), large.value.clone())),
        }
    }
}

fn key_end(packed: &[u8]) -> usize {
    let len: [u8; 4] = [packed[SEQ], packed[SEQ + 1], packed[SEQ + 2], packed[SEQ + 3]];
    HEAD + u32::from_le_bytes(len) as usize
}

/// A place in the order of versions: by key, and within a key newest first. Implemented by versions and by the bounds of
/// a search, so that searching needs no allocation.
pub(super) trait Place {
    fn place(&self) -> (&[u8], u64);
}

impl Place for Version {
    fn place(&self) -> (&[u8], u64) {
        (self.key(), self.seq())
    }
}

/// Where a search begins or ends.
#[derive(Clone, Copy)]
pub(super) struct At<'a>(pub(super) &'a [u8], pub(super) u64);

impl Place for At<'_> {
    fn place(&self) -> (&[u8], u64) {
        (self.0, self.1)
    }
}

impl<'a> Borrow<dyn Place + 'a> for Version {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let (key, seq) = self.place();
        let (other_key, other_seq) = other.place();
        key.cmp(other_key).then_with(|| other_seq.cmp(&seq))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        <dyn Place>::cmp(self, other)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Version {}
