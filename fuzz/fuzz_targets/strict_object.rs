//! Any bytes through the properties that the tests of lockd-json state.
#![no_main]

#[path = "../../crates/lockd-json/tests/properties/strict_object.rs"]
mod strict_object;

libfuzzer_sys::fuzz_target!(|data: &[u8]| strict_object::holds(data));
