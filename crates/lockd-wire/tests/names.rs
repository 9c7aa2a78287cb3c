//! Keys and namespaces under random texts.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "properties/names.rs"]
mod names;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes(input: Vec<u8>) {
        names::holds(&input);
    }

    #[test]
    fn nearly_names(input in "[ A-Za-z0-9._/-]{0,20}\n[ /A-Za-z0-9._-]{0,20}|\n{0,2}/? ?[aA.](/ ?[.b]{1,2} ?){0,70}|[a/K]{0,140}") {
        names::holds(input.as_bytes());
    }
}
