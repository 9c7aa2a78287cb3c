//! Making new identifiers out of a clock reading and a source of randomness, both given by the caller.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::id::{Uid, Xid};

/// Mints xids: seconds, machine, process, counter.
#[derive(Debug)]
pub struct XidMint {
    /// Three bytes of machine, two of process.
    origin: [u8; 5],
    counter: AtomicU32,
}

impl XidMint {
    /// `seed` should be random: it stands for the machine and the first counter value, so that two processes never meet.
    pub fn new(seed: u64, process: u32) -> XidMint {
        let seed_bytes = seed.to_be_bytes();
        let process = process.to_be_bytes();
        XidMint {
            origin: [seed_bytes[0], seed_bytes[1], seed_bytes[2], process[2], process[3]],
            counter: AtomicU32::new(u32::from_be_bytes([0, seed_bytes[5], seed_bytes[6], seed_bytes[7]])),
        }
    }

    pub fn mint(&self, unix_seconds: u32) -> Xid {
        let count = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&unix_seconds.to_be_bytes());
        bytes[4..9].copy_from_slice(&self.origin);
        bytes[9..].copy_from_slice(&count[1..]);
        Xid(bytes)
    }
}

/// Mints UUIDv7s.
#[derive(Debug)]
pub struct UidMint;

impl UidMint {
    /// 48 bits of milliseconds, 74 of randomness.
    pub fn mint(unix_millis: u64, random: u128) -> Uid {
        let mut bytes = random.to_be_bytes();
        bytes[..6].copy_from_slice(&unix_millis.to_be_bytes()[2..]);
        bytes[6] = 0x70 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Uid(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xids_of_one_mint_differ_within_a_second() {
        let mint = XidMint::new(u64::MAX, 7);
        assert_ne!(mint.mint(1), mint.mint(1));
        assert_eq!(mint.mint(0x0102_0304).0[..4], [1, 2, 3, 4]);
    }

    #[test]
    fn uids_carry_version_variant_and_time() {
        let text = UidMint::mint(0x0123_4567_89ab, u128::MAX).to_string();
        assert!(text.starts_with("01234567-89ab-7fff-bfff-"), "{text}");
    }
}
