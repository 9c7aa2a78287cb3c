//! The few etcd messages the cycle needs, in protobuf's wire form (field numbers from etcd's `rpc.proto`).

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_int(out: &mut Vec<u8>, field: u64, value: i64) {
    put_varint(out, field << 3 | VARINT);
    put_varint(out, value as u64);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_varint(out, field << 3 | LENGTH_DELIMITED);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn lease_grant(ttl_seconds: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_int(&mut out, 1, ttl_seconds);
    out
}

pub(crate) fn lease_revoke(lease: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_int(&mut out, 1, lease);
    out
}

/// `lease` 0 attaches the key to none.
pub(crate) fn put(key: &[u8], value: &[u8], lease: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + value.len() + 24);
    put_bytes(&mut out, 1, key);
    put_bytes(&mut out, 2, value);
    if lease != 0 {
        put_int(&mut out, 3, lease);
    }
    out
}

pub(crate) fn delete(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, key);
    out
}

/// A transaction that puts `key` only if it does not exist: its creation revision compares equal to 0.
pub(crate) fn create_if_absent(key: &[u8], value: &[u8], lease: i64) -> Vec<u8> {
    const EQUAL: i64 = 0;
    const CREATE_REVISION: i64 = 1;
    let mut compare = Vec::new();
    put_int(&mut compare, 1, EQUAL);
    put_int(&mut compare, 2, CREATE_REVISION);
    put_bytes(&mut compare, 3, key);
    put_int(&mut compare, 5, 0);
    let mut operation = Vec::new();
    put_bytes(&mut operation, 2, &put(key, value, lease));
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &compare);
    put_bytes(&mut out, 2, &operation);
    out
}

/// The number in `field` of a message, 0 when it is left out; `None` when the bytes are not a message.
pub(crate) fn int_field(mut message: &[u8], field: u64) -> Option<i64> {
    let mut found = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match key & 7 {
            VARINT => {
                let value = take_varint(&mut message)?;
                if key >> 3 == field {
                    found = value as i64;
                }
            }
            LENGTH_DELIMITED => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            1 => message = message.get(8..)?,
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_protobufs_bytes() {
        assert_eq!(lease_grant(60), [0x08, 60]);
        assert_eq!(lease_revoke(300), [0x08, 0xac, 0x02]);
        assert_eq!(put(b"k", b"v", 5), [0x0a, 1, b'k', 0x12, 1, b'v', 0x18, 5]);
        assert_eq!(delete(b"k"), [0x0a, 1, b'k']);
        assert_eq!(
            create_if_absent(b"k", b"v", 0),
            [
                0x0a, 9, 0x08, 0, 0x10, 1, 0x1a, 1, b'k', 0x28, 0, // the comparison
                0x12, 8, 0x12, 6, 0x0a, 1, b'k', 0x12, 1, b'v', // the put
            ]
        );
    }

    #[test]
    fn numbers_are_found_among_other_fields_and_damage_is_noticed() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"header");
        put_int(&mut message, 2, i64::MAX);
        assert_eq!(int_field(&message, 2), Some(i64::MAX));
        assert_eq!(int_field(&message, 3), Some(0));
        assert_eq!(int_field(&message[..4], 2), None);
        assert_eq!(int_field(&[0xff; 12], 2), None);
    }
}
