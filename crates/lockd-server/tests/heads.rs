//! Heads of requests under random bytes.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "properties/heads.rs"]
mod heads;

use lockd_server::judged::Head;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn any_bytes_and_nearly_heads() {
    let head = Head::new(common::node(), common::namespace());
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    let likely = "(key|k%65y|namespace|public)?=?[A-Za-z0-9%+&=;/._ -]{0,30}(\n[0-9a-zA-Z\"+ -]{0,24}){0,8}"
        .prop_map(String::into_bytes);
    let mut runner = TestRunner::new(Config::with_cases(2_000));
    runner
        .run(&prop_oneof![bytes, likely], |input| {
            heads::holds(&head, &input);
            Ok(())
        })
        .unwrap();
}
