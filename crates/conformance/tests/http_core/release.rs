//! Release: commit, rollback, repetition, and leases that were lost before.

use std::time::Duration;

use lockd_conformance::lease::merged;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(http_core_45_rollback, |client| {
    let key = fresh::key("rollback");
    let lease = client.acquire(&key);
    client.call(lease.update(r#"{"a":1}"#)).expect_status(200);
    client.call(lease.rollback()).expect_status(200).expect_members(json!({"released": true}));
    client.public_get(&key).expect_status(204);
    assert_eq!(client.acquire(&key).version, 0);
});

on_every_store!(http_core_46_release_is_idempotent, |client| {
    let key = fresh::key("twice");
    let lease = client.acquire(&key);
    let wrong_token = lease.release().without("X-Fencing-Token").header("X-Fencing-Token", "9");
    client.call(wrong_token).expect_status(200).expect_members(json!({"released": true}));
    client.try_acquire(&key, json!({})).expect_error(409, "waiting");
    for _ in 0..2 {
        client.call(lease.release()).expect_status(200).expect_members(json!({"released": true}));
    }
    client.acquire(&key);
});

on_every_store!(http_core_47_txn_id, |client| {
    let lease = client.acquire(&fresh::key("txn"));
    let with = |changes| lease.release_with(merged(lease.body(), changes));
    client.call(with(json!({"txn_id": fresh::xid()}))).expect_error(409, "txn_mismatch");
    client.call(with(json!({"txn_id": null}))).expect_error(400, "missing_txn");
    client
        .call(with(json!({"txn_id": null})).header("X-Txn-ID", &lease.txn_id))
        .expect_error(400, "missing_txn");
    client.call(lease.release()).expect_status(200);
});

on_every_store!(http_core_48_release_after_expiry, |client| {
    let key = fresh::key("late");
    let lease = client.acquire_with(&key, json!({"ttl_seconds": 1}));
    client.call(lease.update(r#"{"a":1}"#)).expect_status(200);
    std::thread::sleep(Duration::from_secs(2));
    client.call(lease.release()).expect_status(200).expect_members(json!({"released": true}));
    client.public_get(&key).expect_status(204);
    let next = client.acquire(&key);
    assert_eq!((next.token, next.version), (2, 0));
});

on_every_store!(http_core_49_takeover_after_expiry, |client| {
    let key = fresh::key("takeover");
    let lease = client.acquire_with(&key, json!({"ttl_seconds": 1}));
    client.call(lease.update(r#"{"a":1}"#)).expect_status(200);
    std::thread::sleep(Duration::from_secs(2));
    let next = client.acquire(&key);
    client.call(next.get()).expect_status(204);
});
