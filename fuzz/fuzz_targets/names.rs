//! Any bytes as a namespace and a key, through the properties that the tests of lockd-wire state.
#![no_main]

#[path = "../../crates/lockd-wire/tests/properties/names.rs"]
mod names;

libfuzzer_sys::fuzz_target!(|data: &[u8]| names::holds(data));
