//! Any bytes through the properties that the tests of lockd-json state.
#![no_main]

#[path = "../../crates/lockd-json/tests/properties/compact.rs"]
mod compact;

libfuzzer_sys::fuzz_target!(|data: &[u8]| compact::holds(data));
