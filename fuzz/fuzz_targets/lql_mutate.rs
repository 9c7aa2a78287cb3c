//! Any bytes through the properties that the tests of lockd-lql state for mutations.
#![no_main]

#[path = "../../crates/lockd-lql/tests/properties/mutation.rs"]
mod mutation;

libfuzzer_sys::fuzz_target!(|data: &[u8]| mutation::holds(data));
