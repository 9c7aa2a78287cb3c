//! Keys and ids that no other test, and no other run on the same store, uses.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Twelve characters that tell this run apart from every other one.
pub fn run() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| format!("{:012x}", fastrand::u64(..) & 0xffff_ffff_ffff))
}

/// A key (also fit as a namespace) that was never used: `<label>-<run>-<number>`.
pub fn key(label: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{label}-{}-{:06}", run(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An xid as a client may choose it: 12 bytes in lower-case base32hex.
pub fn xid() -> String {
    let mut bytes = [0u8; 12];
    bytes[..4].copy_from_slice(&(now() as u32).to_be_bytes());
    fastrand::fill(&mut bytes[4..]);
    let mut text = String::with_capacity(20);
    let (mut word, mut bits) = (0u32, 0u32);
    for byte in bytes {
        word = word << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(b"0123456789abcdefghijklmnopqrstuv"[(word >> bits & 31) as usize]));
        }
    }
    // 96 bits are 19 digits and one bit; the last digit carries it in its highest place.
    text.push(if word & 1 == 1 { 'g' } else { '0' });
    text
}

/// Whether the text is an xid in its canonical form.
pub fn is_xid(text: &str) -> bool {
    text.len() == 20
        && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'v').contains(&c))
        && (text.ends_with('0') || text.ends_with('g'))
}

/// Whether the text is a UUID of version 7 in its canonical lower-case form.
pub fn is_uuid7(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, c)| match place {
            8 | 13 | 18 | 23 => c == b'-',
            14 => c == b'7',
            19 => matches!(c, b'8' | b'9' | b'a' | b'b'),
            _ => c.is_ascii_digit() || (b'a'..=b'f').contains(&c),
        })
}

/// Whether the text may be an ETag: up to 128 visible ASCII characters without quotes.
pub fn is_etag(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|c| (0x21..=0x7e).contains(&c) && c != b'"')
}

/// Unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Unix time with its fraction.
pub fn now_precise() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_xids_are_xids() {
        for _ in 0..1000 {
            let xid = xid();
            assert!(is_xid(&xid), "{xid}");
        }
        assert!(!is_xid("d4ekq9s2b7m0c1r5t8u1"), "the last digit has one bit");
        assert!(!is_xid("D4EKQ9S2B7M0C1R5T8U0"), "lower case only");
    }

    #[test]
    fn uuid_versions_are_told_apart() {
        assert!(is_uuid7("0198f3f0-6a52-7c11-9d0e-3b6f0e3a7a10"));
        assert!(!is_uuid7("0198f3f0-6a52-4c11-9d0e-3b6f0e3a7a10"));
        assert!(!is_uuid7("0198f3f0-6a52-7c11-cd0e-3b6f0e3a7a10"));
    }
}
