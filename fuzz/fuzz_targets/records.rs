//! Any bytes as a stored record, through the properties that the tests of lockd-core state.
#![no_main]

#[path = "../../crates/lockd-core/tests/properties/records.rs"]
mod records;

libfuzzer_sys::fuzz_target!(|data: &[u8]| records::holds(data));
