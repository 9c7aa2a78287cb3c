//! Removing the state of a key.

use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(http_core_61_remove, |client| {
    let key = client.committed("remove", "[1]");
    let lease = client.acquire(&key);
    client
        .call(lease.remove())
        .expect_status(200)
        .expect_members(json!({"removed": true, "new_version": 2}))
        .expect_header("x-key-version", "2");
    client.call(lease.get()).expect_status(204);
    client.public_get(&key).expect_status(200).expect_text("[1]");
    client.call(lease.release()).expect_status(200);
    client.public_get(&key).expect_status(204);
    let described = client.describe(&key);
    assert_eq!(described["version"], 2);
    assert!(!described.contains_key("state_etag"), "{described:?}");
});

on_every_store!(http_core_62_nothing_to_remove, |client| {
    let lease = client.acquire(&fresh::key("remove"));
    client
        .call(lease.remove())
        .expect_status(200)
        .expect_members(json!({"removed": false}))
        .expect_no_member("new_version")
        .expect_header("x-key-version", "0");
});

on_every_store!(http_core_63_update_then_remove, |client| {
    let key = client.committed("remove", "[1]");
    let lease = client.acquire(&key);
    client.call(lease.update("[2]")).expect_members(json!({"new_version": 2}));
    client.call(lease.remove()).expect_status(200).expect_members(json!({"removed": true, "new_version": 3}));
    client.call(lease.release()).expect_status(200);
    assert_eq!(client.describe(&key)["version"], 3);
});

on_every_store!(http_core_64_conditions, |client| {
    let lease = client.acquire(&client.committed("remove", "[1]"));
    client.call(lease.remove().header("X-If-State-ETag", "stale")).expect_error(409, "etag_mismatch");
    client.call(lease.remove().header("X-If-Version", "x")).expect_error(400, "invalid_version");
    client
        .call(lease.remove().header("X-If-Version", "7"))
        .expect_status(200)
        .expect_members(json!({"removed": true}));
});
