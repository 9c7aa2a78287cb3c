//! Stored records under bytes that nobody wrote.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "properties/records.rs"]
mod records;

use proptest::prelude::*;

/// A field: tag, length, bytes. Tags and lengths are small, so that many of them mean something.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let raw = (0u8..12, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(tag, bytes)| [&[tag, bytes.len() as u8], &bytes[..]].concat());
    raw.prop_recursive(3, 24, 4, |inner| {
        (0u8..12, prop::collection::vec(inner, 0..4)).prop_map(|(tag, fields)| {
            let bytes: Vec<u8> = fields.concat();
            let length = bytes.len();
            let head = if length < 128 {
                vec![tag, length as u8]
            } else {
                vec![tag, length as u8 | 128, (length >> 7) as u8]
            };
            [head, bytes].concat()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes(input: Vec<u8>) {
        records::holds(&input);
    }

    #[test]
    fn fields_in_any_order(fields in prop::collection::vec(field(), 0..8)) {
        records::holds(&fields.concat());
    }
}
