//! Tokens of grants: 16 hexadecimal digits of a counter that only ever grows (usable for fencing), 16 of randomness.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    pub counter: u64,
    pub secret: u64,
}

impl Token {
    /// Reads exactly 32 lower-case hexadecimal digits; everything else is no token of ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; 32] = text.try_into().ok()?;
        let half = |digits: &[u8]| {
            digits.iter().try_fold(0u64, |value, &digit| {
                let digit = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                Some(value << 4 | u64::from(digit))
            })
        };
        Some(Self { counter: half(&text[..16])?, secret: half(&text[16..])? })
    }

    /// The 32 digits as they go over the wire.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        let value = u128::from(self.counter) << 64 | u128::from(self.secret);
        for (place, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(value >> (124 - 4 * place)) as usize & 15];
        }
        digits
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.counter, self.secret)
    }
}
