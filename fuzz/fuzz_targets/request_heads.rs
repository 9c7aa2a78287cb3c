//! Any bytes as the query string and headers of a request, through the properties that the tests of lockd-server state.
#![no_main]

#[path = "../../crates/lockd-server/tests/common/mod.rs"]
mod common;
#[path = "../../crates/lockd-server/tests/properties/heads.rs"]
mod heads;

use std::sync::LazyLock;

use lockd_server::judged::Head;

static HEAD: LazyLock<Head> = LazyLock::new(|| Head::new(common::node(), common::namespace()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| heads::holds(&HEAD, data));
