//! One version of one record in memory, packed to be small, and finding what a snapshot sees in an ordered set of them.
//!
//! A lease is two records of some 30 to 100 bytes, and there are hundreds of thousands of them, so what counts is what a
//! version costs beside its bytes: sequence number, key and value share one allocation, and the tree holds a 16-byte
//! pointer to it. Values too large to be worth copying stay in the buffer they came in.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::key_range::KeyRange;
use crate::port::Direction;

/// Values up to this size are copied into the version; a larger one keeps the caller's buffer. The copy also cuts small
/// values loose from whatever large buffer they were parsed from.
const INLINE_VALUE: usize = 1024;

/// The head of a packed version is one word: 48 bits of sequence number, 15 of key length, and whether it is an end.
const HEAD: usize = 8;
const SEQ_BITS: u32 = 48;
const LONGEST_KEY: usize = 0x7fff;
const END: u64 = 1 << 63;

/// A key's value (or its absence) from one sequence number on.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// Head, key, value.
    Packed(Arc<[u8]>),
    /// What does not fit into the packed form or is not worth copying.
    Large(Arc<Large>),
}

// The memory budget of the engine depends on the two variants sharing the pointer's niche.
const _: () = assert!(size_of::<Version>() == 16);

#[derive(Debug)]
pub(crate) struct Large {
    seq: u64,
    key: Bytes,
    value: Option<Bytes>,
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
    pub(crate) fn new(seq: u64, key: &Bytes, value: Option<&Bytes>) -> Self {
        let len = value.map_or(0, Bytes::len);
        if len > INLINE_VALUE || key.len() > LONGEST_KEY || seq >> SEQ_BITS != 0 {
            return Self::Large(Arc::new(Large { seq, key: key.clone(), value: value.cloned() }));
        }
        let end = if value.is_some() { 0 } else { END };
        let head = end | (key.len() as u64) << SEQ_BITS | seq;
        let mut packed = Vec::with_capacity(HEAD + key.len() + len);
        packed.extend_from_slice(&head.to_le_bytes());
        packed.extend_from_slice(key);
        packed.extend_from_slice(value.map_or(&[], |value| value));
        Self::Packed(packed.into())
    }

    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Packed(packed) => head(packed) & ((1 << SEQ_BITS) - 1),
            Self::Large(large) => large.seq,
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Packed(packed) => &packed[HEAD..key_end(packed)],
            Self::Large(large) => &large.key,
        }
    }

    /// Whether the key is absent from here on.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Packed(packed) => head(packed) & END != 0,
            Self::Large(large) => large.value.is_none(),
        }
    }

    /// The value, sharing this version's memory.
    pub(crate) fn value(&self) -> Option<Bytes> {
        match self {
            Self::Packed(packed) if head(packed) & END == 0 => {
                let start = key_end(packed);
                Some(Bytes::from_owner(Packed(Arc::clone(packed))).slice(start..))
            }
            Self::Packed(_) => None,
            Self::Large(large) => large.value.clone(),
        }
    }

    pub(crate) fn value_len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len() - key_end(packed),
            Self::Large(large) => large.value.as_ref().map_or(0, Bytes::len),
        }
    }

    /// Key and value, sharing this version's memory.
    pub(crate) fn entry(&self) -> Option<(Bytes, Bytes)> {
        match self {
            Self::Packed(packed) if head(packed) & END == 0 => {
                let end = key_end(packed);
                let all = Bytes::from_owner(Packed(Arc::clone(packed)));
                Some((all.slice(HEAD..end), all.slice(end..)))
            }
            Self::Packed(_) => None,
            Self::Large(large) => Some((large.key.clone(), large.value.clone()?)),
        }
    }
}

fn head(packed: &[u8]) -> u64 {
    packed.first_chunk().map_or(0, |head| u64::from_le_bytes(*head))
}

fn key_end(packed: &[u8]) -> usize {
    HEAD + (head(packed) >> SEQ_BITS) as usize % (LONGEST_KEY + 1)
}

/// A place in the order of versions: by key, and within a key newest first. Implemented by versions and by the bounds of
/// a search, so that searching needs no allocation.
pub(crate) trait Place {
    fn place(&self) -> (&[u8], u64);
}

impl Place for Version {
    fn place(&self) -> (&[u8], u64) {
        (self.key(), self.seq())
    }
}

