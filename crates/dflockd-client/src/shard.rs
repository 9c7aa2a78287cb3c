//! Which of several servers a key belongs to. All clients in all languages must agree.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// CRC-32 (as zlib's) of the key's UTF-8 bytes modulo the number of servers; `None` when there is none.
///
/// ```
/// assert_eq!(dflockd_client::stable_hash_shard("my-key", 3), Some(2));
/// assert_eq!(dflockd_client::stable_hash_shard("my-key", 0), None);
/// ```
#[must_use]
pub fn stable_hash_shard(key: &str, servers: usize) -> Option<usize> {
    (crc32(key.as_bytes()) as usize).checked_rem(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dflockd_clients_02_stable_hash() {
        for (key, crc, shards) in [
            ("my-resource", 1_352_043_018, [0, 0, 3, 4]),
            ("my-key", 3_605_215_937, [1, 2, 2, 1]),
            ("foo", 2_356_372_769, [1, 2, 4, 2]),
            ("a", 3_904_355_907, [1, 0, 2, 4]),
            ("klüssel", 2_504_894_448, [0, 0, 3, 0]),
            ("🔒", 1_514_244_864, [0, 0, 4, 6]),
            ("", 0, [0, 0, 0, 0]),
        ] {
            assert_eq!(crc32(key.as_bytes()), crc, "{key}");
            assert_eq!([2, 3, 5, 7].map(|servers| stable_hash_shard(key, servers).unwrap()), shards, "{key}");
        }
        assert_eq!(stable_hash_shard("x", 0), None);
    }
}
