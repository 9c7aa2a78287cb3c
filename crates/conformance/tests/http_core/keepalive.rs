//! Keepalive.

use std::time::Duration;

use lockd_conformance::http::Request;
use lockd_conformance::lease::merged;
use lockd_conformance::{fresh, on_every_store};
use serde_json::json;

on_every_store!(http_core_24_token_header_is_required, |client| {
    let lease = client.acquire(&fresh::key("keep"));
    let bare = lease.keepalive(30).without("X-Fencing-Token");
    client.call(bare.clone()).expect_error(400, "missing_fencing_token");
    client.call(bare.clone().header("X-Fencing-Token", " ")).expect_error(400, "missing_fencing_token");
    client.call(bare.header("X-Fencing-Token", "abc")).expect_error(400, "invalid_fencing_token");
});

on_every_store!(http_core_25_extends_the_lease, |client| {
    let lease = client.acquire_with(&fresh::key("keep"), json!({"ttl_seconds": 5}));
    let before = fresh::now();
    let answer = client.call(lease.keepalive(60)).expect_status(200).expect_header("x-fencing-token", "1");
    let expires = answer.int("expires_at_unix");
    assert!(expires > lease.expires_at && (before + 60..=fresh::now() + 60).contains(&expires), "{answer}");
});

on_every_store!(http_core_26_body_may_carry_the_token, |client| {
    let lease = client.acquire(&fresh::key("keep"));
    let body = merged(lease.body(), json!({"fencing_token": 77}));
    client.call(lease.keepalive_with(body.clone())).expect_status(200);
    client.call(lease.release_with(body)).expect_status(200);
    client.acquire(&lease.key);
});

on_every_store!(http_core_27_lease_proof, |client| {
    let lease = client.acquire(&fresh::key("keep"));
    let with = |changes| lease.keepalive_with(merged(lease.body(), changes));
    let wrong_token = lease.keepalive(30).without("X-Fencing-Token").header("X-Fencing-Token", "2");
    client.call(wrong_token).expect_error(403, "fencing_mismatch");
    client.call(with(json!({"lease_id": fresh::xid()}))).expect_error(403, "lease_required");
    client.call(with(json!({"txn_id": fresh::xid()}))).expect_error(409, "txn_mismatch");
    client.call(with(json!({"txn_id": null}))).expect_error(400, "missing_txn");
    client.call(with(json!({"lease_id": null}))).expect_error(400, "missing_lease");
    client.call(lease.keepalive(30)).expect_status(200);
});

on_every_store!(http_core_28_queue_state_keys_are_refused, |client| {
    let body = json!({"key": "q/jobs/state/1", "lease_id": fresh::xid(), "txn_id": fresh::xid()});
    let request = Request::post("/v1/keepalive").header("X-Fencing-Token", "1").json(&body);
    client.call(request).expect_error(403, "queue_state_keepalive_unsupported");
});

on_every_store!(http_core_29_expired_lease, |client| {
    let lease = client.acquire_with(&fresh::key("keep"), json!({"ttl_seconds": 1}));
    std::thread::sleep(Duration::from_millis(1500));
    let answer = client.call(lease.keepalive(30)).expect_status(403);
    let code = answer.string("error");
    assert!(code == "lease_expired" || code == "lease_required", "{answer}");
});