/// Where a search begins or ends.
#[derive(Clone, Copy)]
pub(crate) struct At<'a>(pub(crate) &'a [u8], pub(crate) u64);

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

fn place<'a>(bound: &'a Bound<At<'a>>) -> Bound<&'a (dyn Place + 'a)> {
    match bound {
        Bound::Included(at) => Bound::Included(at),
        Bound::Excluded(at) => Bound::Excluded(at),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// The version of a key that a snapshot sees.
pub(crate) fn newest<'a>(versions: &'a BTreeSet<Version>, key: &[u8], seq: u64) -> Option<&'a Version> {
    let from = Bound::Included(At(key, seq));
    let version = versions.range::<dyn Place, _>((place(&from), Bound::Unbounded)).next()?;
    (version.key() == key).then_some(version)
}

/// Collects the versions that a snapshot sees of a range that is not empty, at most `limit` of them, with or without those
/// that are ends.
pub(crate) fn visible(
    versions: &BTreeSet<Version>,
    (start, end): KeyRange<'_>,
    direction: Direction,
    seq: u64,
    limit: usize,
    ends: bool,
    found: &mut Vec<Version>,
) {
    let start = match start {
        Bound::Included(key) => Bound::Included(At(key, u64::MAX)),
        Bound::Excluded(key) => Bound::Excluded(At(key, 0)),
        Bound::Unbounded => Bound::Unbounded,
    };
    let end = match end {
        Bound::Included(key) => Bound::Included(At(key, 0)),
        Bound::Excluded(key) => Bound::Excluded(At(key, u64::MAX)),
        Bound::Unbounded => Bound::Unbounded,
    };
    let versions = versions.range::<dyn Place, _>((place(&start), place(&end)));
    match direction {
        Direction::Forward => forward(versions, seq, limit, ends, found),
        Direction::Reverse => reverse(versions.rev(), seq, limit, ends, found),
    }
}

/// From versions in order: of each key the first that is old enough.
fn forward<'a>(
    versions: impl Iterator<Item = &'a Version>,
    seq: u64,
    limit: usize,
    ends: bool,
    found: &mut Vec<Version>,
) {
    let mut done: Option<&[u8]> = None;
    for version in versions {
        if version.seq() > seq || done == Some(version.key()) {
            continue;
        }
        done = Some(version.key());
        if ends || !version.is_end() {
            found.push(version.clone());
            if found.len() == limit {
                return;
            }
        }
    }
}

/// From versions in reverse order: of each key the last that is old enough.
fn reverse<'a>(
    versions: impl Iterator<Item = &'a Version>,
    seq: u64,
    limit: usize,
    ends: bool,
    found: &mut Vec<Version>,
) {
    let mut best: Option<&Version> = None;
    for version in versions {
        if let Some(previous) = best
            && previous.key() != version.key()
        {
            if ends || !previous.is_end() {
                found.push(previous.clone());
                if found.len() == limit {
                    return;
                }
            }
            best = None;
        }
        if version.seq() <= seq {
            best = Some(version);
        }
    }
    found.extend(best.filter(|version| ends || !version.is_end()).cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_back_what_it_was_made_of() {
        let keys = [0, 1, 30, LONGEST_KEY, LONGEST_KEY + 1];
        let values = [None, Some(0), Some(1), Some(70), Some(INLINE_VALUE), Some(INLINE_VALUE + 1)];
        for seq in [1, (1 << SEQ_BITS) - 1, 1 << SEQ_BITS, u64::MAX] {
            for key in keys.map(|len| Bytes::from(vec![0xff; len])) {
                for value in values.map(|len| len.map(|len| Bytes::from(vec![0xee; len]))) {
                    let version = Version::new(seq, &key, value.as_ref());
                    assert_eq!((version.seq(), version.key()), (seq, &key[..]));
                    assert_eq!(version.is_end(), value.is_none());
                    assert_eq!(version.value(), value);
                    assert_eq!(version.entry(), value.map(|value| (key.clone(), value)));
                }
            }
        }
    }

    #[test]
    fn versions_sort_by_key_and_then_newest_first() {
        let version = |key: &'static str, seq| Version::new(seq, &Bytes::from_static(key.as_bytes()), None);
        let sorted =
            [version("a", 300), version("a", 2), version("aa", 1), version("b", 1 << 50), version("b", 9)];
        assert!(sorted.is_sorted());
        assert!(sorted[0] != sorted[1] && sorted[3] == version("b", 1 << 50));
    }
}
