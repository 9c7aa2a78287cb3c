//! Identifiers: xids (leases, transactions) and UUIDv7s (attachments, generated keys, correlation ids).

use std::fmt;

/// Twelve bytes, written as twenty characters of base32hex in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(pub [u8; 12]);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl Xid {
    pub const LEN: usize = 20;

    /// Reads the canonical spelling; anything else is not an xid.
    pub fn parse(text: &str) -> Option<Xid> {
        let text: &[u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        let mut bits: u128 = 0;
        for &character in text {
            let value = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'v' => character - b'a' + 10,
                _ => return None,
            };
            bits = bits << 5 | u128::from(value);
        }
        // Twenty characters hold 100 bits; the last four are padding and must be zero, or two spellings would name one id.
        if bits & 0xf != 0 {
            return None;
        }
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&(bits >> 4).to_be_bytes()[4..]);
        Some(Xid(bytes))
    }

    /// The spelling, without allocating.
    pub fn spell(&self) -> [u8; Self::LEN] {
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&self.0);
        let bits = u128::from_be_bytes(wide) << 4;
        let mut text = [0; Self::LEN];
        for (place, character) in text.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (95 - 5 * place)) as usize & 31];
        }
        text
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.spell()).unwrap_or_default())
    }
}

impl fmt::Debug for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! xid_kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Xid);

        impl $name {
            pub fn parse(text: &str) -> Option<Self> {
                Xid::parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

xid_kind!(
    /// Names one grant of a lease.
    LeaseId
);
xid_kind!(
    /// Names a transaction: minted for an implicit lease, chosen by the client for a coordinated one.
    TxnId
);

/// A UUIDv7 in its canonical 36-character lower-case form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub [u8; 16]);

impl Uid {
    pub const LEN: usize = 36;

    pub fn parse(text: &str) -> Option<Uid> {
        let text: &[u8; Self::LEN] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0u8; 16];
        let mut nibble = 0;
        for (place, &character) in text.iter().enumerate() {
            if matches!(place, 8 | 13 | 18 | 23) {
                if character != b'-' {
                    return None;
                }
                continue;
            }
            let value = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'f' => character - b'a' + 10,
                _ => return None,
            };
            bytes[nibble / 2] |= if nibble % 2 == 0 { value << 4 } else { value };
            nibble += 1;
        }
        Some(Uid(bytes))
    }

    pub fn spell(&self) -> [u8; Self::LEN] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::LEN];
        let mut place = 0;
        for byte in self.0 {
            if matches!(place, 8 | 13 | 18 | 23) {
                place += 1;
            }
            text[place] = HEX[usize::from(byte >> 4)];
            text[place + 1] = HEX[usize::from(byte & 15)];
            place += 2;
        }
        text
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.spell()).unwrap_or_default())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn xid_spelling_round_trips(bytes: [u8; 12]) {
            let text = Xid(bytes).to_string();
            prop_assert_eq!(Xid::parse(&text), Some(Xid(bytes)));
            prop_assert!(matches!(text.as_bytes()[19], b'0' | b'g'));
        }

        #[test]
        fn only_canonical_spellings_are_xids(text in "[0-9a-w]{19,21}") {
            if let Some(xid) = Xid::parse(&text) {
                prop_assert_eq!(xid.to_string(), text);
            }
        }

        #[test]
        fn uid_spelling_round_trips(bytes: [u8; 16]) {
            prop_assert_eq!(Uid::parse(&Uid(bytes).to_string()), Some(Uid(bytes)));
        }
    }

    #[test]
    fn known_spellings() {
        assert_eq!(Xid([0xff; 12]).to_string(), "vvvvvvvvvvvvvvvvvvvg");
        assert!(Xid::parse("vvvvvvvvvvvvvvvvvvvv").is_none());
        assert!(Xid::parse("VVVVVVVVVVVVVVVVVVVG").is_none());
        assert_eq!(Uid([0x1f; 16]).to_string(), "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f");
    }
}
