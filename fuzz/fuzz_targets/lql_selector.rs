//! Any bytes through the properties that the tests of lockd-lql state for selectors.
#![no_main]

#[path = "../../crates/lockd-lql/tests/properties/selector.rs"]
mod selector;

libfuzzer_sys::fuzz_target!(|data: &[u8]| selector::holds(data));
